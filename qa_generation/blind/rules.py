"""With what chance a question is kept so that its text no longer tells which answer is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from qa_generation.blind.choices import of_truth
from qa_generation.blind.option_table import OptionTable

# options are evened out to the rarest that their form does not rule out; bins of numbers need not be
CHOICE_LEVEL, ANSWER_LEVEL, WINDOW_LEVEL = 0.01, 0.25, 0.1
# a rule that would leave too few is made milder by these factors of its strength
MILDER = (1.0, 0.7, 0.5, 0.35, 0.25)
NARROWEST = 2


@dataclass(frozen=True)
class Rule:
    """How hard to leave out.

    Attributes:
        level: how far up in the ratios of options the keep chance reaches, see `keep_probability`.
        strength: exponent of the keep chance.
        window: first and last bin of the numbers that may be answers at all; None for all.
    """

    level: float = CHOICE_LEVEL
    strength: float = 1.0
    window: tuple[int, int] | None = None


def choice_rules(strength: float) -> Iterator[Rule]:
    """From the hardest to the mildest."""
    yield from (Rule(CHOICE_LEVEL, strength * factor) for factor in MILDER)


def answer_rules(strength: float, bins: int, window: tuple[int, int] | None, may_narrow: bool) -> Iterator[Rule]:
    """In the order to be tried until enough questions stay.

    Where names pin numbers down so much that hardly a question would stay, only a span of numbers is asked for, the
    widest that leaves enough: within it some names leave the number open.
    """
    first, last = window or (0, bins - 1)
    yield Rule(ANSWER_LEVEL, strength, window)
    if may_narrow:
        for width in range(last - first, NARROWEST - 1, -1):
            for start in range(first, last - width + 2):
                yield Rule(WINDOW_LEVEL, strength, (start, start + width - 1))
    yield from (Rule(ANSWER_LEVEL, strength * factor, window) for factor in MILDER[1:])


def keep_probability(
    table: OptionTable, probability: Float[np.ndarray, " rows"], rule: Rule
) -> Float[np.ndarray, " records"]:
    """With what chance to keep each question so that its text no longer tells which option is true.

    Rejection sampling: with r = probability / prior of the options, keeping a question with chance
    min(1, t / r of its truth) leaves options with r >= t equally likely beside their prior. t is the smallest r at
    level 0, which evens out all options; a higher level is the quantile of r under the prior, which loses less.
    """
    ratio = table.grid(probability / table.prior, fill=np.inf)
    prior = table.grid(table.prior, fill=0.0)
    keep = np.ones(len(prior))
    if rule.window is not None:
        outside = np.ones(table.shape[1], dtype=bool)
        outside[rule.window[0] : rule.window[1] + 1] = False
        ratio, prior = np.where(outside, np.inf, ratio), np.where(outside, 0.0, prior)
        keep = 1.0 - table.grid(table.truth.astype(np.float64), fill=0.0) @ outside
    order = np.argsort(ratio, axis=1, kind="stable")
    reached = np.take_along_axis(prior, order, axis=1).cumsum(axis=1) / prior.sum(axis=1, keepdims=True)
    at = np.take_along_axis(order, np.argmax(reached > rule.level, axis=1)[:, None], axis=1)
    threshold = np.take_along_axis(ratio, at, axis=1)[:, 0]
    truth = of_truth(table, probability / table.prior)
    return keep * np.minimum(1.0, threshold / np.maximum(truth, 1e-12)) ** rule.strength
