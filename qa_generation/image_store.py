"""Copies the pictures of used frames into the generated dataset, in the published folder layout."""

from __future__ import annotations

import io
import re
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from qa_generation.errors import SceneError
from qa_generation.scene import View

MAX_PIXELS = 64_000_000
JPEG_QUALITY = 95
_JPEG_START = b"\xff\xd8\xff"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\Z")


def check_name(kind: str, name: str) -> str:
    """The name itself when it may become a file name; raises ``SceneError`` otherwise."""
    if not _SAFE_NAME.match(name) or ".." in name:
        raise SceneError(f"{kind} {name!r} cannot be a file name, expected letters, digits, '_', '-', '.' or '+'")
    return name


def store_image(view: View, path: Path) -> None:
    """Writes the view's picture as ``path`` (JPEG); JPEG bytes are kept as they are, others encoded once.

    Raises:
        SceneError: the picture is missing, unreadable, not of the announced size or too large.
    """
    try:
        content = view.image.read()
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise SceneError(
                    f"{view.image.path}: {image.width} x {image.height} pixels, expected at most 64 million"
                )
            if image.size != view.size:
                raise SceneError(
                    f"{view.image.path}: size {image.size}, expected {view.size} as view {view.view_id} says"
                )
            if not content.startswith(_JPEG_START):
                encoded = io.BytesIO()
                image.convert("RGB").save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
                content = encoded.getvalue()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        if isinstance(error, SceneError):
            raise
        raise SceneError(f"{view.image.path}: picture of view {view.view_id} cannot be read ({error})") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
