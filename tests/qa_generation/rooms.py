"""A reader over ready-made box rooms, for tests of the generation engine; it can misbehave on demand."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qa_generation.errors import SceneError
from qa_generation.scene import Scene
from tests.qa_generation.factories import furnished_room


@dataclass(frozen=True)
class RoomReader:
    """``count`` furnished rooms that differ in their number of views; picklable.

    Attributes:
        root: folder that the pictures are written to.
        count: number of rooms.
        broken: rooms that raise ``SceneError``.
        deadly: rooms during whose reading the process is killed.
        deadly_once: the same, but only until the marker file of the room exists.
    """

    root: Path
    count: int = 3
    broken: frozenset[str] = field(default_factory=frozenset)
    deadly: frozenset[str] = field(default_factory=frozenset)
    deadly_once: frozenset[str] = field(default_factory=frozenset)
    dataset: str = "synthetic"

    def scene_ids(self) -> Sequence[str]:
        return [f"room_{i:04d}" for i in range(self.count)]

    def read(self, scene_id: str) -> Scene:
        if scene_id in self.broken:
            raise SceneError(f"{self.root / scene_id}: mesh.ply is truncated, expected 12 triangles")
        marker = self.root / f"{scene_id}.died"
        if scene_id in self.deadly or (scene_id in self.deadly_once and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        folder = self.root / scene_id
        folder.mkdir(parents=True, exist_ok=True)
        return furnished_room(folder, views=18 + int(scene_id[-1]), scene_id=scene_id)
