"""Waymo's five cameras: calibration, the pinhole camera that stands in for each lens, and undistorted pictures.

Axes: a Waymo camera looks along +x with y left and z up. Lenses have the OpenCV distortion k1 k2 p1 p2 k3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.checks import check_image, check_intrinsics, check_pose, check_size
from qa_generation.readers.waymo_files import Segment, as_floats, as_name, find_rows, read_columns
from qa_generation.scene import ComputedBlob

CAMERA_NAMES: Mapping[int, str] = {
    1: "FRONT",
    2: "FRONT_LEFT",
    3: "FRONT_RIGHT",
    4: "SIDE_LEFT",
    5: "SIDE_RIGHT",
    6: "REAR_LEFT",
    7: "REAR",
    8: "REAR_RIGHT",
}
CAMERA_KEY = "key.camera_name"
IMAGE = "[CameraImageComponent].image"
_CALIBRATION = "[CameraCalibrationComponent]"
_PINHOLE = ("f_u", "f_v", "c_u", "c_v")
_DISTORTION = ("k1", "k2", "p1", "p2", "k3")
# x right = -y left, y down = -z up, z forward = x forward
OPENCV_FROM_WAYMO = np.array([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
JPEG_QUALITY = 95
# a picture that is enlarged more than this to have no black border is no photograph of a street
_MAX_ZOOM = 4.0


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    Attributes:
        name: such as ``FRONT_LEFT``.
        size: (width, height) of its pictures, pixels.
        lens: pinhole part of the calibration, pixel centres at integers.
        distortion: k1 k2 p1 p2 k3.
        pinhole: matrix of the undistorted pictures, of the same size.
        camera_from_vehicle: rigid, metres, OpenCV axes.
    """

    name: str
    size: tuple[int, int]
    lens: Float64[np.ndarray, "3 3"]
    distortion: Float64[np.ndarray, "5"]
    pinhole: Float64[np.ndarray, "3 3"]
    camera_from_vehicle: Float64[np.ndarray, "4 4"]


def opencv() -> ModuleType:
    """OpenCV; raises ``InputError`` naming the extra that brings it."""
    try:
        import cv2
    except ImportError:
        raise InputError(
            "the reader waymo undistorts pictures with OpenCV, which is not installed, "
            "expected `pip install spatialvlm[reconstruction]`"
        ) from None
    return cv2


def read_cameras(segment: Segment) -> dict[str, Camera]:
    """The cameras by name.

    Raises:
        SceneError: the file is missing or broken, or an entry is no camera.
    """
    path = segment.need("camera_calibration")
    columns = [CAMERA_KEY, *(f"{_CALIBRATION}.intrinsic.{field}" for field in (*_PINHOLE, *_DISTORTION))]
    columns += [f"{_CALIBRATION}.extrinsic.transform", f"{_CALIBRATION}.width", f"{_CALIBRATION}.height"]
    cameras: dict[str, Camera] = {}
    for row in read_columns(path, columns).to_pylist():
        camera = _camera(row, path)
        if camera.name in cameras:
            raise SceneError(f"{path}: camera {camera.name} stands there twice, expected once")
        cameras[camera.name] = camera
    return cameras


def _camera(row: Mapping[str, Any], path: Path) -> Camera:
    name = as_name(row[CAMERA_KEY], CAMERA_NAMES, f"{path}: {CAMERA_KEY}")
    where = f"{path}: camera {name}"
    size = check_size((row[f"{_CALIBRATION}.width"], row[f"{_CALIBRATION}.height"]), where)
    fields = [row[f"{_CALIBRATION}.intrinsic.{field}"] for field in (*_PINHOLE, *_DISTORTION)]
    f_u, f_v, c_u, c_v, *distortion = as_floats(fields, len(fields), f"{where}: intrinsic").tolist()
    lens = check_intrinsics([[f_u, 0.0, c_u], [0.0, f_v, c_v], [0.0, 0.0, 1.0]], size, where)
    column = f"{_CALIBRATION}.extrinsic.transform"
    transform = as_floats(row[column], 16, f"{where}: {column}").reshape(4, 4)
    vehicle_from_camera = check_pose(transform, f"{where}: {column}")
    return Camera(
        name=name,
        size=size,
        lens=lens,
        distortion=np.array(distortion),
        pinhole=choose_pinhole(lens, np.array(distortion), size, where),
        camera_from_vehicle=OPENCV_FROM_WAYMO @ np.linalg.inv(vehicle_from_camera),
    )


