"""Object relation: where the hidden target is with respect to the reference (``obj_spatial_occ_*``).

As published, the options are the true phrase, its opposite, and one false phrase from each of the two other axes. All
three axes must be decided, so that the false phrases are false. The two opposites show which axis is asked, so someone
who reads only the options can choose between two: for these types such a guesser reaches one half, not a quarter.
"""

from __future__ import annotations

import numpy as np

from qa_generation.tasks import hidden
from qa_generation.tasks.base import Candidate, Candidates, Draft
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.relations import AXES, phrase


def candidates(context: SceneContext, axis: str) -> Candidates:
    """A candidate per hidden target and reference decided on all axes; the class is the sign on this one."""
    parts = []
    for index, frame, facts, pairs in hidden.frames(context):
        signs = hidden.signs(context, facts, frame)
        targets, references = np.nonzero(pairs & (signs != 0).all(axis=0))
        parts.append(
            Candidates.of(
                signs[AXES.index(axis)][targets, references],
                view_set=index,
                query=frame,
                category=context.category_of[targets],
                target=targets,
                reference=references,
                weight=hidden.weights(context, facts, targets, references),
            )
        )
    return Candidates.join(parts)


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
        answer=f"{phrase(axis, candidate.answer)} the {reference}.",
        wrong=tuple(opposites.values()),
        target_category=target,
        targets=(candidate.target,),
        reference_category=reference,
        references=(candidate.reference,),
        query=candidate.query,
        marks=hidden.pair_marks(candidate, context),
    )
