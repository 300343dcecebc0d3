"""ARKitScenes' annotated boxes, and which triangles of the mesh are the surface of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int32

from qa_generation.errors import SceneError
from qa_generation.readers.annotated_mesh import PlyMesh
from qa_generation.readers.checks import check_file
from qa_generation.readers.json_file import read_json
from qa_generation.readers.scannet_labels import normalise_label
from qa_generation.readers.stored_box import inside_box, parse_box
from qa_generation.scene import OrientedBox

# the mesh is this noisy, and boxes are drawn tightly: without it objects would lose their outer faces to bare surface
SURFACE_MARGIN_M = 0.02
# the floor that an object stands on reaches into its box this far; low boxes would lose the object itself
FLOOR_BAND_M = 0.05
LOW_BOX_M = 0.15
# triangles whose normal is closer to vertical than this, as cosine, may be floor
LEVEL_NORMAL = 0.9
# what stands between the words of a label, in one place or the other of the dataset
PARTING = re.compile(r"[-_/ ]+")


@dataclass(frozen=True, eq=False)
class AnnotatedBox:
    """One annotated object; ``where`` names its place in the file."""

    where: str
    category: str
    box: OrientedBox


def read_boxes(path: Path) -> list[AnnotatedBox]:
    """The boxes of ``<video>_3dod_annotation.json`` in file order; words of a category are parted by spaces.

    Raises:
        SceneError: the file is missing or malformed, holds no box, or marks the video as not annotated (``skipped``).
    """
    check_file(path, "the annotated boxes; asset annotation of the official download's raw data")
    data = read_json(path, "the annotated boxes")
    if data.get("skipped"):
        raise SceneError(f"{path}: the video is marked as skipped, so it has no usable annotation")
    entries = data.get("data")
    if not isinstance(entries, list) or not entries:
        raise SceneError(f"{path}: has no data, expected at least one annotated box")
    boxes = []
    for number, entry in enumerate(entries):
        where = f"{path}: data[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("segments"), dict):
            raise SceneError(f"{where}: has no segments, expected obbAligned in them")
        label = entry.get("label")
        category = normalise_label(PARTING.sub(" ", label)) if isinstance(label, str) else ""
        if not category:
            raise SceneError(f"{where}: label is {label!r}, expected a word")
        box = parse_box(entry["segments"].get("obbAligned"), f"{where}: obbAligned")
        boxes.append(AnnotatedBox(where, category, box))
    return boxes


def assign_triangles(mesh: PlyMesh, boxes: Mapping[int, OrientedBox]) -> Int32[np.ndarray, " triangles"]:
    """The box that each triangle lies in with all three corners, by its key (1 or more); 0 without one.

    Where boxes overlap, the smallest wins. The floor under an object is not part of it.
    """
    owners = np.zeros(len(mesh.triangles), dtype=np.int32)
    level = np.abs(_vertical_part(mesh)) > LEVEL_NORMAL
    lowest = mesh.vertices[mesh.triangles][..., 2].min(axis=1) if len(mesh.triangles) else np.empty(0)
    for number, box in sorted(boxes.items(), key=lambda entry: -float(np.prod(entry[1].extents))):
        corners_inside = inside_box(mesh.vertices, box, SURFACE_MARGIN_M)
        inside: Bool[np.ndarray, " triangles"] = corners_inside[mesh.triangles].all(axis=1)
        low, high = box.corners[:, 2].min(), box.corners[:, 2].max()
        if high - low > LOW_BOX_M:
            inside &= ~(level & (lowest < low + FLOOR_BAND_M))
        owners[inside] = number
    return owners


def without_surface(boxes: Sequence[AnnotatedBox], owners: Int32[np.ndarray, " triangles"]) -> list[AnnotatedBox]:
    """The boxes, numbered from 1, that no triangle belongs to."""
    owning = set(np.unique(owners).tolist())
    return [box for number, box in enumerate(boxes, start=1) if number not in owning]


def _vertical_part(mesh: PlyMesh) -> Float64[np.ndarray, " triangles"]:
    """z of every triangle's unit normal; 0 for triangles without area."""
    first, second, third = np.moveaxis(mesh.vertices[mesh.triangles], 1, 0)
    normals = np.cross(second - first, third - first)
    lengths = np.linalg.norm(normals, axis=1)
    return np.divide(normals[:, 2], lengths, out=np.zeros(len(normals)), where=lengths > 0)
