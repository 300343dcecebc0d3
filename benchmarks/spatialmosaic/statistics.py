"""Means of scores with standard errors and bootstrap intervals.

Questions about one scene share its pictures and objects, so their scores are not independent. With at least
``MIN_SCENES`` scenes the standard error is therefore clustered by scene (Miller, "Adding Error Bars to Evals",
arXiv 2411.00640, with the factor G / (G - 1) for G scenes) and the bootstrap draws scenes; with fewer both take
questions for independent and are rather too small. Intervals are percentile intervals of ``RESAMPLES`` draws.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binomtest

from benchmarks.spatialmosaic.families import weight_of
from benchmarks.spatialmosaic.results import ScoredAnswer
from qa_generation.seeding import generator

MIN_SCENES = 10
RESAMPLES = 2000
CONFIDENCE = 0.95
# beyond so many independent units the bootstrap has reached its limit, the normal interval, which is then taken
MOST_UNITS = 5000
_NORMAL_QUANTILE = 1.959963984540054

Measure = Callable[[ScoredAnswer], float]


@dataclass(frozen=True)
class Cell:
    """A mean of ``n`` scores, all numbers fractions.

    Attributes:
        mean: of the scores, or of the means of their question types.
        stderr: standard error; None where it cannot be known.
        n: number of scores.
        low, high: ends of the 95 % interval; None where there is none.
    """

    mean: float
    stderr: float | None
    n: int
    low: float | None = None
    high: float | None = None


def strict(answer: ScoredAnswer) -> float:
    """The score by the published rules."""
    return answer.score


def repaired(answer: ScoredAnswer) -> float:
    """The score after the lenient reading."""
    return answer.score_repaired


def mean_score(answers: Sequence[ScoredAnswer], measure: Measure = strict) -> Cell | None:
    """The mean over all given answers; None without answers."""
    return mean_of([measure(answer) for answer in answers], [answer.scene_name for answer in answers])


def mean_of(values: Sequence[float], scenes: Sequence[str]) -> Cell | None:
    """The mean of values that belong to scenes, with error and interval as described above; None without values."""
    return _cell(Units.of(values, scenes, ["" for _ in values])) if len(values) else None


def mean_over_types(answers: Sequence[ScoredAnswer], measure: Measure = strict) -> Cell | None:
    """The mean of the types' means, every type weighing the same; None without answers."""
    return mean_of_type_means(
        [measure(answer) for answer in answers],
        [answer.scene_name for answer in answers],
        [answer.question_type for answer in answers],
    )


def mean_of_type_means(values: Sequence[float], scenes: Sequence[str], kinds: Sequence[str]) -> Cell | None:
    """The same for plain values, their scenes and their types."""
    return _cell(Units.of(values, scenes, kinds)) if len(values) else None


@dataclass(frozen=True, eq=False)
class Units:
    """Values summed per type and independent unit: a scene, or a single question where there are few scenes.

    Attributes:
        sums, counts: of the values of each type in each unit.
        clustered: whether units are scenes.
        squares: sum of squared deviations from the type's mean, per type.
        weights: of the types in the mean over types, adding up to 1; equal, but see `families.weight_of`.
    """

    sums: Float[np.ndarray, "types units"]
    counts: Float[np.ndarray, "types units"]
    clustered: bool
    squares: Float[np.ndarray, " types"]
    weights: Float[np.ndarray, " types"]

    @classmethod
    def of(cls, values: Sequence[float], scenes: Sequence[str], kinds: Sequence[str]) -> Units:
        """Sorted by name, so that the order of the values does not matter to scenes."""
        value = np.asarray(values, dtype=np.float64)
        names, row = _coded(kinds)
        places, scene = _coded(scenes)
        clustered = len(places) >= MIN_SCENES
        unit = scene if clustered else np.arange(len(value))
        shape = (len(names), len(places) if clustered else len(value))
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (row, unit), value)
        np.add.at(counts, (row, unit), 1.0)
        deviation = value - (sums.sum(axis=1) / counts.sum(axis=1))[row]
        squares = np.bincount(row, weights=deviation**2, minlength=shape[0])
        weights = np.array([weight_of(name) for name in names])
        return cls(sums, counts, clustered, squares, weights / weights.sum())

    @property
    def means(self) -> Float[np.ndarray, " types"]:
        """Mean of every type."""
        return self.sums.sum(axis=1) / self.counts.sum(axis=1)

    @property
    def mean(self) -> float:
        """The mean of these means."""
        return float(self.weights @ self.means)

    def shares(self) -> Float[np.ndarray, " units"]:
        """What every unit adds to the mean of means; they sum to it."""
        return self.weights @ (self.sums / self.counts.sum(axis=1, keepdims=True))

    def influence(self) -> Float[np.ndarray, " units"]:
        """What every unit adds to the mean of means' deviation from its expectation; they sum to zero."""
        deviations = self.sums - self.means[:, None] * self.counts
        return self.weights @ (deviations / self.counts.sum(axis=1, keepdims=True))

    def stderr(self) -> float | None:
        """Standard error of the mean of means; None where a type has one value only and nothing clusters."""
        units = self.sums.shape[1]
        if self.clustered:
            return math.sqrt(float((self.influence() ** 2).sum()) * units / (units - 1))
        counts = self.counts.sum(axis=1)
        if (counts < 2).any():
            return None
        return math.sqrt(float((self.weights**2 * self.squares / (counts - 1) / counts).sum()))


