"""Directions between two objects in the axes of a camera, from the corners of their boxes and from their surfaces.

The documented rule: along the axis the boxes leave a gap of more than the margin; besides,
left/right needs both boxes in front of the camera and the bearings of the centres in the same order,
higher/lower the heights of the centres above the ground, closer/farther both in front and the straight distances.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from qa_generation.oracle.rules import NEAR_M
from qa_generation.oracle.truth import Truth
from qa_generation.scene import OrientedBox, View

# phrase -> (axis, +1 or -1)
DIRECTIONS: dict[str, tuple[str, int]] = {
    "to the left of": ("lr", -1),
    "to the right of": ("lr", 1),
    "lower than": ("ab", -1),
    "higher than": ("ab", 1),
    "closer to the camera than": ("fb", -1),
    "farther from the camera than": ("fb", 1),
}
ROUNDING_M = 1e-5


class Seat(NamedTuple):
    """One object in camera coordinates (metres, y down): bounds of its box, bounds of its surface, its centre."""

    low: Float64[np.ndarray, "3"]
    high: Float64[np.ndarray, "3"]
    surface_low: Float64[np.ndarray, "3"]
    surface_high: Float64[np.ndarray, "3"]
    center: Float64[np.ndarray, "3"]
    height_m: float


def seat(view: View, box: OrientedBox, vertices: Float64[np.ndarray, "vertices 3"]) -> Seat:
    """The object of that box and those vertices, seen from the view."""
    pose = view.world_to_camera

    def camera(points: np.ndarray) -> np.ndarray:
        return np.einsum("ij,nj->ni", pose[:3, :3], points) + pose[:3, 3]

    half = [box.axes[k] * box.extents[k] / 2.0 for k in range(3)]
    corners = camera(np.array([box.center + i * half[0] + j * half[1] + k * half[2] for i, j, k in _SIGNS]))
    points = camera(vertices)
    return Seat(
        corners.min(axis=0),
        corners.max(axis=0),
        points.min(axis=0),
        points.max(axis=0),
        camera(box.center[None])[0],
        float(box.center[2]),
    )


_SIGNS = tuple(product((-1, 1), repeat=3))


def holds(first: Seat, direction: str, second: Seat, margin_m: float) -> Truth:
    """Whether ``first direction second``; MAYBE where only rounding decides."""
    axis, sign = DIRECTIONS[direction]
    k = ("lr", "ab", "fb").index(axis)
    # camera y points down, so what is higher comes first along it
    before, after = (second, first) if (sign > 0) != (axis == "ab") else (first, second)
    gap_m = after.low[k] - before.high[k]
    surface_gap_m = after.surface_low[k] - before.surface_high[k]
    front_m = np.inf if axis == "ab" else min(first.low[2], second.low[2]) - NEAR_M
    order = sign * (_rank(first, axis) - _rank(second, axis)) if front_m > 0 else -np.inf
    # what is asked of boxes must be true of the things themselves, or the box does not hold its object
    slack = min(gap_m - margin_m, front_m, order, surface_gap_m)
    return Truth.YES if slack > ROUNDING_M else Truth.NO if slack < -ROUNDING_M else Truth.MAYBE


def _rank(thing: Seat, axis: str) -> float:
    """What must be larger of the thing to the right, the higher and the farther one."""
    if axis == "lr":
        return float(thing.center[0] / thing.center[2])
    return thing.height_m if axis == "ab" else float(np.linalg.norm(thing.center))


def opposite(direction: str) -> str:
    """``higher than`` for ``lower than``."""
    axis, sign = DIRECTIONS[direction]
    return next(phrase for phrase, meaning in DIRECTIONS.items() if meaning == (axis, -sign))
