"""A room-like scene with known cameras, as a reconstruction: answers of cameras, scale and exports are known."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from geometry_encoders.reconstruction.result import Reconstruction

FOCAL = 60.0


def make_scene(views: int = 3, size: tuple[int, int] = (48, 64), noise: float = 0.0, seed: int = 0) -> Reconstruction:
    """Views (height, width) of a back wall and a floor from cameras that move sideways and turn; first camera = frame.

    Every pixel holds the exact point that its ray meets, plus ``noise``; the principal point is (width / 2,
    height / 2).
    """
    rng = np.random.default_rng(seed)
    height, width = size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    intrinsics = np.array([[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]])
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(intrinsics).T
    poses, pointmaps, images = [], [], []
    for step in np.linspace(0, 2, max(views, 3))[:views]:
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("yxz", [-8 * step, 4 * step, 3 * step], degrees=True).as_matrix()
        pose[:3, 3] = [0.5 * step, -0.1 * step**2, 0.05 * step]
        directions = rays @ pose[:3, :3].T
        reach = np.full(directions.shape[:2], np.inf)
        # wall z + 0.2 x = 4 and floor y = 1
        for normal, offset in (((0.2, 0.0, 1.0), 4.0), ((0.0, 1.0, 0.0), 1.0)):
            along = directions @ np.array(normal)
            with np.errstate(divide="ignore"):
                distance = (offset - pose[:3, 3] @ np.array(normal)) / along
            reach = np.where((along > 1e-9) & (distance < reach), distance, reach)
        points = pose[:3, 3] + directions * reach[..., None]
        images.append((127 + 60 * np.sin(3 * points)).clip(0, 255).astype(np.uint8))
        pointmaps.append((points + rng.normal(scale=noise, size=points.shape)).astype(np.float32))
        poses.append(pose)
    return Reconstruction(
        names=tuple(f"{number}.png" for number in range(views)),
        images=tuple(images),
        pointmaps=tuple(pointmaps),
        confidence=tuple(np.full(size, 2.0, dtype=np.float32) for _ in range(views)),
        camera_to_world=np.stack(poses),
        intrinsics=np.stack([intrinsics] * views),
    )
