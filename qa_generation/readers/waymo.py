"""Waymo Open v2 segments as scenes: one moment of a drive, its five cameras, annotated boxes and laser surface."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.checks import check_pose, check_views
from qa_generation.readers.opencv import load_opencv
from qa_generation.readers.waymo_boxes import AnnotatedBox, box_surfaces, read_boxes
from qa_generation.readers.waymo_cameras import CAMERA_KEY, CAMERA_NAMES, Camera, picture, read_cameras
from qa_generation.readers.waymo_files import (
    COMPONENTS,
    TIMESTAMP,
    Segment,
    as_floats,
    as_name,
    find_rows,
    find_segments,
    read_columns,
    read_timestamps,
)
from qa_generation.readers.waymo_lidar import read_scans
from qa_generation.readers.waymo_motion import shows_motion, split_motion
from qa_generation.readers.waymo_surface import merge, scan_surface
from qa_generation.scene import Instance, Mesh, OrientedBox, Scene, View

LOGGER = logging.getLogger(__name__)
_POSE = "[VehiclePoseComponent].world_from_vehicle.transform"
_SCENE_ID = re.compile(r"(?P<segment>.+)_t(?P<index>\d{3,})")
# the world is the car's frame at the first timestamp; a segment is 20 s long
_MAX_DRIVE_M = 10_000.0

Poses = Mapping[int, Float64[np.ndarray, "4 4"]]


class WaymoReader:
    """Reads Waymo Open v2 parquet below ``root``: ``<split>/<component>/<segment>.parquet``, or without splits.

    A scene is one moment, because things move: id ``<segment>_t<number of the timestamp>``. World frame: the car's at
    the first timestamp of the segment (x forward, y left, z up). Instances: the annotated boxes of known type; their
    surface is the box. Everything else that the lasers hit is bare surface.

    Args:
        root: folder of the download.
        snapshot_stride: a scene every so many timestamps, of which there are ten a second.
        cameras: ``all``, or names such as ``FRONT,FRONT_LEFT,FRONT_RIGHT``.
        neighbours: moments before and after that give more views, each ``snapshot_stride`` from the next. Only what
            stands still is asked about then, and pictures that may show something moving are left out.

    Raises:
        InputError: a bad option, or no OpenCV.
    """

    dataset = "waymo"

    def __init__(self, root: Path, *, snapshot_stride: int = 10, cameras: str = "all", neighbours: int = 0) -> None:
        if snapshot_stride < 1:
            raise InputError(f"snapshot_stride is {snapshot_stride}, expected 1 or more")
        if not 0 <= neighbours <= 10:
            raise InputError(f"neighbours is {neighbours}, expected 0 to 10")
        self._wanted = _camera_names(cameras)
        load_opencv("the reader waymo")
        self.root = root
        self.snapshot_stride = snapshot_stride
        self.cameras = cameras
        self.neighbours = neighbours

    def scene_ids(self) -> list[str]:
        """Ids of all scenes, sorted; a segment whose poses cannot be read has one, so that its fault is reported.

        Raises:
            InputError: there is no segment.
        """
        if not self._segments:
            raise InputError(f"{self.root}: {_nothing_found(self.root)}")
        return sorted(scene_id for segment in self._segments.values() for scene_id in self._ids(segment))

    def read(self, scene_id: str) -> Scene:
        """One moment as a scene; raises ``SceneError`` naming the file and the field that is wrong."""
        scene, notes = self.read_with_notes(scene_id)
        for note in notes:
            LOGGER.warning(note)
        return scene

    def read_with_notes(self, scene_id: str) -> tuple[Scene, list[str]]:
        """One moment as a scene, and remarks on what is missing; errors as in ``read``."""
        segment, index = self._find(scene_id)
        stored = _read_poses(segment)
        stamps = sorted(stored)
        if index >= len(stamps):
            raise SceneError(
                f"{segment.path('vehicle_pose')}: has {len(stamps)} timestamps, but {scene_id} was asked for"
            )
        used = [stamps[number] for number in self._moments(index, len(stamps))]
        window = [stamp for stamp in stamps if used[0] <= stamp <= used[-1]]
        poses = _local(stored, stamps[0], window, segment)
        boxes = read_boxes(segment, poses)
        numbers = {stamp: number for number, stamp in enumerate(stamps)}
        views, notes = self._views(segment, {stamp: poses[stamp] for stamp in used}, numbers)
        middle = stamps[index]
        if self.neighbours:
            motion = split_motion(boxes, middle)
            kept = [view for stamp, view in views if not shows_motion(view, stamp, motion)]
            if len(kept) < len(views):
                notes.append(f"{scene_id}: {len(views) - len(kept)} of {len(views)} views may show motion, left out")
            known = list(motion.still.values())
            cuts = {stamp: [*_boxes_at(motion.moving, stamp), *_named([*known, *boxes[stamp]])] for stamp in used}
        else:
            kept, known = [view for _, view in views], boxes[middle]
            cuts = {middle: _named(known)}
        check_views(len(kept), scene_id)
        instances = _instances(known)
        if not instances:
            raise SceneError(f"{segment.path('lidar_box')}: {scene_id} has no annotated object, expected at least one")
        if not segment.path("lidar").exists():
            notes.append(f"{segment.path('lidar')}: missing, so nothing but the annotated boxes hides anything")
            cuts = {}
        for component in ("lidar", "lidar_calibration", "lidar_pose") if cuts else ():
            segment.need(component)
        load = partial(_load_mesh, segment, instances, cuts, poses, stored)
        return Scene(scene_id, self.dataset, tuple(kept), instances, load, kind="outdoor"), notes

    @cached_property
    def _segments(self) -> dict[str, Segment]:
        return find_segments(self.root)

    def _ids(self, segment: Segment) -> list[str]:
        try:
            count = len(read_timestamps(segment.need("vehicle_pose")))
        except SceneError:
            count = 1
        reach = self.neighbours * self.snapshot_stride
        # no picture belongs to two scenes
        step = self.snapshot_stride * (2 * self.neighbours + 1)
        first = min(reach, count - 1)
        return [f"{segment.name}_t{number:03d}" for number in range(first, max(count - reach, first + 1), step)]

    def _find(self, scene_id: str) -> tuple[Segment, int]:
        match = _SCENE_ID.fullmatch(scene_id)
        if match is None or match["segment"] not in self._segments:
            raise SceneError(f"{self.root}: holds no scene {scene_id}, expected <segment>_t<number of the timestamp>")
        return self._segments[match["segment"]], int(match["index"])

    def _moments(self, index: int, count: int) -> list[int]:
        """Numbers of the timestamps whose pictures belong to a scene, ascending."""
        around = (index + place * self.snapshot_stride for place in range(-self.neighbours, self.neighbours + 1))
        return [number for number in around if 0 <= number < count]

    def _views(
        self, segment: Segment, poses: Poses, numbers: Mapping[int, int]
    ) -> tuple[list[tuple[int, View]], list[str]]:
        """The wanted cameras at the given moments that have a picture, in order of time and camera, and remarks."""
        cameras = read_cameras(segment)
        path = segment.need("camera_image")
        rows = find_rows(path, list(poses), [CAMERA_KEY])
        where = f"{path}: {CAMERA_KEY}"
        present = {(row[TIMESTAMP], as_name(row[CAMERA_KEY], CAMERA_NAMES, where)) for row in rows.keys}
        views: list[tuple[int, View]] = []
        notes: list[str] = []
        for stamp, pose in poses.items():
            for name in self._wanted or [name for name in CAMERA_NAMES.values() if name in cameras]:
                if name not in cameras:
                    raise SceneError(
                        f"{segment.path('camera_calibration')}: has no camera {name}, found {list(cameras)}"
                    )
                if (stamp, name) in present:
                    views.append((stamp, _view(path, stamp, numbers[stamp], cameras[name], pose)))
                else:
                    notes.append(f"{path}: has no picture of {name} at {stamp}")
        return views, notes


def _camera_names(text: str) -> list[str]:
    """Names in the dataset's order, none for all of them."""
    if text == "all":
        return []
    names = {name.strip().upper() for name in text.split(",")}
    unknown = sorted(names - set(CAMERA_NAMES.values()))
    if unknown:
        expected = ", ".join(CAMERA_NAMES.values())
        raise InputError(f"cameras names {unknown[0]!r}, expected all, or some of {expected}, with commas between")
    return [name for name in CAMERA_NAMES.values() if name in names]


