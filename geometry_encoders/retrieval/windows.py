"""Windows of 64^3 target voxels cut from a mesh: what is computed once per scene and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float32

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.distance_fields import (
    DistanceQuery,
    Lattice,
    distance_field,
    lattice_around,
    truncated_field,
)
from geometry_encoders.retrieval.meshes import TriangleMesh
from geometry_encoders.retrieval.points import generator_of, points_in_box
from geometry_encoders.retrieval.scale import WINDOW

COARSE_STRIDE = 4  # the finest low-resolution input; the coarser one is a strided copy of it
_FORMAT = 1  # of the stored arrays; older stores are made anew


@dataclass(frozen=True)
class WindowSettings:
    """How windows are cut; part of the digest that a store is checked against.

    Attributes:
        voxel: distance between two nodes, in the unit of the mesh.
        padding: nodes between the border of the first window and the bounding box.
        truncation_voxels: target distances stop to grow there.
        levels: windows on top of each other at most, from the floor up; None = as many as the mesh is high.
        cubic: centre the lattice on the cube around the bounding box, as for single objects.
        points_per_window: points kept of every window's surface.
        seed: of the points.
    """

    voxel: float
    padding: int = 8
    truncation_voxels: float = 3.0
    levels: int | None = 1
    cubic: bool = False
    points_per_window: int = 20000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.voxel > 0:
            raise InputError(f"windows: voxel is {self.voxel!r}, expected a length above 0")
        if self.padding < 0 or self.points_per_window < 0:
            raise InputError("windows: padding and points_per_window are negative, expected 0 or more")
        if self.levels is not None and self.levels < 1:
            raise InputError(f"windows: levels is {self.levels}, expected at least 1")

    def digest(self) -> str:
        """Changes with everything that changes the arrays."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Window:
    """One window of a scene.

    Attributes:
        name: ``<scene>__64__<z>_<y>_<x>`` with the start in target voxels.
        start: (z, y, x) of its first node in the lattice of the scene.
        target: distances cut off at the truncation.
        coarse: untruncated distances at every fourth node, from which both low-resolution inputs are made.
        points: (z, y, x) in target voxels from the first node, 0-64; none where the window is empty.
    """

    name: str
    start: tuple[int, int, int]
    target: Float32[np.ndarray, "64 64 64"]
    coarse: Float32[np.ndarray, "16 16 16"]
    points: Float32[np.ndarray, "points 3"]


def window_name(scene: str, start: tuple[int, int, int]) -> str:
    """The name of a window (section 3.3)."""
    return f"{scene}__{WINDOW:02d}__" + "_".join(f"{value:03d}" for value in start)


def scene_lattice(mesh: TriangleMesh, settings: WindowSettings) -> Lattice:
    """The lattice over a whole scene, its sides multiples of 64 (section 3.3).

    The published data fills up with the largest distance; here the nodes beyond the box get their true distance, which
    is the same after truncation on the target side.
    """
    tight = lattice_around(mesh.bounds, settings.voxel, settings.padding, settings.cubic)
    nz, ny, nx = (-(-size // WINDOW) for size in tight.shape)
    if settings.levels is not None:
        ny = min(ny, settings.levels)
    return Lattice(tight.origin, tight.spacing, (nz * WINDOW, ny * WINDOW, nx * WINDOW))


def cut_windows(mesh: TriangleMesh, scene: str, settings: WindowSettings, threads: int = 0) -> Iterator[Window]:
    """The windows of a mesh in (z, y, x) order without overlap; those without any surface are given as well.

    Args:
        mesh: y up, in the unit of ``settings.voxel``.
        threads: of the distance queries, 0 = all cores; results do not depend on it.

    Raises:
        InputError: the scene has more nodes than fit into memory.
    """
    lattice = scene_lattice(mesh, settings)
    query = DistanceQuery(mesh, threads)
    coarse = distance_field(query, lattice.strided(COARSE_STRIDE))
    target = truncated_field(query, lattice, settings.truncation_voxels * settings.voxel, coarse, COARSE_STRIDE)
    corners = mesh.corners
    for start in np.ndindex(*(size // WINDOW for size in lattice.shape)):
        z, y, x = (index * WINDOW for index in start)
        name = window_name(scene, (z, y, x))
        inside = tuple(slice(first, first + WINDOW) for first in (z, y, x))
        yield Window(
            name,
            (z, y, x),
            target[inside],
            coarse[tuple(slice(s.start // COARSE_STRIDE, s.stop // COARSE_STRIDE) for s in inside)],
            _window_points(corners, lattice, (z, y, x), name, settings),
        )


def _window_points(
    corners: Float32[np.ndarray, "triangles 3 3"],
    lattice: Lattice,
    start: tuple[int, int, int],
    name: str,
    settings: WindowSettings,
) -> Float32[np.ndarray, "points 3"]:
    low = lattice.to_mesh_frame(np.array([start], np.float64))[0]
    generator = generator_of(settings.seed, name)
    box = low, low + WINDOW * lattice.spacing
    found = points_in_box(corners, *box, settings.points_per_window, generator)
    return (lattice.to_voxels(found) - np.asarray(start)).astype(np.float32)
