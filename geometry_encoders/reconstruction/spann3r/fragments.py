"""Long sequences in fragments: the memory restarts every so many frames, and fragments are joined by shared frames.

The window of training is short, so a long pass drifts and forgets; the authors name this as the model's limit and
advise to restart. Each fragment begins with frames that the one before has seen too. Their two sets of points are the
same pixels, which gives the similarity from one fragment's frame to the other's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.registration import fit_similarity_robust
from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig
from geometry_encoders.reconstruction.spann3r.online import (
    Frames,
    Joint,
    SequenceReconstruction,
    reconstruct_online,
)

if TYPE_CHECKING:
    from geometry_encoders.reconstruction.spann3r.modeling_spann3r import Spann3rModel

MAX_JOINT_POINTS = 20_000


def fragment_bounds(views: int, fragment_frames: int, overlap: int) -> list[tuple[int, int]]:
    """(first, behind last) frame of each fragment; neighbours share ``overlap`` frames, the last may be shorter.

    Raises:
        InputError: an overlap below 1, or fragments that do not get on.
    """
    if overlap < 1 or fragment_frames <= overlap + 1:
        raise InputError(
            f"fragments of {fragment_frames} frames that share {overlap}: expected at least 1 shared frame and "
            f"fragments of at least 2 frames more than that"
        )
    step = fragment_frames - overlap
    starts = range(0, max(views - overlap, 1), step)
    return [(start, min(start + fragment_frames, views)) for start in starts]


def reconstruct_in_fragments(
    model: Spann3rModel,
    frames: Frames,
    options: MemoryConfig,
    chunk_frames: int,
    progress: bool,
    fragment_frames: int,
    overlap: int,
) -> SequenceReconstruction:
    """Ordered frames, each fragment with a fresh memory, all moved into the frame of the first.

    Of a shared frame the surer of both results is kept.

    Raises:
        InputError: bounds as in `fragment_bounds`, or shared frames from which no similarity can be fitted.
    """
    joined: SequenceReconstruction | None = None
    for start, stop in fragment_bounds(len(frames), fragment_frames, overlap):
        part = reconstruct_online(model, frames[start:stop], options, chunk_frames, progress)
        joined = part if joined is None else join(joined, part, start)
    assert joined is not None, "there is at least one fragment"
    return joined


def join(done: SequenceReconstruction, part: SequenceReconstruction, start: int) -> SequenceReconstruction:
    """What is done, with a further fragment whose first frame has number ``start`` in it."""
    shared = len(done.pointmaps) - start
    source, target = part.pointmaps[:shared].reshape(-1, 3), done.pointmaps[start:].reshape(-1, 3)
    weights = np.minimum(part.confidence[:shared], done.confidence[start:]).reshape(-1) - 1
    step = max(len(source) // MAX_JOINT_POINTS, 1)
    try:
        fit = fit_similarity_robust(source[::step], target[::step], np.maximum(weights[::step], 0))
    except InputError as error:
        raise InputError(f"frames {start} to {start + shared - 1} do not join two fragments: {error}") from error
    moved = fit.similarity.apply(part.pointmaps).astype(np.float32)
    surer = part.confidence[:shared].mean(axis=(1, 2)) > done.confidence[start:].mean(axis=(1, 2))
    points, confidence = done.pointmaps.copy(), done.confidence.copy()
    points[start:][surer], confidence[start:][surer] = moved[:shared][surer], part.confidence[:shared][surer]
    joint = Joint(start, shared, float(fit.similarity.scale), float(fit.inliers.mean()))
    return replace(
        done,
        pointmaps=np.concatenate([points, moved[shared:]]),
        confidence=np.concatenate([confidence, part.confidence[shared:]]),
        order=tuple(range(start + len(part.order))),
        joints=(*done.joints, joint),
    )
