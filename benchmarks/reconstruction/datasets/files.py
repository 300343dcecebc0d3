"""Reads single files of a dataset; everything that is missing or wrong raises `SceneError` with one sentence."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.checks import MAX_IMAGE_PIXELS, check_file

_NO_DEPTH = 65535
NEAREST_DEPTH_M, FARTHEST_DEPTH_M = 1e-3, 10.0


def check_root(root: Path, what: str) -> Path:
    """The folder; raises `InputError` where there is none."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected {what}")
    return root


def read_picture(path: Path, what: str = "a colour picture") -> UInt8[np.ndarray, "height width 3"]:
    """The picture as RGB."""
    with _open(path, what) as picture:
        return np.asarray(picture.convert("RGB"))


def read_grey(path: Path, what: str) -> np.ndarray:
    """A picture with one channel (the first of several), in its own number type."""
    with _open(path, what) as picture:
        values = np.asarray(picture)
    return values if values.ndim == 2 else values[..., 0]


def _open(path: Path, what: str) -> Image.Image:
    check_file(path, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=("PNG", "JPEG"))
            if picture.width * picture.height > MAX_IMAGE_PIXELS:
                raise SceneError(
                    f"{path}: {picture.width}x{picture.height}, expected at most {MAX_IMAGE_PIXELS} pixels"
                )
            picture.load()
    except SceneError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for broken files
        raise SceneError(f"{path}: cannot be decoded ({error}), expected {what}") from None
    return picture


def read_depth_png(path: Path) -> Float32[np.ndarray, "height width"]:
    """Metres from a 16-bit PNG in millimetres; 0 where missing, below 1 mm or beyond 10 m (the protocol's rules)."""
    stored = read_grey(path, "a 16-bit depth PNG in millimetres")
    if stored.dtype == np.uint8:
        raise SceneError(f"{path}: depth has 8 bits per pixel, expected 16 bits in millimetres")
    depth_m = np.where(stored == _NO_DEPTH, 0, stored).astype(np.float32) / np.float32(1000)
    depth_m[(depth_m > FARTHEST_DEPTH_M) | (depth_m < NEAREST_DEPTH_M)] = 0
    return depth_m


def resize_to(picture: UInt8[np.ndarray, "height width 3"], size: tuple[int, int]) -> np.ndarray:
    """The picture at (width, height), itself where it has that size."""
    if picture.shape[:2] == (size[1], size[0]):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def read_matrix(path: Path, shape: tuple[int, int], what: str) -> Float64[np.ndarray, "rows columns"]:
    """Numbers of a text file as a matrix; NaN and infinity pass."""
    check_file(path, what)
    try:
        values = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: not a table of numbers ({error}), expected {what}") from None
    if values.shape != shape:
        raise SceneError(f"{path}: {values.shape[0]}x{values.shape[1]} numbers, expected {what}")
    return values


def check_same_size(depth: np.ndarray, size: tuple[int, int], where: Path, reason: str) -> None:
    """Raises `SceneError` unless the depth map has that (width, height)."""
    if depth.shape != (size[1], size[0]):
        found = f"{depth.shape[1]}x{depth.shape[0]}"
        raise SceneError(f"{where}: depth map is {found}, expected {size[0]}x{size[1]} {reason}")
