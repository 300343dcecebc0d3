"""The questions of a run: our Parquet folders or the official test JSON, checked before any model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.spatialmosaic.listed import listed
from benchmarks.spatialmosaic.official_json import read_official_json
from benchmarks.spatialmosaic.pictures import find_pictures
from benchmarks.spatialmosaic.scoring import ACCURACY, MEAN_RELATIVE_ACCURACY, metric_of, parse_number, parse_point
from qa_generation.errors import InputError
from qa_generation.official import OUTDOOR_DATASETS
from qa_generation.prompts import ALL_CHOICE_TYPES, ALL_TYPES
from qa_generation.records import SCHEMA

PLACES = ("indoor", "outdoor")


@dataclass(frozen=True, eq=False)
class BenchData:
    """Questions and where their pictures are.

    Attributes:
        source: the folder or file given by the user.
        split: name of the split that was read.
        image_root: folder that the ``images`` column is relative to.
        table: rows of ``qa_generation.records.SCHEMA``.
    """

    source: Path
    split: str
    image_root: Path
    table: pa.Table

    @property
    def question_types(self) -> tuple[str, ...]:
        """The types present, in the published order."""
        present = set(pc.unique(self.table["question_type"]).to_pylist())
        return tuple(kind for kind in ALL_TYPES if kind in present)

    @property
    def max_views(self) -> int:
        """The largest number of frames of any question."""
        return int(pc.max(pc.list_value_length(self.table["frames"])).as_py())

    @property
    def types_by_place(self) -> dict[str, tuple[str, ...]]:
        """The types of each place that has any, in the published order."""
        found = {
            place: tuple(kind for kind in self.question_types if self.of_type(kind, place).num_rows) for place in PLACES
        }
        return {place: kinds for place, kinds in found.items() if kinds}

    def of_type(self, question_type: str, place: str | None = None) -> pa.Table:
        """The rows of one type, of one place only if it is given, in file order."""
        chosen = self.table.filter(pc.equal(self.table["question_type"], question_type))
        if place is None:
            return chosen
        outdoor = pc.fill_null(pc.is_in(chosen["dataset"], value_set=pa.array(OUTDOOR_DATASETS)), False)
        return chosen.filter(outdoor if place == "outdoor" else pc.invert(outdoor))

    def limited(self, limit: int | None) -> BenchData:
        """At most ``limit`` questions per type, the first in file order; all without a limit."""
        if limit is None:
            return self
        seen: Counter[str] = Counter()
        kept = []
        for row, kind in enumerate(self.table["question_type"].to_pylist()):
            seen[kind] += 1
            if seen[kind] <= limit:
                kept.append(row)
        return replace(self, table=self.table.take(pa.array(kept, type=pa.int64())))

    def without_truth(self) -> tuple[str, ...]:
        """Ids of questions whose answer is missing or unreadable: whatever a model says, they score 0."""
        names = ["id", "question_type", "options", "mc_answer", "ground_truth", "bbox_2d_diag"]
        return tuple(row["id"] for row in self.table.select(names).to_pylist() if not _has_truth(row))


def load(source: Path, split: str = "test", image_root: Path | None = None) -> BenchData:
    """The checked questions of a dataset folder, a Parquet file or an official test JSON.

    Args:
        source: folder with ``data/<split>/*.parquet`` or ``data/<split>-*.parquet``, or one ``.parquet`` or ``.json``.
        split: split to read from a folder.
        image_root: folder the pictures are relative to; found by itself when None.

    Raises:
        InputError: naming what is missing or wrong: no such path, no rows, an unknown type, choice questions without
            their letter, ids that are not unique, pictures that are missing or not readable.
    """
    table = read_official_json(source) if source.suffix == ".json" else _read_parquet(source, split)
    if table.num_rows == 0:
        raise InputError(f"{source}: the {split} split holds no questions, expected at least one")
    _check_rows(source, table)
    root, table = find_pictures(source, table, image_root)
    return BenchData(source=source, split=split, image_root=root, table=table)


def load_train(data: BenchData) -> pa.Table:
    """The train questions beside a benchmark split; their pictures are not needed and not looked for.

    Raises:
        InputError: when the dataset has no train split.
    """
    if not data.source.is_dir() or not shards(data.source, "train"):
        raise InputError(f"{data.source}: no train split (data/train/*.parquet), expected one for the baseline")
    return _read_parquet(data.source, "train")


def shards(source: Path, split: str) -> list[Path]:
    """The Parquet files of one split of a dataset folder, sorted; empty where there are none."""
    data = source / "data"
    return sorted((data / split).glob("*.parquet")) or sorted(data.glob(f"{split}-*.parquet"))


def _read_parquet(source: Path, split: str) -> pa.Table:
    if source.is_dir():
        files: Sequence[Path] = shards(source, split)
        if not files:
            raise InputError(f"{source}: no Parquet files, expected data/{split}/*.parquet")
    elif source.is_file() and source.suffix == ".parquet":
        files = [source]
    else:
        raise InputError(f"{source}: no such dataset, expected a folder with data/{split}/*.parquet, or a JSON file")
    tables = []
    for file in files:
        try:
            table = pq.ParquetFile(file).read()
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{file}: not a readable Parquet file ({error})") from error
        missing = [name for name in SCHEMA.names if name not in table.column_names]
        if missing:
            raise InputError(f"{file}: columns {', '.join(missing)} are missing, expected those of QARecord")
        tables.append(table.select(SCHEMA.names).cast(SCHEMA))
    return pa.concat_tables(tables)


def _check_rows(source: Path, table: pa.Table) -> None:
    unknown = sorted(set(pc.unique(table["question_type"]).to_pylist()) - set(ALL_TYPES), key=str)
    if unknown:
        raise InputError(f"{source}: question_type {unknown[0]!r} is unknown, expected one of {', '.join(ALL_TYPES)}")
    is_choice = pc.is_in(table["question_type"], pa.array(ALL_CHOICE_TYPES))
    letterless = pc.fill_null(pc.equal(pc.utf8_length(table["mc_answer"]), 0), True)
    bad = table.filter(pc.and_(is_choice, letterless))["id"].to_pylist()
    if bad:
        raise InputError(f"{source}: {len(bad)} choice questions have no mc_answer, ids {listed(bad)}")
    counts = Counter(table["id"].to_pylist())
    if len(counts) < table.num_rows:
        twice = [key for key, count in counts.items() if count > 1]
        raise InputError(f"{source}: {len(twice)} ids are not unique: {listed(twice)}")
    few = table.filter(pc.not_equal(pc.list_value_length(table["frames"]), pc.list_value_length(table["images"])))
    if few.num_rows:
        raise InputError(f"{source}: frames and images differ in number, ids {listed(few['id'].to_pylist())}")


def _has_truth(row: Mapping[str, Any]) -> bool:
    metric = metric_of(row["question_type"])
    if metric == ACCURACY:
        letters = [option[:1].lower() for option in row["options"] or ()]
        return not letters or (row["mc_answer"] or "").lower() in letters
    if metric == MEAN_RELATIVE_ACCURACY:
        return parse_number(row["ground_truth"]) is not None
    return parse_point(str(row["ground_truth"])) is not None and (row["bbox_2d_diag"] or 0.0) > 0
