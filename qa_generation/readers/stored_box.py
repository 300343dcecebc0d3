"""Oriented boxes as annotation files of the Scene Toolkit hold them: ScanNet++ and ARKitScenes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

from qa_generation.errors import SceneError
from qa_generation.readers.annotated_mesh import MAX_COORDINATE_M
from qa_generation.scene import OrientedBox

# rounding in the files moves the axes this far from orthonormal at most
AXES_TOLERANCE = 1e-2


def parse_box(entry: Any, where: str) -> OrientedBox:
    """The box of ``centroid``, ``axesLengths`` (full sides) and ``normalizedAxes`` (three unit vectors in a row).

    Raises:
        SceneError: a field is missing, of another length or not finite, or the axes are not at right angles.
    """
    if not isinstance(entry, dict):
        raise SceneError(f"{where}: is {type(entry).__name__}, expected centroid, axesLengths and normalizedAxes")
    center = _numbers(entry, "centroid", 3, where)
    extents = _numbers(entry, "axesLengths", 3, where)
    axes = _numbers(entry, "normalizedAxes", 9, where).reshape(3, 3)
    if np.abs(center).max() > MAX_COORDINATE_M or extents.min() < 0 or extents.max() > MAX_COORDINATE_M:
        raise SceneError(f"{where}: box at {center.tolist()} with sides {extents.tolist()} is in no room")
    if np.abs(axes @ axes.T - np.eye(3)).max() > AXES_TOLERANCE:
        raise SceneError(f"{where}: normalizedAxes {axes.tolist()} are not three unit vectors at right angles")
    left, _, right = np.linalg.svd(axes)
    return OrientedBox(center, left @ right, extents)


def inside_box(points: Float[np.ndarray, "points 3"], box: OrientedBox, margin_m: float) -> Bool[np.ndarray, " points"]:
    """Which points lie in the box, or at most ``margin_m`` beyond one of its faces."""
    local = (np.asarray(points, dtype=np.float64) - box.center) @ box.axes.T
    return (np.abs(local) <= box.extents / 2 + margin_m).all(axis=1)


def _numbers(entry: dict[str, Any], key: str, count: int, where: str) -> Float64[np.ndarray, " count"]:
    try:
        values = np.asarray(entry.get(key), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        raise SceneError(f"{where}: {key} is {entry.get(key)!r}, expected {count} finite numbers")
    return values