def distort(points: Float[np.ndarray, "points 2"], distortion: Float64[np.ndarray, "5"]) -> np.ndarray:
    """Where the lens shows points of the plane z = 1 (OpenCV's model, k1 k2 p1 p2 k3)."""
    k1, k2, p1, p2, k3 = distortion
    x, y = points[:, 0], points[:, 1]
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.stack(
        [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ],
        axis=1,
    )


def choose_pinhole(
    lens: Float64[np.ndarray, "3 3"], distortion: Float64[np.ndarray, "5"], size: tuple[int, int], where: str
) -> Float64[np.ndarray, "3 3"]:
    """The lens without distortion, its focal length made as much larger as it takes to leave no black border.

    Raises:
        SceneError: no bearable enlargement does, so the distortion cannot be that of the camera.
    """
    width, height = size
    across, down = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    sides = [(across, np.zeros(width)), (across, np.full(width, height - 1.0))]
    sides += [(np.zeros(height), down), (np.full(height, width - 1.0), down)]
    border = np.concatenate([np.stack(side, axis=1) for side in sides])
    focal, center = np.diagonal(lens)[:2], lens[:2, 2]

    def inside(zoom: float) -> bool:
        seen = distort((border - center) / (zoom * focal), distortion) * focal + center
        return bool((seen >= -0.5).all() and (seen <= [width - 0.5, height - 0.5]).all())

    low, high = 1.0, 1.0
    while not inside(high):
        low, high = high, high * 1.25
        if high > _MAX_ZOOM:
            raise SceneError(f"{where}: distortion {distortion.tolist()} leaves no picture, expected that of a camera")
    for _ in range(12 if high > 1.0 else 0):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if inside(middle) else (middle, high)
    pinhole = lens.copy()
    pinhole[0, 0], pinhole[1, 1] = high * focal
    return pinhole


def picture(path: Path, timestamp: int, camera: Camera) -> ComputedBlob:
    """The undistorted picture of a camera, a JPEG that is made when it is read."""
    # the bytes lie inside compressed pages, so no span of the file is read as it is
    return ComputedBlob(path, 0, 0, compute=partial(_undistorted, path, timestamp, camera))


def _undistorted(path: Path, timestamp: int, camera: Camera, _: bytes = b"") -> bytes:
    """Raises ``SceneError`` where the stored picture is missing, broken or of another size than the calibration."""
    where = f"{path}: {camera.name} at {timestamp}"
    stored = _pictures_at(path, path.stat().st_mtime_ns, timestamp).get(camera.name)
    if not isinstance(stored, bytes):
        raise SceneError(f"{where}: holds no picture")
    check_image(stored, camera.size, where)
    cv2 = opencv()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    distorted = cv2.imdecode(np.frombuffer(stored, dtype=np.uint8), flags)
    if distorted is None:
        raise SceneError(f"{where}: picture cannot be decoded, expected a whole JPEG")
    maps = cv2.initUndistortRectifyMap(camera.lens, camera.distortion, None, camera.pinhole, camera.size, cv2.CV_32FC1)
    plain = cv2.remap(distorted, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    done, encoded = cv2.imencode(".jpg", plain, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise SceneError(f"{where}: picture cannot be encoded")
    return bytes(encoded)


@lru_cache(maxsize=1)
def _pictures_at(path: Path, mtime_ns: int, timestamp: int) -> dict[str, bytes]:
    """Encoded pictures of one timestamp by camera: they lie in the same pages, and are asked for one after another."""
    rows = find_rows(path, [timestamp], [CAMERA_KEY])
    where = f"{path}: {CAMERA_KEY}"
    return {as_name(row[CAMERA_KEY], CAMERA_NAMES, where): row[IMAGE] for row in rows.values([IMAGE])}
