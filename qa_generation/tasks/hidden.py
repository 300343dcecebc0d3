"""Pairs for the three families about an object the asked frame does not show: hidden target and named reference.

The target has no pixel in the query frame, is visible in another frame of the set, and is the only thing of its kind
with a pixel anywhere in the set, so that its name means one object. The reference can be named in the query frame.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from qa_generation.tasks.base import Candidate, Candidates, Mark, marks_of
from qa_generation.tasks.context import SceneContext, SetFacts


@dataclass(frozen=True, eq=False)
class HiddenPairs:
    """All (frame, target, reference) of a scene that qualify, one element each.

    ``signs`` holds the relation signs of `relations.AXES` in the query frame, ``weight`` how welcome the pair is.
    """

    view_set: Int[np.ndarray, " pairs"]
    query: Int[np.ndarray, " pairs"]
    target: Int[np.ndarray, " pairs"]
    reference: Int[np.ndarray, " pairs"]
    signs: Int8[np.ndarray, "3 pairs"]
    weight: Float[np.ndarray, " pairs"]

    def candidates(
        self,
        context: SceneContext,
        kept: Bool[np.ndarray, " pairs"],
        answer: Int[np.ndarray, " pairs"],
        fair: Bool[np.ndarray, " pairs"],
    ) -> Candidates:
        """The kept pairs with their answer classes."""
        return Candidates(
            view_set=self.view_set[kept],
            query=self.query[kept],
            category=context.category_of[self.target[kept]],
            target=self.target[kept],
            reference=self.reference[kept],
            answer=answer[kept].astype(np.int64),
            weight=self.weight[kept],
            fair=fair[kept],
        )


_FOUND: WeakKeyDictionary[SceneContext, HiddenPairs] = WeakKeyDictionary()


def hidden_pairs(context: SceneContext) -> HiddenPairs:
    """The pairs of a scene, found once and shared by the three families and axes."""
    if context not in _FOUND:
        _FOUND[context] = _find(context)
    return _FOUND[context]


def _find(context: SceneContext) -> HiddenPairs:
    parts = []
    for index, facts in enumerate(context.sets):
        alone = facts.alone & context.askable
        target_weight = np.where(context.well_seen(facts), 2.0, 1.0)
        # a reference that is one of a kind in the whole set is clearer than one that is so in its frame only
        only_one = (context.kin & facts.seen[None]).sum(axis=1) == 1
        reference_weight = np.where(only_one, 2.0, 1.0)
        for frame in range(len(facts.members)):
            named = context.references(facts, frame)
            target, reference = np.nonzero((alone & facts.absent[frame])[:, None] & named[None] & ~context.kin)
            parts.append(
                HiddenPairs(
                    view_set=np.full(len(target), index),
                    query=np.full(len(target), frame),
                    target=target,
                    reference=reference,
                    signs=context.relations(int(facts.members[frame]))[:, target, reference],
                    weight=target_weight[target] * reference_weight[reference],
                )
            )
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return HiddenPairs(none, none, none, none, np.zeros((3, 0), dtype=np.int8), np.zeros(0))
    return HiddenPairs(
        *(np.concatenate([getattr(part, f.name) for part in parts], axis=-1) for f in fields(HiddenPairs))
    )


def signs(context: SceneContext, facts: SetFacts, frame: int) -> Int8[np.ndarray, "3 instances instances"]:
    """Relation signs in the camera of a frame of the set."""
    return context.relations(int(facts.members[frame]))


def pair_marks(candidate: Candidate, context: SceneContext) -> tuple[Mark, ...]:
    """The target wherever it shows, the reference in the query frame and wherever else it shows."""
    return (
        *marks_of(context, candidate.view_set, [candidate.target], "target"),
        *marks_of(context, candidate.view_set, [candidate.reference], "reference"),
    )
