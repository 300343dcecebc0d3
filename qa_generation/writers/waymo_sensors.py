"""The car's cameras and lasers as models of our own: distorted pictures, range images, and where they are mounted."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image
from scipy.spatial.transform import Rotation

from qa_generation.writers.waymo_street import Hits, Snapshot

PoseAt = Callable[[float], Float64[np.ndarray, "4 4"]]
SPIN_S = 0.1
NO_RETURN = -1.0


@dataclass(frozen=True)
class CameraModel:
    """One camera: lens in pixels of its pictures, mounting in the car (x forward, y left, z up)."""

    number: int
    name: str
    size: tuple[int, int]
    focal: tuple[float, float]
    center: tuple[float, float]
    distortion: tuple[float, float, float, float, float]
    position: tuple[float, float, float]
    yaw_pitch_roll_deg: tuple[float, float, float]

    @property
    def vehicle_from_camera(self) -> Float64[np.ndarray, "4 4"]:
        return _mounted(self.position, self.yaw_pitch_roll_deg)

    def rays(self) -> Float64[np.ndarray, "pixels 3"]:
        """Directions through all pixel centres, row by row, in camera axes (x forward, y left, z up)."""
        width, height = self.size
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        seen = np.stack(
            [(columns.ravel() - self.center[0]) / self.focal[0], (rows.ravel() - self.center[1]) / self.focal[1]]
        )
        right, down = self._undo_lens(seen)
        return np.stack([np.ones_like(right), -right, -down], axis=1)

    def _undo_lens(self, seen: Float64[np.ndarray, "2 pixels"]) -> Float64[np.ndarray, "2 pixels"]:
        """Fixed-point iteration on the Brown-Conrady model; forty rounds go far below a thousandth of a pixel."""
        k1, k2, p1, p2, k3 = self.distortion
        plain = seen.copy()
        for _ in range(40):
            x, y = plain
            square = (plain**2).sum(axis=0)
            tangential = np.stack(
                [2 * p1 * x * y + p2 * (square + 2 * x**2), p1 * (square + 2 * y**2) + 2 * p2 * x * y]
            )
            plain = (seen - tangential) / (1 + k1 * square + k2 * square**2 + k3 * square**3)
        return plain

    def photograph(
        self, street: Snapshot, street_from_vehicle: Float64[np.ndarray, "4 4"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        pose = street_from_vehicle @ self.vehicle_from_camera
        hits = street.cast(pose[:3, 3], self.rays() @ pose[:3, :3].T)
        return street.color_of(hits).reshape(self.size[1], self.size[0], 3)


@dataclass(frozen=True)
class LaserModel:
    """One laser: ``beams_deg`` from the lowest up, evenly spread between ``limits_deg`` where it is empty."""

    number: int
    name: str
    shape: tuple[int, int]
    limits_deg: tuple[float, float]
    position: tuple[float, float, float]
    yaw_deg: float
    reach_m: float
    beams_deg: tuple[float, ...] = ()

    @property
    def vehicle_from_laser(self) -> Float64[np.ndarray, "4 4"]:
        return _mounted(self.position, (self.yaw_deg, 0.0, 0.0))

    def beam_directions(self) -> Float64[np.ndarray, "rows columns 3"]:
        """Unit directions in the laser's axes: the top row looks highest, columns run clockwise from the car's back."""
        rows, columns = self.shape
        low, high = self.limits_deg
        spread = [low + (high - low) * (2 * n + 1) / (2 * rows) for n in range(rows)]
        upward = np.radians(sorted(self.beams_deg or spread, reverse=True))[:, None]
        pixel = 2 * math.pi / columns
        around = (math.pi - pixel / 2 - pixel * np.arange(columns))[None, :] - math.radians(self.yaw_deg)
        flat = np.cos(upward)
        return np.stack(
            [flat * np.cos(around), flat * np.sin(around), np.broadcast_to(np.sin(upward), self.shape)], axis=-1
        )


@dataclass(frozen=True, eq=False)
class Sweep:
    """Two range images (range, intensity, elongation, no-label zone), and what each pixel's first return hit."""

    returns: tuple[Float32[np.ndarray, "rows columns 4"], Float32[np.ndarray, "rows columns 4"]]
    first_hit: Hits
    pixel_poses: Float32[np.ndarray, "rows columns 6"] | None


def sweep(
    laser: LaserModel, street: Snapshot, vehicle_at: PoseAt, world_from_street: Float64[np.ndarray, "4 4"]
) -> Sweep:
    """What a laser measures; the top one turns once in 0.1 s around the moment while the car drives."""
    directions = laser.beam_directions()
    rows, columns = laser.shape
    spin = (np.arange(columns) + 0.5) / columns - 0.5 if laser.name == "TOP" else np.zeros(columns)
    vehicles = np.stack([vehicle_at(street.time_s + SPIN_S * part) for part in spin])
    poses = vehicles @ laser.vehicle_from_laser
    beams = np.einsum("cij,rcj->rci", poses[:, :3, :3], directions).reshape(-1, 3)
    origins = np.broadcast_to(poses[:, :3, 3], (rows, columns, 3)).reshape(-1, 3)
    first = street.cast(origins, beams)
    second = _behind(street, origins, beams, first)
    pixel_poses = None
    if laser.name == "TOP":
        world = world_from_street @ vehicles
        angles = Rotation.from_matrix(world[:, :3, :3]).as_euler("xyz")
        lines = np.concatenate([angles, world[:, :3, 3]], axis=1)
        pixel_poses = np.broadcast_to(lines, (rows, columns, 6)).astype(np.float32)
    images = tuple(_image(hit.distance, laser) for hit in (first, second))
    return Sweep((images[0], images[1]), first, pixel_poses)


