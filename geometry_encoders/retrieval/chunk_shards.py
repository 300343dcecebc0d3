"""The rows of a chunk database as memory-mapped Hugging Face datasets, one Arrow file per batch of windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float32, Int16, Int64

from geometry_encoders.errors import InputError
from geometry_encoders.whole_files import whole_file

ChunkDtype = Literal["float16", "float32"]
BATCH_ROWS = 2048


@dataclass(frozen=True, eq=False)
class ChunkRows:
    """Chunks of one window on their way into a database.

    Attributes:
        extents: (z0, z1, y0, y1, x0, x1) in voxels of the window.
        chunks: distances without context, in the unit of the database.
        embeddings: unit vectors of the target encoder.
    """

    scene: str
    window: str
    extents: Int16[np.ndarray, "rows 6"]
    chunks: Float[np.ndarray, "rows side side side"]
    embeddings: Float32[np.ndarray, "rows latent"]


def features(side: int, latent: int, dtype: ChunkDtype) -> datasets.Features:
    """The columns of a shard."""
    return datasets.Features(
        {
            "scene": datasets.Value("string"),
            "window": datasets.Value("string"),
            "extent": datasets.List(datasets.Value("int16"), length=6),
            "chunk": datasets.List(datasets.Value(dtype), length=side**3),
            "embedding": datasets.List(datasets.Value("float32"), length=latent),
        }
    )


def write_shard(path: Path, rows: Iterable[ChunkRows], columns: datasets.Features) -> int:
    """Streams the rows into an Arrow file, which is there whole or not at all; returns how many they are."""
    schema, count = columns.arrow_schema, 0
    # closed from the last to the first, so the file is whole when it takes its name
    with (
        whole_file(path) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for batch in _large_batches(rows, schema):
            writer.write_batch(batch)
            count += len(batch)
    return count


def _large_batches(rows: Iterable[ChunkRows], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Record batches of about `BATCH_ROWS`: many small ones make a file slow to open."""
    waiting: list[pa.RecordBatch] = []
    for window in rows:
        if len(window.embeddings):
            waiting.append(_record_batch(window, schema))
        if sum(map(len, waiting)) >= BATCH_ROWS:
            yield pa.concat_batches(waiting)
            waiting = []
    if waiting:
        yield pa.concat_batches(waiting)


def _record_batch(rows: ChunkRows, schema: pa.Schema) -> pa.RecordBatch:
    count = len(rows.embeddings)
    arrays: list[Any] = [pa.array([rows.scene] * count), pa.array([rows.window] * count)]
    for name, values in (("extent", rows.extents), ("chunk", rows.chunks), ("embedding", rows.embeddings)):
        kind = schema.field(name).type
        flat = np.ascontiguousarray(values.reshape(count, -1), kind.value_type.to_pandas_dtype())
        if flat.shape[1] != kind.list_size:
            raise InputError(f"{rows.window}: {name} has {flat.shape[1]} values per chunk, expected {kind.list_size}")
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), kind.list_size))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def open_shards(paths: Sequence[Path], columns: datasets.Features) -> datasets.Dataset:
    """All rows of those files as one dataset; nothing is read into memory.

    Raises:
        InputError: a file is missing, damaged, or has other columns.
    """
    parts = []
    for path in paths:
        try:
            part = datasets.Dataset.from_file(str(path))
        except (OSError, pa.ArrowInvalid, ValueError) as error:
            raise InputError(
                f"{path}: not readable ({' '.join(str(error).split())[:200]}), expected an Arrow file"
            ) from error
        if part.features.arrow_schema.types != columns.arrow_schema.types:
            raise InputError(f"{path}: columns {part.features}, expected {columns}")
        parts.append(part)
    return datasets.concatenate_datasets(parts)


def column_values(dataset: datasets.Dataset, name: str, first: int = 0) -> Iterable[np.ndarray]:
    """The vectors of a fixed-size column from row ``first`` on, as views of the mapped files, batch by batch."""
    for piece in dataset.data.column(name).slice(first).chunks:
        size = piece.type.list_size
        yield piece.flatten().to_numpy(zero_copy_only=True).reshape(-1, size)


def runs_of(dataset: datasets.Dataset, name: str) -> dict[str, list[tuple[int, int]]]:
    """For every value of a text column the stretches of rows that hold it."""
    found: dict[str, list[tuple[int, int]]] = {}
    start = 0
    for piece in dataset.data.column(name).chunks:
        encoded = piece.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        values = encoded.dictionary.to_pylist()
        edges = np.flatnonzero(np.diff(codes)) + 1
        for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(codes)], strict=True):
            if first == last:
                continue
            runs = found.setdefault(values[codes[first]], [])
            if runs and runs[-1][1] == start + first:
                runs[-1] = (runs[-1][0], start + last)
            else:
                runs.append((start + first, start + last))
        start += len(piece)
    return found


class MappedRows:
    """A fixed-size column, gathered by row straight from the mapped files."""

    def __init__(self, dataset: datasets.Dataset, name: str) -> None:
        self._views = list(column_values(dataset, name))
        self._starts = np.cumsum([0, *(len(view) for view in self._views)])

    def __getitem__(self, rows: Int64[np.ndarray, " rows"]) -> Float[np.ndarray, "rows values"]:
        """Copies of those rows; raises ``IndexError`` for one that is not there."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < self._starts[-1]:
            raise IndexError(f"rows {rows.min()} to {rows.max()}, expected 0 to {self._starts[-1] - 1}")
        views = np.searchsorted(self._starts, rows, side="right") - 1
        places = rows - self._starts[views]
        found = np.empty((len(rows), self._views[0].shape[1]), self._views[0].dtype)
        for number, (view, place) in enumerate(zip(views.tolist(), places.tolist(), strict=True)):
            found[number] = self._views[view][place]
        return found
