"""Means of scores with their standard errors.

Questions about one scene share its pictures and objects, so their scores are not independent. With at least
``MIN_SCENES`` scenes the standard error is therefore clustered by scene (Miller, "Adding Error Bars to Evals",
arXiv 2411.00640, with the factor G / (G - 1) for G scenes); with fewer it is that of independent questions,
s / sqrt(n), the binomial one for right-or-wrong scores, and rather too small. Means over types add their types' errors
in quadrature.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.spatialmosaic.results import ScoredAnswer

MIN_SCENES = 10


@dataclass(frozen=True)
class Cell:
    """A mean of ``n`` scores with its standard error, both fractions; ``stderr`` is None where it cannot be known."""

    mean: float
    stderr: float | None
    n: int


def mean_score(answers: Sequence[ScoredAnswer]) -> Cell | None:
    """The mean over all given answers; None without answers."""
    return mean_of([answer.score for answer in answers], [answer.scene_name for answer in answers])


def mean_of(values: Sequence[float], scenes: Sequence[str]) -> Cell | None:
    """The mean of values that belong to scenes, with the standard error described above; None without values."""
    n = len(values)
    if n == 0:
        return None
    mean = sum(values) / n
    if n == 1:
        return Cell(mean, None, 1)
    sums: dict[str, float] = defaultdict(float)
    for value, scene in zip(values, scenes, strict=True):
        sums[scene] += value - mean
    clusters = len(sums)
    if clusters >= MIN_SCENES:
        variance = sum(total * total for total in sums.values()) / n**2 * clusters / (clusters - 1)
    else:
        variance = sum((value - mean) ** 2 for value in values) / (n - 1) / n
    return Cell(mean, math.sqrt(variance), n)


def mean_over_types(answers: Sequence[ScoredAnswer]) -> Cell | None:
    """The mean of the types' means, every type weighing the same; None without answers."""
    groups: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for answer in answers:
        groups[answer.question_type].append(answer)
    cells = [cell for kind in sorted(groups) if (cell := mean_score(groups[kind])) is not None]
    if not cells:
        return None
    errors = [cell.stderr for cell in cells if cell.stderr is not None]
    stderr = math.sqrt(sum(error * error for error in errors)) / len(cells) if len(errors) == len(cells) else None
    return Cell(sum(cell.mean for cell in cells) / len(cells), stderr, len(answers))


def paired_difference(before: Sequence[ScoredAnswer], after: Sequence[ScoredAnswer]) -> Cell | None:
    """The mean gain per question that both runs answered; its error profits from the pairing. None without any."""
    earlier = {answer.id: answer.score for answer in before}
    both = [answer for answer in after if answer.id in earlier]
    return mean_of([answer.score - earlier[answer.id] for answer in both], [answer.scene_name for answer in both])
