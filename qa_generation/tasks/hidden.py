"""Pairs for the three families about an object the asked frame does not show: hidden target and named reference.

The target has no pixel in the query frame, is visible in another frame of the set, and is the only thing of its kind
with a pixel anywhere in the set, so that its name means one object. The reference can be named in the query frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int8

from qa_generation.tasks.base import Candidate, Mark, marks_of
from qa_generation.tasks.context import SceneContext, SetFacts


def frames(context: SceneContext) -> Iterator[tuple[int, int, SetFacts, Bool[np.ndarray, "instances instances"]]]:
    """Set index, frame position, facts, and the (target, reference) pairs that qualify there."""
    for index, facts in enumerate(context.sets):
        alone = facts.alone & context.askable
        for frame in range(len(facts.members)):
            targets = alone & facts.absent[frame]
            references = context.references(facts, frame)
            if targets.any() and references.any():
                yield index, frame, facts, targets[:, None] & references[None] & ~context.kin


def signs(context: SceneContext, facts: SetFacts, frame: int) -> Int8[np.ndarray, "3 instances instances"]:
    """Relation signs in the camera of a frame of the set."""
    return context.relations(int(facts.members[frame]))


def weights(context: SceneContext, facts: SetFacts, targets: np.ndarray, references: np.ndarray) -> np.ndarray:
    """How welcome pairs are: partly hidden targets, and references that are one of a kind in the whole set."""
    unique = (context.kin & facts.seen[None]).sum(axis=1) == 1
    return np.where(context.well_seen(facts)[targets], 2.0, 1.0) * np.where(unique[references], 2.0, 1.0)


def pair_marks(candidate: Candidate, context: SceneContext) -> tuple[Mark, ...]:
    """The target wherever it shows, the reference in the query frame and wherever else it shows."""
    return (
        *marks_of(context, candidate.view_set, [candidate.target], "target"),
        *marks_of(context, candidate.view_set, [candidate.reference], "reference"),
    )
