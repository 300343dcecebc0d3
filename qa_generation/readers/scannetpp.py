"""ScanNet++ v2 scenes: ``data/<scene>/{scans,iphone,dslr}`` in the official layout."""

from __future__ import annotations

import logging
import re
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.annotated_mesh import read_ply_mesh, triangle_instances
from qa_generation.readers.posed_views import PosedViews
from qa_generation.readers.scannet import NAMELESS
from qa_generation.readers.scannet_annotation import read_segments
from qa_generation.readers.scannet_labels import normalise_label
from qa_generation.readers.scannetpp_annotation import AnnotatedObject, read_objects, smallest_owner
from qa_generation.readers.scannetpp_dslr import open_dslr
from qa_generation.readers.scannetpp_iphone import open_iphone
from qa_generation.readers.scannetpp_labels import RAW, LabelMap, read_label_map
from qa_generation.readers.stored_box import inside_box, parse_box
from qa_generation.readers.upright_box import fit_upright_box
from qa_generation.scene import Instance, Mesh, OrientedBox, Scene

LOGGER = logging.getLogger(__name__)
CAMERAS = {"iphone": open_iphone, "dslr": open_dslr}
# files of scans/, and the asset of the official download that gives each
MESH, SEGMENTS, OBJECTS = "mesh_aligned_0.05.ply", "segments.json", "segments_anno.json"
ASSETS = {MESH: "scan_mesh_path", SEGMENTS: "scan_mesh_segs_path", OBJECTS: "scan_anno_json_path"}
# a stored box that holds less of its object, within this margin, is not its box
MIN_HELD, BOX_MARGIN_M = 0.99, 0.01
SCENE_NAME = re.compile(r"[0-9a-f]{10}")


