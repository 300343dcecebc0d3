"""A picture from a file does whatever an opened one does, and lets go of its pixels."""

from __future__ import annotations

import gc
import weakref
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.spatialmosaic import file_picture
from benchmarks.spatialmosaic.file_picture import FilePicture
from geometry_encoders.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_every_common_use_gives_what_the_opened_picture_gives(path: Path) -> None:
    picture, plain = FilePicture(str(path)), Image.open(path)
    assert (picture.size, picture.mode, picture.format, picture.width) == (plain.size, plain.mode, "PNG", 9)
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(plain))
    for change in (
        lambda image: image.resize((5, 4)),
        lambda image: image.convert("L"),
        lambda image: image.convert("RGB"),
        lambda image: image.copy(),
        lambda image: image.crop((1, 1, 4, 3)),
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
    ):
        np.testing.assert_array_equal(np.asarray(change(picture)), np.asarray(change(plain)))
    assert picture.getpixel((2, 3)) == plain.getpixel((2, 3)) and picture.tobytes() == plain.tobytes()
    thumbnail = picture.copy()
    thumbnail.thumbnail((3, 3))
    assert thumbnail.size == (3, 2)
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), np.asarray(plain))


def test_pixels_are_let_go(path: Path) -> None:
    picture = FilePicture(str(path))
    np.asarray(picture)
    picture.save(BytesIO(), format="PNG")
    held = weakref.ref(file_picture._decoded(str(path)))
    assert held() is not None
    file_picture._decoded.cache_clear()
    gc.collect()
    assert held() is None and picture._im is None
    assert picture.getpixel((0, 0)) == Image.open(path).getpixel((0, 0))


def test_a_turned_photo_stands_upright(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = path.with_name("turned.jpg")
    Image.open(path).save(turned, exif=exif)
    picture = FilePicture(str(turned))
    assert picture.size == (6, 9) and np.asarray(picture).shape == (9, 6, 3) and picture.format is None


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(path: Path, mode: str) -> None:
    other = path.with_name("other.tif" if mode == "CMYK" else "other.png")
    Image.open(path).convert(mode).save(other)
    picture = FilePicture(str(other))
    assert picture.mode == "RGB" and picture.format is None
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(Image.open(other).convert("RGB")))


def test_a_damaged_file_is_named_on_use(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
    picture = FilePicture(str(path))
    with pytest.raises(InputError, match=r"a\.png: the picture is truncated or damaged"):
        picture.resize((2, 2))
