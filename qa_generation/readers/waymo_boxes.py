"""Waymo's annotated boxes: the tracks of a segment, and boxes as instances and as surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32

from qa_generation.errors import SceneError
from qa_generation.readers.waymo_files import TIMESTAMP, Segment, find_rows
from qa_generation.scene import OrientedBox

CATEGORIES: Mapping[int, str] = {1: "Vehicle", 2: "Pedestrian", 3: "Sign", 4: "Cyclist"}
OBJECT_KEY = "key.laser_object_id"
_BOX = "[LiDARBoxComponent]"
_SHAPE = tuple(f"{_BOX}.box.{part}.{axis}" for part in ("center", "size") for axis in "xyz")
_HEADING, _TYPE = f"{_BOX}.box.heading", f"{_BOX}.type"
# nothing that drives or stands on a street is larger, and the lasers see no farther
_MAX_SIZE_M, _MAX_DISTANCE_M = 60.0, 500.0
# two triangles for each face, numbered like ``OrientedBox.corners``: bit 2 along axis 0, bit 1 along 1, bit 0 along 2
_FACES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ],
    dtype=np.int32,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class AnnotatedBox:
    """One box at one timestamp: ``category`` is None for what the annotators could not name; world metres."""

    object_id: str
    category: str | None
    box: OrientedBox


def read_boxes(
    segment: Segment, world_from_vehicle: Mapping[int, Float64[np.ndarray, "4 4"]]
) -> dict[int, list[AnnotatedBox]]:
    """The boxes of some timestamps in world coordinates, each list in order of object id.

    Args:
        world_from_vehicle: pose of the car for each timestamp that is wanted.

    Raises:
        SceneError: the file is missing or broken, or a box is none.
    """
    path = segment.need("lidar_box")
    rows = find_rows(path, list(world_from_vehicle), [OBJECT_KEY])
    found: dict[int, dict[str, AnnotatedBox]] = {timestamp: {} for timestamp in world_from_vehicle}
    for row in rows.values([*_SHAPE, _HEADING, _TYPE], batch_rows=4096):
        object_id, here = str(row[OBJECT_KEY]), found[row[TIMESTAMP]]
        if object_id in here:
            raise SceneError(f"{path}: object {object_id} stands twice at {row[TIMESTAMP]}, expected once")
        here[object_id] = _annotated(row, object_id, world_from_vehicle[row[TIMESTAMP]], f"{path}: {object_id}")
    return {timestamp: [boxes[key] for key in sorted(boxes)] for timestamp, boxes in found.items()}


def _annotated(
    row: Mapping[str, Any], object_id: str, world_from_vehicle: Float64[np.ndarray, "4 4"], where: str
) -> AnnotatedBox:
    try:
        numbers = np.array([row[column] for column in (*_SHAPE, _HEADING)], dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.full(7, np.nan)
    center, size, heading = numbers[:3], numbers[3:6], numbers[6]
    if not np.isfinite(numbers).all() or np.abs(center).max() > _MAX_DISTANCE_M:
        raise SceneError(f"{where}: box is {numbers.tolist()}, expected metres and radians within the lasers' reach")
    if size.min() <= 0 or size.max() > _MAX_SIZE_M:
        raise SceneError(f"{where}: box size is {size.tolist()}, expected metres above 0 up to {_MAX_SIZE_M:g}")
    kind = row[_TYPE]
    if not isinstance(kind, int) or not 0 <= kind <= max(CATEGORIES):
        raise SceneError(f"{where}: type is {kind!r}, expected 0 to {max(CATEGORIES)}")
    cos, sin = np.cos(heading), np.sin(heading)
    # the box's own axes: along its length, to its left, up
    axes = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]) @ world_from_vehicle[:3, :3].T
    placed = OrientedBox(world_from_vehicle[:3, :3] @ center + world_from_vehicle[:3, 3], axes, size)
    return AnnotatedBox(object_id, CATEGORIES.get(kind), placed)


def box_surfaces(
    boxes: Mapping[int, OrientedBox],
) -> tuple[Float[np.ndarray, "vertices 3"], Int32[np.ndarray, "triangles 3"], Int32[np.ndarray, " triangles"]]:
    """Vertices (world metres), triangles (twelve a box, facing out) and instance ids of boxes given by instance id."""
    if not boxes:
        return np.empty((0, 3)), np.empty((0, 3), dtype=np.int32), np.empty(0, dtype=np.int32)
    vertices = np.concatenate([box.corners for box in boxes.values()])
    triangles = np.concatenate([_FACES + 8 * place for place in range(len(boxes))])
    return vertices, triangles, np.repeat(np.array(list(boxes), dtype=np.int32), len(_FACES))


def inside_any(
    points: Float[np.ndarray, "points 3"], boxes: Sequence[OrientedBox], margin_m: float
) -> Bool[np.ndarray, " points"]:
    """Which points lie in a box, or at most ``margin_m`` outside of it."""
    taken = np.zeros(len(points), dtype=bool)
    order = np.argsort(points[:, 0], kind="stable")
    along = points[order, 0]
    for box in boxes:
        reach = float(np.linalg.norm(box.extents)) / 2 + 2 * margin_m
        near = order[slice(*np.searchsorted(along, [box.center[0] - reach, box.center[0] + reach]))]
        near = near[np.abs(points[near, 1] - box.center[1]) <= reach]
        local = (points[near] - box.center) @ box.axes.T
        taken[near[(np.abs(local) <= box.extents / 2 + margin_m).all(axis=1)]] = True
    return taken
