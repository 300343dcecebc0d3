"""The posed frames of one capture before they become views: poses still in the dataset's own world frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from qa_generation.scene import Blob

# every 10th frame, as the published questions use; short captures are kept whole
STRIDE = 10
SHORT_CAPTURE = 300

ReadDepth = Callable[[], Float32[np.ndarray, "height width"]]


@dataclass(frozen=True, eq=False)
class CapturedFrame:
    """One frame as it was captured.

    Attributes:
        index: number in the original video.
        where: file (and frame) to name when something is wrong with it.
        camera_to_world: OpenCV axes, metres; not finite where tracking was lost.
        image: encoded picture.
        read_depth: depth on the picture's pixel grid in metres; None where there is none.
    """

    index: int
    where: str
    camera_to_world: Float64[np.ndarray, "4 4"]
    image: Blob
    read_depth: ReadDepth | None


@dataclass(frozen=True, eq=False)
class Capture:
    """The chosen frames of a capture.

    Attributes:
        path: container or folder they come from.
        total: frames there are, of which every ``stride``-th is in ``frames``.
        size: (width, height) of every picture, pixels.
        intrinsics: pinhole matrix for pictures of ``size``.
        intrinsics_source: file and field that it comes from.
        notes: remarks for the person who runs the job.
    """

    path: Path
    total: int
    stride: int
    size: tuple[int, int]
    intrinsics: Float64[np.ndarray, "3 3"]
    intrinsics_source: str
    frames: tuple[CapturedFrame, ...]
    notes: tuple[str, ...] = ()


def choose_stride(total: int, wanted: int | None) -> int:
    """``wanted`` where it is given, else every 10th frame, or every frame of a capture of at most 300."""
    return wanted or (1 if total <= SHORT_CAPTURE else STRIDE)
