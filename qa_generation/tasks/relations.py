"""Which object is left of, lower than or closer than which, seen from a camera (specs 4.5), or undecided.

The published idea: compare the objects' oriented boxes along the camera's own axes and decide only where a gap of
``margin_m`` separates them. We are stricter, so that the answer is also what a person standing there would say; besides
the gap

* left/right: both boxes lie in front of the camera and their bearings (x/z of the centres) are in the same order;
* higher/lower: the heights of the centres above the ground are in the same order, although the camera is pitched;
* closer/farther: both boxes lie in front and the straight distances to the centres are in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int8

from qa_generation.scene import OrientedBox, View

AXES: tuple[str, ...] = ("lr", "ab", "fb")
# phrase for sign -1 and for sign +1
PHRASES: dict[str, tuple[str, str]] = {
    "lr": ("to the left of", "to the right of"),
    "ab": ("lower than", "higher than"),
    "fb": ("closer to the camera than", "farther from the camera than"),
}
NEAREST_Z_M = 0.1


def phrase(axis: str, sign: int) -> str:
    """Direction words of ``sign`` (-1 or +1) on an axis."""
    return PHRASES[axis][0 if sign < 0 else 1]


def relation_tensor(view: View, boxes: Sequence[OrientedBox], margin_m: float) -> Int8[np.ndarray, "3 boxes boxes"]:
    """Signs for ``AXES``: element [axis, a, b] is +1 where a is right of / higher than / farther than b, -1, or 0.

    Args:
        view: the camera whose axes count.
        boxes: oriented boxes in world metres.
        margin_m: gap along the axis that decides.
    """
    if not boxes:
        return np.zeros((3, 0, 0), dtype=np.int8)
    rotation, translation = view.world_to_camera[:3, :3], view.world_to_camera[:3, 3]
    corners = np.stack([box.corners for box in boxes]) @ rotation.T + translation
    centers_world = np.stack([box.center for box in boxes])
    centers = centers_world @ rotation.T + translation
    low, high = corners.min(axis=1), corners.max(axis=1)

    in_front = low[:, 2] > NEAREST_Z_M
    both_in_front = in_front[:, None] & in_front[None]
    bearing = centers[:, 0] / np.where(in_front, centers[:, 2], 1.0)
    distance_m = np.linalg.norm(centers, axis=1)

    right = _beyond(low[:, 0], high[:, 0], margin_m) & _greater(bearing) & both_in_front
    # camera y points down: higher means smaller y
    higher = _beyond(-high[:, 1], -low[:, 1], margin_m) & _greater(centers_world[:, 2])
    farther = _beyond(low[:, 2], high[:, 2], margin_m) & _greater(distance_m) & both_in_front
    positive = np.stack([right, higher, farther])
    return positive.astype(np.int8) - positive.transpose(0, 2, 1).astype(np.int8)


def _beyond(
    low: Float[np.ndarray, " boxes"], high: Float[np.ndarray, " boxes"], margin_m: float
) -> Bool[np.ndarray, "boxes boxes"]:
    """Whether a begins more than the margin after b ends."""
    return low[:, None] > high[None] + margin_m


def _greater(value: Float[np.ndarray, " boxes"]) -> Bool[np.ndarray, "boxes boxes"]:
    return value[:, None] > value[None]
