"""An empty box room seen by known cameras: pointmaps and perfect pair predictions worked out with a pencil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

HALF_SIZE = np.array([3.0, 2.0, 4.0])


@dataclass(frozen=True)
class BoxRoom:
    """Cameras in a box around the origin; sizes are (height, width)."""

    camera_to_world: np.ndarray
    focals: np.ndarray
    sizes: tuple[tuple[int, int], ...]
    images: tuple[np.ndarray, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.sizes)

    def intrinsics(self, view: int) -> np.ndarray:
        height, width = self.sizes[view]
        return np.array([[self.focals[view], 0, width / 2], [0, self.focals[view], height / 2], [0, 0, 1]])

    def points(self, view: int) -> np.ndarray:
        """World points (height, width, 3): where the ray of each pixel leaves the box."""
        height, width = self.sizes[view]
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([columns, rows, np.ones_like(rows)], -1)
        pose = self.camera_to_world[view]
        rays = pixels @ np.linalg.inv(self.intrinsics(view)).T @ pose[:3, :3].T
        walls = np.where(rays > 0, HALF_SIZE, -HALF_SIZE)
        with np.errstate(divide="ignore"):
            steps = np.where(rays == 0, np.inf, (walls - pose[:3, 3]) / np.where(rays == 0, 1, rays))
        return pose[:3, 3] + steps.min(-1, keepdims=True) * rays

    def seen_from(self, camera: int, view: int) -> np.ndarray:
        """Points of a view in the frame of another camera."""
        world_to_camera = np.linalg.inv(self.camera_to_world[camera])
        return self.points(view) @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]

    def pair_output(
        self, pairs: Sequence[tuple[int, int]], noise: float = 0.0, seed: int = 0, confidence: float = 10.0
    ) -> dict[str, dict[str, Any]]:
        """What a perfect network would say about the pairs, each at a scale of its own."""
        rows: dict[str, dict[str, list[Any]]] = {part: {} for part in ("view1", "view2", "pred1", "pred2")}
        for i, j in pairs:
            generator = np.random.default_rng([seed, i, j])
            scale = generator.uniform(0.2, 0.6)
            for part, view, key in (("1", i, "pts3d"), ("2", j, "pts3d_in_other_view")):
                points = scale * self.seen_from(i, view)
                points = points + noise * generator.standard_normal(points.shape)
                sure = confidence * (0.9 + 0.1 * generator.random(points.shape[:2]))
                image = np.asarray(generator.uniform(-1, 1, (3, *self.sizes[view])))
                for name, key_, value in (
                    (f"view{part}", "img", torch.from_numpy(image).float()[None]),
                    (f"view{part}", "idx", view),
                    (f"pred{part}", key, torch.from_numpy(points).float()[None]),
                    (f"pred{part}", "conf", torch.from_numpy(sure).float()[None]),
                ):
                    rows[name].setdefault(key_, []).append(value)
        if len(set(self.sizes)) > 1:
            return {
                part: {k: [[v] for v in vs] if k == "idx" else vs for k, vs in r.items()} for part, r in rows.items()
            }
        return {
            part: {key: values if key == "idx" else torch.cat(values) for key, values in row.items()}
            for part, row in rows.items()
        }


def make_room(views: int, sizes: Sequence[tuple[int, int]] = ((24, 32),), seed: int = 0) -> BoxRoom:
    """Cameras that stand in the middle of the room, some steps apart, and look roughly the same way."""
    generator = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (views, 1, 1))
    for pose in poses:
        pose[:3, :3] = Rotation.from_euler(
            "yxz", generator.uniform(-25, 25, 3) * (1, 0.4, 0.3), degrees=True
        ).as_matrix()
        pose[:3, 3] = generator.uniform(-1, 1, 3) * (1.2, 0.6, 1.2)
    all_sizes = tuple(sizes[view % len(sizes)] for view in range(views))
    focals = np.array([max(size) * generator.uniform(0.8, 1.2) for size in all_sizes])
    return BoxRoom(poses, focals, all_sizes)
