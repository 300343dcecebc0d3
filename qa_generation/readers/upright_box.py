"""Gravity-aligned oriented boxes around points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from scipy.spatial import QhullError
from trimesh.bounds import oriented_bounds_2D

from qa_generation.scene import OrientedBox


def fit_upright_box(points: Float[np.ndarray, "points 3"]) -> OrientedBox:
    """The box of least ground area that holds all points, with its third axis along world +z; metres.

    The first axis lies along the longer ground side. Points on one vertical line or plane give sides of length 0.
    """
    points = np.asarray(points, dtype=np.float64)
    direction = _ground_direction(points[:, :2])
    axes = np.array([[*direction, 0.0], [-direction[1], direction[0], 0.0], [0.0, 0.0, 1.0]])
    local = points @ axes.T
    low, high = local.min(axis=0), local.max(axis=0)
    extents = high - low
    center = (low + high) / 2 @ axes
    if extents[1] > extents[0]:
        axes = np.stack([axes[1], -axes[0], axes[2]])
        extents = extents[[1, 0, 2]]
    return OrientedBox(center=center, axes=axes, extents=extents)


def _ground_direction(footprint: Float64[np.ndarray, "points 2"]) -> Float64[np.ndarray, "2"]:
    """Unit vector along one side of the least-area rectangle around the points."""
    try:
        to_rectangle, _ = oriented_bounds_2D(footprint)
        direction = to_rectangle[0, :2]
    except (QhullError, ValueError):  # fewer than three points, or all of them on one line
        direction = np.linalg.svd(footprint - footprint.mean(axis=0), full_matrices=True)[2][0]
    length = np.linalg.norm(direction)
    return direction / length if length > 0 else np.array([1.0, 0.0])
