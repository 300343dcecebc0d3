"""Pictures that know their file and are decoded when somebody looks, so that a run over thousands holds few of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from spatialvlm.images import load_photo

_KEPT = 32  # decoded pictures; a phone's photo takes 36 MB


class FilePicture(Image.Image):
    """An RGB picture whose pixels are read from its file on use and soon forgotten again.

    lm-eval keeps every picture of a run in its requests; of ordinary ones it would keep the pixels too, once a model
    has seen them. EXIF orientation is applied.

    Attributes:
        source_path: the file.
        format: ``JPEG`` or ``PNG`` where the file's bytes are this very picture, else None.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        with Image.open(path) as image:
            # of a PNG without EXIF data up to here, Pillow would decode all to look for some at its end
            known = image.format != "PNG" or "exif" in image.info
            turned = known and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            size, plain = image.size, image.mode == "RGB" and not turned
            self.format = image.format if plain and image.format in ("JPEG", "PNG") else None
        self.source_path = path
        self._mode = "RGB"
        self._size = load_photo(Path(path)).size if turned else size

    @property
    def im(self) -> Any:
        """The pixels, as Pillow's methods ask for them."""
        return self._im if self._im is not None else _decoded(self.source_path).im

    @im.setter
    def im(self, pixels: Any) -> None:
        self._im = pixels

    def load(self) -> Any:
        """Access to the pixels; they are not kept."""
        return _decoded(self.source_path).load() if self._im is None else super().load()


@lru_cache(maxsize=_KEPT)
def _decoded(path: str) -> Image.Image:
    return load_photo(Path(path))
