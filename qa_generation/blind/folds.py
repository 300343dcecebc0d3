"""Groups of scenes that share no place: what one group teaches is tested on another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from qa_generation.seeding import stable_int
from qa_generation.splits import place_of


def fold_of(scene: str, seed: int, folds: int, stage: int = 0) -> int:
    """Group of a scene from its name alone, so that scenes never met before have one too; rescans share a group.

    Every stage of a plan groups anew: thinning one group by what the others say makes them differ, and models that
    are tested on the same groups again would take that for a habit.
    """
    return stable_int(seed, "blind fold", str(stage), place_of(scene)) % folds


def even_folds(scenes: Sequence[str], seed: int, folds: int) -> Int[np.ndarray, " records"]:
    """Group of every record's scene: places ranked by hash and dealt out in turn, so that all groups are filled."""
    places = [place_of(scene) for scene in scenes]
    ranked = sorted(set(places), key=lambda place: (stable_int(seed, "blind audit", place), place))
    of = {place: rank % folds for rank, place in enumerate(ranked)}
    return np.array([of[place] for place in places], dtype=np.int64)
