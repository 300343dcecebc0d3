"""Waymo's lasers: from range images to points.

A range image has a row for each beam, top row highest, and a column for each direction around the car; its channels
begin with the range in metres, and a range of 0 or less is no return. The top laser turns while the car drives, so it
has a pose of the car for every pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_pose
from qa_generation.readers.waymo_files import Segment, as_floats, as_name, find_rows, read_columns

LASER_NAMES: Mapping[int, str] = {1: "TOP", 2: "FRONT", 3: "SIDE_LEFT", 4: "SIDE_RIGHT", 5: "REAR"}
LASER_KEY = "key.laser_name"
_CALIBRATION = "[LiDARCalibrationComponent]"
_RANGES = "[LiDARComponent].range_image_return{}"
_POSES = "[LiDARPoseComponent].range_image_return1"
RETURNS = (1, 2)
# four times the pixels of the largest range image of the dataset, 64 x 2650
_MAX_PIXELS = 700_000
_MAX_RANGE_M = 500.0


@dataclass(frozen=True, eq=False)
class Laser:
    """Calibration of one laser: ``inclinations`` are radians, top row first, None where they depend on the height."""

    name: str
    vehicle_from_laser: Float64[np.ndarray, "4 4"]
    inclinations: Float64[np.ndarray, " rows"] | None
    inclination_range: tuple[float, float]

    def rows(self, height: int, where: str) -> Float64[np.ndarray, " rows"]:
        """Inclination of every row, radians; raises ``SceneError`` when the image has another number of beams."""
        if self.inclinations is None:
            low, high = self.inclination_range
            return high - (np.arange(height) + 0.5) / height * (high - low)
        if len(self.inclinations) != height:
            raise SceneError(f"{where}: has {height} rows, expected one for each of {len(self.inclinations)} beams")
        return self.inclinations


@dataclass(frozen=True, eq=False)
class Scan:
    """What one laser measured at one timestamp.

    Attributes:
        laser: calibration.
        ranges_m: one image a return, 0 where nothing came back.
        inclination: of every row, radians.
        azimuth: of every column in the laser's own frame, radians, falling.
        vehicle_from_pixel_car: for the top laser, from the car as it stood at each pixel to the car at the timestamp.
    """

    laser: Laser
    ranges_m: tuple[Float32[np.ndarray, "rows columns"], ...]
    inclination: Float64[np.ndarray, " rows"]
    azimuth: Float64[np.ndarray, " columns"]
    vehicle_from_pixel_car: Float64[np.ndarray, "rows columns 4 4"] | None

    def points(
        self,
        rows: Int64[np.ndarray, " n"],
        columns: Int64[np.ndarray, " n"],
        ranges_m: Float[np.ndarray, " n"],
        up: float = 0.0,
        left: float = 0.0,
    ) -> Float64[np.ndarray, "n 3"]:
        """Points at a range in pixels, in the car's frame; ``up`` and ``left`` move them by parts of a pixel."""
        inclination = self.inclination[rows] + up * self.row_step[rows]
        azimuth = self.azimuth[columns] + left * self.column_step
        flat = np.cos(inclination)
        beams = np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(inclination)], axis=1)
        to_car = self.laser.vehicle_from_laser
        points = (beams * np.asarray(ranges_m, dtype=np.float64)[:, None]) @ to_car[:3, :3].T + to_car[:3, 3]
        if self.vehicle_from_pixel_car is None:
            return points
        poses = self.vehicle_from_pixel_car[rows, columns]
        return np.einsum("nij,nj->ni", poses[:, :3, :3], points) + poses[:, :3, 3]

    @property
    def column_step(self) -> float:
        """Angle between neighbouring columns, radians."""
        return 2.0 * np.pi / len(self.azimuth)

    @property
    def row_step(self) -> Float64[np.ndarray, " rows"]:
        """Angle that each row stands for, radians."""
        if len(self.inclination) < 2:
            return np.full(len(self.inclination), self.column_step)
        return np.abs(np.gradient(self.inclination))


def read_scans(segment: Segment, timestamp: int, world_from_vehicle: Float64[np.ndarray, "4 4"]) -> Iterator[Scan]:
    """The scans of all lasers at one timestamp, one in memory at a time.

    Args:
        world_from_vehicle: as stored, in the segment's own world coordinates.

    Raises:
        SceneError: a file is missing or broken, a laser has no calibration, or the arrays contradict each other.
    """
    lasers = read_lasers(segment)
    path = segment.need("lidar")
    columns = [f"{_RANGES.format(number)}.{part}" for number in RETURNS for part in ("values", "shape")]
    for row in find_rows(path, [timestamp], [LASER_KEY]).values(columns):
        name = as_name(row[LASER_KEY], LASER_NAMES, f"{path}: {LASER_KEY}")
        where = f"{path}: {name} at {timestamp}"
        if name not in lasers:
            raise SceneError(f"{where}: has no calibration in {segment.path('lidar_calibration')}")
        images = tuple(
            _range_image(row, _RANGES.format(number), where)
            for number in RETURNS
            if row[f"{_RANGES.format(number)}.values"] is not None
        )
        if not images:
            raise SceneError(f"{where}: has neither of its two returns, expected at least one")
        if len({image.shape for image in images}) > 1:
            raise SceneError(
                f"{where}: its returns have shapes {[image.shape for image in images]}, expected one shape"
            )
        yield _scan(lasers[name], images, segment, timestamp, world_from_vehicle, where)


