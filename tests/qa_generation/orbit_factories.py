"""Captures of a ball whose cameras stand where a test says: every angle and distance is known on paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qa_generation.orbit.capture import Mask, ObjectCapture
from qa_generation.orbit.lens import Lens
from qa_generation.scene import Blob, View

RADIUS = 0.3
SIZE = (128, 96)


def look_at(position: np.ndarray, target: np.ndarray, up: np.ndarray) -> np.ndarray:
    """World-to-camera pose of a camera without roll."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ position
    return pose


def place(azimuth_deg: float, elevation_deg: float = 0.0, distance: float = 1.5) -> np.ndarray:
    """A point about the origin, +z up, azimuth counter-clockwise from +x."""
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    level = np.cos(elevation)
    return distance * np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])


def ball_capture(
    positions: Sequence[np.ndarray],
    *,
    lens: Lens | None = None,
    rotation: np.ndarray | None = None,
    scale: float = 1.0,
    target: np.ndarray | None = None,
) -> ObjectCapture:
    """Views of a ball at the origin; ``rotation`` and ``scale`` change the world it is told in, nothing else."""
    lens = lens or Lens(np.array([[110.0, 0, 63.5], [0, 110.0, 47.5], [0, 0, 1.0]]), SIZE)
    turned = np.eye(3) if rotation is None else rotation
    aim = np.zeros(3) if target is None else target
    points = _ball_points(400)
    views, masks, seen = [], [], []
    for index, position in enumerate(positions):
        pose = look_at(position, aim, np.array([0.0, 0.0, 1.0]))
        masks.append(Mask.of(_ball_pixels(pose, lens)))
        line = position - points
        facing = (line * points).sum(axis=1) > 0.2 * np.linalg.norm(line, axis=1) * RADIUS
        seen.append(facing & lens.project(points @ pose[:3, :3].T + pose[:3, 3])[1])
        told = np.eye(4)
        told[:3, :3], told[:3, 3] = pose[:3, :3] @ turned.T, scale * pose[:3, 3]
        views.append(View(f"{index:03d}", Blob(Path("none.jpg")), lens.intrinsics, told, lens.size))
    return ObjectCapture(
        scene_id="1-ball",
        dataset="mvimgnet",
        category="ball",
        views=tuple(views),
        lenses=(lens,) * len(views),
        masks=tuple(masks),
        points=scale * points @ turned.T,
        seen=np.stack(seen),
    )


def _ball_points(count: int) -> np.ndarray:
    """Evenly spread points of the ball's surface (a golden spiral)."""
    index = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * index / count), np.pi * (1 + 5**0.5) * index
    return RADIUS * np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)


def _ball_pixels(pose: np.ndarray, lens: Lens) -> np.ndarray:
    """Pixels whose ray comes within the radius of the ball's centre."""
    width, height = lens.size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float64)
    rays = lens.directions(pixels)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    center = pose[:3, 3]
    along = rays @ center
    return (center @ center - along**2 <= RADIUS**2) & (along > 0)
