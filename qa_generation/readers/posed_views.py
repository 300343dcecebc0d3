"""What the readers with a camera of its own for every picture have in common: choosing frames, and their views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qa_generation.readers.captures import choose_stride
from qa_generation.scene import View


@dataclass(frozen=True, eq=False)
class PosedViews:
    """The usable views of a capture, ``total`` frames it could choose from, and remarks on what was left out."""

    path: Path
    total: int
    views: tuple[View, ...]
    notes: tuple[str, ...] = ()


def thin(numbers: Sequence[int], wanted: int | None) -> list[int]:
    """Of rising frame numbers the first in every block of ``wanted`` frames of the original video.

    Without a wish blocks are of 10, or of 1 where there are at most 300 numbers. Frames 0, 10, 20 ... are chosen where
    they are there, and a list that holds no others is not thinned again.
    """
    stride = choose_stride(len(numbers), wanted)
    return sorted({number // stride: number for number in sorted(numbers, reverse=True)}.values())
