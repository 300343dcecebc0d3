"""The similarity between two sets of camera poses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from geometry_encoders.reconstruction.registration import Similarity, fit_similarity


def align_cameras(source: Float[ndarray, "cameras 4 4"], target: Float[ndarray, "cameras 4 4"]) -> Similarity | None:
    """The similarity that brings camera-to-world poses nearest to others; None where it has no scale.

    It is fitted to the camera centres and to points a hundredth of their median distance ahead of them, so that two
    cameras, or some on a line, are enough.
    """
    source_step, target_step = _typical_distance(source), _typical_distance(target)
    if not (source_step > 0 and target_step > 0):
        return None
    similarity = fit_similarity(_markers(source, source_step / 100), _markers(target, target_step / 100))
    return similarity if similarity.scale > 0 else None


def _typical_distance(poses: Float[ndarray, "cameras 4 4"]) -> float:
    """Median distance of the cameras' centres from one another."""
    centres = poses[:, :3, 3]
    first, second = np.triu_indices(len(centres), k=1)
    return float(np.median(np.linalg.norm(centres[first] - centres[second], axis=1)))


def _markers(poses: Float[ndarray, "cameras 4 4"], step: float) -> Float[ndarray, "markers 3"]:
    """Centres, and points ``step`` ahead of them on the optical axes."""
    return np.concatenate([poses[:, :3, 3], poses[:, :3, 3] + step * poses[:, :3, 2]])
