"""Waymo's five cameras: calibration, the pinhole camera that stands in for each lens, and undistorted pictures.

Axes: a Waymo camera looks along +x with y left and z up. Lenses have the OpenCV distortion k1 k2 p1 p2 k3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_intrinsics, check_pose, check_size
from qa_generation.readers.undistortion import Undistortion, plan_undistortion
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
# an undistorted picture that shows a smaller part than this of the stored one is no photograph of a street
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
        # the maps of five cameras would fill 100 MB, so they are made again for each picture
        pinhole=_plan(lens, np.array(distortion), size, where).intrinsics,
        camera_from_vehicle=OPENCV_FROM_WAYMO @ np.linalg.inv(vehicle_from_camera),
    )


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
    return _plan(camera.lens, camera.distortion, camera.size, where).picture(stored, where)


def _plan(
    lens: Float64[np.ndarray, "3 3"], distortion: Float64[np.ndarray, "5"], size: tuple[int, int], where: str
) -> Undistortion:
    plan = plan_undistortion(lens, distortion.tolist(), "opencv", size, where)
    if not (plan.intrinsics[[0, 1], [0, 1]] <= _MAX_ZOOM * lens[[0, 1], [0, 1]]).all():
        raise SceneError(f"{where}: distortion {distortion.tolist()} leaves no picture, expected that of a camera")
    return plan


@lru_cache(maxsize=1)
def _pictures_at(path: Path, mtime_ns: int, timestamp: int) -> dict[str, bytes]:
    """Encoded pictures of one timestamp by camera: they lie in the same pages, and are asked for one after another."""
    rows = find_rows(path, [timestamp], [CAMERA_KEY])
    where = f"{path}: {CAMERA_KEY}"
    return {as_name(row[CAMERA_KEY], CAMERA_NAMES, where): row[IMAGE] for row in rows.values([IMAGE])}