def _coded(texts: Sequence[str]) -> tuple[list[str], Int[np.ndarray, " n"]]:
    """The different texts, sorted, and the place of every text among them; many times faster than ``np.unique``."""
    names = sorted(set(texts))
    place = {name: index for index, name in enumerate(names)}
    return names, np.fromiter((place[text] for text in texts), dtype=np.int64, count=len(texts))


def _cell(units: Units) -> Cell:
    mean, stderr = units.mean, units.stderr()
    low, high = _interval(units, mean, stderr)
    return Cell(mean, stderr, int(units.counts.sum()), low, high)


def _interval(units: Units, mean: float, stderr: float | None) -> tuple[float | None, float | None]:
    number = units.sums.shape[1]
    if number < 2:
        return None, None
    if float(units.squares.sum()) < 1e-18:
        return _interval_of_equals(mean, number)
    if number > MOST_UNITS:
        half = _NORMAL_QUANTILE * (stderr or 0.0)
        return mean - half, mean + half
    drawn = _draws(number)
    with np.errstate(invalid="ignore"):
        means = (drawn @ units.sums.T) / (drawn @ units.counts.T)
    # a rare type that is missing from a draw keeps its mean
    overall = np.where(np.isnan(means), units.means, means) @ units.weights
    low, high = np.quantile(overall, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _interval_of_equals(mean: float, number: int) -> tuple[float | None, float | None]:
    """All right or all wrong: draws cannot differ, Wilson's score interval still can tell how few they were."""
    if mean not in (0.0, 1.0):
        return None, None
    found = binomtest(round(mean * number), number).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


@lru_cache(maxsize=32)
def _draws(units: int) -> Float[np.ndarray, "resamples units"]:
    """How often each unit is drawn in each resample.

    Shared by all cells of as many units, so that runs are compared on equal draws and a report of hundreds of cells
    takes a second; ``scipy.stats.bootstrap``, which the tests compare with, would draw anew for each.
    """
    picked = generator(0, "bootstrap", str(units)).integers(0, units, size=(RESAMPLES, units))
    picked += np.arange(RESAMPLES)[:, None] * units
    return np.bincount(picked.ravel(), minlength=RESAMPLES * units).reshape(RESAMPLES, units).astype(np.float64)


def paired_difference(before: Sequence[ScoredAnswer], after: Sequence[ScoredAnswer]) -> Cell | None:
    """The mean gain per question that both runs answered; its error profits from the pairing. None without any."""
    earlier = {answer.id: answer.score for answer in before}
    both = [answer for answer in after if answer.id in earlier]
    return mean_of([answer.score - earlier[answer.id] for answer in both], [answer.scene_name for answer in both])


def by_type(answers: Sequence[ScoredAnswer]) -> dict[str, list[ScoredAnswer]]:
    """The answers of every question type."""
    groups: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for answer in answers:
        groups[answer.question_type].append(answer)
    return dict(groups)
