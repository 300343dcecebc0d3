"""The questions of a run: our Parquet folders or the official test JSON, checked before any model is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qa_generation.errors import InputError
from qa_generation.prompts import ALL_CHOICE_TYPES, ALL_TYPES
from qa_generation.records import SCHEMA, QARecord

_NAMED = 5  # how many offending records or files an error message names
_PICTURES = (".jpg", ".jpeg", ".png")
_OFFICIAL_NAMES = {"GT Scenario": "gt_scenario"}
_REQUIRED = ("scene_name", "frames", "question_type", "question", "options", "mc_answer")


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

    def of_type(self, question_type: str) -> pa.Table:
        """The rows of one type, in file order."""
        return self.table.filter(pc.equal(self.table["question_type"], question_type))


def load(source: Path, split: str = "test", image_root: Path | None = None) -> BenchData:
    """The checked questions of a dataset folder, a Parquet file or an official test JSON.

    Args:
        source: folder with ``data/<split>/*.parquet`` or ``data/<split>-*.parquet``, or one ``.parquet`` or ``.json``.
        split: split to read from a folder.
        image_root: folder the pictures are relative to; found by itself when None.

    Raises:
        InputError: naming what is missing or wrong: no such path, no rows, an unknown type, choice questions without
            their letter, pictures that are not on disk.
    """
    table = _read_json(source) if source.suffix == ".json" else _read_parquet(source, split)
    if table.num_rows == 0:
        raise InputError(f"{source}: the {split} split holds no questions, expected at least one")
    _check_rows(source, table)
    root = _find_images(source, table, image_root)
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


def _read_json(source: Path) -> pa.Table:
    try:
        rows = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file, expected an official test JSON") from error
    except ValueError as error:
        raise InputError(f"{source}: not readable as JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{source}: expected a JSON list of records, as in the official test files")
    return pa.Table.from_pylist([_from_official(source, index, row) for index, row in enumerate(rows)], schema=SCHEMA)


def _from_official(source: Path, index: int, row: dict[str, Any]) -> dict[str, Any]:
    """One official row in our columns: nulls become defaults, numbers written as text become numbers."""
    absent = [name for name in _REQUIRED if name not in row]
    if absent:
        raise InputError(f"{source}: record {index} has no field {', '.join(absent)}")
    texts = {name: "" for name in SCHEMA.names if SCHEMA.field(name).type == pa.string()}
    defaults = {f.name: f.default for f in fields(QARecord) if f.name in ("frame_naming", "coord_size", "evidence")}
    values = {_OFFICIAL_NAMES.get(name, name): value for name, value in row.items() if value is not None}
    kept = {name: value for name, value in values.items() if name in SCHEMA.names}
    merged: dict[str, Any] = (
        texts | defaults | {"images": [_picture(row["scene_name"], frame) for frame in row["frames"]]} | kept
    )
    merged["id"] = str(row.get("id", index))
    merged["mc_answer"] = row["mc_answer"]
    merged["ground_truth"] = str(merged["ground_truth"])
    merged["bbox_2d_diag"] = float(merged.get("bbox_2d_diag") or 0.0)
    for name in ("options", "bbox_2d", "target_ids", "reference_ids"):
        merged[name] = list(merged.get(name) or ())
    for name in ("overlap_avg", "occlusion_avg", "overlap_max"):
        merged[name] = float(merged.get(name) or 0.0)
    return merged


def _picture(scene_name: str, frame: str) -> str:
    """The published rule: a frame that looks like a path is one, else it lies in the scene's image folder."""
    return frame if "/" in frame or frame.endswith(_PICTURES) else f"{scene_name}/images/{frame}.jpg"


def _check_rows(source: Path, table: pa.Table) -> None:
    unknown = sorted(set(pc.unique(table["question_type"]).to_pylist()) - set(ALL_TYPES), key=str)
    if unknown:
        raise InputError(f"{source}: question_type {unknown[0]!r} is unknown, expected one of {', '.join(ALL_TYPES)}")
    is_choice = pc.is_in(table["question_type"], pa.array(ALL_CHOICE_TYPES))
    letterless = pc.fill_null(pc.equal(pc.utf8_length(table["mc_answer"]), 0), True)
    bad = table.filter(pc.and_(is_choice, letterless))["id"].to_pylist()
    if bad:
        raise InputError(f"{source}: {len(bad)} choice questions have no mc_answer, ids {_some(bad)}")
    few = table.filter(pc.not_equal(pc.list_value_length(table["frames"]), pc.list_value_length(table["images"])))
    if few.num_rows:
        raise InputError(f"{source}: frames and images differ in number, ids {_some(few['id'].to_pylist())}")


def _find_images(source: Path, table: pa.Table, image_root: Path | None) -> Path:
    """The folder under which every picture exists; the candidates follow our layout and the official one."""
    names = sorted(set(pc.unique(pc.list_flatten(table["images"])).to_pylist()))
    if image_root is not None:
        candidates = [image_root]
    elif source.is_dir():
        candidates = [source]
    else:
        dataset = table["dataset"][0].as_py()
        above = [source.parent, source.parent.parent, source.parent.parent.parent]
        candidates = [folder for base in above for folder in (base, base / dataset, base / "images" / dataset)]
    root = next((folder for folder in candidates if names and (folder / names[0]).is_file()), candidates[0])
    missing = [str(root / name) for name in names if not (root / name).is_file()]
    if missing:
        raise InputError(f"{source}: {len(missing)} of {len(names)} pictures are missing: {_some(missing)}")
    return root


def _some(items: Sequence[Any]) -> str:
    rest = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(str(item) for item in items[:_NAMED]) + rest
