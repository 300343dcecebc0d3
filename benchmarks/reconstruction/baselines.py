"""Answers that need no network: what looking at nothing gets, and what knowing everything gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.reconstruction.alignment import transform_points
from benchmarks.reconstruction.evaluate import Prediction
from benchmarks.reconstruction.frames import PosedFrame
from qa_generation.seeding import generator

_FIELD_OF_VIEW_DEG = 60.0


@dataclass(frozen=True)
class ConstantDepth:
    """Every frame is the same flat wall, one unit in front of a camera that never moves and sees 60 degrees."""

    image_px: int
    name: ClassVar[str] = "constant-depth"

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        height, width = frames[0].view.depth.shape
        focal = max(height, width) / 2 / np.tan(np.radians(_FIELD_OF_VIEW_DEG / 2))
        rows, columns = np.indices((height, width))
        wall = np.stack([(columns - width / 2) / focal, (rows - height / 2) / focal, np.ones((height, width))], axis=-1)
        return Prediction(np.repeat(wall[None], len(frames), axis=0).astype(np.float32))


@dataclass(frozen=True)
class GroundTruth:
    """The measured points themselves in the first camera: the best result the protocol allows.

    Attributes:
        image_px: side of the pictures.
        scale: lengths are multiplied by it.
        shift: distance by which everything is moved along the first camera's axis, after scaling.
        noise: standard deviation per coordinate, in the dataset's unit, before scaling.
        seed: of the noise.
    """

    image_px: int
    scale: float = 1.0
    shift: float = 0.0
    noise: float = 0.0
    seed: int = 0
    name: ClassVar[str] = "ground-truth"

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        to_camera = np.linalg.inv(frames[0].camera_to_world)
        points = np.stack([transform_points(frame.world_points().astype(np.float64), to_camera) for frame in frames])
        rng = generator(self.seed, "ground truth noise", *(frame.name for frame in frames))
        points = points + rng.normal(0, self.noise, points.shape) if self.noise else points
        return Prediction((points * self.scale + [0, 0, self.shift]).astype(np.float32))


BASELINES: dict[str, type[ConstantDepth] | type[GroundTruth]] = {
    each.name: each for each in (ConstantDepth, GroundTruth)
}
