"""ARKitScenes videos as scenes: the ``3dod`` and the ``raw`` layout of the official download."""

from __future__ import annotations

import csv
import logging
import re
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.annotated_mesh import read_ply_mesh
from qa_generation.readers.arkitscenes_boxes import assign_triangles, read_boxes, without_surface
from qa_generation.readers.arkitscenes_frames import open_frames
from qa_generation.scene import Instance, Mesh, Scene

LOGGER = logging.getLogger(__name__)
CAMERAS = ("lowres_wide", "vga_wide", "wide")
SUBSETS, SPLITS = ("3dod", "raw"), ("Training", "Validation")
NUMBER = re.compile(r"(\d{1,12})(?:\.0*)?")
VIDEO_NAME = re.compile(r"\d{6,12}")


class ARKitScenesReader:
    """Reads ARKitScenes below ``root``: the folder that holds ``3dod/`` or ``raw/``, one of those, or a split of it.

    World frame: that of the mesh, gravity aligned, +z up. Instances: one per annotated box, numbered from 1 in file
    order; its surface are the mesh triangles inside it. Pictures, depth and poses are turned by quarters together, so
    that up is up. Scene ids are video ids, after the visit (``visit421013_40753679``) where ``metadata.csv`` tells it:
    videos of one visit show the same rooms and have to share a split.

    Args:
        root: folder of the dataset.
        camera: ``lowres_wide`` (256x192, in both layouts), ``vga_wide`` (640x480) or ``wide`` (1920x1440).
        frame_stride: read every so many pictures; by default every 10th, and every one of videos of at most 300.
        split: ``Training`` or ``Validation`` to read only that; empty for all there is.
        min_confidence: depth below this confidence (0, 1, 2) is missing, where the confidence was downloaded.

    Raises:
        InputError: a bad option.
    """

    dataset = "arkitscenes"

    def __init__(
        self,
        root: Path,
        *,
        camera: str = "lowres_wide",
        frame_stride: int | None = None,
        split: str = "",
        min_confidence: int = 1,
    ) -> None:
        if camera not in CAMERAS:
            raise InputError(f"camera is {camera!r}, expected {', '.join(CAMERAS)}")
        if frame_stride is not None and frame_stride < 1:
            raise InputError(f"frame_stride is {frame_stride}, expected 1 or more")
        if split and split not in SPLITS:
            raise InputError(f"split is {split!r}, expected {' or '.join(SPLITS)}")
        if not 0 <= min_confidence <= 2:
            raise InputError(f"min_confidence is {min_confidence}, expected 0, 1 or 2")
        self.root, self.camera, self.frame_stride = root, camera, frame_stride
        self.split, self.min_confidence = split, min_confidence

    def scene_ids(self) -> list[str]:
        """Ids of all videos, sorted; raises ``InputError`` when there are none."""
        if not self._folders:
            wanted = f"{self.split}/" if self.split else ""
            raise InputError(f"{self.root}: holds no ARKitScenes video, expected 3dod/{wanted or 'Training/'}40753679")
        return list(self._folders)

    def read(self, scene_id: str) -> Scene:
        """The video as a scene; raises ``SceneError`` naming the file and the field that is wrong."""
        folder = self._folders.get(scene_id)
        if folder is None:
            raise SceneError(f"{self.root}: holds no video {scene_id}")
        notes: list[str] = []
        mesh, instances = _annotated_mesh(folder, notes)
        frames = folder / f"{folder.name}_frames"
        home = frames if frames.is_dir() else folder
        capture = open_frames(home, folder.name, self.camera, self.frame_stride, self.min_confidence)
        for note in [*notes, *capture.notes]:
            LOGGER.warning("%s", note)
        return Scene(scene_id, self.dataset, capture.views, instances, partial(_keep, mesh))

    @cached_property
    def _folders(self) -> dict[str, Path]:
        """Folder of every video by scene id; where both layouts have it, that of ``3dod``."""
        splits = (self.split,) if self.split else ("", *SPLITS)
        homes = [self.root, *(self.root / subset for subset in SUBSETS)]
        places = [home / split for home in homes for split in splits]
        if self.root.name == self.split:  # the root is the split's own folder
            places.append(self.root)
        found: dict[str, Path] = {}
        for place in places:
            for folder in sorted(place.iterdir()) if place.is_dir() else ():
                if _is_video(folder):
                    found.setdefault(folder.name, folder)
        visits = self._visits
        named = {f"visit{visits[name]}_{name}" if name in visits else name: found[name] for name in found}
        return dict(sorted(named.items()))

    @cached_property
    def _visits(self) -> dict[str, int]:
        """The visit of every video, from the ``metadata.csv`` that the download puts beside the splits."""
        places = (self.root, *(self.root / subset for subset in SUBSETS), self.root.resolve().parent)
        visits: dict[str, int] = {}
        for path in (place / "metadata.csv" for place in places):
            if path.is_file():
                visits |= read_visits(path)
        return visits


def read_visits(path: Path) -> dict[str, int]:
    """Visit by video; videos without a known one are left out. Raises ``InputError`` for a file that is no table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            columns = list(rows.fieldnames or ())
            for needed in ("video_id", "visit_id"):
                if needed not in columns:
                    raise InputError(f"{path}: has no column {needed!r}, found {', '.join(columns) or 'none'}")
            # numbers are written as 421013.0, and as nothing or nan where the visit is not known
            pairs = [(NUMBER.fullmatch(row["video_id"] or ""), NUMBER.fullmatch(row["visit_id"] or "")) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of comma-separated values ({error})") from error
    return {video[1]: int(visit[1]) for video, visit in pairs if video and visit}


def _is_video(folder: Path) -> bool:
    return folder.is_dir() and VIDEO_NAME.fullmatch(folder.name) is not None


def _annotated_mesh(folder: Path, notes: list[str]) -> tuple[Mesh, dict[int, Instance]]:
    """The surface and the objects on it; remarks are added to ``notes``."""
    mesh_path = folder / f"{folder.name}_3dod_mesh.ply"
    if not mesh_path.is_file():
        raise SceneError(f"{mesh_path}: no such file; the official download gives it with 3dod, or as raw asset mesh")
    stored = read_ply_mesh(mesh_path)
    annotation = folder / f"{folder.name}_3dod_annotation.json"
    if not annotation.is_file():
        raise SceneError(
            f"{annotation}: no such file; the official download gives it with 3dod, or as raw asset annotation"
        )
    boxes = read_boxes(annotation)
    owners = assign_triangles(stored, {number: item.box for number, item in enumerate(boxes, start=1)})
    bare = without_surface(boxes, owners)
    notes += [f"{item.where} ({item.category!r}): box holds no triangle of the mesh and is left out" for item in bare]
    instances = {
        number: Instance(number, item.category, item.box)
        for number, item in enumerate(boxes, start=1)
        if item not in bare
    }
    if not instances:
        raise SceneError(f"{annotation}: none of its {len(boxes)} boxes holds a triangle of the mesh")
    return Mesh(stored.vertices.astype(np.float32), stored.triangles, owners, stored.vertex_colors), instances


def _keep(mesh: Mesh) -> Mesh:
    return mesh
