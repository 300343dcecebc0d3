"""Unsigned distance fields of any triangle mesh on a regular lattice, computed exactly and slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.meshes import TriangleMesh

MAX_NODES = 2**29  # a field of 2 GB, e.g. 150 m by 150 m in voxels of 5 cm
SLAB_NODES = 2**18


@dataclass(frozen=True)
class Lattice:
    """Nodes at ``origin + (x, y, z) * spacing``; distances sit on the nodes, not in cells between them.

    Attributes:
        origin: the first node (x, y, z).
        spacing: distance between neighbours.
        shape: nodes along (z, y, x).
    """

    origin: tuple[float, float, float]
    spacing: float
    shape: tuple[int, int, int]

    def strided(self, stride: int) -> Lattice:
        """Every ``stride``-th node, the first one kept (section 3.2: low-res is a strided copy of high-res)."""
        nz, ny, nx = (-(-size // stride) for size in self.shape)
        return Lattice(self.origin, self.spacing * stride, (nz, ny, nx))

    def nodes(self, rows: slice) -> Float32[np.ndarray, "z y x 3"]:
        """Coordinates (x, y, z) of the nodes of those z rows."""
        axes = [self.origin[axis] + self.spacing * np.arange(self.shape[2 - axis]) for axis in range(3)]
        z, y, x = np.meshgrid(axes[2][rows], axes[1], axes[0], indexing="ij")
        return np.stack([x, y, z], axis=-1).astype(np.float32)

    def to_voxels(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
        """Points (x, y, z) of the mesh frame as (z, y, x) in voxels from the first node."""
        return ((np.asarray(points, np.float64) - self.origin) / self.spacing)[:, ::-1]

    def to_mesh_frame(self, voxels: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
        """Inverse of `to_voxels`."""
        return np.asarray(voxels, np.float64)[:, ::-1] * self.spacing + self.origin


def lattice_around(bounds: Float[np.ndarray, "2 3"], spacing: float, padding: int, cubic: bool = False) -> Lattice:
    """The lattice over a bounding box with ``padding`` nodes around it (section 3.2).

    Args:
        bounds: smallest and largest (x, y, z).
        cubic: use the smallest and largest coordinate of all axes for each, as the object tool does.
    """
    low, high = (np.asarray(bound, np.float32) for bound in bounds)
    if cubic:
        low, high = np.full(3, low.min(), np.float32), np.full(3, high.max(), np.float32)
    step = np.float32(spacing)
    origin = low - np.float32(padding) * step
    counts = np.ceil((high + np.float32(padding) * step - origin) / step).astype(np.int64)
    first = (low.astype(np.float64) - padding * spacing).tolist()
    return Lattice((first[0], first[1], first[2]), float(spacing), (int(counts[2]), int(counts[1]), int(counts[0])))


class DistanceQuery:
    """Distances from points to one mesh (open3d ray casting scene; open surfaces are fine).

    ``threads`` 0 uses every core; the result does not depend on it.
    """

    def __init__(self, mesh: TriangleMesh, threads: int = 0) -> None:
        import open3d as o3d

        self._tensor: Any = o3d.core.Tensor
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=threads)
        self._scene.add_triangles(self._tensor(mesh.vertices), self._tensor(mesh.triangles.astype(np.uint32)))
        self._threads = threads

    def __call__(self, points: Float[np.ndarray, "*shape 3"]) -> Float32[np.ndarray, "*shape"]:
        """Distance of every point (x, y, z)."""
        query = self._tensor(np.ascontiguousarray(points, dtype=np.float32))
        return self._scene.compute_distance(query, nthreads=self._threads).numpy()


def distance_field(query: DistanceQuery, lattice: Lattice) -> Float32[np.ndarray, "z y x"]:
    """The untruncated distance of every node.

    Raises:
        InputError: more nodes than fit into memory.
    """
    field = _empty_field(lattice)
    for rows in _slabs(lattice):
        field[rows] = query(lattice.nodes(rows))
    return field


def truncated_field(
    query: DistanceQuery, lattice: Lattice, truncation: float, coarse: Float32[np.ndarray, "Z Y X"], stride: int
) -> Float32[np.ndarray, "z y x"]:
    """``min(distance, truncation)`` of every node, asked only where the coarse field leaves it open.

    A distance changes by no more than the way between two nodes, so that nodes around a coarse node far from the
    surface are known to be truncated. Equal to `distance_field` cut off at ``truncation``, several times faster.

    Args:
        coarse: untruncated distances of ``lattice.strided(stride)``.
    """
    field = _empty_field(lattice)
    # the farthest node of a coarse cell, with room for float32 rounding
    near = coarse <= truncation + 1.001 * np.sqrt(3.0) * (stride - 1) * lattice.spacing
    for axis in range(3):
        near = near.repeat(stride, axis=axis)
    near = near[: lattice.shape[0], : lattice.shape[1], : lattice.shape[2]]
    for rows in _slabs(lattice):
        slab = np.full(field[rows].shape, truncation, np.float32)
        wanted = near[rows]
        if wanted.any():
            slab[wanted] = np.minimum(query(lattice.nodes(rows)[wanted]), np.float32(truncation))
        field[rows] = slab
    return field


def _empty_field(lattice: Lattice) -> Float32[np.ndarray, "z y x"]:
    if np.prod(lattice.shape, dtype=np.float64) > MAX_NODES:
        size = " x ".join(map(str, lattice.shape))
        raise InputError(
            f"distance field: {size} nodes at a spacing of {lattice.spacing:g}, expected at most {MAX_NODES:,} nodes;"
            " check the unit of the mesh or take a larger voxel"
        )
    return np.empty(lattice.shape, np.float32)


def _slabs(lattice: Lattice) -> Iterator[slice]:
    rows = max(1, SLAB_NODES // (lattice.shape[1] * lattice.shape[2]))
    for start in range(0, lattice.shape[0], rows):
        yield slice(start, start + rows)
