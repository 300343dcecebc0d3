"""Photos from disk as DUSt3R wants them: long edge to a size, centred crop to multiples of 16."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from geometry_encoders.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_PIXELS = 150_000_000
MULTIPLE = 16


def load_images(paths: Path | Sequence[Path], size: int, square_ok: bool = False) -> list[dict[str, Any]]:
    """One view per photo: ``img`` (1, 3, height, width) in -1..1, ``true_shape`` (1, 2), ``idx`` and ``instance``.

    Args:
        paths: photos, or a folder whose photos are taken in the order of their names.
        size: long edge in pixels; 224 means a square crop of that side, as the 224 model wants it.
        square_ok: keep square pictures square instead of cutting them to 4:3.

    Raises:
        InputError: no photo, an unreadable or truncated one, one of more than 150 million pixels, or one so elongated
            that nothing would be left of it.
    """
    if isinstance(paths, Path):
        if not paths.is_dir():
            raise InputError(f"{paths}: no such folder, expected one with photos")
        paths = sorted(path for path in paths.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"no photos found, expected files ending in {', '.join(SUFFIXES)}")
    views = []
    for index, path in enumerate(paths):
        picture = resize_and_crop(_open(path), size, square_ok, str(path))
        values = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
        views.append(
            {
                "img": ((values - 0.5) / 0.5).unsqueeze(0),
                "true_shape": torch.tensor([[picture.height, picture.width]], dtype=torch.int32),
                "idx": index,
                "instance": str(index),
            }
        )
    return views


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(f"{path}: {image.width} x {image.height} pixels, expected at most {MAX_PIXELS:,}")
                return ImageOps.exif_transpose(image).convert("RGB")
    except InputError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: not a readable picture ({error}), expected JPEG or PNG") from error


def resize_and_crop(picture: Image.Image, size: int, square_ok: bool = False, name: str = "picture") -> Image.Image:
    """The picture at the size the network is given; see `load_images`."""
    width, height = picture.size
    longest = max(width, height)
    target = round(size * max(width / height, height / width)) if size == 224 else size
    method = Image.Resampling.LANCZOS if longest > target else Image.Resampling.BICUBIC
    picture = picture.resize((round(width * target / longest), round(height * target / longest)), method)
    middle_x, middle_y = picture.width // 2, picture.height // 2
    if size == 224:
        half_width = half_height = min(middle_x, middle_y)
    else:
        half_width = 2 * middle_x // MULTIPLE * (MULTIPLE // 2)
        half_height = 2 * middle_y // MULTIPLE * (MULTIPLE // 2)
        if picture.width == picture.height and not square_ok:
            half_height = int(3 * half_width / 4)
    if not half_width or not half_height:
        raise InputError(f"{name}: {width} x {height} pixels, too elongated for a long edge of {size} pixels")
    return picture.crop((middle_x - half_width, middle_y - half_height, middle_x + half_width, middle_y + half_height))
