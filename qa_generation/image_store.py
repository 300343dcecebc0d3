"""Copies the pictures of used frames into the generated dataset, in the published folder layout."""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from pathlib import Path

from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_image
from qa_generation.scene import View
from qa_generation.whole_files import write_whole

JPEG_QUALITY = 95
_JPEG_START = b"\xff\xd8\xff"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\Z")


NO_NAME = "its id cannot be a file name, expected letters, digits, '_', '-', '.' or '+'"


def is_name(name: str) -> bool:
    """Whether the text may become a file name everywhere."""
    return _SAFE_NAME.match(name) is not None and ".." not in name


def check_name(kind: str, name: str) -> str:
    """The name itself when it may become a file name; raises ``SceneError`` otherwise."""
    if not is_name(name):
        raise SceneError(f"{kind} {name!r} cannot be a file name, expected letters, digits, '_', '-', '.' or '+'")
    return name


def store_image(view: View, path: Path) -> None:
    """Writes the view's picture as ``path`` (JPEG); JPEG bytes are kept as they are, others encoded once.

    Raises:
        SceneError: the picture is missing, unreadable, not of the announced size or too large.
        OutputError: it cannot be written.
    """
    where = f"{view.image.path}: view {view.view_id}"
    try:
        content = view.image.read()
    except OSError as error:
        raise SceneError(f"{where}: picture cannot be read ({error.strerror})") from error
    # decoded to the last row although the bytes are kept: a header tells nothing about a file that was cut off
    check_image(content, view.size, where)
    if not content.startswith(_JPEG_START):
        encoded = io.BytesIO()
        with Image.open(io.BytesIO(content)) as image:
            image.convert("RGB").save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        content = encoded.getvalue()
    write_whole(path, content)


def keep_only(root: Path, folder: Path, used: Collection[str]) -> None:
    """Removes the pictures in ``folder`` that are not among ``used``, paths relative to ``root``."""
    for path in folder.glob("*.jpg"):
        if path.relative_to(root).as_posix() not in used:
            path.unlink()
