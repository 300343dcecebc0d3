"""Looks at both ends of an encoded picture, wherever it lies, without decoding it."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_size
from qa_generation.scene import Blob

# enough for the header of nearly every picture; the rest is read only where it is not
HEADER_BYTES = 1 << 14
# some cameras pad their files, so the end marker may stand a little before the end
TAIL_BYTES = 1 << 10
END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}


def check_picture(image: Blob, where: str) -> tuple[int, int]:
    """(width, height) as the picture's header tells.

    Raises:
        SceneError: it is no JPEG or PNG, too large, or cut off before its end.
    """
    if not image.path.is_file():  # reading a named pipe would wait for ever
        raise SceneError(f"{where}: picture cannot be read, {image.path} is no file")
    try:
        length = image.path.stat().st_size - image.offset if image.length is None else image.length
        found = _header(_part(image, 0, HEADER_BYTES, length)) or _header(_part(image, 0, length, length))
        tail = _part(image, max(length - TAIL_BYTES, 0), TAIL_BYTES, length)
    except OSError as error:
        raise SceneError(f"{where}: picture cannot be read ({error.strerror})") from error
    if found is None:
        raise SceneError(f"{where}: picture cannot be decoded, its first bytes are no header of a JPEG or PNG")
    kind, size = found
    if END_MARKERS[kind] not in tail:
        raise SceneError(f"{where}: picture is truncated, expected a whole {kind}")
    return check_size(size, where)


def _part(image: Blob, start: int, count: int, length: int) -> bytes:
    return Blob(image.path, image.offset + start, min(count, length - start)).read()


def _header(data: bytes) -> tuple[str, tuple[int, int]] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
                return str(picture.format), picture.size
    except Exception:  # Pillow raises OSError, SyntaxError, struct.error, ... for broken files
        return None
