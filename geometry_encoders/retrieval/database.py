"""The database of known chunks: distances, embeddings and where they come from, searchable and larger than memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.chunk_index import ChunkIndex, Found, Runs
from geometry_encoders.retrieval.chunk_shards import (
    ChunkRows,
    MappedRows,
    column_values,
    features,
    open_shards,
    runs_of,
    write_shard,
)
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.database_header import (
    HEADER,
    DatabaseHeader,
    DatabaseSettings,
    read_header,
    write_header,
)
from geometry_encoders.retrieval.embedding import embed_windows, empty_rows
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.scale import CHUNK, WINDOW, GridScale
from geometry_encoders.retrieval.window_store import Windows


class ChunkDatabase:
    """A folder of chunks; row 0 is the empty chunk, rows never move when more are added.

    Make one with `build`, open one with `load`. ``dataset`` is the Hugging Face dataset with the columns ``scene``,
    ``window``, ``extent``, ``chunk`` and ``embedding``.
    """

    def __init__(self, folder: Path, header: DatabaseHeader) -> None:
        """Use `build` or `load`."""
        self.folder, self._header = folder, header
        columns = features(header.layout.target_size, header.latent_dim, header.settings.chunk_dtype)
        self.dataset: datasets.Dataset = open_shards([folder / name for name, _ in header.shards], columns)
        if len(self.dataset) != header.rows:
            raise InputError(f"{folder}: {len(self.dataset)} rows, expected {header.rows} as {HEADER} says")
        self._scenes, self._windows = runs_of(self.dataset, "scene"), runs_of(self.dataset, "window")
        self._chunks = MappedRows(self.dataset, "chunk")
        self._index: ChunkIndex | None = None
        if header.index is not None:
            self._index = ChunkIndex.load(folder / header.index, header.settings.index)
            if self._index.count > header.rows or self._index.dimension != header.latent_dim:
                raise InputError(
                    f"{folder / header.index}: {self._index.count} vectors of length {self._index.dimension},"
                    f" expected {header.rows} of {header.latent_dim}"
                )

    # ---- making, opening ---------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        folder: Path,
        encoder: ChunkEncoder,
        windows: Windows,
        settings: DatabaseSettings | None = None,
        batch_size: int = 512,
    ) -> ChunkDatabase:
        """A database of the chunks of those windows; an interrupted build goes on where it stopped.

        Raises:
            InputError: the folder holds a database of another encoder, scale or settings, or windows of another scale.
        """
        settings = settings or DatabaseSettings()
        fresh = DatabaseHeader(
            encoder.digest(),
            encoder.config.grid_scale,
            ChunkLayout.of(encoder.config),
            encoder.config.latent_dim,
            settings,
        )
        if (folder / HEADER).is_file():
            header = read_header(folder)
            if replace(header, shards=(), index=None) != fresh:
                raise InputError(
                    f"{folder}: holds a database of another encoder or other settings; give another folder"
                )
        else:
            (folder / "shards").mkdir(parents=True, exist_ok=True)
            columns = features(fresh.layout.target_size, fresh.latent_dim, settings.chunk_dtype)
            rows = write_shard(
                folder / "shards" / "empty.arrow", [empty_rows(encoder, settings.empty_feature)], columns
            )
            header = replace(fresh, shards=(("shards/empty.arrow", rows),))
            write_header(folder, header)
        database = cls(folder, header)
        return database.add(encoder, windows, batch_size)

    @classmethod
    def load(cls, folder: Path, encoder: ChunkEncoder | None = None) -> ChunkDatabase:
        """The database of that folder, memory-mapped; all of it that was written, where an addition was interrupted.

        Raises:
            InputError: no database, a damaged one, one whose build was not finished, or one of another encoder.
        """
        database = cls(folder, read_header(folder))
        if database._index is None:
            raise InputError(f"{folder}: the build was not finished; run it again with the same windows")
        if encoder is not None:
            database.check_encoder(encoder)
        return database._reopened(database._header)  # the index follows where an addition was interrupted

    def save(self, folder: Path) -> ChunkDatabase:
        """A copy of the database in another folder, which must not exist yet."""
        if folder.exists():
            raise InputError(f"{folder}: exists already, expected a new folder")
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "shards").mkdir(parents=True)
        for name, _ in self._header.shards:
            shutil.copyfile(self.folder / name, partial / name)
        for path in self.folder.glob(f"{self._header.index}.*.faiss") if self._header.index else ():
            shutil.copyfile(path, partial / path.name)
        write_header(partial, self._header)
        partial.rename(folder)
        return type(self)(folder, self._header)

    # ---- growing -----------------------------------------------------------------------------------------------------

    def add(self, encoder: ChunkEncoder, windows: Windows, batch_size: int = 512) -> ChunkDatabase:
        """The database with the chunks of more windows; nothing is trained again, windows that are there are left out.

        Raises:
            InputError: another encoder, or windows of another voxel or input.
        """
        self.check_encoder(encoder)
        if windows.scale != self.scale:
            raise InputError(f"{windows.source}: windows of {windows.scale}, expected {self.scale}")
        new = [i for i, sample in enumerate(windows.samples) if sample.name not in self._windows]
        size, header = self._header.settings.windows_per_shard, self._header
        for start in range(0, len(new), size):
            rows = embed_windows(encoder, windows, new[start : start + size], header.settings.keep_empty, batch_size)
            header = self._append(header, rows)
        return self._reopened(header)

    def merge(self, other: ChunkDatabase) -> ChunkDatabase:
        """The database with the chunks of another one; windows that both hold are taken once.

        Raises:
            InputError: the other one was made by another encoder, or keeps chunks of another kind.
        """
        mine, theirs = self._header, other._header
        if (theirs.encoder, theirs.scale, theirs.layout) != (mine.encoder, mine.scale, mine.layout):
            raise InputError(
                f"{other.folder}: made by encoder {theirs.encoder}, expected {mine.encoder} as in {self.folder}"
            )
        new = [window for window in other._windows if window and window not in self._windows]
        header, size = mine, mine.settings.windows_per_shard
        for start in range(0, len(new), size):
            header = self._append(header, other._rows_of(new[start : start + size]))
        return self._reopened(header)

    def _append(self, header: DatabaseHeader, rows: Iterable[ChunkRows]) -> DatabaseHeader:
        """Writes one more shard and notes it."""
        name = f"shards/{len(header.shards) - 1:05d}.arrow"
        columns = features(header.layout.target_size, header.latent_dim, header.settings.chunk_dtype)
        count = write_shard(self.folder / name, rows, columns)
        header = replace(header, shards=(*header.shards, (name, count)))
        write_header(self.folder, header)
        return header

    def _reopened(self, header: DatabaseHeader) -> ChunkDatabase:
        """This database with the rows of ``header`` in its index."""
        if self._index is not None and self._index.count == header.rows:
            return self
        grown = type(self)(self.folder, replace(header, index=None))
        if self._index is None:
            vectors = column_values(grown.dataset, "embedding")
            index = ChunkIndex.build(header.settings.index, header.latent_dim, header.rows, vectors)
        else:
            index = self._index.extended(column_values(grown.dataset, "embedding", self._index.count))
        stem = f"index-{header.rows}"
        index.save(self.folder / stem)
        header = replace(header, index=stem)
        write_header(self.folder, header)
        for path in self.folder.glob("index-*.faiss"):
            if not path.name.startswith(f"{stem}."):
                path.unlink()
        return type(self)(self.folder, header)

    def _rows_of(self, windows: Sequence[str]) -> Iterator[ChunkRows]:
        for window in windows:
            rows = np.concatenate([np.arange(first, last) for first, last in self._windows[window]])
            taken = self.dataset.with_format("numpy")[rows]
            side = self._header.layout.target_size
            chunks = np.asarray(taken["chunk"]).reshape(-1, side, side, side)
            extents, embeddings = np.asarray(taken["extent"]), np.asarray(taken["embedding"], np.float32)
            yield ChunkRows(str(taken["scene"][0]), window, extents, chunks, embeddings)

    # ---- what is in it -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Rows, the empty chunk included."""
        return self._header.rows

    @property
    def scale(self) -> GridScale:
        """The grids of the chunks."""
        return self._header.scale

    @property
    def layout(self) -> ChunkLayout:
        """How windows fall into chunks."""
        return self._header.layout

    @property
    def encoder_digest(self) -> str:
        """Which encoder made the embeddings, see `ChunkEncoder.digest`."""
        return self._header.encoder

    @property
    def scenes(self) -> list[str]:
        """Ids of the scenes that the chunks come from, sorted."""
        return sorted(filter(None, self._scenes))

    @property
    def windows(self) -> list[str]:
        """Names of the windows that the chunks come from, sorted."""
        return sorted(filter(None, self._windows))

    def window_of(self, rows: Int64[np.ndarray, "*places"]) -> np.ndarray:
        """Names of the windows that those rows come from, empty for the empty chunk; same shape as ``rows``."""
        starts = sorted((first, window) for window, runs in self._windows.items() for first, _ in runs)
        run = np.searchsorted([first for first, _ in starts], rows, side="right") - 1
        return np.array([window for _, window in starts], dtype=object)[run]

    def check_encoder(self, encoder: ChunkEncoder) -> None:
        """Raises ``InputError`` where the embeddings are those of another encoder."""
        if (digest := encoder.digest()) != self._header.encoder:
            raise InputError(
                f"{self.folder}: made by encoder {self._header.encoder}, not by {digest}; build it again, or load the"
                " encoder that made it"
            )

    # ---- search and composition --------------------------------------------------------------------------------------

    def search(
        self,
        embeddings: Float32[np.ndarray, "queries latent"] | Float[Tensor, "queries latent"],
        k: int,
        exclude_scene: str | Sequence[str | None] | None = None,
        exclude_window: str | Sequence[str | None] | None = None,
    ) -> Found:
        """(squared distances, rows), nearest first, of the k chunks that are nearest to every embedding.

        Args:
            embeddings: unit vectors.
            k: neighbours per query.
            exclude_scene: scene whose chunks are not looked at, for all queries or one (or None) for each.
            exclude_window: the same for one window, as the published training does.

        Raises:
            InputError: k larger than what is left, embeddings of another length or with values that are no numbers.
        """
        queries = self._checked(embeddings, k)
        groups = list(self._groups(len(queries), exclude_scene, exclude_window))
        if len(groups) == 1:
            return self._search_without(queries, k, groups[0][1])
        distances = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        for members, runs in groups:
            distances[members], rows[members] = self._search_without(queries[members], k, runs)
        return distances, rows

    def _search_without(self, queries: Float32[np.ndarray, "queries latent"], k: int, runs: Runs) -> Found:
        left = len(self) - sum(last - first for first, last in runs)
        if k > left:
            raise InputError(
                f"{self.folder}: k is {k}, expected 1 to {left}: of {len(self)} chunks {len(self) - left} are excluded"
            )
        assert self._index is not None
        return self._index.search(queries, k, runs)

    def _checked(self, embeddings: Any, k: int) -> Float32[np.ndarray, "queries latent"]:
        if isinstance(embeddings, Tensor):
            embeddings = embeddings.detach().float().cpu().numpy()
        queries = np.ascontiguousarray(embeddings, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._header.latent_dim:
            raise InputError(
                f"embeddings have the shape {queries.shape}, expected (queries, {self._header.latent_dim})"
            )
        if not np.isfinite(queries).all():
            bad = int((~np.isfinite(queries)).any(axis=1).sum())
            raise InputError(
                f"{bad} of {len(queries)} embeddings have values that are not numbers, expected unit vectors"
            )
        if k < 1:
            raise InputError(f"k is {k}, expected at least 1")
        return queries

    def _groups(self, count: int, scene: Any, window: Any) -> Iterator[tuple[list[int], Runs]]:
        """Queries with the same exclusions, and the rows to leave out for them."""
        if all(value is None or isinstance(value, str) for value in (scene, window)):
            yield list(range(count)), self._runs(scene, window)
            return
        per_query = [
            [value] * count if value is None or isinstance(value, str) else list(value) for value in (scene, window)
        ]
        for name, values in zip(("exclude_scene", "exclude_window"), per_query, strict=True):
            if len(values) != count:
                raise InputError(f"{name} has {len(values)} entries, expected {count}, one per query")
        groups: dict[tuple[str | None, str | None], list[int]] = {}
        for number, key in enumerate(zip(*per_query, strict=True)):
            groups.setdefault(key, []).append(number)
        for key, members in groups.items():
            yield members, self._runs(*key)

    def _runs(self, scene: str | None, window: str | None) -> Runs:
        rows = list(self._scenes.get(scene, ())) if scene else []
        if window and not any(a <= first < b for first, _ in self._windows.get(window, ())[:1] for a, b in rows):
            rows += self._windows.get(window, ())
        return rows

    def chunks(self, rows: Int64[np.ndarray, "*places"] | Tensor) -> Float[Tensor, "*places side side side"]:
        """The distances of those rows, float32 in the unit of the database; ``InputError`` for rows it has not."""
        wanted = torch.as_tensor(rows).cpu()
        unique, inverse = torch.unique(wanted, return_inverse=True)
        if len(unique) and not 0 <= int(unique[0]) <= int(unique[-1]) < len(self):
            raise InputError(f"rows {int(unique[0])} to {int(unique[-1])}, expected 0 to {len(self) - 1}")
        side = self._header.layout.target_size
        found = torch.from_numpy(self._chunks[unique.numpy()]).float().reshape(-1, side, side, side)
        return found[inverse]

    def compose(
        self, rows: Int64[np.ndarray, "chunks k"] | Tensor, truncation: float | None = None
    ) -> Float[Tensor, "k 64 64 64"]:
        """k windows pasted together from the chunks of those rows, one row of k neighbours per chunk place.

        Args:
            rows: in the order of `ChunkLayout.extents`, as `search` returns them for the chunks of a window.
            truncation: of the window's scale, where it is not the database's; distances are scaled to it.

        Raises:
            InputError: another number of places than a window has.
        """
        layout = self._header.layout
        wanted = torch.as_tensor(rows)
        if wanted.ndim != 2 or len(wanted) != layout.count:
            raise InputError(f"rows have the shape {tuple(wanted.shape)}, expected ({layout.count}, k)")
        if layout.target_size != CHUNK or layout.stride != CHUNK:
            raise InputError(
                f"chunks of {layout.target_size} every {layout.stride} voxels cannot be composed, expected 16"
            )
        n, side = layout.per_axis, layout.target_size
        chunks = self.chunks(wanted.T).reshape(-1, n, n, n, side, side, side)
        composed = chunks.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, WINDOW, WINDOW, WINDOW)
        return composed if truncation is None else composed * (truncation / self.scale.truncation)
