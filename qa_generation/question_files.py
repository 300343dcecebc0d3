"""Reads a finished set of questions column by column: where its Parquet files lie, and batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qa_generation.errors import InputError
from qa_generation.records import SCHEMA

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class QuestionFile:
    """One Parquet file of a set; ``split`` is the folder it lies in, or the first part of its name in a packed set."""

    split: str
    path: Path

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The wanted columns (all of the schema by default); those that an older file lacks come as nulls.

        Raises:
            InputError: the file is damaged, or has no question ids.
        """
        wanted = list(columns or SCHEMA.names)
        try:
            table = pq.ParquetFile(self.path).read(columns=[*wanted, "id"])
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.path}: not readable as Parquet ({' '.join(str(error).split())})") from error
        if "id" not in table.schema.names:
            raise InputError(f"{self.path}: column 'id' is missing, expected a file that spatialvlm generate wrote")
        return self._conform(table, wanted)

    def _conform(self, table: pa.Table, wanted: Sequence[str]) -> pa.Table:
        columns = []
        for name in wanted:
            kind = SCHEMA.field(name).type
            if name not in table.schema.names:
                columns.append(pa.nulls(table.num_rows, kind))
                continue
            try:
                columns.append(table[name].cast(kind))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InputError(f"{self.path}: column {name!r} holds {table[name].type}, expected {kind}") from error
        return pa.table(columns, schema=pa.schema([SCHEMA.field(name) for name in wanted]))


def question_files(dataset: Path) -> list[QuestionFile]:
    """The Parquet files of a generated or packed set, by split and name.

    Raises:
        InputError: there are none.
    """
    found = [QuestionFile(path.parent.name, path) for path in sorted((dataset / "data").glob("*/*.parquet"))]
    found += [QuestionFile(path.name.rsplit("-", 1)[0], path) for path in sorted((dataset / "data").glob("*.parquet"))]
    if not found:
        raise InputError(
            f"{dataset}: no questions found, expected data/<split>/*.parquet as `spatialvlm generate` writes"
        )
    return found


def batches(
    files: Sequence[QuestionFile], columns: Sequence[str], rows: int = BATCH_ROWS
) -> Iterator[tuple[str, pa.Table]]:
    """(split, table) of about ``rows`` rows of one split each, so that many small files cost few computations."""
    waiting: list[pa.Table] = []
    for index, file in enumerate(files):
        waiting.append(file.read(columns))
        last = index + 1 == len(files) or files[index + 1].split != file.split
        if last or sum(table.num_rows for table in waiting) >= rows:
            yield file.split, pa.concat_tables(waiting).combine_chunks()
            waiting = []
