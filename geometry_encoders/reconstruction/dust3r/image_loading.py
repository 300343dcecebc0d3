"""Photos from disk as DUSt3R wants them: long edge to a size, centred crop to multiples of 16."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from PIL import Image, ImageOps, UnidentifiedImageError

from geometry_encoders.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")
HEIF_SUFFIXES = (".heic", ".heif")  # read where pillow-heif is installed
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
        paths = list_pictures(paths)
    if not paths:
        raise InputError(f"no photos found, expected files ending in {', '.join(SUFFIXES)}")
    views = []
    for index, path in enumerate(paths):
        picture = resize_and_crop(open_picture(path), size, square_ok, str(path))
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


def picture_suffixes() -> tuple[str, ...]:
    """Endings of picture files that can be read here; HEIC needs pillow-heif."""
    return SUFFIXES + HEIF_SUFFIXES if _register_heif() else SUFFIXES


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; raises ``InputError`` where there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with photos")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in picture_suffixes())


def _register_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def open_picture(path: Path) -> Image.Image:
    """The picture as RGB with its EXIF orientation applied; raises ``InputError`` as `load_images` does."""
    if path.suffix.lower() in HEIF_SUFFIXES and not _register_heif():
        raise InputError(f"{path}: reading HEIC needs pillow-heif, install it with: pip install pillow-heif")
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


@dataclass(frozen=True)
class Crop:
    """How a picture is cut for the network: resized to ``resized`` (width, height), then cropped to ``box``.

    Attributes:
        original: (width, height) of the picture.
        box: left, upper, right and lower limit in the resized picture.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    box: tuple[int, int, int, int]

    def apply(self, picture: Image.Image) -> Image.Image:
        """The cropped picture: Lanczos where it shrinks, bicubic where it grows."""
        shrinks = max(self.original) > max(self.resized)
        method = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
        return picture.resize(self.resized, method).crop(self.box)

    @property
    def original_from_crop(self) -> Float64[np.ndarray, "3 3"]:
        """Homogeneous transform of pixel coordinates (centres at integers) of the crop to those of the picture."""
        scale_x, scale_y = (before / after for before, after in zip(self.original, self.resized, strict=True))
        return np.array(
            [
                [scale_x, 0, (self.box[0] + 0.5) * scale_x - 0.5],
                [0, scale_y, (self.box[1] + 0.5) * scale_y - 0.5],
                [0, 0, 1],
            ]
        )


def plan_crop(
    original: tuple[int, int], size: int, square_ok: bool = False, name: str = "picture", square: bool | None = None
) -> Crop:
    """The cut of a picture of ``original`` = (width, height); see `load_images`.

    Args:
        square: cut a square of side ``size`` (the rule of 224), or keep the shape; by default what ``size`` says.
    """
    width, height = original
    square = size == 224 if square is None else square
    longest = max(width, height)
    target = round(size * max(width / height, height / width)) if square else size
    resized = (round(width * target / longest), round(height * target / longest))
    middle_x, middle_y = resized[0] // 2, resized[1] // 2
    if square:
        half_width = half_height = min(middle_x, middle_y)
    else:
        half_width = 2 * middle_x // MULTIPLE * (MULTIPLE // 2)
        half_height = 2 * middle_y // MULTIPLE * (MULTIPLE // 2)
        if resized[0] == resized[1] and not square_ok:
            half_height = int(3 * half_width / 4)
    if not half_width or not half_height:
        raise InputError(f"{name}: {width} x {height} pixels, too elongated for a long edge of {size} pixels")
    box = (middle_x - half_width, middle_y - half_height, middle_x + half_width, middle_y + half_height)
    return Crop(original, resized, box)


def resize_and_crop(picture: Image.Image, size: int, square_ok: bool = False, name: str = "picture") -> Image.Image:
    """The picture at the size the network is given; see `load_images`."""
    return plan_crop(picture.size, size, square_ok, name).apply(picture)
