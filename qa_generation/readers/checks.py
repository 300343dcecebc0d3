"""Checks that every reader makes on what it finds on disk; each raises `SceneError` with one clear sentence.

``where`` names the file and the field, so that the message can be acted on, e.g. ``room_0_00001/scene.json: view 3``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from PIL import Image

from qa_generation.errors import SceneError

# rounding in text files moves R^T R this far from identity at most; a scaled or sheared pose moves it further
RIGID_TOLERANCE = 1e-3
# larger than any camera of the supported datasets, small enough to keep a hostile file from filling the memory
MAX_IMAGE_PIXELS = 64_000_000
# the last bytes of a whole file
_ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def check_pose(matrix: Any, where: str) -> Float64[np.ndarray, " *shape"]:
    """The pose as float64; raises `SceneError` unless it is finite and rigid (a rotation, no scale, no mirror)."""
    pose = _as_float64(matrix, where)
    if pose.shape != (4, 4):
        raise SceneError(f"{where}: pose has shape {pose.shape}, expected (4, 4)")
    if not np.isfinite(pose).all():
        raise SceneError(f"{where}: pose holds NaN or infinity, expected finite numbers")
    if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
        raise SceneError(f"{where}: last row of the pose is {pose[3].tolist()}, expected [0, 0, 0, 1]")
    rotation = pose[:3, :3]
    error = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if error > RIGID_TOLERANCE:
        raise SceneError(f"{where}: pose is not rigid (R^T R is off by {error:.3g}), expected a rotation without scale")
    if np.linalg.det(rotation) < 0:
        raise SceneError(f"{where}: pose mirrors space (determinant -1), expected a rotation")
    return pose


def check_intrinsics(matrix: Any, size: tuple[int, int], where: str) -> Float64[np.ndarray, " *shape"]:
    """The pinhole matrix as float64; raises `SceneError` for a bad focal length, or a centre outside the picture."""
    intrinsics = _as_float64(matrix, where)
    if intrinsics.shape != (3, 3):
        raise SceneError(f"{where}: intrinsics have shape {intrinsics.shape}, expected (3, 3)")
    if not np.isfinite(intrinsics).all():
        raise SceneError(f"{where}: intrinsics hold NaN or infinity, expected finite numbers")
    if not np.allclose(intrinsics[2], [0, 0, 1]) or abs(intrinsics[1, 0]) > 1e-9:
        raise SceneError(f"{where}: intrinsics are {intrinsics.tolist()}, expected an upper triangular pinhole matrix")
    focal_x, focal_y = float(intrinsics[0, 0]), float(intrinsics[1, 1])
    if focal_x <= 0 or focal_y <= 0:
        raise SceneError(f"{where}: focal length is ({focal_x:g}, {focal_y:g}) pixels, expected two positive numbers")
    width, height = size
    if not (0 <= intrinsics[0, 2] <= width and 0 <= intrinsics[1, 2] <= height):
        center = intrinsics[:2, 2].tolist()
        raise SceneError(f"{where}: principal point {center} lies outside the {width}x{height} picture")
    return intrinsics


def check_size(size: Any, where: str) -> tuple[int, int]:
    """(width, height) as ints; raises `SceneError` unless both are positive and the picture is of bearable size."""
    try:
        width, height = (int(n) for n in size)
    except (TypeError, ValueError, OverflowError):
        raise SceneError(f"{where}: size is {size!r}, expected [width, height]") from None
    if width <= 0 or height <= 0 or width * height > MAX_IMAGE_PIXELS:
        raise SceneError(f"{where}: size is {width}x{height}, expected 1 to {MAX_IMAGE_PIXELS} pixels")
    return width, height


def check_file(path: Path, what: str) -> Path:
    """The path itself; raises `SceneError` where there is no file or an empty one."""
    if not path.is_file():
        raise SceneError(f"{path}: no such file, expected {what}")
    if path.stat().st_size == 0:
        raise SceneError(f"{path}: file is empty, expected {what}")
    return path


def check_image(data: bytes, size: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """(width, height) of an encoded picture; `SceneError` when it is truncated, no picture or of another size."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            found = check_size(image.size, where)
            image.load()
    except SceneError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for broken files
        raise SceneError(f"{where}: picture cannot be decoded ({error}), expected a whole JPEG or PNG") from None
    if size is not None and found != tuple(size):
        raise SceneError(f"{where}: picture is {found[0]}x{found[1]}, expected {size[0]}x{size[1]}")
    return found


def check_views(count: int, where: str) -> None:
    """Raises `SceneError` for fewer than two views: no multi-view question can be asked there."""
    if count < 2:
        raise SceneError(f"{where}: scene has {count} usable view{'' if count == 1 else 's'}, expected at least 2")


def _as_float64(matrix: Any, where: str) -> Float64[np.ndarray, " *shape"]:
    try:
        return np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SceneError(f"{where}: found {type(matrix).__name__} that is no matrix of numbers") from None


def check_image_file(path: Path, size: tuple[int, int]) -> None:
    """Raises `SceneError` for a picture that is missing, of another size, or cut off; reads its two ends only."""
    check_file(path, f"a picture of {size[0]}x{size[1]}")
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            found, kind = check_size(image.size, str(path)), image.format
    except SceneError:
        raise
    except Exception as error:  # as above
        raise SceneError(f"{path}: picture cannot be decoded ({error}), expected a whole JPEG or PNG") from None
    if found != tuple(size):
        raise SceneError(f"{path}: picture is {found[0]}x{found[1]}, expected {size[0]}x{size[1]}")
    ending = _ENDINGS[str(kind)]
    with path.open("rb") as stream:
        stream.seek(-min(len(ending), path.stat().st_size), io.SEEK_END)
        if stream.read() != ending:
            raise SceneError(f"{path}: picture is truncated, expected a whole {kind}")
