"""The annotation mesh of a ScanNet scan: binary PLY files, and the segments its vertices are annotated by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from qa_generation.errors import InputError
from qa_generation.scene import Mesh
from qa_generation.writers.label_table import NYU40, nyu40_class

PLAIN_GREY = 180
VERTEX_FIELDS = [("position", "<f4", (3,)), ("rgba", "u1", (4,))]
FACE_FIELDS = [("count", "u1"), ("corners", "<i4", (3,))]


def vertex_instances(mesh: Mesh, name: str) -> Int32[np.ndarray, " vertices"]:
    """The instance whose triangles use each vertex, 0 for vertices that none uses.

    Raises:
        InputError: triangles of two instances share a vertex; ScanNet annotates vertices, so one would be lost.
    """
    owners = np.zeros(len(mesh.vertices), dtype=np.int32)
    claims = np.repeat(mesh.triangle_instances, 3)
    owners[mesh.triangles.reshape(-1)] = claims
    shared = owners[mesh.triangles.reshape(-1)] != claims
    if shared.any():
        vertex = int(mesh.triangles.reshape(-1)[np.argmax(shared)])
        raise InputError(f"{name}: vertex {vertex} of the mesh is shared by two instances, expected one each")
    return owners


def vertex_segments(mesh: Mesh) -> Int32[np.ndarray, " vertices"]:
    """A segment for every vertex: its connected piece of surface, named by the first vertex of the piece."""
    corners = mesh.triangles
    starts, ends = corners.reshape(-1), np.roll(corners, -1, axis=1).reshape(-1)
    size = len(mesh.vertices)
    graph = coo_array((np.ones(len(starts), dtype=np.int8), (starts, ends)), shape=(size, size))
    _, pieces = connected_components(graph, directed=False)
    _, firsts = np.unique(pieces, return_index=True)
    return firsts[pieces].astype(np.int32)


def write_mesh_ply(path: Path, vertices: Float64[np.ndarray, "vertices 3"], mesh: Mesh) -> None:
    """Writes the coloured mesh with ``vertices`` for its positions."""
    colors = mesh.vertex_colors
    _write_ply(path, vertices, np.full(vertices.shape, PLAIN_GREY, np.uint8) if colors is None else colors, mesh, None)


def write_label_ply(
    path: Path,
    vertices: Float64[np.ndarray, "vertices 3"],
    mesh: Mesh,
    owners: Int32[np.ndarray, " vertices"],
    categories: Mapping[int, str],
) -> None:
    """Writes the mesh with the NYU40 id of every vertex as ``label`` (0 = not annotated), coloured by it."""
    by_instance = np.zeros(max(categories, default=0) + 1, dtype=np.uint16)
    for instance_id, category in categories.items():
        by_instance[instance_id] = NYU40.index(nyu40_class(category)) + 1
    labels = by_instance[owners]
    palette = np.random.default_rng(40).integers(40, 256, size=(len(NYU40) + 1, 3)).astype(np.uint8)
    palette[0] = 0
    _write_ply(path, vertices, palette[labels], mesh, labels)


def _write_ply(
    path: Path,
    vertices: Float64[np.ndarray, "vertices 3"],
    colors: UInt8[np.ndarray, "vertices 3"],
    mesh: Mesh,
    labels: np.ndarray | None,
) -> None:
    fields = VERTEX_FIELDS if labels is None else [*VERTEX_FIELDS, ("label", "<u2")]
    table = np.empty(len(vertices), dtype=fields)
    table["position"], table["rgba"][:, :3], table["rgba"][:, 3] = vertices, colors, 255
    if labels is not None:
        table["label"] = labels
    faces = np.empty(len(mesh.triangles), dtype=FACE_FIELDS)
    faces["count"], faces["corners"] = 3, mesh.triangles
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [f"property uchar {channel}" for channel in ("red", "green", "blue", "alpha")]
    header += ["property ushort label"] * (labels is not None)
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    with path.open("wb") as stream:
        stream.write(("\n".join(header) + "\n").encode("ascii"))
        stream.write(table.tobytes())
        stream.write(faces.tobytes())
