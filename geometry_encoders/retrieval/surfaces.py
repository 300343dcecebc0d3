"""Surfaces of distance fields: marching cubes, in voxels or in the frame of a lattice."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.distance_fields import Lattice
from geometry_encoders.retrieval.meshes import TriangleMesh


def extract_surface(
    distance: Float[np.ndarray, "depth height width"], level: float, lattice: Lattice | None = None
) -> TriangleMesh:
    """The surface where a distance field crosses ``level``; no triangles where it nowhere does.

    The field being unsigned, every surface becomes a thin closed shell, open where the field ends.

    Args:
        distance: in (z, y, x) order, in the unit of ``level``; 0.75 voxels is the level of RetrievalFuse.
        level: distance of the shell from the surface.
        lattice: where the nodes lie; without it vertices are (x, y, z) in voxels, node i at coordinate i.

    Raises:
        InputError: the field holds NaN.
    """
    import open3d as o3d

    if np.isnan(distance).any():
        raise InputError(f"distance field: {int(np.isnan(distance).sum())} values are not numbers")
    volume = o3d.core.Tensor(np.ascontiguousarray(distance, dtype=np.float32))
    surface = o3d.t.geometry.TriangleMesh.create_isosurfaces(volume, [level])
    vertices = surface.vertex.positions.numpy().reshape(-1, 3)
    triangles = surface.triangle.indices.numpy().reshape(-1, 3).astype(np.int32)
    if lattice is not None:
        vertices = lattice.to_mesh_frame(vertices[:, ::-1]).astype(np.float32)
    return TriangleMesh(vertices, triangles)


def save_surface(mesh: TriangleMesh, path: str) -> None:
    """Writes the mesh to a file of the kind that its ending names (.ply, .obj, .glb, .stl)."""
    import trimesh

    trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).export(path)
