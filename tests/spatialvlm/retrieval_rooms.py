"""Folders of box meshes: what a person has before anything is built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh


def write_rooms(folder: Path, count: int, up: str = "y") -> None:
    """Open-topped rooms of 2.4 m with two boxes each, as PLY files with that axis up."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        generator = np.random.default_rng(number)
        depth = generator.uniform(2.0, 2.4)
        walls = trimesh.creation.box(bounds=[[0, 0, 0], [2.4, 2.2, depth]])
        walls.update_faces(walls.face_normals[:, 1] < 0.5)
        parts = [walls]
        for _ in range(2):
            low = np.array([generator.uniform(0.2, 1.4), 0.0, generator.uniform(0.2, 1.2)])
            parts.append(trimesh.creation.box(bounds=[low, low + generator.uniform(0.3, 0.9, 3)]))
        room = trimesh.util.concatenate(parts)
        if up == "z":
            room.vertices = room.vertices[:, [0, 2, 1]] * [1, -1, 1]
        room.export(folder / f"room{number}.ply")
