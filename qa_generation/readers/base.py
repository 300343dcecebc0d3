"""What every dataset reader offers, and the registry that finds one by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from qa_generation.errors import InputError
from qa_generation.scene import Scene


class SceneReader(Protocol):
    """Turns one dataset layout on disk into scenes; listing must not open meshes or images."""

    dataset: str
    root: Path

    def scene_ids(self) -> Sequence[str]:
        """Ids of all scenes found under the root, sorted."""
        ...

    def read(self, scene_id: str) -> Scene:
        """Reads one scene; raises ``SceneError`` naming the file and the field that is wrong."""
        ...


# name -> "module:class"; modules are imported on use so that listing readers stays cheap
READERS: dict[str, str] = {
    "synthetic": "qa_generation.readers.synthetic:SyntheticReader",
    "scannet": "qa_generation.readers.scannet:ScanNetReader",
}


def open_reader(name: str, root: Path) -> SceneReader:
    """The reader called ``name`` over the folder ``root``; raises ``InputError`` for an unknown name or no folder."""
    if name not in READERS:
        raise InputError(f"--reader {name!r} is unknown, expected one of {', '.join(sorted(READERS))}")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected the root of a {name} dataset")
    module, attribute = READERS[name].split(":")
    factory: Callable[[Path], SceneReader] = getattr(import_module(module), attribute)
    return factory(root)