def _nothing_found(root: Path) -> str:
    if any(root.glob("*.tfrecord")) or any(root.glob("*/*.tfrecord")):
        return "holds TFRecord files, that is version 1 of Waymo Open, expected version 2 (parquet)"
    parts = ", ".join(COMPONENTS)
    return f"holds no Waymo Open v2 segment, expected <split>/<component>/<segment>.parquet with components {parts}"


def _read_poses(segment: Segment) -> dict[int, Float64[np.ndarray, "4 4"]]:
    """The car's pose at every timestamp in the stored world coordinates."""
    path = segment.need("vehicle_pose")
    found: dict[int, Float64[np.ndarray, "4 4"]] = {}
    for row in read_columns(path, [TIMESTAMP, _POSE]).to_pylist():
        where = f"{path}: {_POSE} at {row[TIMESTAMP]}"
        if not isinstance(row[TIMESTAMP], int):
            raise SceneError(f"{path}: {TIMESTAMP} is {row[TIMESTAMP]!r}, expected a whole number")
        found[row[TIMESTAMP]] = check_pose(as_floats(row[_POSE], 16, where).reshape(4, 4), where)
    return found


def _local(stored: Poses, first: int, wanted: Sequence[int], segment: Segment) -> dict[int, Float64[np.ndarray, "4 4"]]:
    """Poses in the car's frame at the first timestamp: stored coordinates reach 1e4 m, too far for float32."""
    to_first = np.linalg.inv(stored[first])
    poses = {stamp: to_first @ stored[stamp] for stamp in wanted}
    for stamp, pose in poses.items():
        if np.abs(pose[:3, 3]).max() > _MAX_DRIVE_M:
            path = segment.path("vehicle_pose")
            raise SceneError(f"{path}: at {stamp} the car is {np.abs(pose[:3, 3]).max():.3g} m from where it started")
    return poses


