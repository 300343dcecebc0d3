"""Training samples for geometry encoders: a few views of one scene and their true points in the first view's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from spatialvlm.training.geometry_views import SceneViews
from spatialvlm.training.seeding import numpy_generator


@dataclass(frozen=True)
class Sampling:
    """How the views of a sample are chosen.

    Attributes:
        views: views per sample, the first one is the anchor.
        min_overlap: share of the anchor's points that another view has to see.
        far_share: probability that another view is drawn from the whole scene instead, whatever its overlap.
        repeat_share: probability that another view is the anchor itself.
        flip_share: probability that a sample is mirrored, pictures and points alike.
    """

    views: int = 4
    min_overlap: float = 0.1
    far_share: float = 0.15
    repeat_share: float = 0.02
    flip_share: float = 0.5


def draw_views(overlap: Float[np.ndarray, "views views"], sampling: Sampling, rng: np.random.Generator) -> list[int]:
    """Indices of the views of one sample, the anchor first; others are drawn without repetition while they last."""
    anchor = int(rng.integers(len(overlap)))
    chosen = [anchor]
    near = rng.permutation(np.flatnonzero(overlap[anchor] >= sampling.min_overlap))
    everywhere = rng.permutation(len(overlap))
    for _ in range(sampling.views - 1):
        draw = rng.random()
        if draw < sampling.repeat_share:
            chosen.append(anchor)
            continue
        pools = [everywhere] if draw < sampling.repeat_share + sampling.far_share else [near, everywhere]
        fresh = [int(view) for pool in pools for view in pool if view not in chosen]
        chosen.append(fresh[0] if fresh else anchor)
    return chosen


def camera_points(scene: SceneViews, view: int) -> Float[Tensor, "px px 3"]:
    """Points of every pixel of a view in its own camera frame, metres; (0, 0, 0) where depth is missing."""
    depth = scene.depth_m[view].float()
    x, y = scene.rays_x[view][None, :] * depth, scene.rays_y[view][:, None] * depth
    return torch.stack([x, y, depth], dim=-1)


def assemble(scene: SceneViews, views: Sequence[int], mirrored: bool = False) -> dict[str, Tensor]:
    """One sample: ``pixel_values`` (views, px, px, 3) uint8, ``points`` (views, px, px, 3) metres in the frame of the
    first view, ``valid`` (views, px, px), and ``overlap`` (views) with the first view.

    ``mirrored`` turns the world into its mirror image: every picture left to right, every x negated.
    """
    world_to_anchor = scene.world_to_camera[views[0]]
    points = []
    for view in views:
        to_anchor = (world_to_anchor @ torch.linalg.inv(scene.world_to_camera[view])).float()
        points.append(camera_points(scene, view) @ to_anchor[:3, :3].T + to_anchor[:3, 3])
    index = torch.as_tensor(views)
    images: UInt8[Tensor, "views px px 3"] = scene.images[index]
    valid: Bool[Tensor, "views px px"] = scene.depth_m[index] > 0
    stacked = torch.stack(points)
    if mirrored:
        images, valid = images.flip(2), valid.flip(2)
        stacked = stacked.flip(2) * torch.tensor([-1.0, 1.0, 1.0])
    return {"pixel_values": images, "points": stacked, "valid": valid, "overlap": scene.overlap[views[0], index]}


class ViewSets(Dataset[dict[str, Tensor]]):
    """Endless samples: number k depends on (seed, k) only, so any worker and any restart gives the same."""

    def __init__(self, scenes: Sequence[SceneViews], sampling: Sampling, seed: int, purpose: str) -> None:
        self.scenes, self.sampling, self.seed, self.purpose = scenes, sampling, seed, purpose
        counts = np.array([len(scene.images) for scene in scenes], dtype=np.float64)
        self.shares = counts.cumsum() / counts.sum()
        self.overlaps = [scene.overlap.numpy() for scene in scenes]

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = numpy_generator(self.seed, self.purpose, number)
        index = min(int(np.searchsorted(self.shares, rng.random(), side="right")), len(self.scenes) - 1)
        views = draw_views(self.overlaps[index], self.sampling, rng)
        return assemble(self.scenes[index], views, mirrored=bool(rng.random() < self.sampling.flip_share))


def held_out_split(scenes: Sequence[SceneViews], share: float) -> tuple[list[SceneViews], list[SceneViews]]:
    """Scenes for training and held-out scenes, chosen by a hash of their ids; at least one of each where there are two.

    Raises nothing: with a single scene both lists hold it.
    """
    draws = [float(numpy_generator(0, "held out", scene.scene_id).random()) for scene in scenes]
    count = min(max(sum(draw < share for draw in draws), 1), len(scenes) - 1)
    order = np.argsort(draws)
    held = {int(index) for index in order[:count]}
    train = [scene for index, scene in enumerate(scenes) if index not in held]
    return train, [scenes[index] for index in sorted(held)] or list(scenes)