def _behind(
    street: Snapshot, origins: Float64[np.ndarray, "rays 3"], beams: Float64[np.ndarray, "rays 3"], first: Hits
) -> Hits:
    """Second returns of every 29th beam: what lies behind the first hit, as for beams that graze an edge."""
    some = np.flatnonzero((np.arange(len(beams)) % 29 == 0) & np.isfinite(first.distance))
    past_m = first.distance[some] + 0.5
    further = street.cast(origins[some] + past_m[:, None] * beams[some], beams[some])
    distance = np.full(len(beams), np.inf, dtype=np.float32)
    distance[some] = past_m + further.distance
    return Hits(distance, np.full(len(beams), -1, dtype=np.int32))


def _image(distance: Float32[np.ndarray, " rays"], laser: LaserModel) -> Float32[np.ndarray, "rows columns 4"]:
    """Every channel is -1 where nothing came back."""
    image = np.full((distance.size, 4), NO_RETURN, dtype=np.float32)
    back = distance <= laser.reach_m
    image[back] = np.stack([distance[back], 1 / (1 + distance[back]), np.zeros(back.sum()), np.full(back.sum(), -1)], 1)
    return image.reshape(*laser.shape, 4)


@dataclass(frozen=True)
class Rig:
    """Sizes of everything the car carries; the defaults are those of the real one.

    Attributes:
        picture_width: of all cameras, pixels; heights follow.
        top: rows and columns of the top laser's range image.
        side: rows and columns of the four others.
    """

    picture_width: int = 1920
    top: tuple[int, int] = (64, 2650)
    side: tuple[int, int] = (200, 600)
    cameras: tuple[CameraModel, ...] = field(init=False)
    lasers: tuple[LaserModel, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", _cameras(self.picture_width))
        object.__setattr__(self, "lasers", _lasers(self.top, self.side))


def encode(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _cameras(width: int) -> tuple[CameraModel, ...]:
    """In the order in which real frames store them, which is not that of the numbers."""
    share = width / 1920
    tall, flat = (width, round(1280 * share)), (width, round(886 * share))
    front_lens, side_lens = (0.041, -0.316, 0.0011, -0.0006, 0.0), (0.035, -0.331, -0.0004, 0.0009, 0.0)
    table = (
        (1, "FRONT", tall, front_lens, (1.54, -0.02, 2.11), (0.1, 0.4, -0.2)),
        (2, "FRONT_LEFT", tall, front_lens, (1.49, 0.09, 2.11), (45.3, 0.1, 0.3)),
        (4, "SIDE_LEFT", flat, side_lens, (1.43, 0.11, 2.11), (90.6, -0.2, 0.1)),
        (3, "FRONT_RIGHT", tall, front_lens, (1.49, -0.11, 2.11), (-44.8, 0.2, -0.1)),
        (5, "SIDE_RIGHT", flat, side_lens, (1.43, -0.13, 2.11), (-89.7, 0.3, 0.2)),
    )
    return tuple(
        CameraModel(
            number,
            name,
            size,
            (2061.3 * share, 2060.8 * share),
            (0.5 * size[0] + 8.2 * share, 0.5 * size[1] - 5.7 * share),
            lens,
            position,
            angles,
        )
        for number, name, size, lens, position, angles in table
    )


def _lasers(top: tuple[int, int], side: tuple[int, int]) -> tuple[LaserModel, ...]:
    # the top laser's beams lie closer together near the horizon
    share = (np.arange(top[0]) + 0.5) / top[0]
    beams = tuple((-17.6 + 20.0 * share**0.85).tolist())
    down = (-90.0, 30.0)
    return (
        LaserModel(1, "TOP", top, (min(beams), max(beams)), (1.43, 0.0, 2.184), 148.0, 75.0, beams),
        LaserModel(2, "FRONT", side, down, (4.07, 0.0, 0.69), 0.4, 20.0),
        LaserModel(3, "SIDE_LEFT", side, down, (3.245, 1.025, 0.98), 89.5, 20.0),
        LaserModel(4, "SIDE_RIGHT", side, down, (3.245, -1.025, 0.98), -90.3, 20.0),
        LaserModel(5, "REAR", side, down, (-1.154, 0.0, 0.47), 179.8, 20.0),
    )


def _mounted(
    position: tuple[float, float, float], yaw_pitch_roll_deg: tuple[float, float, float]
) -> Float64[np.ndarray, "4 4"]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("ZYX", yaw_pitch_roll_deg, degrees=True).as_matrix()
    pose[:3, 3] = position
    return pose