def _view(path: Path, stamp: int, number: int, camera: Camera, world_from_vehicle: np.ndarray) -> View:
    return View(
        view_id=f"frame_{number:03d}_{camera.name}",
        image=picture(path, stamp, camera),
        intrinsics=camera.pinhole,
        world_to_camera=camera.camera_from_vehicle @ np.linalg.inv(world_from_vehicle),
        size=camera.size,
    )


def _instances(boxes: Sequence[AnnotatedBox]) -> dict[int, Instance]:
    named = [box for box in boxes if box.category is not None]
    return {number: Instance(number, str(box.category), box.box) for number, box in enumerate(named, start=1)}


def _named(boxes: Sequence[AnnotatedBox]) -> list[OrientedBox]:
    """What lies in a box of unknown type stays bare surface."""
    return [box.box for box in boxes if box.category is not None]


def _boxes_at(moving: Mapping[str, Mapping[int, OrientedBox]], stamp: int) -> Iterator[OrientedBox]:
    return (track[stamp] for track in moving.values() if stamp in track)


def _load_mesh(
    segment: Segment, instances: Mapping[int, Instance], cuts: Mapping[int, Sequence[OrientedBox]], poses: Poses,
    stored: Poses,
) -> Mesh:  # fmt: skip
    """Box surfaces, then what the lasers saw at each moment without what lies in the ``cuts`` of that moment."""
    vertices, triangles, owners = box_surfaces({number: instance.obb for number, instance in instances.items()})
    bare = merge(
        [scan_surface(read_scans(segment, stamp, stored[stamp]), poses[stamp], cut) for stamp, cut in cuts.items()]
    )
    return Mesh(
        vertices=np.concatenate([vertices, bare.vertices]).astype(np.float32),
        triangles=np.concatenate([triangles, bare.triangles + len(vertices)]).astype(np.int32),
        triangle_instances=np.concatenate([owners, np.zeros(len(bare.triangles), dtype=np.int32)]),
    )
