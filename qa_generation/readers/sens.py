"""The ``.sens`` container of ScanNet: its header, a seekable index of its frames, and its depth maps.

Layout as the dataset documents it, versions 3 and 4. Pictures and depth maps stay in the file: the index holds spans.
Every count and size in the file is held against the size of the file before it is used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Float64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file, check_size
from qa_generation.scene import Blob

COLOR_CODINGS = {-1: "unknown", 0: "raw", 1: "png", 2: "jpeg"}
DEPTH_CODINGS = {-1: "unknown", 0: "raw_ushort", 1: "zlib_ushort", 2: "occi_ushort"}
MAX_NAME_BYTES = 4_096
IMU_BYTES = 5 * 3 * 8 + 8
FRAME_HEAD = struct.Struct("<16f4Q")
# an encoded picture is never much larger than its pixels; what is beyond this is a damaged length field
CODING_SLACK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class SensHeader:
    """What a ``.sens`` file says once for all frames.

    Attributes:
        intrinsic_color, intrinsic_depth: pinhole matrices in pixels of ``color_size`` and ``depth_size``.
        extrinsic_color, extrinsic_depth: 4x4, identity in the published scans.
        color_size, depth_size: (width, height) in pixels.
        depth_shift: stored depth units per metre.
        frames_offset: byte where the first frame starts.
    """

    path: Path
    version: int
    sensor_name: str
    intrinsic_color: Float64[np.ndarray, "3 3"]
    extrinsic_color: Float64[np.ndarray, "4 4"]
    intrinsic_depth: Float64[np.ndarray, "3 3"]
    extrinsic_depth: Float64[np.ndarray, "4 4"]
    color_coding: str
    depth_coding: str
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    depth_shift: float
    frame_count: int
    frames_offset: int


@dataclass(frozen=True, eq=False)
class SensFrame:
    """One frame: ``index`` counts from 0 in the file; the pose is not finite where tracking was lost."""

    index: int
    camera_to_world: Float64[np.ndarray, "4 4"]
    color: Blob
    depth: Blob


class _Cursor:
    """Reads fixed-size fields in order, with errors that name the file and the field."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self.stream = stream
        self.size = path.stat().st_size
        self.offset = stream.tell()

    def take(self, count: int, field: str) -> bytes:
        self.require(count, field)
        self.stream.seek(self.offset)
        data = self.stream.read(count)
        if len(data) != count:
            raise SceneError(f"{self.path}: {field} cannot be read, {len(data)} of {count} bytes came")
        self.offset += count
        return data

    def skip(self, count: int, field: str) -> Blob:
        self.require(count, field)
        span = Blob(self.path, self.offset, count)
        self.offset += count
        return span

    def require(self, count: int, field: str) -> None:
        left = self.size - self.offset
        if count > left:
            raise SceneError(f"{self.path}: truncated in {field}, which needs {count} bytes where {left} are left")

    def unpack(self, layout: str, field: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout), field))

    def matrix(self, field: str) -> Float64[np.ndarray, "4 4"]:
        return np.frombuffer(self.take(64, field), dtype="<f4").reshape(4, 4).astype(np.float64)


def read_sens_header(path: Path) -> SensHeader:
    """The header of the ``.sens`` file; raises ``SceneError`` when it is missing, truncated or of another kind."""
    with _open(path) as stream:
        cursor = _Cursor(path, stream)
        (version,) = cursor.unpack("<I", "the version number")
        if version not in (3, 4):
            raise SceneError(f"{path}: version is {version}, expected 3 or 4; is it a ScanNet .sens file?")
        (name_bytes,) = cursor.unpack("<Q", "the length of the sensor name")
        if name_bytes > MAX_NAME_BYTES:
            raise SceneError(f"{path}: sensor name has {name_bytes} bytes, expected at most {MAX_NAME_BYTES}")
        name = cursor.take(name_bytes, "the sensor name").decode("utf-8", errors="replace")
        calibration = [
            cursor.matrix(f"the header ({what} calibration)") for what in ("color", "color", "depth", "depth")
        ]
        color_coding, depth_coding = cursor.unpack("<2i", "the header (compression types)")
        widths_heights = cursor.unpack("<4I", "the header (picture sizes)")
        (depth_shift,) = cursor.unpack("<f", "the header (depth shift)")
        (frame_count,) = cursor.unpack("<Q", "the header (frame count)")
        header = SensHeader(
            path=path,
            version=version,
            sensor_name=name,
            intrinsic_color=calibration[0][:3, :3],
            extrinsic_color=calibration[1],
            intrinsic_depth=calibration[2][:3, :3],
            extrinsic_depth=calibration[3],
            color_coding=_coding(path, "color", COLOR_CODINGS, color_coding),
            depth_coding=_coding(path, "depth", DEPTH_CODINGS, depth_coding),
            color_size=check_size(widths_heights[:2], f"{path}: color"),
            depth_size=check_size(widths_heights[2:], f"{path}: depth"),
            depth_shift=float(depth_shift),
            frame_count=frame_count,
            frames_offset=cursor.offset,
        )
        if not (np.isfinite(header.depth_shift) and header.depth_shift > 0):
            raise SceneError(f"{path}: depth shift is {header.depth_shift}, expected units per metre above 0")
        cursor.require(frame_count * FRAME_HEAD.size, f"the frames ({frame_count} by the header)")
        return header


