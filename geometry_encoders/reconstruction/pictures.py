"""Pictures for a reconstruction, from files, folders and videos, at the size that a network wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.image_loading import (
    MAX_PIXELS,
    MULTIPLE,
    list_pictures,
    open_picture,
    picture_suffixes,
    plan_crop,
)
from geometry_encoders.reconstruction.opencv import load_opencv

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
MIN_SIDE = MULTIPLE  # a smaller picture does not even fill one patch

NamedPicture = tuple[str, Image.Image]


@dataclass(frozen=True)
class Framing:
    """How pictures are cut for the network.

    Attributes:
        size: long edge in pixels, or the side of the square; a multiple of 16.
        square: cut a centred square (as the 224 models want it) instead of keeping the shape.
    """

    size: int
    square: bool = False

    def __post_init__(self) -> None:
        if self.size < MIN_SIDE or self.size % MULTIPLE:
            raise InputError(f"size {self.size}: expected a multiple of {MULTIPLE} pixels, e.g. 224 or 512")


@dataclass(frozen=True)
class Picture:
    """A picture as the network sees it.

    Attributes:
        name: file name, for video frames with the number of the frame.
        image: RGB, cut by a `Framing`.
        original_size: (width, height) before.
        original_from_view: homogeneous transform of pixel coordinates of ``image`` to those of the original.
    """

    name: str
    image: UInt8[np.ndarray, "height width 3"]
    original_size: tuple[int, int]
    original_from_view: Float64[np.ndarray, "3 3"]

    @property
    def is_blank(self) -> bool:
        """Whether all pixels have one colour, so that nothing can be told from it."""
        return bool((self.image == self.image[0, 0]).all())


def read_pictures(
    sources: Sequence[Path],
    framing: Framing,
    every: int = 1,
    limit: int | None = None,
    on_original: Callable[[str, Image.Image], None] | None = None,
) -> Iterator[Picture]:
    """The pictures one by one, each read only when its turn comes.

    Args:
        sources: picture files, folders of pictures (taken in the order of their names) and videos, in any mixture.
        every: only every k-th picture, counted over each folder and video, and over all single files.
        limit: so many at most.
        on_original: is given the name and the full-size picture, EXIF orientation applied.

    Raises:
        InputError: an unreadable or truncated file, a folder without pictures, pictures too small or too elongated.
    """
    if every < 1:
        raise InputError(f"every {every}: expected at least 1")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: expected at least 1")
    for name, original in islice(_unique(_originals(sources, every)), limit):
        if min(original.size) < MIN_SIDE:
            raise InputError(
                f"{name}: {original.width} x {original.height} pixels, expected at least {MIN_SIDE} on each side"
            )
        if on_original is not None:
            on_original(name, original)
        crop = plan_crop(original.size, framing.size, square_ok=True, name=name, square=framing.square)
        image = np.array(crop.apply(original))
        yield Picture(name, image, original.size, crop.original_from_crop)


def _originals(sources: Sequence[Path], every: int) -> Iterator[NamedPicture]:
    files = [path for path in sources if not path.is_dir() and path.suffix.lower() not in VIDEO_SUFFIXES]
    chosen = set(files[::every])
    for path in sources:
        if path.is_dir():
            listed = list_pictures(path)
            if not listed:
                endings = ", ".join(picture_suffixes())
                raise InputError(f"{path}: no pictures in this folder, expected files ending in {endings}")
            yield from ((file.name, open_picture(file)) for file in listed[::every])
        elif not path.is_file():
            raise InputError(f"{path}: no such file, expected a picture, a folder of pictures or a video")
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield from _video_frames(path, every)
        elif path in chosen:
            yield path.name, open_picture(path)


def _video_frames(path: Path, every: int) -> Iterator[NamedPicture]:
    """Every k-th frame; those between are skipped undecoded where the format allows it."""
    cv2 = load_opencv()
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise InputError(f"{path}: not a readable video, expected a complete file ({', '.join(VIDEO_SUFFIXES)})")
        width, height = (int(capture.get(prop)) for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            raise InputError(f"{path}: frames of {width} x {height} pixels, expected at most {MAX_PIXELS:,}")
        number = 0
        while capture.grab():
            if number % every == 0:
                decoded, frame = capture.retrieve()
                if not decoded:
                    raise InputError(f"{path}: frame {number} cannot be decoded, expected a complete video")
                yield f"{path.stem}_{number:06d}.png", Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            number += 1
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if number == 0 or number < 0.9 * announced:  # containers round the count, a cut file lacks much more
            raise InputError(f"{path}: {number} of {announced} frames could be read, expected a complete video")
    finally:
        capture.release()


def _unique(pictures: Iterator[NamedPicture]) -> Iterator[NamedPicture]:
    """The same pictures with names whose stems differ, since exports write one file per picture."""
    seen: set[str] = set()
    for name, picture in pictures:
        path, number = Path(name), 1
        stem = path.stem
        while stem.lower() in seen:
            number += 1
            stem = f"{path.stem}_{number}"
        seen.add(stem.lower())
        yield stem + path.suffix, picture
