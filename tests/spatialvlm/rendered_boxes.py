"""A stand-in for rendered rooms: pictures of coloured rectangles with their instance ids and depth, on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.scene import Blob, Instance, Mesh, OrientedBox, Scene, View

COLOURS = {"chair": (200, 40, 40), "lamp": (40, 200, 40), "table": (40, 40, 200)}
SIZE_PX = 64


def write_boxes(root: Path, scenes: int, views: int = 4, seed: int = 0) -> None:
    """Rooms whose views show one rectangle per category, at depths of 1 to 4 m, before a grey wall at 5 m."""
    rng = np.random.default_rng(seed)
    for scene in range(scenes):
        folder = root / f"room_{scene:03d}"
        for name in ("images", "depth", "instance"):
            (folder / name).mkdir(parents=True)
        for view in range(views):
            rgb = np.full((SIZE_PX, SIZE_PX, 3), 128, np.uint8)
            depth_m, instance = np.full((SIZE_PX, SIZE_PX), 5.0, np.float32), np.zeros((SIZE_PX, SIZE_PX), np.uint16)
            for index, colour in enumerate(COLOURS.values()):
                row, column = rng.integers(0, SIZE_PX - 24, 2)
                spot = (slice(row, row + 24), slice(column, column + 24))
                rgb[spot], instance[spot], depth_m[spot] = colour, index + 1, rng.uniform(1, 4)
            Image.fromarray(rgb).save(folder / "images" / f"frame_{view:06d}.png")
            Image.fromarray((depth_m * 1000).astype(np.uint16)).save(folder / "depth" / f"frame_{view:06d}.png")
            Image.fromarray(instance).save(folder / "instance" / f"frame_{view:06d}.png")
        (folder / "scene.json").write_text(json.dumps({"views": views}))


def _depth_m(path: Path) -> Float32[np.ndarray, "height width"]:
    return np.asarray(Image.open(path)).astype(np.float32) / 1000


class BoxReader:
    """Reads what `write_boxes` wrote."""

    dataset = "boxes"

    def __init__(self, root: Path) -> None:
        self.root = root

    def scene_ids(self) -> Sequence[str]:
        """Folder names, sorted."""
        return sorted(path.name for path in self.root.iterdir())

    def read_instance_ids(self, scene_id: str, view_id: str) -> Int32[np.ndarray, "height width"]:
        """Instance ids of a view."""
        path = self.root / scene_id / "instance" / f"{view_id}.png"
        if not path.is_file():
            raise SceneError(f"{path}: no such file, expected instance ids")
        return np.asarray(Image.open(path)).astype(np.int32)

    def read(self, scene_id: str) -> Scene:
        """One room."""
        folder = self.root / scene_id
        if not (folder / "scene.json").is_file():
            raise SceneError(f"{folder / 'scene.json'}: no such file, expected a description of the room")
        box = OrientedBox(np.zeros(3), np.eye(3), np.ones(3))
        views = tuple(
            View(
                path.stem,
                Blob(path),
                np.eye(3),
                np.eye(4),
                (SIZE_PX, SIZE_PX),
                partial(_depth_m, folder / "depth" / path.name),
            )
            for path in sorted((folder / "images").iterdir())
        )
        instances = {i + 1: Instance(i + 1, name, box) for i, name in enumerate(COLOURS)}
        empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.int32))
        return Scene(scene_id, self.dataset, views, instances, lambda: empty)
