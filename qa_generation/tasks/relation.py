"""Object relation: where the hidden target is with respect to the reference (``obj_spatial_occ_*``).

Two forms of the options, `GenerationConfig.relation_options`:

* ``paired``: the four combinations of directions on two axes, e.g. "to the left of and higher than the table."; one is
  true and nothing about the four tells which.
* ``published``: the true phrase, its opposite, and one false phrase from each of the two other axes, all three decided.
  The two opposites show which axis is asked, so someone who reads only the options reaches one half, not a quarter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import numpy as np
from jaxtyping import Int8, Int64

from qa_generation.generation_config import GenerationConfig
from qa_generation.tasks import hidden
from qa_generation.tasks.base import Candidate, Candidates, Draft
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.relations import AXES, phrase


def octant(signs: Int8[np.ndarray, "3 pairs"]) -> Int64[np.ndarray, " pairs"]:
    """Number 0-7 with bit k set where the sign on axis k is positive."""
    return ((signs > 0) * np.array([[1], [2], [4]])).sum(axis=0)


def other_axes(number: int, axis: str) -> int:
    """What an octant says of the two axes that are not asked: within each such group both answers are equally many.

    The false phrases of the other axes stand among the options; what is lower is often closer, so without this they
    would tell the answer.
    """
    return number & ~(1 << AXES.index(axis))


def partner(axis: str) -> str:
    """The second axis of paired options; never height, which names tell most about."""
    return {"lr": "fb", "ab": "lr", "fb": "lr"}[axis]


def group(config: GenerationConfig, axis: str) -> Callable[[int], int] | None:
    """Published options give the answer away unless both answers are equally many whatever the other axes say."""
    return partial(other_axes, axis=axis) if config.relation_options == "published" else None


def candidates(context: SceneContext, axis: str) -> Candidates:
    """A candidate per hidden target and reference decided on the axes that the options name.

    The class is `octant`, or in paired form its bits of the two axes alone.
    """
    pairs = hidden.hidden_pairs(context)
    fair = context.fair(axis, pairs.target, pairs.reference, pairs.signs[AXES.index(axis)])
    if context.config.relation_options == "published":
        return pairs.candidates(context, (pairs.signs != 0).all(axis=0), octant(pairs.signs), fair)
    two = [AXES.index(axis), AXES.index(partner(axis))]
    fair &= context.fair(partner(axis), pairs.target, pairs.reference, pairs.signs[two[1]])
    mask = sum(1 << k for k in two)
    return pairs.candidates(context, (pairs.signs[two] != 0).all(axis=0), octant(pairs.signs) & mask, fair)


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator, axis: str) -> Draft:
    """The question with four phrases."""
    facts = context.sets[candidate.view_set]
    target, reference = context.labels[candidate.target], context.labels[candidate.reference]
    named = context.reference_text(facts, candidate.query, candidate.reference)
    signs = hidden.signs(context, facts, candidate.query)[:, candidate.target, candidate.reference]
    answer, wrong = _options(context, axis, dict(zip(AXES, (int(s) for s in signs), strict=True)), reference)
    return Draft(
        question=(
            f"Seen from {context.frame(facts, candidate.query)}, where is the {target} with respect to the {named}?"
        ),
        answer=answer,
        wrong=wrong,
        target_category=target,
        targets=(candidate.target,),
        reference_category=reference,
        references=(candidate.reference,),
        query=candidate.query,
        marks=hidden.pair_marks(candidate, context),
    )


def _options(context: SceneContext, axis: str, signs: Mapping[str, int], reference: str) -> tuple[str, tuple[str, ...]]:
    """The true text and the three false ones."""
    if context.config.relation_options == "published":
        false = tuple(f"{phrase(a, -sign)} the {reference}." for a, sign in signs.items())
        return f"{phrase(axis, signs[axis])} the {reference}.", false
    second = partner(axis)

    def text(first_sign: int, second_sign: int) -> str:
        return f"{phrase(axis, first_sign)} and {phrase(second, second_sign)} the {reference}."

    truth = (signs[axis], signs[second])
    return text(*truth), tuple(text(*both) for both in product((-1, 1), repeat=2) if both != truth)
