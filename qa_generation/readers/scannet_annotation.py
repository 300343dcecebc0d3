"""ScanNet's instance annotation: segments of the mesh, and the groups of segments that make an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from jaxtyping import Int32, Int64

from qa_generation.errors import SceneError
from qa_generation.readers.json_file import read_json

# this scan's published list of groups holds every object twice
DOUBLED_SCENE = "scene0217_00"


@dataclass(frozen=True)
class SegmentGroup:
    """One annotated object: its id, the segments it covers and the annotator's words."""

    object_id: int
    segments: tuple[int, ...]
    label: str


def read_segments(path: Path, vertex_count: int) -> Int64[np.ndarray, " vertices"]:
    """The segment of every vertex; raises ``SceneError`` unless there is one whole number for each."""
    data = read_json(path, "the segments of the mesh")
    indices = data.get("segIndices")
    if not isinstance(indices, list):
        raise SceneError(f"{path}: has no list segIndices, expected the segment of every vertex")
    if len(indices) != vertex_count:
        raise SceneError(f"{path}: segIndices has {len(indices)} entries, but the mesh has {vertex_count} vertices")
    try:
        segments = np.asarray(indices)
    except (ValueError, OverflowError):  # rows of uneven length
        segments = np.empty(0)
    if segments.ndim != 1 or segments.dtype.kind not in "iu":
        raise SceneError(f"{path}: segIndices holds something that is no whole number")
    return segments.astype(np.int64)


def read_groups(path: Path, scene_id: str) -> list[SegmentGroup]:
    """The annotated objects in file order.

    Raises:
        SceneError: the list is missing, empty, malformed or names an object twice.
    """
    data = read_json(path, "the aggregation of segments into objects")
    if str(data.get("segmentsFile", "")).endswith("_vh_clean.segs.json"):
        raise SceneError(
            f"{path}: belongs to the full-size mesh ({data['segmentsFile']}), expected the one of _vh_clean_2"
        )
    entries = data.get("segGroups")
    if not isinstance(entries, list) or not entries:
        raise SceneError(f"{path}: has no segGroups, expected at least one annotated object")
    groups = [_group(entry, f"{path}: segGroups[{position}]") for position, entry in enumerate(entries)]
    if _is_doubled(groups, scene_id):
        groups = groups[: len(groups) // 2]
    seen: set[int] = set()
    for group in groups:
        if group.object_id in seen:
            raise SceneError(f"{path}: objectId {group.object_id} stands in two groups, expected each once")
        seen.add(group.object_id)
    return groups


def assign_vertices(
    segments: Int64[np.ndarray, " vertices"], groups: Sequence[SegmentGroup], path: Path
) -> Int32[np.ndarray, " vertices"]:
    """The instance of every vertex: objectId + 1 of the group that holds its segment, 0 without one.

    Raises:
        SceneError: a group names a segment that no vertex has, or two groups name the same segment.
    """
    known, positions = np.unique(segments, return_inverse=True)
    owner = np.zeros(len(known), dtype=np.int32)
    for group in groups:
        wanted = np.unique(np.asarray(group.segments, dtype=np.int64))
        found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        missing = wanted[known[found] != wanted]
        if len(missing):
            raise SceneError(
                f"{path}: object {group.object_id} ({group.label!r}) has segment {missing[0]}, which no vertex has"
            )
        taken = found[owner[found] != 0]
        if len(taken):
            raise SceneError(
                f"{path}: segment {known[taken[0]]} belongs to objects {owner[taken[0]] - 1} and {group.object_id}, "
                "expected at most one"
            )
        owner[found] = group.object_id + 1
    return owner[positions.reshape(-1)]


def _group(entry: Any, where: str) -> SegmentGroup:
    if not isinstance(entry, dict):
        raise SceneError(f"{where}: is {type(entry).__name__}, expected an object with objectId, segments and label")
    object_id, segments, label = entry.get("objectId"), entry.get("segments"), entry.get("label")
    if not _is_index(object_id) or object_id >= np.iinfo(np.int32).max:
        raise SceneError(f"{where}: objectId is {object_id!r}, expected a whole number from 0 on")
    if not isinstance(segments, list) or not all(_is_index(segment) for segment in segments):
        raise SceneError(f"{where}: segments is no list of whole numbers")
    if not isinstance(label, str):
        raise SceneError(f"{where}: label is {label!r}, expected a word")
    return SegmentGroup(object_id, tuple(segments), label)


def _is_index(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= np.iinfo(np.int64).max


def _is_doubled(groups: Sequence[SegmentGroup], scene_id: str) -> bool:
    half, odd = divmod(len(groups), 2)
    if odd:
        return False
    first, second = ([group.segments for group in part] for part in (groups[:half], groups[half:]))
    if scene_id == DOUBLED_SCENE:  # known to be doubled, unless it comes mended
        return not {s for segments in first for s in segments}.isdisjoint(s for segments in second for s in segments)
    return first == second
