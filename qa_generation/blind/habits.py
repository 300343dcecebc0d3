"""How often a key went with the truth in other scenes: evidence for an option, never taken from its own scene.

Records are dealt into folds by scene and sums per (fold, key) are kept, so that the habit seen from any set of folds is
a subtraction: a model tested on fold f learns from rows of fold g whose habits come from all folds but f and g.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64

# a key counts as if this much more had been seen that went as chance has it
PRIOR = 4.0


@dataclass(frozen=True, eq=False)
class Habits:
    """One value per fold left out and code of a key column, for looking up.

    Attributes:
        codes: of each key column those met, ascending.
        values: of each key column (folds, codes): what the other folds say.
    """

    codes: tuple[UInt64[np.ndarray, " codes"], ...]
    values: tuple[Float[np.ndarray, "folds codes"], ...]

    def look_up(self, keys: UInt64[np.ndarray, "rows keys"], fold: int) -> Float[np.ndarray, "rows keys"]:
        """What the folds other than ``fold`` say about every key; 0 about those never met."""
        result = np.zeros(keys.shape)
        for number, (codes, values) in enumerate(zip(self.codes, self.values, strict=True)):
            if len(codes):
                column = keys[:, number]
                at = np.minimum(np.searchsorted(codes, column), len(codes) - 1)
                result[:, number] = np.where(codes[at] == column, values[fold, at], 0.0)
        return result


class HabitSums:
    """Sums over a training set.

    Args:
        keys: codes, one column per recipe.
        fold: of every row.
        amount: what happened, e.g. 1 for the true option.
        expected: what is added up to compare it with, e.g. one over the number of options; or ones for a mean.
        folds: their number.
        as_ratio: log of amount over expected, both raised by the prior; else the difference over expected plus prior.
    """

    def __init__(
        self,
        keys: UInt64[np.ndarray, "rows keys"],
        fold: Int[np.ndarray, " rows"],
        amount: Float[np.ndarray, " rows"],
        expected: Float[np.ndarray, " rows"],
        folds: int,
        as_ratio: bool = True,
    ) -> None:
        self._fold, self._folds, self._as_ratio = fold, folds, as_ratio
        found = [np.unique(column, return_inverse=True) for column in keys.T]
        self._codes = tuple(codes for codes, _ in found)
        self._index = [index.ravel() for _, index in found]
        self._amount = [self._summed(i, amount) for i in range(len(found))]
        self._expected = [self._summed(i, expected) for i in range(len(found))]

    def _summed(self, number: int, weights: Float[np.ndarray, " rows"]) -> Float[np.ndarray, "folds codes"]:
        length = len(self._codes[number])
        at = self._fold * length + self._index[number]
        return np.bincount(at, weights=weights, minlength=self._folds * length).reshape(self._folds, length)

    def _without(self, number: int, left_out: Sequence[int]) -> Float[np.ndarray, " codes"]:
        kept = [fold for fold in range(self._folds) if fold not in left_out]
        amount, expected = self._amount[number][kept].sum(axis=0), self._expected[number][kept].sum(axis=0)
        if self._as_ratio:
            return np.log((amount + PRIOR) / (expected + PRIOR))
        return amount / (expected + PRIOR)

    def habits(self) -> Habits:
        """For use on scenes of the fold left out."""
        values = [
            np.stack([self._without(number, (fold,)) for fold in range(self._folds)])
            for number in range(len(self._codes))
        ]
        return Habits(self._codes, tuple(values))

    def inside(self, test_fold: int) -> Float[np.ndarray, "rows keys"]:
        """What every row of this set knows when fold ``test_fold`` and its own are left out."""
        result = np.zeros((len(self._fold), len(self._codes)))
        for own in range(self._folds):
            rows = np.flatnonzero(self._fold == own)
            for number, index in enumerate(self._index):
                result[rows, number] = self._without(number, (test_fold, own))[index[rows]]
        return result
