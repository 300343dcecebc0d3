"""Triangle meshes from PLY files, and instances carried from their vertices to their triangles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8
from plyfile import PlyData, PlyElement, PlyParseError

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file

# no scan of a room goes as far; a damaged number does, and would fill the memory where space is cut into voxels
MAX_COORDINATE_M = 1000.0
TRIANGLE_LISTS = ("vertex_indices", "vertex_index")


@dataclass(frozen=True, eq=False)
class PlyMesh:
    """A mesh as stored: vertices in the file's own frame, metres, and colours where the file has them."""

    vertices: Float64[np.ndarray, "vertices 3"]
    triangles: Int32[np.ndarray, "triangles 3"]
    vertex_colors: UInt8[np.ndarray, "vertices 3"] | None


def read_ply_mesh(path: Path) -> PlyMesh:
    """The mesh of a PLY file; raises ``SceneError`` when it is missing, truncated or not a triangle mesh."""
    check_file(path, "a triangle mesh in PLY")
    known_lengths = {"face": dict.fromkeys(TRIANGLE_LISTS, 3)}
    try:
        data = PlyData.read(str(path), mmap="r", known_list_len=known_lengths)
    except (PlyParseError, ValueError, OSError, MemoryError) as error:
        raise SceneError(f"{path}: cannot be read as a PLY mesh of triangles ({error})") from error
    for element in ("vertex", "face"):
        if element not in data or len(data[element].data) == 0:
            raise SceneError(f"{path}: holds no {element} element with content, expected a triangle mesh")
    vertices = _vertices(data["vertex"], path)
    return PlyMesh(vertices, _triangles(data["face"], len(vertices), path), _colors(data["vertex"]))


def triangle_instances(
    vertex_instances: Int32[np.ndarray, " vertices"], triangles: Int32[np.ndarray, "triangles 3"]
) -> Int32[np.ndarray, " triangles"]:
    """The instance that at least two corners of each triangle carry; 0 where all three differ."""
    first, second, third = vertex_instances[triangles].T
    return np.where((first == second) | (first == third), first, np.where(second == third, second, 0)).astype(np.int32)


def _vertices(element: PlyElement, path: Path) -> Float64[np.ndarray, "vertices 3"]:
    with np.errstate(invalid="ignore"):  # damaged bytes may be a signalling NaN
        vertices = np.stack([_column(element, axis, path) for axis in "xyz"], axis=1).astype(np.float64)
        near = (np.abs(vertices) < MAX_COORDINATE_M).all(axis=1)
    if not near.all():
        worst = int(np.argmin(near))
        raise SceneError(
            f"{path}: vertex {worst} is at {vertices[worst].tolist()}, expected within {MAX_COORDINATE_M:g} metres"
        )
    return vertices


def _column(element: PlyElement, name: str, path: Path) -> np.ndarray:
    if name not in element.data.dtype.names:
        raise SceneError(f"{path}: {element.name} element has no property {name}")
    return np.asarray(element[name])


def _triangles(faces: PlyElement, vertex_count: int, path: Path) -> Int32[np.ndarray, "triangles 3"]:
    name = next((name for name in TRIANGLE_LISTS if name in faces.data.dtype.names), None)
    if name is None:
        raise SceneError(f"{path}: face element has no vertex_indices")
    found = faces[name]
    rows: Int64[np.ndarray, "triangles 3"] = np.stack(found) if found.dtype == object else np.asarray(found)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise SceneError(f"{path}: faces have {rows.shape[-1]} corners, expected 3")
    if rows.min() < 0 or rows.max() >= vertex_count:
        raise SceneError(f"{path}: a face points at vertex {int(rows.max())}, but there are {vertex_count}")
    return rows.astype(np.int32)


def _colors(vertices: PlyElement) -> UInt8[np.ndarray, "vertices 3"] | None:
    names = ("red", "green", "blue")
    if any(name not in vertices.data.dtype.names for name in names):
        return None
    return np.stack([vertices[name] for name in names], axis=1).astype(np.uint8)
