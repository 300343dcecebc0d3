"""The two kinds of packed shards: Parquet rows with embedded pictures, and tar files in the WebDataset layout."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from qa_generation.errors import InputError
from qa_generation.records import SCHEMA

# a row group is what a streaming reader holds at once
ROWS_PER_GROUP = 100
BYTES_PER_GROUP = 64_000_000
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def packed_schema() -> pa.Schema:
    """Our columns with ``images`` as encoded pictures and their names in ``image_paths``; `datasets` knows the type."""
    from datasets import Features, Image, List, Value

    names = [name for name in SCHEMA.names if name != "images"]
    features = Features.from_arrow_schema(pa.schema([SCHEMA.field(name) for name in names]))
    features["image_paths"] = List(Value("string"))
    features["images"] = List(Image())
    metadata = features.arrow_schema.metadata
    fields = [SCHEMA.field(name) for name in names]
    fields += [pa.field("image_paths", pa.list_(pa.string())), pa.field("images", pa.list_(_IMAGE))]
    return pa.schema(fields, metadata=metadata)


class ShardWriter(Protocol):
    """Takes the view sets of one shard; ``exists`` tells that it is complete already and nothing will be written."""

    exists: bool

    def add(self, rows: pa.Table, images: Sequence[Path]) -> None:
        """Adds the questions about one view set and its pictures."""

    def close(self) -> None:
        """Ends the shard, which now appears under its name."""


def open_writer(container: str, path: Path) -> ShardWriter:
    """The writer of one shard at ``path``."""
    if path.is_file():
        return _Complete()
    return ParquetWriter(path) if container == "parquet" else TarWriter(path)


class _Complete:
    """Stands for a shard that is there."""

    exists = True

    def add(self, rows: pa.Table, images: Sequence[Path]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class ParquetWriter:
    """Row groups of about a hundred questions. A picture that several rows show is stored once per row group, as the
    entry of a Parquet dictionary, so embedding costs little more than the picture files themselves."""

    exists = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.schema = packed_schema()
        self._waiting: list[tuple[pa.Table, Sequence[Path]]] = []
        self._size = 0
        self._writer = pq.ParquetWriter(
            self.partial,
            self.schema,
            compression={name: "none" if name == "images" else "zstd" for name in self.schema.names},
            # pictures are compressed already; one dictionary holds all of a row group
            dictionary_pagesize_limit=2 * BYTES_PER_GROUP,
            write_statistics=False,
        )

    def add(self, rows: pa.Table, images: Sequence[Path]) -> None:
        """Adds the questions about one view set; large view sets are cut into several row groups."""
        for start in range(0, rows.num_rows, ROWS_PER_GROUP):
            part = rows.slice(start, ROWS_PER_GROUP)
            if self._waiting and sum(t.num_rows for t, _ in self._waiting) + part.num_rows > ROWS_PER_GROUP:
                self._flush()
            self._waiting.append((part, images))
            self._size += sum(path.stat().st_size for path in images)
            if self._size >= BYTES_PER_GROUP:
                self._flush()

    def _flush(self) -> None:
        tables = []
        for rows, paths in self._waiting:
            pictures = [{"bytes": _read(path), "path": name} for path, name in zip(paths, _names(rows), strict=True)]
            count = rows.num_rows
            shown = pa.array([pictures] * count, type=self.schema.field("images").type)
            names = rows["images"].combine_chunks()
            kept = rows.drop_columns(["images"])
            tables.append(kept.append_column("image_paths", names).append_column("images", shown))
        table = pa.concat_tables(tables).combine_chunks()
        self._writer.write_table(table.cast(self.schema), row_group_size=table.num_rows)
        self._waiting, self._size = [], 0

    def close(self) -> None:
        """Writes what waits and gives the file its name."""
        if self._waiting:
            self._flush()
        self._writer.close()
        self.partial.replace(self.path)


class TarWriter:
    """One sample per view set: ``<number>.json`` with its questions and ``<number>.1.jpg`` ... with its pictures."""

    exists = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._tar = tarfile.open(self.partial, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._count = 0

    def add(self, rows: pa.Table, images: Sequence[Path]) -> None:
        """Adds one sample."""
        key = f"{self.path.stem}-{self._count:06d}"
        self._count += 1
        self._member(f"{key}.json", json.dumps(sample_json(rows.to_pylist()), ensure_ascii=False).encode())
        for number, path in enumerate(images, start=1):
            self._member(f"{key}.{number}.jpg", _read(path))

    def _member(self, name: str, content: bytes) -> None:
        # no times, owners or modes of this machine: same content, same bytes
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o644
        self._tar.addfile(member, io.BytesIO(content))

    def close(self) -> None:
        """Ends the archive and gives it its name."""
        self._tar.close()
        self.partial.replace(self.path)


# the same for all questions about a view set
SHARED = ("dataset", "scene_name", "view_set_id", "frames", "images", "frame_naming", "coord_size")


def sample_json(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The questions about one view set as one object: what they share once, the rest under ``questions``."""
    shared = {name: records[0][name] for name in SHARED}
    return {**shared, "questions": [{k: v for k, v in record.items() if k not in SHARED} for record in records]}


def _names(rows: pa.Table) -> list[str]:
    return rows["images"][0].as_py()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: picture cannot be read ({error.strerror})") from error


def sample_features(max_views: int) -> Any:
    """The `datasets.Features` of WebDataset samples; they must be told, since the first samples do not show all."""
    from datasets import Features, Image, List

    names = [name for name in SCHEMA.names if name not in SHARED]
    questions = Features.from_arrow_schema(pa.schema([SCHEMA.field(name) for name in names]))
    shared = Features.from_arrow_schema(pa.schema([SCHEMA.field(name) for name in SHARED]))
    pictures = {f"{number}.jpg": Image() for number in range(1, max_views + 1)}
    return Features({"json": {**shared, "questions": List(dict(questions))}, **pictures})
