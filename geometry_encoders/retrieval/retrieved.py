"""What was retrieved for windows, computed once: rows of the database, composed when they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.chunk_index import Found
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.database import ChunkDatabase
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.window_store import Windows
from geometry_encoders.whole_files import whole_file

MANIFEST = "retrieved.json"
Exclude = Literal["scene", "window", "nothing"]


@torch.no_grad()
def retrieve(
    encoder: ChunkEncoder,
    database: ChunkDatabase,
    inputs: Float[Tensor, "windows side side side"],
    k: int = 4,
    exclude_scene: str | None = None,
    exclude_window: Sequence[str | None] | None = None,
) -> Found:
    """(squared distances, rows) of the k chunks nearest to every chunk place of some windows' inputs.

    Args:
        inputs: in the unit of the database, not normalised.
        exclude_scene: whose chunks are not looked at.
        exclude_window: one name (or None) per window.

    Returns:
        Arrays (windows * places, k), window slowest; ``database.compose`` takes the rows of one window.

    Raises:
        InputError: the database was made by another encoder, or as `ChunkDatabase.search`.
    """
    database.check_encoder(encoder)
    layout = ChunkLayout.of(encoder.config)
    chunks = layout.input_chunks(inputs, database.scale)
    parts = [encoder(input_chunks=part.to(encoder.device)).input_embeddings.cpu() for part in chunks.split(512)]
    own = None if exclude_window is None else [name for name in exclude_window for _ in range(layout.count)]
    return database.search(torch.cat(parts), k, exclude_scene, own)


def composing_retriever(
    encoder: ChunkEncoder, database: ChunkDatabase, k: int = 4, exclude_scene: str | None = None
) -> Callable[[Float[Tensor, "windows side side side"]], Float[Tensor, "windows k 64 64 64"]]:
    """A function from inputs in the unit of the database to their k composed neighbours, as `refine_scene` wants it.

    Raises ``InputError`` where the database was made by another encoder; the function itself as `retrieve`.
    """
    database.check_encoder(encoder)

    def retriever(inputs: Float[Tensor, "windows side side side"]) -> Float[Tensor, "windows k 64 64 64"]:
        _, rows = retrieve(encoder, database, inputs, k, exclude_scene)
        return torch.stack([database.compose(part) for part in rows.reshape(len(inputs), -1, k)])

    return retriever


def retrieve_windows(
    encoder: ChunkEncoder,
    database: ChunkDatabase,
    windows: Windows,
    folder: Path,
    k: int = 4,
    exclude: Exclude = "scene",
) -> RetrievedWindows:
    """The neighbours of every window, written to one file per scene; scenes that are there are left out.

    Args:
        exclude: what of the window's own is not looked at: its whole ``scene``, only the ``window`` (published), or
            ``nothing``. It costs nothing for scenes that are not in the database.

    Raises:
        InputError: the folder was made from another database or with other settings, or as `retrieve`.
    """
    settings = {
        "database": os.path.relpath(database.folder.resolve(), folder.resolve()),
        "encoder": encoder.digest(),
        "rows": len(database),
        "k": k,
        "exclude": exclude,
    }
    path = folder / MANIFEST
    if path.is_file() and _read_manifest(path) != settings:
        raise InputError(f"{path}: made from another database or with other settings; remove the folder")
    (folder / "scenes").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    by_scene: dict[str, list[int]] = {}
    for index, sample in enumerate(windows.samples):
        by_scene.setdefault(sample.scene, []).append(index)
    todo = {scene: members for scene, members in by_scene.items() if not _scene_file(folder, scene).is_file()}
    encoder.eval()
    for scene, members in tqdm(todo.items(), unit="scene", desc="retrieval", disable=None):
        items = [windows[index] for index in members]
        distances, rows = retrieve(
            encoder,
            database,
            torch.stack([item["input"] for item in items]),
            k,
            scene if exclude == "scene" else None,
            [item["name"] for item in items] if exclude == "window" else None,
        )
        arrays: dict[str, np.ndarray] = {}
        for number, item in enumerate(items):
            own = slice(number * database.layout.count, (number + 1) * database.layout.count)
            arrays[f"{item['name']}/rows"] = np.ascontiguousarray(rows[own])
            arrays[f"{item['name']}/distances"] = np.ascontiguousarray(distances[own])
        with whole_file(_scene_file(folder, scene)) as partial:
            save_file(arrays, partial)
    return RetrievedWindows(folder, database)


class RetrievedWindows:
    """The folder written by `retrieve_windows`, by names of windows.

    Attributes:
        database: that the chunks come from.
        k: neighbours of every chunk.
    """

    def __init__(self, folder: Path, database: ChunkDatabase | None = None) -> None:
        """Opens the folder and, where it is not given, its database.

        Raises:
            InputError: no such folder, or the database has changed in another way than by growing.
        """
        self.folder = folder
        settings = _read_manifest(folder / MANIFEST)
        self.database = database or ChunkDatabase.load(folder / settings["database"])
        self.k = int(settings["k"])
        if self.database.encoder_digest != settings["encoder"] or len(self.database) < settings["rows"]:
            raise InputError(
                f"{folder}: made from {settings['rows']} chunks of encoder {settings['encoder']}, expected those of"
                f" {self.database.folder}: {len(self.database)} of {self.database.encoder_digest}"
            )

    def rows(self, window: str) -> Int64[Tensor, "places k"]:
        """Rows of the database for every chunk place of a window, nearest first."""
        return self._array(window, "rows")

    def distances(self, window: str) -> Float[Tensor, "places k"]:
        """Squared distances of the embeddings."""
        return self._array(window, "distances")

    def read(self, window: str) -> Float[Tensor, "k 64 64 64"]:
        """The k composed neighbours of a window, in the unit of the database.

        Raises:
            InputError: nothing was retrieved for that window.
        """
        return self.database.compose(self.rows(window))

    def _array(self, window: str, name: str) -> Tensor:
        scene = window.rsplit("__", 2)[0]
        path = _scene_file(self.folder, scene)
        try:
            with safe_open(path, "pt") as arrays:
                return arrays.get_tensor(f"{window}/{name}")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: holds no {name} of window {window!r}; run the retrieval for it") from error


def _scene_file(folder: Path, scene: str) -> Path:
    return folder / "scenes" / f"{scene}.safetensors"


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content[name] for name in ("database", "encoder", "rows", "k", "exclude")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not readable ({error}), expected a folder of `spatialvlm retrieval build`"
        ) from error