def iter_sens_frames(header: SensHeader, stride: int = 1) -> Iterator[SensFrame]:
    """Every ``stride``-th frame in file order, without reading pictures; the whole file is walked and checked.

    Raises:
        SceneError: a frame or the IMU block is truncated, or a length cannot belong to a picture of the stated size.
    """
    path = header.path
    with _open(path) as stream:
        cursor = _Cursor(path, stream)
        cursor.offset = header.frames_offset
        for index in range(header.frame_count):
            field = f"frame {index} of {header.frame_count}"
            *pose, _, _, color_bytes, depth_bytes = FRAME_HEAD.unpack(cursor.take(FRAME_HEAD.size, field))
            _check_length(path, f"{field}: color", color_bytes, header.color_size, channels_bytes=4)
            _check_length(path, f"{field}: depth", depth_bytes, header.depth_size, channels_bytes=2)
            color = cursor.skip(color_bytes, f"the color of {field}")
            depth = cursor.skip(depth_bytes, f"the depth of {field}")
            if index % stride == 0:
                yield SensFrame(index, np.array(pose, dtype=np.float64).reshape(4, 4), color, depth)
        if header.version >= 4:
            (imu_count,) = cursor.unpack("<Q", "the IMU block")
            cursor.require(imu_count * IMU_BYTES, f"the IMU block ({imu_count} measurements)")


def read_sens_depth(
    blob: Blob, coding: str, size: tuple[int, int], depth_shift: float
) -> Float32[np.ndarray, "height width"]:
    """The depth map of one frame in metres along z, 0 where missing.

    Raises:
        SceneError: the coding is not supported or the bytes do not hold ``size`` values.
    """
    width, height = size
    expected = width * height * 2
    where = f"{blob.path}: depth at byte {blob.offset}"
    if coding == "zlib_ushort":
        data = _inflate(blob.read(), expected, where)
    elif coding == "raw_ushort":
        data = blob.read()
    else:
        raise SceneError(f"{where}: compression {coding} is not supported, expected zlib_ushort or raw_ushort")
    if len(data) != expected:
        raise SceneError(f"{where}: holds {len(data)} bytes, expected {expected} for {width}x{height} 16 bit values")
    values = np.frombuffer(data, dtype="<u2").reshape(height, width)
    return values.astype(np.float32) / np.float32(depth_shift)


def _inflate(data: bytes, expected: int, where: str) -> bytes:
    """Unpacks at most one byte more than expected, so a hostile stream cannot fill the memory."""
    unpacker = zlib.decompressobj()
    try:
        result = unpacker.decompress(data, expected + 1)
    except zlib.error as error:
        raise SceneError(f"{where}: is not a zlib stream ({error})") from error
    if len(result) == expected and not unpacker.eof:
        # the checksum may still wait in the input; more pixels would come out as an extra byte
        result += unpacker.decompress(unpacker.unconsumed_tail, 1)
    if not unpacker.eof:
        raise SceneError(f"{where}: zlib stream does not end after the {expected} bytes of one depth map")
    return result


def _open(path: Path) -> BinaryIO:
    check_file(path, "a ScanNet .sens file")
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise SceneError(f"{path}: cannot be opened ({error.strerror})") from error


def _coding(path: Path, what: str, names: dict[int, str], number: int) -> str:
    if number not in names:
        raise SceneError(f"{path}: {what} compression is {number}, expected one of {sorted(names)}")
    return names[number]


def _check_length(path: Path, field: str, count: int, size: tuple[int, int], channels_bytes: int) -> None:
    limit = size[0] * size[1] * channels_bytes + CODING_SLACK_BYTES
    if count > limit:
        raise SceneError(f"{path}: {field} has {count} bytes, expected at most {limit} for {size[0]}x{size[1]} pixels")
