"""ScanNet v2 scans as scenes: ``scans/<scene>/`` in the official layout, or with frames already exported."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.annotated_mesh import PlyMesh, read_ply_mesh, triangle_instances
from qa_generation.readers.captures import Capture
from qa_generation.readers.checks import check_intrinsics, check_pose, check_views
from qa_generation.readers.pictures import check_picture
from qa_generation.readers.scannet_annotation import SegmentGroup, assign_vertices, read_groups, read_segments
from qa_generation.readers.scannet_exported import find_exported, open_exported_capture
from qa_generation.readers.scannet_info import axis_alignment, nearest_rigid, read_info
from qa_generation.readers.scannet_labels import (
    RAW_COLUMN,
    TABLE_NAME,
    LabelTable,
    find_label_table,
    normalise_label,
    read_label_table,
)
from qa_generation.readers.scannet_sens import open_sens_capture
from qa_generation.readers.upright_box import fit_upright_box
from qa_generation.scene import Instance, Mesh, Scene, View

LOGGER = logging.getLogger(__name__)
SCENE_NAME = re.compile(r"scene\d{4,}_\d{2}")
# the category of an object that was annotated without words
NAMELESS = "object"


@dataclass(frozen=True)
class ScanReport:
    """What was left out while one scan was read: frames of the video, how many were looked at, and remarks."""

    total_frames: int
    stride: int
    lost_frames: int
    notes: tuple[str, ...]


class ScanNetReader:
    """Reads ScanNet v2 below ``root``, which holds ``scans/<scene>/`` or the ``<scene>/`` folders themselves.

    World frame: aligned by the scan's ``axisAlignment``, +z up. Instances: one per annotated object, id
    ``objectId + 1``, walls and floors included; box: least-area upright box of its vertices.

    Args:
        root: folder of the dataset; the label table is looked for in it and beside it.
        frame_stride: read every so many frames; by default every 10th, and every one of captures of at most 300.
        label_column: column of the label table that categories come from; the default keeps the annotator's words.

    Raises:
        InputError: a bad option, or a label table that is broken or, with another column than the default, missing.
    """

    dataset = "scannet"

    def __init__(self, root: Path, *, frame_stride: int | None = None, label_column: str = RAW_COLUMN) -> None:
        if frame_stride is not None and frame_stride < 1:
            raise InputError(f"frame_stride is {frame_stride}, expected 1 or more")
        self.root = root
        self.frame_stride = frame_stride
        self.label_column = label_column

    def scene_ids(self) -> list[str]:
        """Ids of all scans, sorted; raises ``InputError`` when there are none, or the label table cannot serve."""
        _ = self._labels
        if not self._folders:
            raise InputError(f"{self.root}: holds no ScanNet scan, expected scans/scene0000_00 or scene0000_00")
        return list(self._folders)

    def read(self, scene_id: str) -> Scene:
        """The scan as a scene; raises ``SceneError`` naming the file and the field that is wrong."""
        scene, report = self.read_with_report(scene_id)
        for note in report.notes:
            LOGGER.warning(note)
        return scene

    def read_with_report(self, scene_id: str) -> tuple[Scene, ScanReport]:
        """The scan as a scene, and what was left out of it; errors as in ``read``."""
        folder = self._folders.get(scene_id)
        if folder is None:
            raise SceneError(f"{self.root}: holds no scan {scene_id}")
        info_path = folder / f"{scene_id}.txt"
        info = read_info(info_path)
        alignment = axis_alignment(info, info_path)
        mesh, instances, notes = self._annotated_mesh(folder, alignment)
        capture = _open_capture(folder, info, info_path, self.frame_stride)
        views, lost = _views(capture, alignment)
        notes += capture.notes
        if lost:
            notes.append(f"{capture.path}: {lost} of {len(capture.frames)} frames have no pose and are left out")
        scene = Scene(scene_id, self.dataset, views, instances, partial(_keep, mesh))
        return scene, ScanReport(capture.total, capture.stride, lost, tuple(notes))

    def _annotated_mesh(
        self, folder: Path, alignment: Float64[np.ndarray, "4 4"]
    ) -> tuple[Mesh, dict[int, Instance], list[str]]:
        """The surface in aligned coordinates, the objects on it, and remarks on the annotation."""
        name = folder.name
        stored = read_ply_mesh(folder / f"{name}_vh_clean_2.ply")
        segments = read_segments(folder / f"{name}_vh_clean_2.0.010000.segs.json", len(stored.vertices))
        aggregation = folder / f"{name}.aggregation.json"
        groups = read_groups(aggregation, name)
        vertex_instances = assign_vertices(segments, groups, aggregation)
        mesh = _aligned_mesh(stored, vertex_instances, alignment)
        return mesh, *self._instances(mesh, vertex_instances, groups, aggregation)

    @cached_property
    def _folders(self) -> dict[str, Path]:
        """Folder of every scan: those named like one, and those that hold files named like themselves."""
        places = [place for place in (self.root / "scans", self.root) if place.is_dir()]
        found = {folder.name: folder for place in reversed(places) for folder in place.iterdir() if _is_scan(folder)}
        return dict(sorted(found.items()))

    @cached_property
    def _labels(self) -> LabelTable | None:
        path = find_label_table(self.root)
        if path is not None:
            return read_label_table(path, self.label_column)
        if self.label_column != RAW_COLUMN:
            raise InputError(f"{self.root}: holds no {TABLE_NAME}, which the column {self.label_column!r} is read from")
        return None

    def _instances(
        self, mesh: Mesh, vertex_instances: Int32[np.ndarray, " vertices"], groups: list[SegmentGroup], path: Path
    ) -> tuple[dict[int, Instance], list[str]]:
        """Annotated objects that have a surface, by id, and remarks on labels and objects that are wanting."""
        instances: dict[int, Instance] = {}
        notes: list[str] = []
        with_surface = set(np.unique(mesh.triangle_instances).tolist())
        for group in groups:
            instance_id = group.object_id + 1
            category, note = self._category(group, path)
            if note:
                notes.append(note)
            if instance_id not in with_surface:
                notes.append(f"{path}: object {group.object_id} ({category!r}) covers no triangle and is left out")
                continue
            box = fit_upright_box(mesh.vertices[vertex_instances == instance_id])
            instances[instance_id] = Instance(instance_id, category, box)
        if not instances:
            raise SceneError(f"{path}: none of its {len(groups)} objects covers a triangle of the mesh")
        return instances, notes

    def _category(self, group: SegmentGroup, path: Path) -> tuple[str, str]:
        """The category of an object, and a remark (or an empty text)."""
        label = normalise_label(group.label)
        if not label:
            return NAMELESS, f"{path}: object {group.object_id} has no label and is called {NAMELESS!r}"
        if self._labels is None:
            return label, ""
        category = self._labels.lookup(label)
        if category is None:
            return label, f"{path}: label {label!r} is not in {self._labels.path.name} and is kept as it is"
        return category, ""


def _is_scan(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    own = (folder / f"{folder.name}{ending}" for ending in (".sens", ".txt", "_vh_clean_2.ply"))
    return SCENE_NAME.fullmatch(folder.name) is not None or any(path.is_file() for path in own)


def _open_capture(folder: Path, info: Mapping[str, str], info_path: Path, stride: int | None) -> Capture:
    sens = folder / f"{folder.name}.sens"
    if sens.is_file():
        return open_sens_capture(sens, stride)
    exported = find_exported(folder)
    if exported is None:
        raise SceneError(f"{folder}: holds no {sens.name}, no color/ and no sensor_data/, expected one of them")
    return open_exported_capture(exported, info, info_path, stride)


def _views(capture: Capture, alignment: Float64[np.ndarray, "4 4"]) -> tuple[tuple[View, ...], int]:
    """The posed frames as views in aligned coordinates, and how many had no pose."""
    intrinsics = check_intrinsics(capture.intrinsics, capture.size, capture.intrinsics_source)
    views: list[View] = []
    for frame in capture.frames:
        if not np.isfinite(frame.camera_to_world).all():
            continue
        camera_to_world = alignment @ nearest_rigid(check_pose(frame.camera_to_world, frame.where))
        size = check_picture(frame.image, frame.where)
        if size != capture.size:
            expected = f"{capture.size[0]}x{capture.size[1]}"
            raise SceneError(f"{frame.where}: picture is {size[0]}x{size[1]}, expected {expected} like the capture")
        views.append(
            View(
                view_id=f"frame_{frame.index:06d}",
                image=frame.image,
                intrinsics=intrinsics,
                world_to_camera=np.linalg.inv(camera_to_world),
                size=size,
                read_depth=frame.read_depth,
            )
        )
    check_views(len(views), str(capture.path))
    return tuple(views), len(capture.frames) - len(views)


def _aligned_mesh(
    stored: PlyMesh, vertex_instances: Int32[np.ndarray, " vertices"], alignment: Float64[np.ndarray, "4 4"]
) -> Mesh:
    aligned = stored.vertices @ alignment[:3, :3].T + alignment[:3, 3]
    return Mesh(
        vertices=aligned.astype(np.float32),
        triangles=stored.triangles,
        triangle_instances=triangle_instances(vertex_instances, stored.triangles),
        vertex_colors=stored.vertex_colors,
    )


def _keep(mesh: Mesh) -> Mesh:
    return mesh
