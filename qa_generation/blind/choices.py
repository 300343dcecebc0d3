"""From ratings of options to probabilities, right answers, and the chance with which a question is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from qa_generation.blind.option_table import OptionTable

# what ratings are multiplied by; 0 says that they mean nothing
LEAST_SCALE = 0.3
SCALES = np.concatenate([[0.0], np.geomspace(0.05, 3.0, 24)])


def probabilities(
    table: OptionTable, ratings: Float[np.ndarray, " rows"], scale: float = 1.0
) -> Float[np.ndarray, " rows"]:
    """The prior of each option times exp(rating), made to add up to 1 over the options of each question."""
    grid = table.grid(np.log(table.prior) + scale * ratings, fill=-np.inf)
    grid = np.exp(grid - grid.max(axis=1, keepdims=True))
    return table.rows(grid / grid.sum(axis=1, keepdims=True))


def best_scale(table: OptionTable, ratings: Float[np.ndarray, " rows"]) -> float:
    """The factor on out-of-fold ratings that makes their probabilities honest: the one of least log loss."""
    losses = [-np.log(probabilities(table, ratings, s)[table.truth] + 1e-12).mean() for s in SCALES]
    return float(SCALES[int(np.argmin(losses))])


@dataclass(frozen=True, eq=False)
class Reading:
    """What a reader says of every option: ratings beside the prior, and the factor that makes them honest."""

    ratings: Float[np.ndarray, " rows"]
    scale: float

    def honest(self, table: OptionTable) -> Float[np.ndarray, " rows"]:
        """Probabilities; the prior where the ratings mean nothing."""
        return probabilities(table, self.ratings, self.scale)

    def decided(self, table: OptionTable) -> Float[np.ndarray, " rows"]:
        """Probabilities to choose by, which follow the ratings even where they hardly mean anything."""
        return probabilities(table, self.ratings, max(self.scale, LEAST_SCALE))


def reading(table: OptionTable, ratings: Float[np.ndarray, " rows"]) -> Reading:
    """Ratings made out of fold, with their honest scale."""
    return Reading(ratings, best_scale(table, ratings))


def right(table: OptionTable, probability: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " records"]:
    """1 where the likeliest option is true, a share of 1 where several are equally likely."""
    grid = table.grid(np.round(probability, 6), fill=-np.inf)
    best = grid == grid.max(axis=1, keepdims=True)
    true = table.grid(table.truth.astype(np.float64), fill=0.0)
    return (best * true).sum(axis=1) / best.sum(axis=1)


def of_truth(table: OptionTable, values: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " records"]:
    """The value of each question's true option; 0 where none is marked true."""
    return np.bincount(table.record, weights=values * table.truth, minlength=table.shape[0])
