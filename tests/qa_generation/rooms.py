"""A reader over ready-made box rooms, for tests of the generation engine; it can misbehave on demand."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qa_generation.errors import SceneError
from qa_generation.scene import Scene
from tests.qa_generation.factories import Part, furnished_room, level_camera, make_scene, room_shell


@dataclass(frozen=True)
class RoomReader:
    """``count`` furnished rooms that differ in their number of views; picklable.

    Attributes:
        root: folder that the pictures are written to.
        count: number of rooms.
        broken: rooms that raise ``SceneError``.
        deadly: rooms during whose reading the process is killed.
    """

    root: Path
    count: int = 3
    broken: frozenset[str] = field(default_factory=frozenset)
    deadly: frozenset[str] = field(default_factory=frozenset)
    dataset: str = "synthetic"

    def scene_ids(self) -> Sequence[str]:
        return [f"room_{i:04d}" for i in range(self.count)]

    def read(self, scene_id: str) -> Scene:
        if scene_id in self.broken:
            raise SceneError(f"{self.root / scene_id}: mesh.ply is truncated, expected 12 triangles")
        if scene_id in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        folder = self.root / scene_id
        folder.mkdir(parents=True, exist_ok=True)
        return furnished_room(folder, views=18 + int(scene_id[-1]), scene_id=scene_id)


CATEGORIES = (
    *("chair", "chair", "chair", "office chair", "table", "table", "box", "box", "lamp", "cabinet", "plant", "bottle"),
    *("monitor", "book", "oven", "sofa", "kettle", "basket", "globe", "vase", "drum", "pillow", "printer", "clock"),
)


def random_room(seed: int, *, objects: int = 22, views: int = 16, folder: Path | None = None) -> Scene:
    """A 6 x 5 x 2.6 m room with boxes at random places and heights and cameras that look across it."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(objects):
        extents = rng.uniform(0.2, 0.8, 3)
        center = rng.uniform([0.5, 0.5, 0.3], [5.5, 4.5, 1.9])
        parts.append(Part(str(rng.choice(CATEGORIES)), tuple(center), tuple(extents)))
    cameras = []
    for _ in range(views):
        eye = rng.uniform([0.3, 0.3, 1.3], [5.7, 4.7, 1.8])
        angle = rng.uniform(0, 2 * np.pi)
        cameras.append(level_camera(tuple(eye), (float(np.cos(angle)), float(np.sin(angle)), rng.uniform(-0.4, 0.1))))
    shell = room_shell((6.0, 5.0, 2.6))
    return make_scene([*parts, *shell], cameras, fov_deg=70.0, folder=folder, scene_id=f"random_{seed:04d}")
