"""Lengths that numeric questions ask for, measured on triangles without the generator's code."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy.spatial import ConvexHull, QhullError

from qa_generation.oracle.sight import Surface
from qa_generation.scene import OrientedBox

ACCURACY_M = 0.004
_MOST_PIECES = 2_000_000


def surface_distance_m(corners: Float64[np.ndarray, "triangles 3 3"], other: Surface) -> float:
    """Smallest distance between triangles and another surface, at most ``ACCURACY_M`` too large.

    Branch and bound: the distance to a surface changes no faster than one moves, so a triangle whose farthest corner is
    r from its middle holds no point nearer than the middle's distance less r. Whatever may still hold a nearer point
    than the best found is cut into four.
    """
    best = float(other.distance_m(corners.reshape(-1, 3)).min())
    pieces = corners
    while len(pieces) and best > ACCURACY_M:
        middle = pieces.mean(axis=1)
        reach = np.linalg.norm(pieces - middle[:, None], axis=2).max(axis=1)
        distance = other.distance_m(middle)
        best = min(best, float(distance.min()))
        pieces = _quarters(pieces[distance - reach < best - ACCURACY_M])
        if len(pieces) > _MOST_PIECES:
            raise MemoryError("surfaces touch along too long a line to be measured")
    return best


def _quarters(corners: Float64[np.ndarray, "triangles 3 3"]) -> Float64[np.ndarray, "pieces 3 3"]:
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    return np.concatenate([np.stack(part, axis=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])


def longest_along_axes_m(box: OrientedBox, vertices: Float64[np.ndarray, "vertices 3"]) -> float:
    """Longest extent of the vertices along the axes of the box."""
    return float(np.ptp(vertices @ box.axes.T, axis=0).max())


def upright_sides_m(vertices: Float64[np.ndarray, "vertices 3"], slack: float = 0.01) -> tuple[float, float]:
    """Least and largest longest side among the upright boxes whose ground area is within ``slack`` of the least.

    One side of the least rectangle around points lies along their hull (Freeman and Shapira 1975), so every hull edge
    is tried; two rectangles of nearly one area may have different sides, hence a range.
    """
    ground = vertices[:, :2]
    height_m = float(np.ptp(vertices[:, 2]))
    try:
        hull = ground[ConvexHull(ground).vertices]
    except QhullError:  # all on one line
        length_m = float(np.linalg.norm(np.ptp(ground, axis=0)))
        return (max(length_m, height_m),) * 2
    edges = np.roll(hull, -1, axis=0) - hull
    edges /= np.linalg.norm(edges, axis=1, keepdims=True)
    along, across = hull @ edges.T, hull @ (edges[:, ::-1] * [-1.0, 1.0]).T
    sides = np.stack([np.ptp(along, axis=0), np.ptp(across, axis=0)])
    area = sides.prod(axis=0)
    longest = np.maximum(sides[:, area <= area.min() * (1.0 + slack)].max(axis=0), height_m)
    return float(longest.min()), float(longest.max())
