"""The user's own meshes as further categories: one folder per category, one file per model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from qa_generation.errors import InputError
from qa_generation.open3d_native import open3d
from qa_generation.synthetic.objects.item import Item, assemble
from qa_generation.synthetic.surface import Surface, rotation_x

SUFFIXES = (".obj", ".ply", ".glb", ".stl")
# scans of single things come with many thousand triangles, and a room holds several of them
MAX_TRIANGLES = 4000
# a thing outside these is most likely not in metres
MIN_SIZE_M, MAX_SIZE_M = 0.01, 4.0
RESERVED = frozenset({"wall", "floor", "ceiling"})
_GREY = (0.62, 0.6, 0.57)


@lru_cache(maxsize=4)
def load_assets(root: Path) -> Mapping[str, tuple[Item, ...]]:
    """Items per category, both in alphabetical order. The category is the folder's name in lower case, '_' as a space.

    Meshes are in metres, +z up (.glb as its standard says: +y up). Textures become vertex colours; meshes of more than
    ``MAX_TRIANGLES`` are simplified.

    Raises:
        InputError: no such folder, no mesh in it, or a mesh that is broken, empty or of unlikely size.
    """
    if not root.is_dir():
        raise InputError(f"--assets {root}: no such folder, expected one folder of meshes per category")
    out: dict[str, tuple[Item, ...]] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        category = " ".join(folder.name.lower().replace("_", " ").split())
        if files and category in RESERVED:
            raise InputError(f"{folder}: {category!r} is a part of every room, expected the name of a thing")
        if files:
            out[category] = (*out.get(category, ()), *(load_item(path, category) for path in files))
    if not out:
        raise InputError(f"--assets {root}: no meshes found, expected folders with {', '.join(SUFFIXES)} files")
    return out


def load_item(path: Path, category: str) -> Item:
    """One mesh file as an item that stands on the floor; raises `InputError` as `load_assets` does."""
    mesh = _load(path)
    if len(mesh.faces) == 0:
        raise InputError(f"{path}: mesh is empty, expected triangles")
    if not np.isfinite(mesh.vertices).all():
        raise InputError(f"{path}: mesh has vertices that are not finite, expected metres")
    largest = float(np.ptp(mesh.vertices[np.unique(mesh.faces)], axis=0).max())
    if not MIN_SIZE_M <= largest <= MAX_SIZE_M:
        raise InputError(
            f"{path}: mesh is {largest:g} m large, expected {MIN_SIZE_M} to {MAX_SIZE_M} (units are metres)"
        )
    surface = _simplified(np.asarray(mesh.vertices), np.asarray(mesh.faces), _vertex_colors(mesh, path))
    if path.suffix.lower() == ".glb":
        surface = surface.rotated(rotation_x(np.pi / 2))
    return assemble(category, [surface])


def _load(path: Path) -> trimesh.Trimesh:
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # every loader of trimesh has its own exceptions
        raise InputError(f"{path}: mesh cannot be read ({error}), expected a whole {path.suffix} file") from None
    if not isinstance(mesh, trimesh.Trimesh):
        raise InputError(f"{path}: file holds no triangles, expected a mesh")
    return mesh


def _vertex_colors(mesh: trimesh.Trimesh, path: Path) -> np.ndarray:
    """sRGB 0 to 1 per vertex, textures sampled at the vertices, plain grey where the file has no colours."""
    visual: Any = mesh.visual  # trimesh's own types leave out what its texture visuals can do
    if not visual.defined:
        return np.tile(_GREY, (len(mesh.vertices), 1))
    try:
        colored = visual.to_color() if visual.kind == "texture" else visual
        return np.asarray(colored.vertex_colors)[:, :3] / 255.0
    except Exception as error:  # a texture that is missing or broken
        raise InputError(f"{path}: texture cannot be read ({error}), expected a whole picture") from None


def _simplified(vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> Surface:
    o3d = open3d()
    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(faces.astype(np.int32))
    )
    mesh.vertex_colors = o3d.utility.Vector3dVector(colors)
    if len(faces) > MAX_TRIANGLES:
        # seams of the texture are open edges, along which simplification would tear the mesh
        mesh = mesh.merge_close_vertices(1e-6)
        mesh = mesh.simplify_quadric_decimation(MAX_TRIANGLES)
    mesh = mesh.remove_degenerate_triangles().remove_unreferenced_vertices()
    mesh.compute_vertex_normals()
    n = len(mesh.vertices)
    return Surface(
        vertices=np.asarray(mesh.vertices).copy(),
        normals=np.asarray(mesh.vertex_normals).copy(),
        colors=np.clip(np.asarray(mesh.vertex_colors), 0, 1).copy(),
        glow=np.zeros(n),
        triangles=np.asarray(mesh.triangles).astype(np.int64),
    )
