"""Training samples: a few views of one scene and their true points in the first view's frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from geometry_encoders.reconstruction.pointmap_model import EVERY_PIXEL, PixelGrid
from spatialvlm.training.reconstruction.views import SceneViews
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


def camera_points(
    scene: SceneViews, view: int, pixels: PixelGrid = EVERY_PIXEL, mirrored: bool = False
) -> Float[Tensor, "rows columns 3"]:
    """Points of the selected pixels of a view in its own camera frame, metres; (0, 0, 0) where depth is missing.

    With ``mirrored`` the pixels are counted in the picture turned left to right; the points are those of the true
    world still.
    """
    rows, columns = pixels
    depth, rays_x = scene.depth_m[view], scene.rays_x[view]
    if mirrored:
        depth, rays_x = depth.flip(1), rays_x.flip(0)
    depth = depth[rows, columns].float()
    x, y = rays_x[columns][None, :] * depth, scene.rays_y[view][rows][:, None] * depth
    return torch.stack([x, y, depth], dim=-1)


def assemble(
    scene: SceneViews, views: Sequence[int], mirrored: bool = False, pixels: PixelGrid = EVERY_PIXEL
) -> dict[str, Tensor]:
    """One sample: pictures and, for the selected pixels, true points in the frame of the first view.

    Returns:
        ``pixel_values`` (views, px, px, 3) uint8; ``points`` (views, rows, columns, 3), metres; ``valid`` (views, rows,
        columns); ``overlap`` (views), the share of the first view's points that each view sees.

    ``mirrored`` turns the world into its mirror image: every picture left to right, every x negated.
    """
    world_to_anchor = scene.world_to_camera[views[0]]
    points, valid = [], []
    for view in views:
        to_anchor = (world_to_anchor @ torch.linalg.inv(scene.world_to_camera[view])).float()
        local = camera_points(scene, view, pixels, mirrored)
        points.append(local @ to_anchor[:3, :3].T + to_anchor[:3, 3])
        valid.append(local[..., 2] > 0)
    index = torch.as_tensor(views)
    images: UInt8[Tensor, "views px px 3"] = scene.images[index]
    stacked = torch.stack(points)
    if mirrored:
        images, stacked = images.flip(2), stacked * torch.tensor([-1.0, 1.0, 1.0])
    return {
        "pixel_values": images,
        "points": stacked,
        "valid": torch.stack(valid),
        "overlap": scene.overlap[views[0], index],
    }


def pixel_subset(stride: int, rng: np.random.Generator) -> PixelGrid:
    """Every ``stride``-th row and column, from a random start."""
    row, column = rng.integers(stride, size=2).tolist()
    return slice(row, None, stride), slice(column, None, stride)


def cameras(scene: SceneViews, views: Sequence[int], mirrored: bool = False) -> dict[str, Tensor]:
    """``view_to_first`` (views, 4, 4), metres, and ``intrinsics`` (views, 3, 3), pixels, of the views of a sample."""
    index = torch.as_tensor(views)
    to_first = scene.world_to_camera[views[0]] @ torch.linalg.inv(scene.world_to_camera[index])
    x, y = scene.rays_x[index].double(), scene.rays_y[index].double()
    if mirrored:
        mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
        to_first, x = mirror @ to_first @ mirror, -x.flip(1)
    intrinsics = torch.eye(3, dtype=torch.float64).repeat(len(index), 1, 1)
    pixels = torch.arange(x.shape[1], dtype=torch.float64)
    centred = pixels - pixels.mean()
    for axis, rays in enumerate((x, y)):  # a line through all rays: they are those of the nearest stored pixels
        focal = centred.square().sum() / (rays * centred).sum(1)
        intrinsics[:, axis, axis], intrinsics[:, axis, 2] = focal, pixels.mean() - rays.mean(1) * focal
    return {"view_to_first": to_first.float(), "intrinsics": intrinsics.float()}


class Samples(Dataset[dict[str, Tensor]]):
    """Endless samples: number k depends on (seed, k) only, so any worker and any restart gives the same.

    A sample is asked for by (number, pixels, ratio): ``pixels`` selects those that get true points, ``ratio`` says how
    far a curriculum has come, 0-1. With ``with_cameras`` samples hold `cameras` too. Subclasses choose the views.
    """

    def __init__(
        self, scenes: Sequence[SceneViews], flip_share: float, seed: int, purpose: str, with_cameras: bool = False
    ) -> None:
        self.scenes, self.flip_share = scenes, flip_share
        self.seed, self.purpose, self.with_cameras = seed, purpose, with_cameras
        counts = np.array([len(scene.images) for scene in scenes], dtype=np.float64)
        self.shares = counts.cumsum() / counts.sum()

    def choose(self, scene: int, ratio: float, rng: np.random.Generator) -> list[int]:
        """The views of one sample, first the one that gives the frame of reference."""
        raise NotImplementedError

    def __getitem__(self, item: int | tuple[int, PixelGrid, float]) -> dict[str, Tensor]:
        number, pixels, ratio = item if isinstance(item, tuple) else (item, EVERY_PIXEL, 1.0)
        rng = numpy_generator(self.seed, self.purpose, number)
        index = min(int(np.searchsorted(self.shares, rng.random(), side="right")), len(self.scenes) - 1)
        views = self.choose(index, ratio, rng)
        scene, mirrored = self.scenes[index], bool(rng.random() < self.flip_share)
        sample = assemble(scene, views, mirrored, pixels)
        return sample | cameras(scene, views, mirrored) if self.with_cameras else sample


class ViewSets(Samples):
    """Views around an anchor that they overlap, as `draw_views` chooses them."""

    def __init__(
        self,
        scenes: Sequence[SceneViews],
        sampling: Sampling,
        seed: int,
        purpose: str,
        with_cameras: bool = False,
    ) -> None:
        super().__init__(scenes, sampling.flip_share, seed, purpose, with_cameras)
        self.sampling = sampling
        self.overlaps = [scene.overlap.numpy() for scene in scenes]

    def choose(self, scene: int, ratio: float, rng: np.random.Generator) -> list[int]:
        """An anchor and other views of that scene; ``ratio`` is not looked at."""
        return draw_views(self.overlaps[scene], self.sampling, rng)


def held_out_split(scenes: Sequence[SceneViews], share: float) -> tuple[list[SceneViews], list[SceneViews]]:
    """Scenes for training and held-out scenes, chosen by a hash of their ids; at least one of each where there are two.

    A single scene is in both lists.
    """
    draws = [float(numpy_generator(0, "held out", scene.scene_id).random()) for scene in scenes]
    count = min(max(sum(draw < share for draw in draws), 1), len(scenes) - 1)
    order = np.argsort(draws)
    held = {int(index) for index in order[:count]}
    train = [scene for index, scene in enumerate(scenes) if index not in held]
    return train, [scenes[index] for index in sorted(held)] or list(scenes)
