"""Empty box-shaped rooms whose pictures and depth maps have a closed form, on disk, with their reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.scene import Blob, Mesh, Scene, View

SIZE = (64, 48)  # width, height
FOCAL = 50.0
INTRINSICS = np.array([[FOCAL, 0, 31.5], [0, FOCAL, 23.5], [0, 0, 1]])


def looking(eye: Sequence[float], yaw_deg: float, pitch_deg: float = -10.0) -> Float64[np.ndarray, "4 4"]:
    """World-to-camera transform of a camera with +z of the world up."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, -rotation @ np.asarray(eye, dtype=np.float64)
    return transform


def render(
    extents: Float64[np.ndarray, "3"], world_to_camera: Float64[np.ndarray, "4 4"]
) -> tuple[UInt8[np.ndarray, "48 64 3"], Float32[np.ndarray, "48 64"]]:
    """Picture and depth of the inside of the box from the origin to ``extents``; colours depend on the place hit."""
    rotation = world_to_camera[:3, :3]
    eye = -rotation.T @ world_to_camera[:3, 3]
    columns, rows = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    local = np.stack([(columns - 31.5) / FOCAL, (rows - 23.5) / FOCAL, np.ones_like(rows)], -1)
    direction = local @ rotation
    with np.errstate(divide="ignore"):
        depth = np.where(direction > 0, (extents - eye) / direction, -eye / direction).min(-1)
    place = (eye + direction * depth[..., None]) / extents
    return np.clip(place * 255, 0, 255).astype(np.uint8), depth.astype(np.float32)


def write_rooms(root: Path, scenes: int, views: int = 6, seed: int = 0) -> None:
    """Rooms of 3-5 m with cameras near the middle that look around."""
    rng = np.random.default_rng(seed)
    for number in range(scenes):
        folder = root / f"room_{number:03d}"
        folder.mkdir(parents=True)
        extents = rng.uniform(3, 5, 3)
        poses = []
        for view in range(views):
            pose = looking(extents * rng.uniform(0.3, 0.7, 3), yaw_deg=float(rng.uniform(0, 120)))
            picture, depth = render(extents, pose)
            Image.fromarray(picture).save(folder / f"{view}.png")
            np.save(folder / f"{view}.npy", depth)
            poses.append(pose.tolist())
        (folder / "room.json").write_text(json.dumps({"extents": extents.tolist(), "poses": poses}))


class RoomReader:
    """Reads what `write_rooms` wrote; views without a depth file have no depth."""

    dataset = "rooms"

    def __init__(self, root: Path) -> None:
        self.root = root

    def scene_ids(self) -> Sequence[str]:
        """Folder names, sorted."""
        return sorted(path.name for path in self.root.iterdir())

    def read(self, scene_id: str) -> Scene:
        """One room."""
        folder = self.root / scene_id
        if not (folder / "room.json").is_file():
            raise SceneError(f"{folder / 'room.json'}: no such file, expected a description of the room")
        poses = json.loads((folder / "room.json").read_text())["poses"]
        views = []
        for number, pose in enumerate(poses):
            depth = folder / f"{number}.npy"
            read_depth = partial(np.load, depth, allow_pickle=False) if depth.is_file() else None
            blob = Blob(folder / f"{number}.png")
            views.append(View(f"frame_{number:06d}", blob, INTRINSICS, np.array(pose), SIZE, read_depth))
        empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.int32))
        return Scene(scene_id, self.dataset, tuple(views), {}, lambda: empty)
