"""Triangle meshes as the distance fields need them: checked, y up, at the scale of the grids.

This is the one place that knows about axes. Volumes are in (z, y, x) order of a mesh frame with **y up**. Captures and
synthetic rooms have +z up; `Y_UP_FROM_Z_UP` takes their points there: (x, y, z) -> (x, z, -y), a rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from geometry_encoders.errors import InputError

Y_UP_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
MESH_FILES = (".ply", ".obj", ".glb", ".gltf", ".stl", ".off")


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """A surface, open or closed, y up."""

    vertices: Float32[np.ndarray, "vertices 3"]
    triangles: Int32[np.ndarray, "triangles 3"]

    @property
    def corners(self) -> Float32[np.ndarray, "triangles 3 3"]:
        """Corner coordinates of every triangle."""
        return self.vertices[self.triangles]

    @property
    def bounds(self) -> Float32[np.ndarray, "2 3"]:
        """Smallest and largest coordinates (x, y, z) of the surface."""
        used = self.vertices[np.unique(self.triangles)]
        return np.stack([used.min(0), used.max(0)])

    def moved(
        self, rotation: Float[np.ndarray, "3 3"], scale: float = 1.0, shift: Float[np.ndarray, "3"] | None = None
    ) -> TriangleMesh:
        """The mesh with vertices ``scale * rotation @ v + shift``."""
        vertices = scale * (self.vertices.astype(np.float64) @ rotation.T)
        return TriangleMesh((vertices + (0.0 if shift is None else shift)).astype(np.float32), self.triangles)


def checked_mesh(
    vertices: Float[np.ndarray, "vertices 3"], triangles: Int[np.ndarray, "triangles 3"], source: str | Path
) -> TriangleMesh:
    """The mesh without triangles of no area; open surfaces are welcome, for distances are unsigned.

    Raises:
        InputError: arrays of other shapes, no triangles, an index outside of the vertices, a vertex that is used and
            not a number, or no triangle with an area; ``source`` names the mesh.
    """
    vertices, triangles = np.asarray(vertices), np.asarray(triangles)
    for name, array in (("vertices", vertices), ("triangles", triangles)):
        if array.ndim != 2 or array.shape[1] != 3:
            raise InputError(f"{source}: {name} have the shape {array.shape}, expected (count, 3)")
    if not len(triangles):
        raise InputError(f"{source}: the mesh has {len(vertices)} vertices and no triangles, expected a surface")
    low, high = int(triangles.min()), int(triangles.max())
    if low < 0 or high >= len(vertices):
        raise InputError(
            f"{source}: triangles name vertex {low if low < 0 else high}, expected 0 to {len(vertices) - 1}"
        )
    corners = vertices[triangles].astype(np.float64)
    bad = ~np.isfinite(corners).all(axis=(1, 2))
    if bad.any():
        raise InputError(
            f"{source}: {int(bad.sum())} of {len(triangles)} triangles have a vertex that is not a number,"
            " expected finite coordinates"
        )
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    kept = areas > 0
    if not kept.any():
        raise InputError(f"{source}: all {len(triangles)} triangles are degenerate, expected some with an area")
    return TriangleMesh(vertices.astype(np.float32), triangles[kept].astype(np.int32))


def read_mesh(path: Path) -> TriangleMesh:
    """The triangles of a mesh file with all its parts in place.

    Raises:
        InputError: the file cannot be read as a mesh, or `checked_mesh` finds fault with it.
    """
    import trimesh

    if path.suffix.lower() not in MESH_FILES:
        raise InputError(f"{path}: files ending in {path.suffix!r} are not read, expected {', '.join(MESH_FILES)}")
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # every format has its own kinds of errors
        raise InputError(f"{path}: not readable as a mesh ({' '.join(str(error).split())[:200]})") from error
    vertices, triangles = getattr(mesh, "vertices", None), getattr(mesh, "faces", None)
    if vertices is None or triangles is None:
        raise InputError(f"{path}: holds no triangles, expected a mesh")
    return checked_mesh(np.asarray(vertices), np.asarray(triangles), path)


def unit_cube(mesh: TriangleMesh) -> TriangleMesh:
    """The mesh with the centre of its bounding box at the origin and its longest edge 1 (section 3.1, ShapeNet)."""
    low, high = mesh.bounds.astype(np.float64)
    scale = 1.0 / float((high - low).max())
    return mesh.moved(np.eye(3), scale, -scale * (low + high) / 2)


def without_ceiling(mesh: TriangleMesh, height: float, source: str | Path) -> TriangleMesh:
    """The mesh without triangles that lie wholly more than ``height`` above its lowest point.

    Walls stay whole; ceilings and what hangs from them go, so that rooms are open at the top (section 3.1, 3DFront).
    Raises ``InputError`` where nothing is left.
    """
    lowest = mesh.corners[:, :, 1].min(axis=1)
    kept = lowest - lowest.min() <= height
    if not kept.any():
        raise InputError(f"{source}: nothing lies below {height:g}, expected a room with a floor")
    return TriangleMesh(mesh.vertices, mesh.triangles[kept])
