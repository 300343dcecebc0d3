"""Depth maps read from disk, brought to the pixel grid of the picture they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file, check_intrinsics, check_size


def scale_intrinsics(
    intrinsics: Float64[np.ndarray, "3 3"], from_size: tuple[int, int], to_size: tuple[int, int]
) -> Float64[np.ndarray, "3 3"]:
    """The pinhole matrix after a picture of ``from_size`` was resized to ``to_size`` (pixel centres at integers)."""
    scale_x, scale_y = to_size[0] / from_size[0], to_size[1] / from_size[1]
    # in these coordinates the picture starts at -0.5, so that is the point which stays put
    shift_x, shift_y = 0.5 * (scale_x - 1), 0.5 * (scale_y - 1)
    resize = np.array([[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y], [0.0, 0.0, 1.0]])
    return resize @ intrinsics


def resample_depth(
    depth_m: Float32[np.ndarray, "depth_height depth_width"],
    depth_intrinsics: Float64[np.ndarray, "3 3"],
    intrinsics: Float64[np.ndarray, "3 3"],
    size: tuple[int, int],
) -> Float32[np.ndarray, "height width"]:
    """The depth of every pixel of a picture of ``size``: nearest measured ray, 0 outside the depth camera's view.

    Both cameras share one centre and axes, as ScanNet's registered pair does, and have no skew. Nearest rather than
    interpolated, because a mean over a depth edge is a point in mid-air.
    """
    height, width = depth_m.shape
    if (width, height) == size and np.allclose(depth_intrinsics, intrinsics, rtol=0, atol=1e-3):
        return depth_m
    columns = _nearest(size[0], depth_intrinsics[0, 0], depth_intrinsics[0, 2], intrinsics[0, 0], intrinsics[0, 2])
    rows = _nearest(size[1], depth_intrinsics[1, 1], depth_intrinsics[1, 2], intrinsics[1, 1], intrinsics[1, 2])
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None, :]
    picked = depth_m[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)[None, :]]
    return np.where(inside, picked, np.float32(0))


def read_png_depth(path: Path, depth_shift: float) -> Float32[np.ndarray, "height width"]:
    """Metres from a 16 bit picture that counts ``depth_shift`` units per metre; raises ``SceneError`` on any other."""
    check_file(path, "a 16 bit depth map")
    try:
        with Image.open(path) as image:
            check_size(image.size, str(path))
            mode, values = image.mode, np.asarray(image)
    except SceneError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for broken files
        raise SceneError(f"{path}: depth cannot be decoded ({error}), expected a 16 bit PNG or PGM") from None
    if mode not in ("I", "I;16", "I;16B") or values.ndim != 2:
        raise SceneError(f"{path}: depth has mode {mode}, expected one channel of 16 bits")
    return values.astype(np.float32) / np.float32(depth_shift)


def check_no_skew(intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int], where: str) -> None:
    """Raises ``SceneError`` unless this is a usable pinhole matrix without skew."""
    check_intrinsics(intrinsics, size, where)
    if abs(intrinsics[0, 1]) > 1e-6 * intrinsics[0, 0]:
        raise SceneError(f"{where}: skew is {intrinsics[0, 1]:g}, expected 0 for a depth camera")


def _nearest(count: int, depth_focal: float, depth_center: float, focal: float, center: float) -> np.ndarray:
    rays = (np.arange(count) - center) / focal
    nearest = np.rint(rays * depth_focal + depth_center)
    return np.clip(nearest, -1, np.iinfo(np.int32).max).astype(np.int64)