def read_lasers(segment: Segment) -> dict[str, Laser]:
    """The calibration of the lasers by name; raises ``SceneError`` where it is missing or broken."""
    path = segment.need("lidar_calibration")
    beams = [f"{_CALIBRATION}.beam_inclination.{part}" for part in ("min", "max", "values")]
    transform = f"{_CALIBRATION}.extrinsic.transform"
    lasers: dict[str, Laser] = {}
    for row in read_columns(path, [LASER_KEY, transform, *beams]).to_pylist():
        name = as_name(row[LASER_KEY], LASER_NAMES, f"{path}: {LASER_KEY}")
        where = f"{path}: laser {name}"
        pose = check_pose(as_floats(row[transform], 16, f"{where}: {transform}").reshape(4, 4), f"{where}: {transform}")
        listed, limits = row[beams[2]], (0.0, 0.0)
        if listed:
            # stored from the lowest beam to the highest, while images have the highest on top
            inclinations = as_floats(listed, None, f"{where}: {beams[2]}")[::-1]
        else:
            inclinations = None
            low, high = as_floats([row[beams[0]], row[beams[1]]], 2, f"{where}: {beams[0]}").tolist()
            limits = (low, high)
        lasers[name] = Laser(name, pose, inclinations, limits)
    return lasers


def _scan(
    laser: Laser,
    images: tuple[Float32[np.ndarray, "rows columns"], ...],
    segment: Segment,
    timestamp: int,
    world_from_vehicle: Float64[np.ndarray, "4 4"],
    where: str,
) -> Scan:
    height, width = images[0].shape
    to_car = laser.vehicle_from_laser
    mounted = np.arctan2(to_car[1, 0], to_car[0, 0])
    azimuth = (2.0 * (width - np.arange(width) - 0.5) / width - 1.0) * np.pi - mounted
    poses = None
    if laser.name == "TOP":
        poses = _pixel_poses(segment, timestamp, (height, width))
        poses = np.linalg.inv(world_from_vehicle) @ poses
    return Scan(laser, images, laser.rows(height, where), azimuth, poses)


def _range_image(row: Mapping[str, Any], field: str, where: str) -> Float32[np.ndarray, "rows columns"]:
    """The ranges, 0 where nothing came back."""
    image = _grid(row, field, 1, where)[..., 0].astype(np.float32)
    if not np.isfinite(image).all() or image.max() > _MAX_RANGE_M:
        raise SceneError(f"{where}: {field} holds ranges up to {image.max()}, expected metres up to {_MAX_RANGE_M:g}")
    return np.maximum(image, 0)


def _pixel_poses(segment: Segment, timestamp: int, shape: tuple[int, int]) -> Float64[np.ndarray, "rows columns 4 4"]:
    """Where the car was at every pixel of the top laser: world from vehicle, from roll pitch yaw x y z."""
    path = segment.need("lidar_pose")
    rows = find_rows(path, [timestamp], [LASER_KEY])
    top = [
        n for n, key in enumerate(rows.keys) if as_name(key[LASER_KEY], LASER_NAMES, f"{path}: {LASER_KEY}") == "TOP"
    ]
    where = f"{path}: TOP at {timestamp}"
    if len(top) != 1:
        raise SceneError(f"{where}: has {len(top)} rows, expected one")
    row = next(rows.only(top).values([f"{_POSES}.values", f"{_POSES}.shape"]))
    grid = _grid(row, _POSES, 6, where)[..., :6].astype(np.float64)
    if grid.shape[:2] != shape or not np.isfinite(grid).all():
        raise SceneError(
            f"{where}: poses are {grid.shape[0]}x{grid.shape[1]}, expected {shape[0]}x{shape[1]} and finite"
        )
    (sin_r, sin_p, sin_y), (cos_r, cos_p, cos_y) = np.sin(grid[..., :3]).T, np.cos(grid[..., :3]).T
    poses = np.zeros((*shape, 4, 4))
    columns = (
        (cos_y * cos_p, sin_y * cos_p, -sin_p),
        (cos_y * sin_p * sin_r - sin_y * cos_r, sin_y * sin_p * sin_r + cos_y * cos_r, cos_p * sin_r),
        (cos_y * sin_p * cos_r + sin_y * sin_r, sin_y * sin_p * cos_r - cos_y * sin_r, cos_p * cos_r),
    )
    for column, entries in enumerate(columns):
        for line, entry in enumerate(entries):
            poses[..., line, column] = entry.T
    poses[..., :3, 3], poses[..., 3, 3] = grid[..., 3:], 1.0
    return poses


def _grid(row: Mapping[str, Any], field: str, channels: int, where: str) -> Float32[np.ndarray, "rows columns all"]:
    """The numbers of an image in its shape; raises ``SceneError`` where they contradict it."""
    values = np.asarray(row[f"{field}.values"])
    shape = as_floats(row[f"{field}.shape"], 3, f"{where}: {field}.shape").astype(np.int64)
    height, width, depth = shape.tolist()
    if min(height, width) < 1 or depth < channels or height * width > _MAX_PIXELS or depth > 32:
        raise SceneError(f"{where}: {field} has shape {shape.tolist()}, expected rows, columns and {channels} or more")
    if values.dtype.kind not in "fiu" or values.shape != (height * width * depth,):
        raise SceneError(f"{where}: {field} has {values.size} values, expected {height * width * depth} numbers")
    return values.reshape(height, width, depth)
