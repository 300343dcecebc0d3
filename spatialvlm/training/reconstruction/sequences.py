"""Training samples for Spann3R: frames of one scene, drawn along a path with a window that the curriculum opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatialvlm.training.reconstruction.curriculum import Order, draw_frames, overlap_tour, window_frames
from spatialvlm.training.reconstruction.samples import Samples
from spatialvlm.training.reconstruction.views import SceneViews


@dataclass(frozen=True)
class SequenceSampling:
    """How the frames of a sequence are chosen.

    Attributes:
        frames: frames per sequence, the first is the frame of reference.
        min_window: largest step along the path from one frame to the next, at the start of the training.
        max_window: the same where the curriculum is widest.
        order: the path: ``stored`` for videos, ``tour`` through views in no order, from each to the one of the rest
            that overlaps it most.
        reverse_share: probability that a sequence is walked backwards.
        flip_share: probability that a sequence is mirrored, pictures and points alike.
        min_overlap: share of the first view's points that another view must see to count as near in the figures.
    """

    frames: int = 5
    min_window: int = 1
    max_window: int = 4
    order: Order = "tour"
    reverse_share: float = 0.5
    flip_share: float = 0.5
    min_overlap: float = 0.1

    def __post_init__(self) -> None:
        if self.frames < 3:
            raise ValueError(f"sequence.frames is {self.frames}, expected at least 3: two frames use no memory")
        if not 1 <= self.min_window <= self.max_window:
            raise ValueError(
                f"sequence.min_window {self.min_window} and max_window {self.max_window}: expected 1 <= min <= max"
            )


class FrameSequences(Samples):
    """Sequences of frames of scenes with at least as many views; see `Samples` for what they depend on."""

    def __init__(
        self,
        scenes: Sequence[SceneViews],
        sampling: SequenceSampling,
        seed: int,
        purpose: str,
        with_cameras: bool = False,
    ) -> None:
        super().__init__(scenes, sampling.flip_share, seed, purpose, with_cameras)
        self.sampling = sampling
        self.paths = [
            overlap_tour(scene.overlap.numpy()) if sampling.order == "tour" else np.arange(len(scene.images))
            for scene in scenes
        ]

    def choose(self, scene: int, ratio: float, rng: np.random.Generator) -> list[int]:
        """Frames along the path of that scene, in a window that ``ratio`` opens."""
        how, path = self.sampling, self.paths[scene]
        window = window_frames(how.min_window, how.max_window, ratio)
        return path[draw_frames(len(path), how.frames, window, rng, how.reverse_share)].tolist()
