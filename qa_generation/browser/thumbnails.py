"""Small copies of the pictures, each made once and shared by all records that show it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from qa_generation.readers.checks import MAX_IMAGE_PIXELS

QUALITY = 80


@dataclass
class Thumbnails:
    """Makes small pictures in ``folder`` on demand and keeps those that are there and not older than their source.

    Attributes:
        dataset: root that the image paths of records start from.
        folder: where small pictures lie.
        width: of the small pictures, pixels.
        missing: image path -> why it cannot be shown.
    """

    dataset: Path
    folder: Path
    width: int
    missing: dict[str, str] = field(default_factory=dict)
    made: dict[str, tuple[str, float]] = field(default_factory=dict)

    def of(self, paths: tuple[str, ...]) -> dict[str, tuple[str, float]]:
        """Path -> (file name in ``folder``, width / height) of those that can be shown."""
        for path in paths:
            if path not in self.made and path not in self.missing:
                try:
                    self.made[path] = self._make(path)
                except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                    self.missing[path] = " ".join(str(error).split()) or type(error).__name__
        return {path: self.made[path] for path in paths if path in self.made}

    def _make(self, name: str) -> tuple[str, float]:
        parts = PurePosixPath(name)
        if not name or parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"image {name!r} leaves the dataset folder")
        source = self.dataset / name
        target = self.folder / f"{hashlib.sha256(f'{self.width} {name}'.encode()).hexdigest()[:16]}.jpg"
        if not target.is_file() or target.stat().st_mtime < source.stat().st_mtime:
            self._write(source, target)
        with Image.open(target) as image:
            return target.name, round(image.width / image.height, 4)

    def _write(self, source: Path, target: Path) -> None:
        with Image.open(source, formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise ValueError(f"{source}: {image.width} x {image.height} pixels are too many")
            width = min(self.width, image.width)
            height = max(1, round(width * image.height / image.width))
            image.draft("RGB", (2 * width, 2 * height))
            small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        small.save(partial, "JPEG", quality=QUALITY)
        partial.replace(target)