class ScanNetPPReader:
    """Reads ScanNet++ v2 below ``root``, which holds ``data/<scene>/``, ``splits/`` and ``metadata/``.

    World frame: that of ``mesh_aligned_0.05.ply``, +z up. Instances: one per annotated object, id ``objectId + 1``;
    where objects overlap a vertex belongs to the smallest. Box: the annotation's, or a least-area upright one.

    Args:
        root: folder of the dataset, or its ``data`` folder.
        camera: ``iphone`` (video frames with depth) or ``dslr`` (photographs).
        frame_stride: read one of so many frames of the iPhone's video, by default 10, or 1 where at most 300 have a
            pose; or one of so many photographs, by default 1.
        label_map: ``raw`` for the annotators' words, ``instance`` or ``semantic`` for the benchmark's classes.
        split: name of a list in ``splits/``, e.g. ``nvs_sem_val``, to read only its scenes; empty for all.

    Raises:
        InputError: a bad option, or the file an option is read from is missing or broken.
    """

    dataset = "scannetpp"

    def __init__(
        self,
        root: Path,
        *,
        camera: str = "iphone",
        frame_stride: int | None = None,
        label_map: str = RAW,
        split: str = "",
    ) -> None:
        if camera not in CAMERAS:
            raise InputError(f"camera is {camera!r}, expected {' or '.join(CAMERAS)}")
        if frame_stride is not None and frame_stride < 1:
            raise InputError(f"frame_stride is {frame_stride}, expected 1 or more")
        if not re.fullmatch(r"[\w.-]*", split):
            raise InputError(f"split is {split!r}, expected the name of a list in splits/, e.g. nvs_sem_val")
        self.root, self.camera, self.frame_stride = root, camera, frame_stride
        self.label_map, self.split = label_map, split
        self._home = root if (root / "data").is_dir() else root.resolve().parent
        self._labels = read_label_map(self._home, label_map)

    def scene_ids(self) -> list[str]:
        """Ids of all scenes, or those of the split that are there, sorted; ``InputError`` when there are none."""
        if not self._folders:
            raise InputError(f"{self.root}: holds no ScanNet++ scene, expected data/<scene>/scans and iphone or dslr")
        if not self.split:
            return list(self._folders)
        listed = self._listed()
        found = [scene_id for scene_id in self._folders if scene_id in listed]
        if not found:
            raise InputError(f"{self.root}: holds none of the {len(listed)} scenes of the split {self.split}")
        if len(found) < len(listed):
            LOGGER.warning("%s: %d of %d scenes of %s are there", self.root, len(found), len(listed), self.split)
        return found

    def read(self, scene_id: str) -> Scene:
        """The scene with its views; raises ``SceneError`` naming the file and the field that is wrong."""
        folder = self._folders.get(scene_id)
        if folder is None:
            raise SceneError(f"{self.root}: holds no scene {scene_id}")
        notes: list[str] = []
        mesh, instances = _annotated_mesh(folder / "scans", self._labels, notes)
        capture: PosedViews = CAMERAS[self.camera](folder / self.camera, self.frame_stride)
        for note in [*notes, *capture.notes]:
            LOGGER.warning("%s", note)
        return Scene(scene_id, self.dataset, capture.views, instances, partial(_keep, mesh))

    @cached_property
    def _folders(self) -> dict[str, Path]:
        place = self.root / "data" if (self.root / "data").is_dir() else self.root
        return {folder.name: folder for folder in sorted(place.iterdir()) if _is_scene(folder)}

    def _listed(self) -> set[str]:
        path = self._home / "splits" / f"{self.split}.txt"
        try:
            return set(path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: list of the split cannot be read ({error})") from error


def _is_scene(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    parts = (folder / part for part in ("scans", "iphone", "dslr"))
    return SCENE_NAME.fullmatch(folder.name) is not None or any(part.is_dir() for part in parts)


def _annotated_mesh(folder: Path, labels: LabelMap, notes: list[str]) -> tuple[Mesh, dict[int, Instance]]:
    """The surface and the objects on it; remarks are added to ``notes``."""
    for name, asset in ASSETS.items():
        if not (folder / name).is_file():
            raise SceneError(f"{folder / name}: no such file, the official download's asset {asset} gives it")
    stored = read_ply_mesh(folder / MESH)
    path = folder / OBJECTS
    objects = read_objects(path, read_segments(folder / SEGMENTS, len(stored.vertices)))
    categories = {item.object_id: _category(item, labels, path, notes) for item in objects}
    named = [item for item in objects if categories[item.object_id] is not None]
    if len(named) < len(objects):
        dropped = sorted({normalise_label(item.label) for item in objects if categories[item.object_id] is None})
        notes.append(f"{path}: {len(objects) - len(named)} objects are left out by their label ({', '.join(dropped)})")
    owners = triangle_instances(smallest_owner(named, len(stored.vertices)), stored.triangles)
    mesh = Mesh(stored.vertices.astype(np.float32), stored.triangles, owners, stored.vertex_colors)
    instances = _instances(named, categories, mesh, path, notes)
    return mesh, instances


def _instances(
    objects: list[AnnotatedObject], categories: dict[int, str | None], mesh: Mesh, path: Path, notes: list[str]
) -> dict[int, Instance]:
    owned: set[int] = set(np.unique(mesh.triangle_instances).tolist())
    instances: dict[int, Instance] = {}
    for item in objects:
        number, category = item.object_id + 1, categories[item.object_id]
        if number not in owned:
            notes.append(f"{path}: object {item.object_id} ({category!r}) owns no triangle and is left out")
        elif category is not None:
            instances[number] = Instance(number, category, _box(item, mesh, path, notes))
    if not instances:
        raise SceneError(f"{path}: none of its objects owns a triangle of the mesh")
    return instances


def _box(item: AnnotatedObject, mesh: Mesh, path: Path, notes: list[str]) -> OrientedBox:
    """The stored box where it holds the object, else a least-area upright one around all vertices it claims."""
    points = mesh.vertices[item.vertices]
    if item.box is None:
        return fit_upright_box(points)
    try:
        box = parse_box(item.box, "obb")
    except SceneError as error:
        notes.append(f"{path}: box of object {item.object_id} is fitted anew ({error})")
        return fit_upright_box(points)
    fitted = fit_upright_box(points)
    held = float(inside_box(points, box, BOX_MARGIN_M).mean())
    if held < MIN_HELD:
        notes.append(f"{path}: box of object {item.object_id} holds {held:.0%} of it and is fitted anew")
        return fitted
    # no side of a tight box is longer than the diagonal of another box around the same points
    if box.extents.max() > np.linalg.norm(fitted.extents) + 2 * BOX_MARGIN_M:
        notes.append(f"{path}: box of object {item.object_id} is much larger than it and is fitted anew")
        return fitted
    return box


def _category(item: AnnotatedObject, labels: LabelMap, path: Path, notes: list[str]) -> str | None:
    label = normalise_label(item.label)
    if not label:
        notes.append(f"{path}: object {item.object_id} has no label and is called {NAMELESS!r}")
        return NAMELESS
    if labels.path is not None and label not in labels.classes:
        notes.append(f"{path}: label {label!r} is not in {labels.path.name} and is kept as it is")
    return labels.lookup(label)


def _keep(mesh: Mesh) -> Mesh:
    return mesh
