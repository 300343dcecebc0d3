"""Frames of a capture as the benchmark sees them: pictures, measured depth, cameras, and the true points they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float32, Float64

from geometry_encoders.reconstruction.cropping import CameraImage
from qa_generation.errors import SceneError


@dataclass(frozen=True, eq=False)
class PosedFrame:
    """One frame: ``view`` with intrinsics and depth in the dataset's unit, ``camera_to_world`` with OpenCV axes."""

    name: str
    view: CameraImage
    camera_to_world: Float64[np.ndarray, "4 4"]

    @property
    def valid(self) -> Bool[np.ndarray, "height width"]:
        """Where depth was measured."""
        return (self.view.depth > 0) & np.isfinite(self.view.depth)

    def world_points(self) -> Float32[np.ndarray, "height width 3"]:
        """The true point of every pixel in the world; meaningless where `valid` is False."""
        depth, camera = self.view.depth.astype(np.float64), self.view.intrinsics.astype(np.float64)
        rows, columns = np.indices(depth.shape)
        x = (columns - camera[0, 2]) * depth / camera[0, 0]
        y = (rows - camera[1, 2]) * depth / camera[1, 1]
        local = np.stack([x, y, depth], axis=-1)
        world = local @ self.camera_to_world[:3, :3].T + self.camera_to_world[:3, 3]
        return np.where(self.valid[..., None], world, 0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Capture:
    """One sequence of a dataset, read frame by frame.

    Attributes:
        capture_id: unique in the dataset, e.g. ``chess/seq-03``.
        frames: names of all its frames in the order of recording.
        read: the frame of a name, uncropped; raises `SceneError` naming the file that is wrong.
        error: why it cannot be used as a whole, else None.
    """

    capture_id: str
    frames: tuple[str, ...]
    read: Callable[[str], PosedFrame]
    error: str | None = None


def listed(capture_id: str, describe: Callable[[], Capture]) -> Capture:
    """The capture, or one that tells why it cannot be used: a broken one must not stop the others."""
    try:
        return describe()
    except SceneError as error:
        return Capture(capture_id, (), partial(_refuse, str(error)), str(error))


def _refuse(reason: str, name: str) -> PosedFrame:
    raise SceneError(reason)


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a capture are shown, and in which order.

    Attributes:
        step: every so many frames, from the first.
        reverse: last chosen frame first.
        at_most: evenly spread part of them, None = all.
    """

    step: int
    reverse: bool = False
    at_most: int | None = None

    def choose(self, names: Sequence[str]) -> list[str]:
        """The chosen names in the order of visiting."""
        chosen = list(names[:: self.step])
        if self.at_most is not None and len(chosen) > self.at_most:
            places = np.linspace(0, len(chosen) - 1, self.at_most).round().astype(int)
            chosen = [chosen[place] for place in places]
        return chosen[::-1] if self.reverse else chosen
