"""What a plan is fitted to: some questions of every type from each scene, kept as Arrow tables until they are needed.

Two hundred thousand records take ten times the memory of the tables they come from, and the types are fitted one after
the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qa_generation.records import SCHEMA, QARecord, to_records
from qa_generation.seeding import stable_int

# what no reader of texts looks at
_UNREAD = ("evidence", "images")


def sample_tables(paths: Iterable[Path], types: Collection[str], of_each: int, seed: int) -> dict[str, pa.Table]:
    """Of every type its questions in all shards, ``of_each`` from a shard at most, drawn by a hash of their id."""
    columns = [name for name in SCHEMA.names if name not in _UNREAD]
    parts: dict[str, list[pa.Table]] = defaultdict(list)
    for path in paths:
        table = pq.read_table(path, columns=columns)
        ids, kinds = table["id"].to_pylist(), table["question_type"].to_pylist()
        taken: dict[str, list[int]] = defaultdict(list)
        counted: Counter[str] = Counter()
        for row in sorted(range(len(ids)), key=lambda row: stable_int(seed, "blind sample", ids[row])):
            if kinds[row] in types and counted[kinds[row]] < of_each:
                counted[kinds[row]] += 1
                taken[kinds[row]].append(row)
        for kind, rows in taken.items():
            parts[kind].append(table.take(rows))
    return {kind: pa.concat_tables(tables) for kind, tables in sorted(parts.items())}


def sample_groups(tables: dict[str, pa.Table]) -> Iterator[tuple[str, list[QARecord]]]:
    """The records of one type after the other."""
    for kind, table in tables.items():
        yield kind, list(to_records(table))
