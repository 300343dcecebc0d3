"""The size of an encoded picture from its own header, without decoding it."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_size
from qa_generation.scene import Blob

# enough for the header of nearly every picture; the rest is read only where it is not
HEADER_BYTES = 1 << 14


def picture_size(image: Blob, where: str) -> tuple[int, int]:
    """(width, height) as the picture's header tells; raises ``SceneError`` when it has none or is too large."""
    try:
        size = _header_size(image, HEADER_BYTES) or _header_size(image, None)
    except OSError as error:
        raise SceneError(f"{where}: picture cannot be read ({error.strerror})") from error
    if size is None:
        raise SceneError(f"{where}: picture cannot be decoded, its first bytes are no header of a JPEG or PNG")
    return check_size(size, where)


def _header_size(image: Blob, count: int | None) -> tuple[int, int] | None:
    length = image.length if count is None else min(count, image.length or count)
    data = replace(image, length=length).read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
                return picture.size
    except Exception:  # Pillow raises OSError, SyntaxError, struct.error, ... for broken files
        return None
