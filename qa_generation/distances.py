"""Distances to and between the triangle surfaces of instances, metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64

from qa_generation.raycast import RayCaster
from qa_generation.scene import Mesh, Scene

# pairs of edges compared at once, to bound memory
_PAIRS_PER_BLOCK = 1 << 18
# corners that are looked at first, to find out how far away the others must be to be left out
_FIRST_LOOK = 64


@dataclass(frozen=True, eq=False)
class _Surface:
    """One instance's triangles with vertices of its own."""

    vertices: Float32[np.ndarray, "vertices 3"]
    triangles: Int32[np.ndarray, "triangles 3"]

    @cached_property
    def caster(self) -> RayCaster:
        return RayCaster(self.vertices, self.triangles)

    @cached_property
    def bounds(self) -> Float32[np.ndarray, "2 3"]:
        """Lowest and highest corner of the axis-aligned box."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @cached_property
    def longest_edge_m(self) -> float:
        ends = self.vertices[self.edges]
        return float(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).max())

    @cached_property
    def edges(self) -> Int64[np.ndarray, "edges 2"]:
        """Both ends of every edge, each edge once."""
        ends = np.sort(self.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64), axis=1)
        number = len(self.vertices)
        key = np.unique(ends[:, 0] * number + ends[:, 1])
        return np.stack([key // number, key % number], axis=1)


class SurfaceDistances:
    """Distances in one scene; what belongs to a single instance is prepared once."""

    def __init__(self, scene: Scene) -> None:
        self._mesh: Mesh = scene.mesh
        self._order = np.argsort(scene.mesh.triangle_instances, kind="stable")
        self._ids = scene.mesh.triangle_instances[self._order]
        self._surfaces: dict[int, _Surface] = {}
        self._between: dict[tuple[int, int], float] = {}

    def _surface(self, instance_id: int) -> _Surface:
        if instance_id not in self._surfaces:
            first, last = np.searchsorted(self._ids, [instance_id, instance_id + 1])
            used, triangles = np.unique(self._mesh.triangles[self._order[first:last]], return_inverse=True)
            local = triangles.reshape(-1, 3).astype(np.int32)
            self._surfaces[instance_id] = _Surface(self._mesh.vertices[used], local)
        return self._surfaces[instance_id]

    def from_points(self, instance_id: int, points: Float[np.ndarray, "points 3"]) -> Float32[np.ndarray, " points"]:
        """Distance of each world point to the nearest place of the instance's surface."""
        return self._surface(instance_id).caster.distance(points.astype(np.float32))

    def bounds(self, ids: Sequence[int]) -> Float64[np.ndarray, "2 instances 3"]:
        """Lowest and highest corner of the axis-aligned box around each surface."""
        return np.stack([self._surface(i).bounds for i in ids], axis=1).astype(np.float64)

    def between(self, first: int, second: int) -> float:
        """Smallest distance between two surfaces that do not cut through each other.

        It is reached at a corner of one of them or between two edges. Only edges that come near enough are compared:
        within half their length of one of their ends the distance cannot fall below the end's by more than that.
        """
        key = (min(first, second), max(first, second))
        if key not in self._between:
            a, b = (self._surface(i) for i in key)
            from_a, from_b = _corner_distances(a, b), _corner_distances(b, a)
            limit_m = float(min(from_a.min(), from_b.min()))
            edges_m = _edge_distance(_near_edges(a, from_a, limit_m), _near_edges(b, from_b, limit_m))
            self._between[key] = min(limit_m, edges_m)
        return self._between[key]


def box_gaps(bounds: Float64[np.ndarray, "2 instances 3"]) -> Float64[np.ndarray, "instances instances"]:
    """Distance between the axis-aligned boxes of every pair, 0 where they touch."""
    low, high = bounds
    return _box_gap(low[:, None], high[:, None], low[None], high[None])


def _corner_distances(first: _Surface, second: _Surface) -> Float32[np.ndarray, " vertices"]:
    """Distance of every corner of the first surface to the second; of those that cannot be nearest, a lower bound."""
    bound_m = _box_gap(first.vertices, first.vertices, *second.bounds).astype(np.float32)
    # the corners nearest to the box tell how near the surfaces come at least
    order = np.argpartition(bound_m, min(_FIRST_LOOK, len(bound_m) - 1))[:_FIRST_LOOK]
    limit_m = second.caster.distance(first.vertices[order]).min()
    # and the ends of an edge may be half its length farther away than its nearest place
    near = np.flatnonzero(bound_m <= limit_m + first.longest_edge_m / 2)
    bound_m[near] = second.caster.distance(first.vertices[near])
    return bound_m


def _box_gap(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> np.ndarray:
    gap = np.maximum(np.maximum(other_low - high, low - other_high), 0.0)
    return np.linalg.norm(gap, axis=-1)


def _near_edges(
    surface: _Surface, distance_m: Float32[np.ndarray, " vertices"], limit_m: float
) -> Float64[np.ndarray, "edges 2 3"]:
    """Ends of the edges that may come nearer than the limit."""
    ends = surface.vertices[surface.edges].astype(np.float64)
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    return ends[distance_m[surface.edges].min(axis=1) <= limit_m + length / 2]


def _edge_distance(first: Float64[np.ndarray, "a 2 3"], second: Float64[np.ndarray, "b 2 3"]) -> float:
    """Smallest distance between any edge of the one and any of the other; infinity where there is none."""
    best = np.inf
    rows = max(1, _PAIRS_PER_BLOCK // max(len(second), 1))
    for start in range(0, len(first), rows):
        block = first[start : start + rows, None]
        best = min(best, float(segment_distance(block, second[None]).min(initial=np.inf)))
    return best


def segment_distance(
    first: Float64[np.ndarray, "*pairs 2 3"], second: Float64[np.ndarray, "*pairs 2 3"]
) -> Float64[np.ndarray, "*pairs"]:
    """Distance between two segments, each given by its ends (closest point by clamping, Ericson 2005, 5.1.9)."""
    along, other = first[..., 1, :] - first[..., 0, :], second[..., 1, :] - second[..., 0, :]
    offset = first[..., 0, :] - second[..., 0, :]
    a, e = (along * along).sum(axis=-1), (other * other).sum(axis=-1)
    b, c, f = (along * other).sum(axis=-1), (along * offset).sum(axis=-1), (other * offset).sum(axis=-1)
    tiny = 1e-18
    denominator = a * e - b * b
    s = np.where(denominator > tiny, np.clip((b * f - c * e) / np.maximum(denominator, tiny), 0.0, 1.0), 0.0)
    t = np.clip((b * s + f) / np.maximum(e, tiny), 0.0, 1.0)
    # the place on the first segment that is nearest to the clamped place on the second
    s = np.clip((b * t - c) / np.maximum(a, tiny), 0.0, 1.0)
    gap = offset + s[..., None] * along - t[..., None] * other
    return np.linalg.norm(gap, axis=-1)
