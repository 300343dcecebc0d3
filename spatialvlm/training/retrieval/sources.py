"""Where meshes come from: a dataset with a reader, or a folder of mesh files; and windows made of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.meshes import (
    MESH_FILES,
    Y_UP_FROM_Z_UP,
    TriangleMesh,
    checked_mesh,
    read_mesh,
    unit_cube,
    without_ceiling,
)
from geometry_encoders.retrieval.window_store import WindowStore
from geometry_encoders.retrieval.windows import WindowSettings, cut_windows

Up = Literal["y", "z"]


class MeshSource(Protocol):
    """Named meshes, y up, read one at a time."""

    def scene_ids(self) -> Sequence[str]:
        """Ids of all scenes, sorted; cheap."""
        ...

    def mesh(self, scene: str) -> TriangleMesh:
        """The mesh of a scene; raises ``InputError`` that says what is wrong with it."""
        ...


@dataclass(frozen=True)
class ReaderMeshes:
    """Meshes of a dataset that `qa_generation` reads (synthetic rooms, ScanNet, ...), turned from z up to y up.

    Attributes:
        reader: name of the reader.
        root: folder of the dataset.
        ceiling_m: surface wholly higher than this above the floor is left out; None keeps all.
    """

    reader: str
    root: Path
    ceiling_m: float | None = 2.3

    def scene_ids(self) -> Sequence[str]:
        from qa_generation.readers.base import open_reader

        return open_reader(self.reader, self.root).scene_ids()

    def mesh(self, scene: str) -> TriangleMesh:
        from qa_generation.readers.base import open_reader

        found = open_reader(self.reader, self.root).read(scene).mesh
        mesh = checked_mesh(found.vertices, found.triangles, f"{self.root}: scene {scene}")
        mesh = mesh.moved(Y_UP_FROM_Z_UP)
        return mesh if self.ceiling_m is None else without_ceiling(mesh, self.ceiling_m, scene)


@dataclass(frozen=True)
class MeshFolder:
    """Mesh files anywhere below a folder; ids are their paths with ``__`` for the separators.

    Attributes:
        root: the folder.
        up: axis that points up in the files.
        unit: scale every mesh into the unit cube (objects); else files are in the unit of the voxel.
        ceiling: as ``ReaderMeshes.ceiling_m``.
    """

    root: Path
    up: Up = "y"
    unit: bool = False
    ceiling: float | None = None
    _paths: dict[str, Path] = field(default_factory=dict, repr=False, compare=False)

    def _found(self) -> dict[str, Path]:
        if not self._paths:
            if not self.root.is_dir():
                raise InputError(f"{self.root}: no such folder, expected one with mesh files")
            files = [path for path in self.root.rglob("*") if path.suffix.lower() in MESH_FILES and path.is_file()]
            stems = Counter(path.relative_to(self.root).with_suffix("") for path in files)
            for path in files:
                short = path.relative_to(self.root)
                named = short.with_suffix("") if stems[short.with_suffix("")] == 1 else short
                self._paths["__".join(named.parts)] = path
        if not self._paths:
            raise InputError(f"{self.root}: no mesh files, expected some ending in {', '.join(MESH_FILES)}")
        return self._paths

    def scene_ids(self) -> Sequence[str]:
        return sorted(self._found())

    def mesh(self, scene: str) -> TriangleMesh:
        path = self._found()[scene]
        mesh = read_mesh(path)
        if self.up == "z":
            mesh = mesh.moved(Y_UP_FROM_Z_UP)
        if self.unit:
            mesh = unit_cube(mesh)
        return mesh if self.ceiling is None else without_ceiling(mesh, self.ceiling, path)


@dataclass
class BuildReport:
    """What `build_windows` did.

    Attributes:
        made, kept: scenes computed now, and found from an earlier run.
        failed: why scenes gave nothing.
        windows, empty: windows made now, and how many of them hold no surface.
    """

    made: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    windows: int = 0
    empty: int = 0


def build_windows(
    source: MeshSource,
    folder: Path,
    settings: WindowSettings,
    scenes: Sequence[str] | None = None,
    threads: int = 0,
) -> BuildReport:
    """Computes the windows of every scene that is not in the folder yet; scenes that fail are noted and left out.

    Raises:
        InputError: the folder was made with other settings, or a scene asked for does not exist.
    """
    store, report = WindowStore(folder, settings), BuildReport()
    chosen = list(source.scene_ids()) if scenes is None else list(scenes)
    there = set(store.scenes())
    report.kept = len(there & set(chosen))
    todo = [scene for scene in chosen if scene not in there]
    for scene in tqdm(todo, unit="scene", desc="windows", disable=None):
        try:
            windows = list(cut_windows(source.mesh(scene), scene, settings, threads))
        except ValueError as error:  # every package's InputError is one
            report.failed[scene] = str(error)
            continue
        store.write(scene, windows)
        report.made += 1
        report.windows += len(windows)
        report.empty += sum(not (w.target <= 0.75 * settings.voxel).any() for w in windows)
    (folder / "failures.json").write_text(json.dumps(report.failed, indent=1, ensure_ascii=False), encoding="utf-8")
    return report


def split_scenes(scenes: Sequence[str], held_out: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """(train, held out) scenes, chosen by a hash of the id, so that new scenes move none of the old ones."""
    from qa_generation.seeding import stable_int

    drawn = {scene: stable_int(seed, "retrieval split", scene) / 2**128 for scene in scenes}
    return [s for s in scenes if drawn[s] >= held_out], [s for s in scenes if drawn[s] < held_out]


def measure_statistics(values: Iterator[np.ndarray]) -> tuple[float, float]:
    """Mean and standard deviation over all arrays, for the constants of a `GridScale`."""
    count, total, squares = 0, 0.0, 0.0
    for array in values:
        array = np.asarray(array, np.float64)
        count, total, squares = count + array.size, total + float(array.sum()), squares + float((array**2).sum())
    if not count:
        raise InputError("statistics: no windows, expected at least one")
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean**2, 0.0)))
