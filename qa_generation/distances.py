"""Distances to and between the surfaces of instances, in metres, exact up to the sampling of `between`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.spatial.distance import cdist

from qa_generation.overlap import sample_triangles
from qa_generation.scene import Scene

# points of one surface are this far apart where it is near the other; the distance is then too long by at most
# s^2 / (2 d), that is 0.2 mm for surfaces 20 cm apart
SPACING_M = 0.01
_COARSE_POINTS = 256


class SurfaceDistances:
    """Distances in one scene, each worked out on first use."""

    def __init__(self, scene: Scene) -> None:
        # the ray caster is heavy to import and needed by the workers only
        from qa_generation.raycast import RayCaster

        mesh = scene.mesh
        order = np.argsort(mesh.triangle_instances, kind="stable")
        ids = mesh.triangle_instances[order]

        def corners_of(instance_id: int) -> Float32[np.ndarray, "triangles 3 3"]:
            first, last = np.searchsorted(ids, [instance_id, instance_id + 1])
            return mesh.vertices[mesh.triangles[order[first:last]]]

        def caster_of(instance_id: int) -> RayCaster:
            corners = self._corners(instance_id)
            return RayCaster(corners.reshape(-1, 3), np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3))

        self._corners = cache(corners_of)
        self._caster = cache(caster_of)
        self._between: dict[tuple[int, int], float] = {}

    def from_points(self, instance_id: int, points: Float[np.ndarray, "points 3"]) -> Float32[np.ndarray, " points"]:
        """Distance of each world point to the nearest place of the instance's surface."""
        return self._caster(instance_id).distance(points.astype(np.float32))

    def bounds(self, ids: Sequence[int]) -> Float64[np.ndarray, "2 instances 3"]:
        """Lowest and highest corner of the axis-aligned box around each surface."""
        corners = [self._corners(i).reshape(-1, 3).astype(np.float64) for i in ids]
        return np.stack([[c.min(axis=0) for c in corners], [c.max(axis=0) for c in corners]])

    def between(self, first: int, second: int) -> float:
        """Smallest distance between two surfaces."""
        key = (min(first, second), max(first, second))
        if key not in self._between:
            limit = self._coarse(*key)
            self._between[key] = min(limit, self._one_way(*key, limit), self._one_way(*key[::-1], limit))
        return self._between[key]

    def _coarse(self, first: int, second: int) -> float:
        """A distance between corners of the two, which the true one does not exceed."""
        a, b = (self._corners(i).reshape(-1, 3) for i in (first, second))
        return float(cdist(_thinned(a), _thinned(b)).min())

    def _one_way(self, first: int, second: int, limit: float) -> float:
        """Smallest distance of points on the first surface to the second, looking only where it can be below limit."""
        corners = self._corners(first).astype(np.float64)
        low, high = (bound[0] for bound in self.bounds([second]))
        near = _box_gap(corners.min(axis=1), corners.max(axis=1), low, high) <= limit
        if not near.any():
            return limit
        samples, _ = sample_triangles(corners[near], SPACING_M)
        points = np.concatenate([corners[near].reshape(-1, 3), samples])
        points = points[_box_gap(points, points, low, high) <= limit]
        return float(self.from_points(second, points).min()) if len(points) else limit


def box_gaps(bounds: Float64[np.ndarray, "2 instances 3"]) -> Float64[np.ndarray, "instances instances"]:
    """Distance between the axis-aligned boxes of every pair, 0 where they touch."""
    low, high = bounds
    return _box_gap(low[:, None], high[:, None], low[None], high[None])


def _box_gap(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> np.ndarray:
    gap = np.maximum(np.maximum(other_low - high, low - other_high), 0.0)
    return np.linalg.norm(gap, axis=-1)


def _thinned(points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "some 3"]:
    return points[:: max(1, len(points) // _COARSE_POINTS)]
