"""MVImgNet 1 and 2 (arXiv 2303.06042, 2412.01430): one object per capture, filmed from around.

ROOT/<class_id>/<instance_id>/images/NNN.jpg    pictures
                              masks/NNN.jpg     object masks (version 1: a separate download)
                              sparse/0/         COLMAP model, binary or text; one camera with a radial term
ROOT/mvimgnet2_category.json                    names of the classes, or mvimgnet_category.txt

Pictures stay as they are stored: they are not undistorted, `Lens` knows the distortion. Scale and axes of the poses are
arbitrary. A view that lacks a part is left out with a reason; a capture needs four.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from qa_generation.errors import SceneError
from qa_generation.orbit.capture import Mask, ObjectCapture
from qa_generation.orbit.lens import Lens
from qa_generation.orbit.turn import in_front, nearest_to_lines, turn_of
from qa_generation.readers.checks import check_intrinsics, check_pose
from qa_generation.readers.colmap import ColmapCamera, ColmapImage, ColmapPoints, read_colmap, read_colmap_points
from qa_generation.readers.mvimgnet_categories import NAMELESS, read_categories
from qa_generation.readers.mvimgnet_pictures import check_upright, find_mask, read_mask
from qa_generation.scene import Blob, View

MIN_VIEWS = 4
CAMERA_MODELS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
# outside of these a reconstruction has gone wrong (mvimgnet2 facts 7.5)
FOCAL_RANGE, MAX_RADIAL = (0.5, 2.5), 0.5
# share of the views that may have the object behind them before the poses are taken for wrong
MAX_BEHIND = 0.05
_SCENE_ID = re.compile(r"(\d{1,6})[-/]([A-Za-z0-9]{1,64})\Z")


class MVImgNetReader:
    """Captures of MVImgNet; see the module's text for the layout.

    Args:
        root: folder that holds the class folders.
        mask_root: folder of the same layout that holds the masks, where they are a separate download.
    """

    dataset = "mvimgnet"

    def __init__(self, root: Path, *, mask_root: str | None = None) -> None:
        self.root = root
        self.mask_root = mask_root

    @cached_property
    def _categories(self) -> dict[int, str]:
        return dict(read_categories(self.root))

    def scene_ids(self) -> Sequence[str]:
        """``<class>-<instance>`` of every object folder, sorted; nothing is opened."""
        found = (
            f"{folder.name}-{entry.name}"
            for folder in self.root.iterdir()
            if folder.name.isdecimal() and folder.is_dir()
            for entry in folder.iterdir()
            if entry.is_dir()
        )
        return sorted(scene_id for scene_id in found if _SCENE_ID.match(scene_id))

    def read(self, scene_id: str) -> ObjectCapture:
        """The capture ``366-3707ded1``, also spelt ``366/3707ded1``.

        Raises:
            SceneError: no such object; model, lens or poses cannot be used; fewer than four views are whole.
        """
        match = _SCENE_ID.match(scene_id)
        if match is None:
            raise SceneError(f"scene {scene_id!r} is no object, expected CLASS-INSTANCE such as 366-3707ded1")
        class_id, instance_id = match.groups()
        folder = self.root / class_id / instance_id
        model_folder = _model_folder(folder)
        model, points = read_colmap(model_folder), read_colmap_points(model_folder)
        lenses = {number: _lens(camera, model_folder) for number, camera in model.cameras.items()}
        _check_names(model.images, model_folder)
        mask_folder = Path(self.mask_root) / class_id / instance_id if self.mask_root else folder
        views, reasons = _read_views(model.images, lenses, folder, mask_folder, model_folder)
        return _capture(
            f"{class_id}-{instance_id}",
            self._categories.get(int(class_id), NAMELESS),
            folder,
            views,
            points,
            reasons,
        )


_Found = tuple[int, View, Lens, Mask]


def _model_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise SceneError(f"{folder}: no such folder, expected an object with images, masks and sparse/0")
    if not (folder / "images").is_dir():
        raise SceneError(f"{folder}: has no images/, expected the pictures from the archive mvi(2)_NN of this object")
    sparse = folder / "sparse" / "0"
    if not sparse.is_dir() or not any(sparse.iterdir()):
        raise SceneError(f"{sparse}: is missing or empty (the reconstruction of this object failed), expected a model")
    return sparse


def _lens(camera: ColmapCamera, folder: Path) -> Lens:
    where = f"{folder}: camera {camera.camera_id}"
    if camera.model not in CAMERA_MODELS:
        raise SceneError(f"{where}: model {camera.model} is not supported, expected one of {', '.join(CAMERA_MODELS)}")
    intrinsics = check_intrinsics(camera.intrinsics, camera.size, where)
    focal = intrinsics[0, 0] / max(camera.size)
    k1, k2, p1, p2 = (*camera.distortion[:4], 0.0, 0.0, 0.0, 0.0)[:4]
    if not FOCAL_RANGE[0] <= focal <= FOCAL_RANGE[1]:
        low, high = FOCAL_RANGE
        raise SceneError(f"{where}: focal length is {focal:.3g} of the longer side, expected {low} to {high}")
    if not max(abs(k1), abs(k2)) <= MAX_RADIAL:
        raise SceneError(f"{where}: radial distortion is {k1:.3g}, {k2:.3g}, expected at most {MAX_RADIAL}")
    lens = Lens(intrinsics, camera.size, (k1, k2, p1, p2))
    if not lens.covers_picture:
        raise SceneError(
            f"{where}: distortion {lens.distortion} folds the picture's corners back, expected a real lens"
        )
    return lens


def _check_names(images: Sequence[ColmapImage], folder: Path) -> None:
    """Pictures are matched by base name, so those must be unique."""
    counts = Counter(_base_name(image.name) for image in images)
    double = sorted(name for name, count in counts.items() if count > 1)
    if double:
        raise SceneError(f"{folder}: two images are called {double[0]!r}, expected every picture once")


def _base_name(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _read_views(
    images: Sequence[ColmapImage], lenses: dict[int, Lens], folder: Path, mask_folder: Path, model_folder: Path
) -> tuple[list[_Found], list[str]]:
    """Whole views by file name, and why the others were left out."""
    found: list[_Found] = []
    reasons: list[str] = []
    for image in sorted(images, key=lambda image: _base_name(image.name)):
        try:
            found.append(_read_view(image, lenses[image.camera_id], folder, mask_folder, model_folder))
        except SceneError as error:
            reasons.append(str(error))
    return found, reasons


def _read_view(image: ColmapImage, lens: Lens, folder: Path, mask_folder: Path, model_folder: Path) -> _Found:
    name = _base_name(image.name)
    stem = name.rsplit(".", 1)[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", stem):
        raise SceneError(f"{model_folder}: image {image.name!r} has an unusual name, expected one such as 002.jpg")
    pose = check_pose(image.world_to_camera, f"{model_folder}: image {name}")
    picture = Blob(folder / "images" / name)
    check_upright(picture, lens.size)
    mask = read_mask(find_mask(mask_folder, name), lens.size)
    return image.image_id, View(stem, picture, lens.intrinsics, pose, lens.size), lens, mask


def _capture(
    scene_id: str, category: str, folder: Path, found: list[_Found], points: ColmapPoints, reasons: list[str]
) -> ObjectCapture:
    _check_number(found, reasons, folder)
    poses = np.stack([view.world_to_camera for _, view, _, _ in found])
    try:
        center = nearest_to_lines(np.stack([view.camera_center for _, view, _, _ in found]), poses[:, 2, :3])
        ahead = in_front(poses, center)
        if (~ahead).mean() > MAX_BEHIND:
            raise ValueError(f"{(~ahead).sum()} of {len(found)} views have the object behind them")
        reasons += [f"{folder}: view {found[i][1].view_id} looks away from the object" for i in np.flatnonzero(~ahead)]
        found = [entry for entry, kept in zip(found, ahead, strict=True) if kept]
        turn_of(poses[ahead])
    except ValueError as error:
        raise SceneError(f"{folder}: poses cannot be used: {error}") from None
    _check_number(found, reasons, folder)
    return ObjectCapture(
        scene_id=scene_id,
        dataset=MVImgNetReader.dataset,
        category=category,
        views=tuple(view for _, view, _, _ in found),
        lenses=tuple(lens for _, _, lens, _ in found),
        masks=tuple(mask for _, _, _, mask in found),
        points=points.xyz,
        seen=_seen([number for number, _, _, _ in found], points),
        skipped=tuple(reasons),
    )


def _check_number(found: Sequence[_Found], reasons: Sequence[str], folder: Path) -> None:
    if len(found) < MIN_VIEWS:
        first = f"; the first of {len(reasons)} left out: {reasons[0]}" if reasons else ""
        raise SceneError(f"{folder}: has {len(found)} whole views, expected at least {MIN_VIEWS}{first}")


def _seen(image_ids: Sequence[int], points: ColmapPoints) -> Bool[np.ndarray, "views points"]:
    """Which view stands in which point's track; images that were left out are passed over."""
    seen = np.zeros((len(image_ids), len(points.ids)), dtype=bool)
    if not len(points.track_image_ids):
        return seen
    ids = np.array(image_ids, dtype=np.int64)
    order = np.argsort(ids)
    place = np.searchsorted(ids[order], points.track_image_ids).clip(max=len(ids) - 1)
    known = ids[order][place] == points.track_image_ids
    column = np.repeat(np.arange(len(points.ids)), np.diff(points.track_starts))
    seen[order[place[known]], column[known]] = True
    return seen
