"""The records of COLMAP's model files as plain rows, from binary or text; nothing is checked but the form."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int64

from qa_generation.errors import SceneError

# id, model, width, height, parameters
CameraRow = tuple[int, str, int, int, tuple[float, ...]]
# id, quaternion w x y z, translation, camera id, name
ImageRow = tuple[int, tuple[float, ...], tuple[float, ...], int, str]
# id, position, ids of the images that saw it
PointRow = tuple[int, tuple[float, ...], Int64[np.ndarray, " images"]]
Row = TypeVar("Row")

# number in binary files -> name, how many parameters
MODELS = (
    ("SIMPLE_PINHOLE", 3), ("PINHOLE", 4), ("SIMPLE_RADIAL", 4), ("RADIAL", 5), ("OPENCV", 8), ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12), ("FOV", 5), ("SIMPLE_RADIAL_FISHEYE", 4), ("RADIAL_FISHEYE", 5), ("THIN_PRISM_FISHEYE", 12),
    ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
)  # fmt: skip
# the longest file name that is believed; without a bound a damaged file would be one name
MAX_NAME_BYTES = 4096


def camera_rows(path: Path) -> Iterator[CameraRow]:
    """The rows of ``cameras.bin`` or ``cameras.txt``; raises ``SceneError`` where the file is cut off or malformed."""
    if path.suffix == ".bin":
        return _binary_rows(path, _binary_camera)
    return (_text_row(path, number, line, _text_camera) for number, line in _text_lines(path))


def image_rows(path: Path) -> Iterator[ImageRow]:
    """The rows of ``images.bin`` or ``images.txt``; raises ``SceneError`` where the file is cut off or malformed."""
    if path.suffix == ".bin":
        return _binary_rows(path, _binary_image)
    return _text_images(path)


def point_rows(path: Path) -> Iterator[PointRow]:
    """The rows of ``points3D.bin`` or ``.txt``; raises ``SceneError`` where the file is cut off or malformed."""
    if path.suffix == ".bin":
        return _binary_rows(path, _binary_point)
    return (_text_row(path, number, line, _text_point) for number, line in _text_lines(path))


def _binary_rows(path: Path, take: Callable[[_Cursor], Row]) -> Iterator[Row]:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(data)
        count, done = None, 0
        try:
            (count,) = cursor.take("<Q")
            while done < count:
                yield take(cursor)
                done += 1
        except (struct.error, _CutOffError):
            place = "in its first number" if count is None else f"in record {done + 1} of {count}"
            raise SceneError(f"{path}: is truncated {place}, expected a whole COLMAP file") from None
        except (_UnknownModelError, UnicodeDecodeError) as error:
            raise SceneError(f"{path}: record {done + 1} of {count}: {error}") from None
        if cursor.position != len(data):
            extra = len(data) - cursor.position
            raise SceneError(f"{path}: {extra} bytes follow its {count} records, expected none")


class _CutOffError(Exception):
    """The data end inside a record."""


class _UnknownModelError(Exception):
    """A camera model of a number or name that COLMAP does not have."""


class _Cursor:
    """Takes fields one after the other from mapped bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.position = data, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return values

    def skip(self, count: int) -> int:
        """Moves on by ``count`` bytes and returns where they begin."""
        start = self.position
        if count > len(self.data) - start:
            raise _CutOffError
        self.position += count
        return start

    def text(self) -> str:
        end = self.data.find(b"\0", self.position, self.position + MAX_NAME_BYTES)
        if end < 0:
            raise _CutOffError
        name = self.data[self.position : end].decode("utf-8")
        self.position = end + 1
        return name


def _binary_camera(cursor: _Cursor) -> CameraRow:
    camera_id, model, width, height = cursor.take("<IiQQ")
    if not 0 <= model < len(MODELS):
        raise _UnknownModelError(f"camera {camera_id} has model number {model}, expected 0 to {len(MODELS) - 1}")
    name, count = MODELS[model]
    return camera_id, name, width, height, cursor.take(f"<{count}d")


def _binary_image(cursor: _Cursor) -> ImageRow:
    image_id, *pose, camera_id = cursor.take("<I7dI")
    name = cursor.text()
    (points,) = cursor.take("<Q")
    cursor.skip(24 * points)  # x, y, id of the point
    return image_id, tuple(pose[:4]), tuple(pose[4:]), camera_id, name


def _binary_point(cursor: _Cursor) -> PointRow:
    point_id, *xyz = cursor.take("<Q3d")
    cursor.take("<3Bd")  # colour, error
    (length,) = cursor.take("<Q")
    start = cursor.skip(8 * length)
    # pairs of image id and index of the 2D point there; copied, since the mapping ends with the file
    pairs = np.frombuffer(cursor.data, dtype="<u4", count=2 * length, offset=start)
    seen_by = pairs[::2].astype(np.int64)
    del pairs
    return point_id, tuple(xyz), seen_by


def _text_lines(path: Path, keep_blank: bool = False) -> Iterator[tuple[int, str]]:
    """Lines with their number from 1, without comments."""
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.startswith("#") and (keep_blank or line.strip()):
                    yield number, line.strip()
    except UnicodeDecodeError as error:
        raise SceneError(f"{path}: cannot be read as text ({error})") from None


def _text_row(path: Path, number: int, line: str, take: Callable[[str], Row]) -> Row:
    try:
        return take(line)
    except (ValueError, IndexError, OverflowError, _UnknownModelError) as error:
        raise SceneError(f"{path}: line {number} is no record of a COLMAP model ({error})") from None


def _text_camera(line: str) -> CameraRow:
    camera_id, model, width, height, *params = line.split()
    counts = dict(MODELS)
    if model not in counts:
        raise _UnknownModelError(f"camera model {model!r}, expected one of {', '.join(counts)}")
    if len(params) != counts[model]:
        raise ValueError(f"{model} with {len(params)} parameters, expected {counts[model]}")
    return int(camera_id), model, int(width), int(height), tuple(float(word) for word in params)


def _text_images(path: Path) -> Iterator[ImageRow]:
    """Two lines for each image; the second lists its 2D points and is blank where there are none."""
    lines = _text_lines(path, keep_blank=True)
    for number, line in lines:
        if not line:  # at the end of the file
            continue
        yield _text_row(path, number, line, _text_image)
        next(lines, None)


def _text_image(line: str) -> ImageRow:
    words = line.split(maxsplit=9)
    if len(words) != 10:
        raise ValueError(f"{len(words)} words, expected 10: id, quaternion, translation, camera id, name")
    pose = tuple(float(word) for word in words[1:8])
    return int(words[0]), pose[:4], pose[4:], int(words[8]), words[9]


def _text_point(line: str) -> PointRow:
    words = line.split()
    if len(words) < 8 or len(words) % 2:
        raise ValueError(f"{len(words)} words, expected 8 and two more for each image")
    seen_by = np.array([int(word) for word in words[8::2]], dtype=np.int64)
    return int(words[0]), tuple(float(word) for word in words[1:4]), seen_by
