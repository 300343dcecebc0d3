"""The DSLR photographs of a ScanNet++ scene: undistorted ones with nerfstudio poses, or fisheye ones with COLMAP's."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_pose, check_size, check_views
from qa_generation.readers.colmap import has_colmap, read_colmap
from qa_generation.readers.json_file import read_json
from qa_generation.readers.lens import Lens, colmap_lens, scaled_lens
from qa_generation.readers.pictures import check_picture
from qa_generation.readers.posed_views import PosedViews
from qa_generation.readers.scannet_info import nearest_rigid
from qa_generation.scene import Blob, View

LOGGER = logging.getLogger(__name__)
UNDISTORTED, FISHEYE = "resized_undistorted_images", "resized_images"
MASKS = {UNDISTORTED: "resized_undistorted_masks", FISHEYE: "resized_anon_masks"}
# the toolkit's change of world (swap x and y, negate z) and of camera (negate y and z); each undoes itself
SWAP_WORLD = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
FLIP_CAMERA = np.diag([1.0, -1, -1, 1])
# no focal length or principal point is as large
MAX_PIXELS = 1e6


@dataclass(frozen=True, eq=False)
class Photograph:
    """One posed photograph before it is looked at; ``lens`` holds for its size."""

    path: Path
    camera_to_world: Float64[np.ndarray, "4 4"]
    lens: Lens


def open_dslr(folder: Path, stride: int | None = None) -> PosedViews:
    """Views of the scene's ``dslr/``, called like the photographs (``DSC01234``); all of them by default.

    Photographs that are marked as blurred (``is_bad``) are left out.

    Raises:
        SceneError: photographs or poses are missing, or a file is broken; names what gives what is missing.
    """
    if not folder.is_dir():
        raise SceneError(
            f"{folder}: no such folder, expected the DSLR capture; the official download's assets dslr_resized_dir and "
            "dslr_colmap_dir give it"
        )
    notes: list[str] = []
    transforms = folder / "nerfstudio" / "transforms_undistorted.json"
    undistorted = (folder / UNDISTORTED).is_dir() and transforms.is_file()
    found = _undistorted(folder / UNDISTORTED, transforms, notes) if undistorted else _fisheye(folder, notes)
    photographs = sorted(found, key=lambda photograph: photograph.path.name)
    pictures = folder / (UNDISTORTED if undistorted else FISHEYE)
    if not photographs:
        raise SceneError(f"{pictures}: holds none of the posed photographs, expected DSC01234.JPG and so on")
    if (folder / MASKS[pictures.name]).is_dir():
        # so it is in every scene: nothing to be warned of each time
        masks = MASKS[pictures.name]
        LOGGER.info("%s: photographs are anonymised in places (%s/), which are not left out", pictures, masks)
    views = tuple(_view(photograph) for photograph in photographs[:: stride or 1])
    check_views(len(views), str(pictures))
    return PosedViews(pictures, len(photographs), views, tuple(notes))


def _view(photograph: Photograph) -> View:
    path, lens = photograph.path, photograph.lens
    size = check_picture(Blob(path), str(path))
    if size != lens.size:
        raise SceneError(
            f"{path}: picture is {size[0]}x{size[1]}, expected {lens.size[0]}x{lens.size[1]} like the rest"
        )
    world_to_camera = np.linalg.inv(photograph.camera_to_world)
    return View(path.stem, lens.picture(Blob(path)), lens.intrinsics, world_to_camera, size)


def _undistorted(folder: Path, transforms: Path, notes: list[str]) -> list[Photograph]:
    data = read_json(transforms, "the cameras of the undistorted photographs")
    frames = _frames(data, transforms)
    good = [name for name, frame in frames.items() if not frame.get("is_bad")]
    _note_bad(len(frames) - len(good), transforms, notes)
    kept = _present(folder, good, notes)
    if not kept:
        return []
    lens = _pinhole(data, check_picture(Blob(folder / kept[0]), str(folder / kept[0])), transforms)
    photographs = []
    for name in kept:
        pose = check_pose(frames[name].get("transform_matrix"), f"{transforms}: transform_matrix of {name}")
        photographs.append(Photograph(folder / name, nearest_rigid(SWAP_WORLD @ pose @ FLIP_CAMERA), lens))
    return photographs


def _fisheye(folder: Path, notes: list[str]) -> list[Photograph]:
    pictures, poses = folder / FISHEYE, folder / "colmap"
    if not pictures.is_dir():
        raise SceneError(
            f"{folder}: holds neither {UNDISTORTED}/ with nerfstudio/transforms_undistorted.json nor {FISHEYE}/; the "
            "official toolkit's undistortion gives the first, the official download's asset dslr_resized_dir the second"
        )
    if not has_colmap(poses):
        raise SceneError(
            f"{folder}: holds no COLMAP model in colmap/, which {FISHEYE}/ needs; the official download's asset "
            "dslr_colmap_dir gives it"
        )
    model = read_colmap(poses)
    bad = _bad_names(folder / "nerfstudio" / "transforms.json", notes)
    images = {}
    for image in model.images:
        name = _plain_name(image.name, str(poses))
        if name in images:
            raise SceneError(f"{poses}: {name} stands there twice, expected each photograph once")
        if name not in bad:
            images[name] = image
    kept = _present(pictures, list(images), notes)
    if not kept:
        return []
    size = check_picture(Blob(pictures / kept[0]), str(pictures / kept[0]))
    lens_of = cache(lambda camera_id: colmap_lens(model.cameras[camera_id], size, str(poses)))
    return [
        Photograph(pictures / name, np.linalg.inv(images[name].world_to_camera), lens_of(images[name].camera_id))
        for name in kept
    ]


def _bad_names(transforms: Path, notes: list[str]) -> set[str]:
    """Photographs that the nerfstudio file marks as blurred; none where there is no such file."""
    if not transforms.is_file():
        return set()
    data = read_json(transforms, "the cameras of the photographs")
    bad = {name for name, frame in _frames(data, transforms).items() if frame.get("is_bad")}
    _note_bad(len(bad), transforms, notes)
    return bad


def _frames(data: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """All frames by file name, those held out for testing included.

    The official undistortion puts the latter into both lists, so a frame may stand there twice if it is the same.
    """
    if not isinstance(data.get("frames"), list):
        raise SceneError(f"{path}: has no list frames, expected the camera of every photograph")
    frames: dict[str, dict[str, Any]] = {}
    for key in ("frames", "test_frames"):
        entries = data.get(key) or []
        if not isinstance(entries, list):
            raise SceneError(f"{path}: {key} is {type(entries).__name__}, expected a list")
        for number, entry in enumerate(entries):
            where = f"{path}: {key}[{number}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
                raise SceneError(f"{where} has no file_path, expected the name of a photograph")
            name = _plain_name(entry["file_path"], where)
            if frames.setdefault(name, entry) != entry:
                raise SceneError(f"{where}: {name} stands there twice, and not the same, expected it once")
    return frames


def _plain_name(name: str, where: str) -> str:
    if name != Path(name).name or "\\" in name or "\0" in name:
        raise SceneError(f"{where}: {name!r} is no plain name of a photograph, expected one like DSC01234.JPG")
    return name


def _present(folder: Path, names: list[str], notes: list[str]) -> list[str]:
    kept = [name for name in names if (folder / name).is_file()]
    if len(kept) < len(names):
        notes.append(f"{folder}: {len(names) - len(kept)} of {len(names)} posed photographs are not there")
    return kept


def _note_bad(count: int, path: Path, notes: list[str]) -> None:
    if count:
        notes.append(f"{path}: {count} photographs are marked is_bad and are left out")


def _pinhole(data: dict[str, Any], size: tuple[int, int], path: Path) -> Lens:
    """The one pinhole camera of all frames; nerfstudio puts the picture's corner, not a pixel centre, at (0, 0)."""
    numbers: dict[str, float] = {}
    for key in ("fl_x", "fl_y", "cx", "cy"):
        value = data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_PIXELS:
            raise SceneError(f"{path}: {key} is {str(value)[:40]}, expected a number of pixels")
        numbers[key] = float(value)
    if any(data.get(f"{kind}{number}") for kind in "kp" for number in range(1, 7)):
        raise SceneError(f"{path}: has distortion coefficients, expected none for undistorted photographs")
    matrix = np.array(
        [[numbers["fl_x"], 0.0, numbers["cx"] - 0.5], [0.0, numbers["fl_y"], numbers["cy"] - 0.5], [0.0, 0.0, 1.0]]
    )
    return scaled_lens(matrix, check_size((data.get("w"), data.get("h")), f"{path}: w and h"), size, str(path))
