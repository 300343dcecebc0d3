"""Photos from disk as RGB pictures: EXIF orientation applied, sizes bounded, errors in one sentence."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from geometry_encoders.errors import InputError

MAX_PIXELS = 150_000_000  # above every phone and most cameras; a bomb of 20,000 x 20,000 is refused unread


def load_photo(path: Path) -> Image.Image:
    """The picture at ``path`` as RGB with its EXIF orientation applied.

    Raises:
        InputError: when the file is missing, no picture, truncated, or has more than ``MAX_PIXELS`` pixels.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a photo (JPEG, PNG, WebP ...)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise InputError(
                        f"{path}: the picture is {width} x {height} = {width * height:,} pixels, "
                        f"expected at most {MAX_PIXELS:,}"
                    )
                return ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable picture ({error}), expected JPEG, PNG or WebP") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: the picture is truncated or damaged ({error}), expected a complete file") from error
