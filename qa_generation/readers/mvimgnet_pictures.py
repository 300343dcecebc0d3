"""Pictures and masks of one MVImgNet object, checked as they are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.orbit.capture import Mask
from qa_generation.readers.checks import check_file, check_image
from qa_generation.readers.pictures import check_picture
from qa_generation.scene import Blob

THRESHOLD = 127
_ORIENTATION_TAG = 0x0112


def check_upright(picture: Blob, size: tuple[int, int]) -> None:
    """Raises `SceneError` for a picture that is missing, cut off, of another size, or turned by its EXIF tag.

    Intrinsics refer to the stored pixels, which a viewer that heeds the tag would show turned.
    """
    path = check_file(picture.path, "a picture that the model lists")
    found = check_picture(picture, str(path))
    if found != size:
        raise SceneError(f"{path}: picture is {found[0]}x{found[1]}, but its camera is {size[0]}x{size[1]}")
    orientation = _orientation(path)
    if orientation != 1:
        raise SceneError(f"{path}: EXIF orientation is {orientation}, expected 1 (pixels stored upright)")


def _orientation(path: Path) -> int:
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception as error:  # Pillow raises many classes for broken EXIF blocks
        raise SceneError(f"{path}: EXIF data cannot be read ({error})") from None


def find_mask(folder: Path, image_name: str) -> Path:
    """The mask file of a picture: the same base name as JPEG, or as PNG.

    Raises:
        SceneError: there is none.
    """
    stem = image_name.rsplit(".", 1)[0]
    names = [f"{stem}.jpg", f"{stem}.png", f"{image_name}.png"]
    for name in names:
        if (path := folder / "masks" / name).is_file():
            return path
    raise SceneError(f"{folder / 'masks'}: has no mask of {image_name}, expected {names[0]} (version 1: see mask_root)")


def read_mask(path: Path, size: tuple[int, int]) -> Mask:
    """The mask: grey, or the alpha channel where there is one, above 127.

    Raises:
        SceneError: the file is undecodable, of another size, or shows nothing.
    """
    data = check_file(path, "a mask").read_bytes()
    check_image(data, size, str(path))
    with Image.open(io.BytesIO(data)) as image:
        grey = image.getchannel("A") if image.mode in ("RGBA", "LA") else image.convert("L")
        pixels = np.asarray(grey) > THRESHOLD
    try:
        return Mask.of(pixels)
    except ValueError:
        raise SceneError(f"{path}: mask is empty, expected pixels above {THRESHOLD}") from None
