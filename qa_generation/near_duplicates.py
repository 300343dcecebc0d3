"""Turns away questions that ask of nearly the same views what an earlier question of the scene asked."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from jaxtyping import Int

from qa_generation.tasks.base import Candidate, Draft
from qa_generation.tasks.context import SceneContext

# the same fact (a size, a distance between two objects, a count) is asked of at most so many view sets of a scene
MOST_REPEATS = 4


class NearDuplicates:
    """What was asked so far in one scene and type."""

    def __init__(self, context: SceneContext) -> None:
        self._context = context
        self._asked: dict[object, list[Int[np.ndarray, " frames"]]] = defaultdict(list)

    def is_new(self, candidate: Candidate, draft: Draft) -> bool:
        """Whether the question is unlike all before; if so it is remembered.

        Questions about the same objects are alike when the cameras they are seen from are near each other: the asked
        frame's, or, where none is asked about, every camera of the one set to some camera of the other.
        """
        members = self._context.sets[candidate.view_set].members
        asked_frame = draft.query >= 0
        rows = members[[draft.query]] if asked_frame else members
        objects = (draft.targets, draft.references) if asked_frame else frozenset(draft.targets + draft.references)
        earlier = self._asked[objects, "" if asked_frame else draft.answer]
        if not asked_frame and len(earlier) >= MOST_REPEATS:
            return False
        near = self._context.near_views
        for other in earlier:
            pairs = near[np.ix_(rows, other)]
            if pairs.any(axis=1).all() and pairs.any(axis=0).all():
                return False
        earlier.append(rows)
        return True
