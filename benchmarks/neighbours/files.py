"""Rows of the neighbours' public files: Parquet, JSON or JSON lines, single or in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.neighbours.catalogue import SPAR, VSI, VSTI
from qa_generation.errors import InputError

_SUFFIXES = (".parquet", ".json", ".jsonl")
_PLACES = ("data", ".", "test")
_COLUMNS = {
    SPAR: ("id", "task", "image", "question", "answer"),
    VSTI: ("id", "scene_name", "question_type", "question", "options", "mc_answer"),
    VSI: ("id", "scene_name", "question_type", "question", "ground_truth", "options"),
}


def question_files(source: Path, split: str = "test") -> list[Path]:
    """The file itself, or those of the split in a folder as it was downloaded.

    Raises:
        InputError: when there is none.
    """
    if source.is_file() and source.suffix in _SUFFIXES:
        return [source]
    for place in _PLACES if source.is_dir() else ():
        for suffix in _SUFFIXES:
            found = sorted((source / place).glob(f"{split}*{suffix}")) or (
                sorted((source / place).glob(f"*{suffix}")) if place == split else []
            )
            if found:
                return found
    raise InputError(f"{source}: no questions, expected a Parquet, JSON or JSONL file, or a folder with {split}*")


def read_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and fields of every row, Parquet in small groups, since pictures may lie in it.

    Raises:
        InputError: when the file is not what its name says.
    """
    if file.suffix == ".parquet":
        yield from _parquet_rows(file)
        return
    text = file.read_text(encoding="utf-8")
    try:
        lines = [line for line in text.split("\n") if line.strip()]
        rows = [json.loads(line) for line in lines] if file.suffix == ".jsonl" else json.loads(text)
    except ValueError as error:
        raise InputError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{file}: expected a list of records")
    yield from enumerate(rows)


def _parquet_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=64):
            for row in batch.to_pylist():
                yield number, row
                number += 1
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file}: not a readable Parquet file ({error})") from error


def benchmark_of(file: Path, row: Mapping[str, Any] | None) -> str:
    """Which benchmark a row belongs to, by its columns.

    Raises:
        InputError: when it is none of them, or there is no row.
    """
    if row is None:
        raise InputError(f"{file}: holds no questions, expected at least one")
    if "frames" in row:
        raise InputError(f"{file}: these are questions about named frames, use `spatialvlm bench`")
    for benchmark, columns in _COLUMNS.items():
        if all(name in row for name in columns):
            return benchmark
    expected = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in _COLUMNS.items())
    raise InputError(f"{file}: columns are {', '.join(map(str, row))}, expected those of {expected}")
