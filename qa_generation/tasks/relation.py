"""Object relation: where the hidden target is with respect to the reference (``obj_spatial_occ_*``).

As published, the options are the true phrase, its opposite, and one false phrase from each of the two other axes. All
three axes must be decided, so that the false phrases are false. The two opposites show which axis is asked, so someone
who reads only the options can choose between two: for these types such a guesser reaches one half, not a quarter.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int8, Int64

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


def candidates(context: SceneContext, axis: str) -> Candidates:
    """A candidate per hidden target and reference decided on all axes; the class is `octant`."""
    pairs = hidden.hidden_pairs(context)
    fair = context.fair(axis, pairs.target, pairs.reference, pairs.signs[AXES.index(axis)])
    return pairs.candidates(context, (pairs.signs != 0).all(axis=0), octant(pairs.signs), fair)


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator, axis: str) -> Draft:
    """The question with four phrases."""
    facts = context.sets[candidate.view_set]
    target, reference = context.labels[candidate.target], context.labels[candidate.reference]
    named = context.reference_text(facts, candidate.query, candidate.reference)
    signs = hidden.signs(context, facts, candidate.query)[:, candidate.target, candidate.reference]
    opposites = {a: f"{phrase(a, -int(sign))} the {reference}." for a, sign in zip(AXES, signs, strict=True)}
    return Draft(
        question=(
            f"Seen from {context.frame(facts, candidate.query)}, where is the {target} with respect to the {named}?"
        ),
        answer=f"{phrase(axis, int(signs[AXES.index(axis)]))} the {reference}.",
        wrong=tuple(opposites.values()),
        target_category=target,
        targets=(candidate.target,),
        reference_category=reference,
        references=(candidate.reference,),
        query=candidate.query,
        marks=hidden.pair_marks(candidate, context),
    )
