"""ScanNet++'s instance annotation: groups of mesh segments that may overlap, each with words and a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from qa_generation.errors import SceneError
from qa_generation.readers.json_file import read_json

MAX_ID = 2**31 - 2


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One annotated object.

    Attributes:
        object_id: as in the file.
        label: the annotator's words.
        vertices: indices of all mesh vertices it claims, those that it loses to smaller objects included.
        box: the ``obb`` entry as it stands, None where there is none.
    """

    object_id: int
    label: str
    vertices: Int64[np.ndarray, " vertices"]
    box: Any


def read_objects(path: Path, segments: Int64[np.ndarray, " vertices"]) -> list[AnnotatedObject]:
    """The objects of ``segments_anno.json`` in file order; ``segments`` is the segment of every vertex.

    Raises:
        SceneError: the list is missing, empty or malformed, names an object twice or a segment that no vertex has.
    """
    entries = read_json(path, "the annotated objects").get("segGroups")
    if not isinstance(entries, list) or not entries:
        raise SceneError(f"{path}: has no segGroups, expected at least one annotated object")
    order = np.argsort(segments, kind="stable")
    rising = segments[order]
    objects: dict[int, AnnotatedObject] = {}
    for number, entry in enumerate(entries):
        where = f"{path}: segGroups[{number}]"
        object_id, label, wanted = _checked(entry, where)
        if object_id in objects:
            raise SceneError(f"{where}: objectId {object_id} stands in two groups, expected each once")
        starts, ends = np.searchsorted(rising, wanted, "left"), np.searchsorted(rising, wanted, "right")
        if (starts == ends).any():
            missing = wanted[starts == ends][0]
            raise SceneError(f"{where}: object {object_id} ({label!r}) has segment {missing}, which no vertex has")
        vertices = [order[start:end] for start, end in zip(starts, ends, strict=True)]
        claimed = np.sort(np.concatenate(vertices)) if vertices else np.empty(0, np.int64)
        objects[object_id] = AnnotatedObject(object_id, label, claimed, entry.get("obb"))
    return list(objects.values())


def smallest_owner(objects: Sequence[AnnotatedObject], vertex_count: int) -> Int32[np.ndarray, " vertices"]:
    """The instance of every vertex: objectId + 1 of the smallest object that claims it, 0 without one.

    Small counts in vertices, as in the dataset's own single-label rule; among equals the later one in the file wins.
    """
    owner = np.zeros(vertex_count, dtype=np.int32)
    for item in sorted(objects, key=lambda item: -len(item.vertices)):
        owner[item.vertices] = item.object_id + 1
    return owner


def _checked(entry: Any, where: str) -> tuple[int, str, Int64[np.ndarray, " segments"]]:
    if not isinstance(entry, dict):
        raise SceneError(f"{where}: is {type(entry).__name__}, expected an object with objectId, segments and label")
    object_id, segments, label = entry.get("objectId", entry.get("id")), entry.get("segments"), entry.get("label")
    if isinstance(object_id, bool) or not isinstance(object_id, int) or not 0 <= object_id <= MAX_ID:
        raise SceneError(f"{where}: objectId is {object_id!r}, expected a whole number from 0 on")
    if not isinstance(label, str):
        raise SceneError(f"{where}: label is {label!r}, expected a word")
    try:
        wanted = np.asarray(segments if isinstance(segments, list) else None)
    except (ValueError, OverflowError):  # rows of uneven length
        wanted = np.empty((1, 1))
    if wanted.ndim != 1 or (len(wanted) and wanted.dtype.kind not in "iu"):
        raise SceneError(f"{where}: segments is no list of whole numbers")
    return object_id, label, np.unique(wanted.astype(np.int64))
