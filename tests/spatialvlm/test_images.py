"""Photos as people have them: rotated by EXIF, grey, truncated, far too large, not pictures at all."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geometry_encoders.errors import InputError
from spatialvlm.images import load_photo


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((20, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    picture.save(tmp_path / "phone.jpg", exif=exif)
    assert load_photo(tmp_path / "phone.jpg").size == (20, 40)


def test_grey_and_transparent_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "P"):
        Image.new(mode, (8, 6)).save(tmp_path / f"{mode}.png")
        assert load_photo(tmp_path / f"{mode}.png").mode == "RGB"


def test_truncated_photo_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut\.jpg: .*truncated"):
        load_photo(cut)


@pytest.mark.parametrize("size", [(20_000, 20_000), (400_000, 400_000)])
def test_huge_picture_is_refused_unread(tmp_path: Path, size: tuple[int, int]) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(*size))
    with pytest.raises(InputError, match=r"bomb\.png"):
        load_photo(bomb)


def test_text_file_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a picture")
    with pytest.raises(InputError, match=r"notes\.jpg: not a readable picture"):
        load_photo(tmp_path / "notes.jpg")
    with pytest.raises(InputError, match="no such file"):
        load_photo(tmp_path / "missing.jpg")
