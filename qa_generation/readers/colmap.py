"""COLMAP sparse models: cameras, posed images and points with tracks, from binary or text files.

Binary is preferred where both exist, as COLMAP does. The files are read here and not through pycolmap, because its C++
checks end the process on a damaged file, where a batch job has to name the file and go on.

COLMAP puts the centre of the first pixel at (0.5, 0.5); matrices given out here have it at (0, 0), as OpenCV has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file, check_size
from qa_generation.readers.colmap_records import CameraRow, ImageRow, camera_rows, image_rows, point_rows

LensKind = Literal["opencv", "fisheye"]
# how each camera model names its parameters; f stands for fx = fy
MODELS: Mapping[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
    "FULL_OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
}
# the orders in which OpenCV takes distortion coefficients
OPENCV_ORDER = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
FISHEYE_ORDER = ("k1", "k2", "k3", "k4")


@dataclass(frozen=True)
class ColmapCamera:
    """One lens: ``model`` is a key of ``MODELS``, ``params`` its parameters by name, ``size`` (width, height)."""

    camera_id: int
    model: str
    size: tuple[int, int]
    params: Mapping[str, float]

    @property
    def intrinsics(self) -> Float64[np.ndarray, "3 3"]:
        """Pinhole matrix in pixels with pixel centres at integers, without the distortion."""
        focal_x, focal_y = (self.params.get("f", self.params.get(key, 0.0)) for key in ("fx", "fy"))
        center_x, center_y = self.params["cx"] - 0.5, self.params["cy"] - 0.5
        return np.array([[focal_x, 0.0, center_x], [0.0, focal_y, center_y], [0.0, 0.0, 1.0]])

    @property
    def lens(self) -> LensKind:
        """Which of OpenCV's two distortion formulas the camera has."""
        return "fisheye" if self.model == "OPENCV_FISHEYE" else "opencv"

    @property
    def distortion(self) -> tuple[float, ...]:
        """Coefficients in OpenCV's order (k1 k2 p1 p2 k3 k4 k5 k6, or k1 k2 k3 k4 of a fisheye); () for a pinhole.

        A fisheye without coefficients still has its four zeros: it is no pinhole.
        """
        if self.lens == "fisheye":
            return tuple(self.params[key] for key in FISHEYE_ORDER)
        found = tuple(self.params.get(key, 0.0) for key in OPENCV_ORDER)
        return found if any(found) else ()


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """One posed picture; ``name`` is as stored, with ``/`` between folders; the pose is in units of the model."""

    image_id: int
    camera_id: int
    name: str
    world_to_camera: Float64[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class ColmapModel:
    """Cameras by id and images by rising id; neither kind of id is contiguous."""

    folder: Path
    cameras: Mapping[int, ColmapCamera]
    images: tuple[ColmapImage, ...]


@dataclass(frozen=True, eq=False)
class ColmapPoints:
    """Points by rising id; those of track ``track_starts[i]:track_starts[i + 1]`` are the images that saw point i."""

    ids: Int64[np.ndarray, " points"]
    xyz: Float64[np.ndarray, "points 3"]
    track_starts: Int64[np.ndarray, " points+1"]
    track_image_ids: Int64[np.ndarray, " observations"]

    def images_of(self, index: int) -> Int64[np.ndarray, " images"]:
        """Ids of the images that saw the point at ``index``, as listed; an image may stand there twice."""
        return self.track_image_ids[self.track_starts[index] : self.track_starts[index + 1]]


def has_colmap(folder: Path) -> bool:
    """Whether the folder holds a sparse model, binary or text."""
    return any((folder / f"images{ending}").is_file() for ending in (".bin", ".txt"))


def read_colmap(folder: Path) -> ColmapModel:
    """Cameras and images of the model in ``folder``.

    Raises:
        SceneError: a file is missing, truncated, not finite or names a camera model or camera that is not known.
    """
    cameras_path, images_path = _model_file(folder, "cameras"), _model_file(folder, "images")
    cameras: dict[int, ColmapCamera] = {}
    for row in camera_rows(cameras_path):
        if row[0] in cameras:
            raise SceneError(f"{cameras_path}: camera {row[0]} stands there twice, expected each id once")
        cameras[row[0]] = _camera(row, f"{cameras_path}: camera {row[0]}")
    images: dict[int, ColmapImage] = {}
    for entry in image_rows(images_path):
        where = f"{images_path}: image {entry[0]} ({entry[4]!r})"
        if entry[0] in images:
            raise SceneError(f"{where} stands there twice, expected each id once")
        if entry[3] not in cameras:
            raise SceneError(f"{where} has camera {entry[3]}, which {cameras_path.name} lacks")
        images[entry[0]] = _image(entry, where)
    return ColmapModel(folder, cameras, tuple(images[key] for key in sorted(images)))


def read_colmap_points(folder: Path) -> ColmapPoints:
    """The points of the model in ``folder`` with their tracks; errors as in ``read_colmap``."""
    path = _model_file(folder, "points3D")
    rows = sorted(point_rows(path), key=lambda row: row[0])
    if rows and rows[-1][0] > np.iinfo(np.int64).max:
        raise SceneError(f"{path}: point id {rows[-1][0]} is larger than any that COLMAP gives out")
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    xyz = np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(xyz).all():
        raise SceneError(f"{path}: point {ids[~np.isfinite(xyz).all(axis=1)][0]} is not finite")
    starts = np.concatenate([[0], np.cumsum([len(row[2]) for row in rows], dtype=np.int64)]).astype(np.int64)
    tracks = np.concatenate([np.empty(0, np.int64), *(row[2] for row in rows)])
    return ColmapPoints(ids, xyz, starts, tracks)


def _model_file(folder: Path, name: str) -> Path:
    binary, text = folder / f"{name}.bin", folder / f"{name}.txt"
    if binary.is_file():
        return check_file(binary, "a part of a COLMAP model")
    if not text.is_file():
        raise SceneError(f"{folder}: holds neither {binary.name} nor {text.name}, expected a COLMAP sparse model")
    return check_file(text, "a part of a COLMAP model")


def _camera(row: CameraRow, where: str) -> ColmapCamera:
    camera_id, model, width, height, values = row
    if model not in MODELS:
        raise SceneError(f"{where}: camera model {model} is not supported, expected one of {', '.join(MODELS)}")
    if not np.isfinite(values).all():
        raise SceneError(f"{where}: parameters {values} are not finite")
    params = dict(zip(MODELS[model], values, strict=True))
    if min(value for key, value in params.items() if key in ("f", "fx", "fy")) <= 0:
        raise SceneError(f"{where}: parameters {values} hold a focal length that is not positive")
    return ColmapCamera(camera_id, model, check_size((width, height), where), params)


def _image(row: ImageRow, where: str) -> ColmapImage:
    image_id, quaternion, translation, camera_id, name = row
    length = float(np.linalg.norm(quaternion))
    if not (np.isfinite(quaternion).all() and np.isfinite(translation).all() and length > 0):
        raise SceneError(f"{where}: pose {quaternion}, {translation} is no rotation and translation of finite numbers")
    world_to_camera = np.eye(4)
    # w x y z, Hamilton; scipy brings it to length 1
    world_to_camera[:3, :3] = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
    world_to_camera[:3, 3] = translation
    return ColmapImage(image_id, camera_id, name, world_to_camera)
