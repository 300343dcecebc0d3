"""Is one run better than another? Both answered the same questions, so they are compared question by question.

The difference is that of the published overall scores (mean over question types). Under the hypothesis that the runs
are equally good, their names could be swapped in any scene: the p-value is that of a sign-flip permutation test over
scenes (over questions below ``MIN_SCENES`` scenes), two-sided. McNemar's exact test over right-or-wrong questions
stands beside it; it takes questions for independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest, permutation_test

from benchmarks.spatialmosaic.results import Run, ScoredAnswer
from benchmarks.spatialmosaic.scoring import ACCURACY
from benchmarks.spatialmosaic.statistics import Cell, Measure, Units, mean_of_type_means, strict
from qa_generation.errors import InputError
from qa_generation.seeding import generator

FLIPS = 9999
ALPHA = 0.05
# a true difference of so many standard errors is found in 80 % of the tests at 5 %: 1.96 + 0.84
_DETECTABLE_STDERRS = 2.8


@dataclass(frozen=True)
class Comparison:
    """How two runs differ; fractions, ``first`` minus ``second``.

    Attributes:
        first, second: names of the runs.
        difference: of the overall scores, with its paired error and interval.
        p_value: of the sign-flip test.
        scenes: number of scenes; ``clustered`` says whether they were what was flipped.
        only_first, only_second: choice questions that only one of them got right.
        mcnemar_p: of McNemar's exact test over these; None without any choice question.
        scope: which questions were compared; empty for all.
    """

    first: str
    second: str
    difference: Cell
    p_value: float
    scenes: int
    clustered: bool
    only_first: int
    only_second: int
    mcnemar_p: float | None
    scope: str = ""

    @property
    def is_clear(self) -> bool:
        """Whether the runs can be told apart."""
        return self.p_value < ALPHA

    @property
    def detectable(self) -> float | None:
        """The true difference that this many questions would most likely (80 %) have shown."""
        return None if self.difference.stderr is None else _DETECTABLE_STDERRS * self.difference.stderr

    def sentence(self) -> str:
        """The finding in words, points in percent, the better run first where there is one."""
        sign = -1.0 if self.is_clear and self.difference.mean < 0 else 1.0
        first, second = (self.first, self.second) if sign > 0 else (self.second, self.first)
        scope = f"{self.scope}: " if self.scope else ""
        found = f"{100 * sign * self.difference.mean:+.1f} points"
        if self.difference.low is not None and self.difference.high is not None:
            low, high = sorted((sign * self.difference.low, sign * self.difference.high))
            found += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
        found += (
            f", {p_text(self.p_value)}, {_counted(self.difference.n, 'question')} of {_counted(self.scenes, 'scene')}."
        )
        if self.is_clear:
            return f"{scope}{first} is better than {second}: {found}"
        if self.detectable:
            found += f" Differences below about {100 * self.detectable:.1f} points are hard to see here."
        return f"{scope}{first} and {second} cannot be told apart: {found}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def p_text(p_value: float) -> str:
    """``p = 0.03``, or ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def compare_pair(first: Run, second: Run, measure: Measure = strict, choices_only: bool = False) -> Comparison:
    """The comparison of two runs over the questions that both answered, or only those with options.

    Raises:
        InputError: when they share no question.
    """
    others = {answer.id: answer for answer in second.answers}
    pairs = [(answer, others[answer.id]) for answer in first.answers if answer.id in others]
    if choices_only:
        pairs = [pair for pair in pairs if pair[0].metric == ACCURACY]
    if not pairs:
        raise InputError(f"runs {first.name} and {second.name} share no question, expected the same dataset")
    gains = [measure(mine) - measure(theirs) for mine, theirs in pairs]
    scenes = [mine.scene_name for mine, _ in pairs]
    kinds = [mine.question_type for mine, _ in pairs]
    difference = mean_of_type_means(gains, scenes, kinds)
    assert difference is not None
    units = Units.of(gains, scenes, kinds)
    only_first, only_second, mcnemar_p = _mcnemar(pairs, measure)
    return Comparison(
        first=first.name,
        second=second.name,
        difference=difference,
        p_value=_sign_flip_p(units.shares()),
        scenes=len(set(scenes)),
        clustered=units.clustered,
        only_first=only_first,
        only_second=only_second,
        mcnemar_p=mcnemar_p,
        scope="Choices" if choices_only else "",
    )


def _sign_flip_p(shares: Float[np.ndarray, " units"]) -> float:
    """Two-sided p-value of a sum whose terms could as well have the other sign; exact for few terms."""
    terms = shares[shares != 0.0]
    if len(terms) < 2:  # one term alone is as large whichever its sign
        return 1.0
    found = permutation_test(
        (terms, np.zeros_like(terms)),
        lambda x, y, axis: (x - y).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        batch=max(1, 2_000_000 // len(terms)),
        rng=generator(0, "sign flips", str(len(terms))),
    )
    return min(1.0, float(found.pvalue))


def _mcnemar(pairs: Sequence[tuple[ScoredAnswer, ScoredAnswer]], measure: Measure) -> tuple[int, int, float | None]:
    choices = [(measure(mine), measure(theirs)) for mine, theirs in pairs if mine.metric == ACCURACY]
    only_first = sum(mine > theirs for mine, theirs in choices)
    only_second = sum(mine < theirs for mine, theirs in choices)
    if not choices:
        return 0, 0, None
    differing = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, differing).pvalue) if differing else 1.0
