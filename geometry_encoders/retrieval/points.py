"""Sparse points: sampled on a surface inside a window, and turned into the occupancy grid that networks see."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from geometry_encoders.retrieval.scale import POINT_GRID, WINDOW

MAX_ROUNDS = 12


def generator_of(seed: int, *name: str | int) -> np.random.Generator:
    """The generator of a seed and a stable name."""
    digest = hashlib.sha256("\x1f".join(map(str, (seed, *name))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def points_in_box(
    corners: Float[np.ndarray, "triangles 3 3"],
    low: Float[np.ndarray, "3"],
    high: Float[np.ndarray, "3"],
    count: int,
    generator: np.random.Generator,
) -> Float32[np.ndarray, "points 3"]:
    """``count`` points uniform on the part of a surface inside a box; none where no surface lies in it.

    Points are drawn on the triangles that reach into the box and kept inside. Where little of a large triangle does,
    fewer may be found, and those found repeat.
    """
    nearby = corners[((corners.max(1) >= low) & (corners.min(1) <= high)).all(1)].astype(np.float64)
    kept = np.zeros((0, 3))
    if len(nearby):
        edges = nearby[:, 1:] - nearby[:, :1]
        ends = np.cumsum(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1))
        for _ in range(MAX_ROUNDS):
            drawn = _uniform_points(nearby[:, 0], edges, ends, 2 * count, generator)
            kept = np.concatenate([kept, drawn[((drawn >= low) & (drawn < high)).all(1)]])
            if len(kept) >= count:
                break
    if not len(kept):
        return np.zeros((0, 3), np.float32)
    return kept[np.arange(count) % len(kept)].astype(np.float32)


def _uniform_points(
    starts: Float[np.ndarray, "triangles 3"],
    edges: Float[np.ndarray, "triangles 2 3"],
    ends: Float[np.ndarray, " triangles"],
    count: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "points 3"]:
    """Uniform points on triangles whose cumulated areas are ``ends``."""
    chosen = np.minimum(np.searchsorted(ends, generator.random(count) * ends[-1], side="right"), len(ends) - 1)
    share = generator.random((count, 2))
    outside = share.sum(1) > 1
    share[outside] = 1 - share[outside]
    return starts[chosen] + np.einsum("nk,nkd->nd", share, edges[chosen])


def draw_points(
    points: Float[Tensor, "points 3"], count: int, generator: np.random.Generator
) -> Float[Tensor, "count 3"]:
    """``count`` of the points without repetition; with repetition where there are fewer; none of none."""
    if not len(points):
        return points
    chosen: Int64[np.ndarray, " count"] = generator.choice(len(points), count, replace=len(points) < count)
    return points[torch.from_numpy(chosen)]


def occupancy_grid(
    points: Float[Tensor, "points 3"], padding: int = 0, side: int = POINT_GRID
) -> Float[Tensor, "side side side"]:
    """1 in the cells that a point touches, 0 elsewhere (section 2).

    Args:
        points: (z, y, x) in target voxels of the window, 0-64; a coordinate c falls into cell floor(c * side / 64),
            those beyond the border into the last cell. No half-voxel shift.
        padding: cells of 0 on every side.
    """
    grid = torch.zeros((side + 2 * padding,) * 3)
    if len(points):
        cells = (points * (side / WINDOW)).clamp(0, side - 1).long() + padding
        grid[cells[:, 0], cells[:, 1], cells[:, 2]] = 1.0
    return grid
