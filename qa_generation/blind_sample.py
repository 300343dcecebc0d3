"""What a plan is fitted to: some questions of every type from each scene, kept in Arrow's stream format.

As records two hundred thousand of them take ten times that memory, and the types are fitted one after the other. Bytes
rather than tables, since tables cut from others keep Arrow's memory in pieces that it cannot give back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qa_generation.records import SCHEMA, QARecord, to_records
from qa_generation.seeding import stable_int

# what no reader of texts looks at
_UNREAD = ("evidence", "images")


def draw_sample(paths: Iterable[Path], types: Collection[str], of_each: int, seed: int) -> list[bytes]:
    """A stream per shard: its questions of these types, ``of_each`` of a type at most, drawn by a hash of their id."""
    columns = [name for name in SCHEMA.names if name not in _UNREAD]
    streams = []
    for path in paths:
        table = pq.read_table(path, columns=columns)
        ids, kinds = table["id"].to_pylist(), table["question_type"].to_pylist()
        taken: list[int] = []
        counted: Counter[str] = Counter()
        for row in sorted(range(len(ids)), key=lambda row: stable_int(seed, "blind sample", ids[row])):
            if kinds[row] in types and counted[kinds[row]] < of_each:
                counted[kinds[row]] += 1
                taken.append(row)
        streams.append(_stream(table.take(taken)))
    return streams


def sample_groups(streams: Sequence[bytes]) -> Iterator[tuple[str, list[QARecord]]]:
    """The records of one type after the other."""
    kinds = sorted({kind for stream in streams for kind in pc.unique(_table(stream)["question_type"]).to_pylist()})
    for kind in kinds:
        tables = [table.filter(pc.equal(table["question_type"], kind)) for table in map(_table, streams)]
        yield kind, list(to_records(pa.concat_tables(tables)))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _table(stream: bytes) -> pa.Table:
    return pa.ipc.open_stream(stream).read_all()
