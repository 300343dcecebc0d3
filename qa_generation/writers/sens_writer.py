"""Writes ``.sens`` containers, version 4: JPEG colour, zlib-packed 16 bit depth, camera-to-world poses, an IMU block.

Kept apart from the reader on purpose: both state the layout for themselves, so that a test of one against the other
means something.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from qa_generation.errors import InputError

MILLIMETRES = 1000.0
FRAME_MICROSECONDS = 33_333
JPEG_QUALITY = 92


@dataclass(frozen=True, eq=False)
class SensorFrame:
    """What one frame of the container holds: picture, depth in metres (0 = missing) and camera-to-world pose."""

    rgb: UInt8[np.ndarray, "height width 3"]
    depth_m: Float32[np.ndarray, "depth_height depth_width"]
    camera_to_world: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, eq=False)
class Sensor:
    """The cameras of a container: pinhole matrices for pictures of the two (width, height) sizes."""

    name: str
    color_intrinsics: Float[np.ndarray, "3 3"]
    depth_intrinsics: Float[np.ndarray, "3 3"]
    color_size: tuple[int, int]
    depth_size: tuple[int, int]


def write_sens(path: Path, sensor: Sensor, frames: Iterable[SensorFrame], frame_count: int) -> None:
    """Writes the container, one frame in memory at a time.

    Raises:
        InputError: a frame has another size than the sensor, or there are not ``frame_count`` frames.
    """
    with path.open("wb") as stream:
        _write_header(stream, sensor, frame_count)
        written = 0
        for frame in frames:
            _check_sizes(path, sensor, frame, written)
            _write_frame(stream, frame, written * FRAME_MICROSECONDS)
            written += 1
        if written != frame_count:
            raise InputError(f"{path}: {written} frames came, expected {frame_count}")
        _write_imu(stream, frame_count)


def _write_header(stream: BinaryIO, sensor: Sensor, frame_count: int) -> None:
    name = sensor.name.encode()
    stream.write(struct.pack("<I", 4))
    stream.write(struct.pack("<Q", len(name)) + name)
    for intrinsics in (sensor.color_intrinsics, sensor.depth_intrinsics):
        padded = np.eye(4)
        padded[:3, :3] = intrinsics
        stream.write(padded.astype("<f4").tobytes())
        stream.write(np.eye(4, dtype="<f4").tobytes())
    stream.write(struct.pack("<i", 2))  # jpeg
    stream.write(struct.pack("<i", 1))  # zlib, unsigned short
    stream.write(struct.pack("<IIII", *sensor.color_size, *sensor.depth_size))
    stream.write(struct.pack("<f", MILLIMETRES))
    stream.write(struct.pack("<Q", frame_count))


def _write_frame(stream: BinaryIO, frame: SensorFrame, time_us: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(frame.rgb).save(buffer, "JPEG", quality=JPEG_QUALITY)
    color = buffer.getvalue()
    depth = zlib.compress(depth_to_millimetres(frame.depth_m).astype("<u2").tobytes())
    stream.write(np.asarray(frame.camera_to_world).astype("<f4").tobytes())
    stream.write(struct.pack("<QQQQ", time_us, time_us, len(color), len(depth)))
    stream.write(color)
    stream.write(depth)


def _write_imu(stream: BinaryIO, count: int) -> None:
    """One measurement per frame: a device at rest, so rates are 0 and gravity points down; time in microseconds."""
    stream.write(struct.pack("<Q", count))
    for index in range(count):
        stream.write(struct.pack("<15d", *[0.0] * 13, -1.0, 0.0) + struct.pack("<Q", index * FRAME_MICROSECONDS))


def depth_to_millimetres(depth_m: Float32[np.ndarray, "height width"]) -> np.ndarray:
    """Depth as uint16 millimetres, rounded; what does not fit into 16 bits is missing (0)."""
    millimetres = np.rint(np.asarray(depth_m, dtype=np.float64) * MILLIMETRES)
    fits = np.isfinite(millimetres) & (millimetres > 0) & (millimetres < 65_536)
    return np.where(fits, millimetres, 0).astype(np.uint16)


def _check_sizes(path: Path, sensor: Sensor, frame: SensorFrame, index: int) -> None:
    found = (frame.rgb.shape[1::-1], frame.depth_m.shape[::-1])
    if found != (sensor.color_size, sensor.depth_size):
        raise InputError(
            f"{path}: frame {index} has color and depth of {found}, expected {(sensor.color_size, sensor.depth_size)}"
        )
