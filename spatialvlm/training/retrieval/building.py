"""From scenes to windows, a database and retrieved neighbours, each step kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geometry_encoders.errors import InputError
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.chunk_index import IndexSettings
from geometry_encoders.retrieval.database import ChunkDatabase
from geometry_encoders.retrieval.database_header import DatabaseSettings
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.retrieved import retrieve_windows
from geometry_encoders.retrieval.scale import preset_scale
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from geometry_encoders.retrieval.windows import WindowSettings
from spatialvlm.training.retrieval.sources import (
    BuildReport,
    MeshFolder,
    MeshSource,
    ReaderMeshes,
    build_windows,
    split_scenes,
)

DEFAULT_CEILING_M = 2.3


@dataclass(frozen=True)
class BuildOptions:
    """The options of ``spatialvlm retrieval build``, which explains them."""

    source: Path
    out: Path
    reader: str = "synthetic"
    scale: str = "rooms"
    up: str = "y"
    unit: bool = False
    ceiling: float | None = None
    limit: int | None = None
    threads: int = 0
    encoder: Path | None = None
    held_out: float = 0.15
    index: str = "exact"
    k: int = 4
    add_to: Path | None = None

    def __post_init__(self) -> None:
        preset_scale(self.scale)
        if self.up not in ("y", "z"):
            raise InputError(f"--up is {self.up!r}, expected 'y' or 'z'")
        if self.index not in ("exact", "ivf_pq"):
            raise InputError(f"--index is {self.index!r}, expected 'exact' or 'ivf_pq'")
        if not 0 <= self.held_out < 1:
            raise InputError(f"--held-out is {self.held_out}, expected 0 up to 1")
        if self.add_to is not None and self.encoder is None:
            raise InputError("--add-to is given without --encoder, expected the encoders that made the database")

    @property
    def meshes(self) -> MeshSource:
        """Where the scenes come from."""
        if self.reader == "meshes":
            return MeshFolder(self.source, self.up, self.unit, self.ceiling or None)  # type: ignore[arg-type]
        ceiling = DEFAULT_CEILING_M if self.ceiling is None else self.ceiling or None
        return ReaderMeshes(self.reader, self.source, ceiling)


def build_all(options: BuildOptions) -> Iterator[str]:
    """Does what is not done yet and says in one line per step what came of it.

    Raises:
        InputError: see the functions that do the steps.
    """
    scenes = list(options.meshes.scene_ids())[: options.limit]
    settings = WindowSettings(preset_scale(options.scale).voxel, cubic=options.unit)
    report = build_windows(options.meshes, options.out / "windows", settings, scenes, options.threads)
    yield _said(report, options.out / "windows")
    if options.encoder is None:
        return
    encoder = load_own_folder(options.encoder, ChunkEncoder)
    store = WindowStore(options.out / "windows")
    scale = encoder.config.grid_scale
    train, held_out = split_scenes(store.scenes(), options.held_out)
    windows = WindowDataset(store, scale, train, keep_empty=False)
    if options.add_to is not None:
        everything = WindowDataset(store, scale, keep_empty=False)
        database = ChunkDatabase.load(options.add_to, encoder)
        before = len(database)
        database = database.add(encoder, everything)
        yield f"{options.add_to}: {len(database) - before} chunks of {len(store.scenes())} scenes added to {before}"
        return
    chosen: Any = options.index
    database = ChunkDatabase.build(
        options.out / "database", encoder, windows, DatabaseSettings(index=IndexSettings(kind=chosen))
    )
    yield f"{options.out / 'database'}: {len(database)} chunks of {len(database.scenes)} scenes"
    asked = WindowDataset(store, scale, [*train, *held_out], keep_empty=False)
    retrieve_windows(encoder, database, asked, options.out / "retrieved", options.k)
    yield f"{options.out / 'retrieved'}: {options.k} neighbours for every chunk of {len(asked)} windows"


def _said(report: BuildReport, folder: Path) -> str:
    made = f"{report.made} scenes made ({report.windows} windows, {report.empty} of them empty)"
    text = f"{folder}: {made}, {report.kept} kept"
    if report.failed:
        scene, reason = next(iter(report.failed.items()))
        text += f", {len(report.failed)} failed, see failures.json, e.g. {scene}: {reason}"
    return text
