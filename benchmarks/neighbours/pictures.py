"""The views of a neighbour's question: frames of its video spread evenly, or pictures that lie in its rows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from qa_generation.errors import InputError
from qa_generation.whole_files import whole_file
from spatialvlm.images import MAX_PIXELS

PUBLISHED_FRAMES = 32
_PICTURES = (".jpg", ".jpeg", ".png")
_VIDEOS = (".mp4", ".mov", ".mkv", ".avi")
_FORMATS = {"JPEG": ".jpg", "PNG": ".png"}


def spread(total: int, count: int) -> list[int]:
    """Indices of ``count`` of ``total`` frames, evenly from the first to the last; all where there are fewer."""
    if total <= count:
        return list(range(total))
    return np.linspace(0, total - 1, count).round().astype(int).tolist() if count > 1 else [total // 2]


class FrameFolders:
    """Finds the frames of scenes under a root: ``ROOT[/DATASET]/SCENE[/images|/color|/frames]/*.jpg``.

    Args:
        root: where the folders lie.
        count: how many frames a question shows.
    """

    def __init__(self, root: Path, count: int = PUBLISHED_FRAMES) -> None:
        self.root, self.count = root, count
        self._listed = lru_cache(maxsize=None)(self._list)

    def frames(self, dataset: str, scene: str) -> tuple[str, ...]:
        """Paths below the root, in the order of their names.

        Raises:
            InputError: naming the scene whose frames are missing, or whose name leaves the root.
        """
        return self._listed(dataset, scene)

    def _list(self, dataset: str, scene: str) -> tuple[str, ...]:
        inside = self.root.resolve()
        for base in (self.root / dataset / scene, self.root / scene):
            if not base.resolve().is_relative_to(inside) or base.resolve() == inside:
                raise InputError(f"{self.root}: scene {scene!r} of dataset {dataset!r} is no folder below it")
            for folder in (base, *(base / name for name in ("images", "color", "frames", "rgb"))):
                names = sorted(path for path in folder.glob("*") if path.suffix.lower() in _PICTURES)
                if names:
                    chosen = [names[index] for index in spread(len(names), self.count)]
                    return tuple(str(path.relative_to(self.root)) for path in chosen)
        video = next((base for base in self._videos(dataset, scene) if base.is_file()), None)
        if video is not None:
            raise InputError(
                f"{video}: a video, expected frames in {video.with_suffix('')}/; take them out first, e.g. "
                f"ffmpeg -i {video} -vf fps=2 {video.with_suffix('')}/%06d.jpg"
            )
        raise InputError(f"{self.root}: no frames of scene {scene!r}, expected {dataset}/{scene}/*.jpg below it")

    def _videos(self, dataset: str, scene: str) -> list[Path]:
        return [self.root / place / f"{scene}{suffix}" for place in (dataset, ".") for suffix in _VIDEOS]


def unpack(pictures: Sequence[Mapping[str, Any]], folder: Path, where: str) -> list[str]:
    """Writes pictures that lie in a row to files named by their content, once each; names below ``folder``.

    Raises:
        InputError: for a picture that is empty, too large, or neither JPEG nor PNG.
    """
    names = []
    for place, picture in enumerate(pictures):
        content = picture.get("bytes") if isinstance(picture, Mapping) else None
        if not content:
            raise InputError(f"{where}: picture {place} has no bytes, expected a file inside the row")
        name = sha256(content).hexdigest()[:24] + _suffix(content, f"{where}: picture {place}")
        if not (folder / name).is_file():
            with whole_file(folder / name) as partial:
                partial.write_bytes(content)
        names.append(name)
    return names


def _suffix(content: bytes, where: str) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            size, form = image.size, image.format
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{where} is not readable ({error}), expected JPEG or PNG") from error
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{where} is {size[0]} x {size[1]} pixels, expected at most {MAX_PIXELS:,} in all")
    if form not in _FORMATS:
        raise InputError(f"{where} is {form}, expected JPEG or PNG")
    return _FORMATS[form]
