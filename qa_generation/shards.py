"""One Parquet file per scene: complete or not there, and marked with the settings it was made with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qa_generation.records import SCHEMA, QARecord, to_records, to_table
from qa_generation.whole_files import whole_file

_KEY = b"spatialvlm.fingerprint"


def shard_path(out: Path, split: str, scene_id: str) -> Path:
    """Where the records of a scene lie."""
    return out / "data" / split / f"{scene_id}.parquet"


def write_shard(path: Path, records: Iterable[QARecord], fingerprint: str) -> None:
    """Writes all records; the name appears only when the file is complete.

    Raises:
        OutputError: the folder cannot be written or is full.
    """
    table = to_table(records).replace_schema_metadata({_KEY: fingerprint.encode()})
    with whole_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def shard_fingerprint(path: Path) -> str | None:
    """The settings a shard was made with; None where there is no readable shard."""
    try:
        return (pq.read_schema(path).metadata or {}).get(_KEY, b"").decode()
    except (OSError, pa.ArrowException):
        return None


def read_shard(path: Path) -> Iterator[QARecord]:
    """The records of one shard."""
    yield from to_records(pq.read_table(path, columns=SCHEMA.names))
