"""Which points of an aligned scene to believe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

DEPTH_TOLERANCE = 1e-3


def clean_confidence(
    confidence: Sequence[Float[ndarray, "height width"]],
    pointmaps: Sequence[Float[ndarray, "height width 3"]],
    depths: Sequence[Float[ndarray, "height width"]],
    camera_to_world: Float[ndarray, "views 4 4"],
    intrinsics: Float[ndarray, "views 3 3"],
) -> list[Float[ndarray, "height width"]]:
    """Confidences, lowered to 0 at points that hide a surer surface of another view.

    A point that another camera would see nearer than what it does see there, with less confidence, is taken to float
    in the air. Ordered pairs of views are gone through one after the other, and confidences that an earlier pair
    lowered count for the later ones.
    """
    cleaned = [values.copy() for values in confidence]
    world_to_camera = np.linalg.inv(camera_to_world)
    for i, points in enumerate(pointmaps):
        for j, seen in enumerate(depths):
            if i == j:
                continue
            camera = points @ world_to_camera[j, :3, :3].T.astype(points.dtype) + world_to_camera[j, :3, 3].astype(
                points.dtype
            )
            hides = _nearer_than(camera, seen, intrinsics[j], cleaned[i], cleaned[j])
            cleaned[i][hides] = np.minimum(cleaned[i][hides], 0)
    return cleaned


def confidence_masks(
    confidence: Sequence[Float[ndarray, "height width"]], threshold: float = 3.0, compat: bool = False
) -> list[Bool[ndarray, "height width"]]:
    """Pixels whose confidence is above a threshold.

    ``compat`` compares with the logarithm of the threshold, as the original demo does by mistake.
    """
    limit = math.log(threshold) if compat else threshold
    return [values > limit for values in confidence]


def _nearer_than(
    camera: Float[ndarray, "height width 3"],
    seen: Float[ndarray, "other_height other_width"],
    intrinsics: Float[ndarray, "3 3"],
    own_confidence: Float[ndarray, "height width"],
    other_confidence: Float[ndarray, "other_height other_width"],
) -> Bool[ndarray, "height width"]:
    """Points in a camera's frame that are nearer than the surface it sees at their pixel, and less sure."""
    depth = camera[..., 2]
    height, width = seen.shape
    front = depth > 0
    safe = np.where(front, depth, 1)
    column = np.rint(intrinsics[0, 0] * camera[..., 0] / safe + intrinsics[0, 2])
    row = np.rint(intrinsics[1, 1] * camera[..., 1] / safe + intrinsics[1, 2])
    inside = front & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    hides = np.zeros(depth.shape, dtype=bool)
    row, column = row[inside].astype(np.int64), column[inside].astype(np.int64)
    nearer = depth[inside] < (1 - DEPTH_TOLERANCE) * seen[row, column]
    hides[inside] = nearer & (own_confidence[inside] < other_confidence[row, column])
    return hides
