"""The authors' released test JSON in our columns, with everything that is odd about it.

Metadata may be null anywhere, numbers may be text, one key has a space, numeric questions keep options, and only
``scene_name``, ``frames``, ``question_type`` and ``question`` can be relied on. Questions are kept as they are, stray
quotes included, since the published prompt shows them so.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from benchmarks.spatialmosaic.scoring import parse_number
from qa_generation.errors import InputError
from qa_generation.official import OUTDOOR_DATASETS
from qa_generation.records import SCHEMA, QARecord

_PICTURES = (".jpg", ".jpeg", ".png")
_OUR_NAMES = {"GT Scenario": "gt_scenario"}
_REQUIRED_TEXTS = ("scene_name", "question_type", "question")
_PRESENT = (*_REQUIRED_TEXTS, "frames", "options", "mc_answer")
_DEFAULTS: dict[str, Any] = {
    f.name: f.default for f in fields(QARecord) if f.name in ("frame_naming", "coord_size", "evidence")
}
_LISTS_OF_IDS = ("bbox_2d", "target_ids", "reference_ids")


def read_official_json(source: Path) -> pa.Table:
    """The records of a released test file as rows of ``qa_generation.records.SCHEMA``; unknown numbers are null.

    Ids become text; where they are not unique, running numbers. Records without a dataset belong to that of the file,
    told by ``outdoor`` in its name.

    Raises:
        InputError: naming the file, the record and the field that cannot be used.
    """
    try:
        rows = json.loads(source.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file, expected an official test JSON") from error
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{source}: not readable as JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{source}: expected a JSON list of records, as in the official test files")
    found = Counter(str(row.get("id")) for row in rows)
    numbered = any(count > 1 for count in found.values())
    dataset = OUTDOOR_DATASETS[0] if "outdoor" in source.name else ""
    try:
        return pa.Table.from_pylist(
            [_row(source, index, row, numbered, dataset) for index, row in enumerate(rows)], schema=SCHEMA
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise InputError(f"{source}: a field has a value that does not fit ({error})") from error


def _row(source: Path, index: int, row: Mapping[str, Any], numbered: bool, dataset: str) -> dict[str, Any]:
    """One record in our columns."""
    where = f"{source}: record {index}"
    absent = [name for name in _PRESENT if name not in row]
    if absent:
        raise InputError(f"{where} has no field {', '.join(absent)}")
    values = {_OUR_NAMES.get(name, name): value for name, value in row.items()}
    for name in _REQUIRED_TEXTS:
        if not isinstance(values[name], str) or not values[name]:
            raise InputError(f"{where}: {name} is {values[name]!r}, expected a text")
    frames = _texts(where, "frames", values["frames"])
    if not frames:
        raise InputError(f"{where}: frames is {values['frames']!r}, expected a list of names")
    merged: dict[str, Any] = {
        name: _text(values.get(name)) for name in SCHEMA.names if SCHEMA.field(name).type == pa.string()
    }
    merged |= {name: value for name, value in _DEFAULTS.items() if not merged.get(name)}
    for name in SCHEMA.names:
        if SCHEMA.field(name).type == pa.float64():
            merged[name] = _number(values.get(name))
    for name in _LISTS_OF_IDS:
        merged[name] = _whole_numbers(where, name, values.get(name))
    return merged | {
        "id": str(index) if numbered or row.get("id") is None else str(row["id"]),
        "dataset": merged["dataset"] or dataset,
        "frames": frames,
        "images": [_picture(where, values["scene_name"], frame) for frame in frames],
        "options": _texts(where, "options", values["options"] or []),
        "mc_answer": values["mc_answer"] if isinstance(values["mc_answer"], str) else None,
        "bbox_2d_diag": parse_number(values.get("bbox_2d_diag")) or 0.0,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _texts(where: str, name: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InputError(f"{where}: {name} is {value!r}, expected a list")
    return [_text(item) for item in value]


def _number(value: Any) -> float | None:
    number = parse_number(value)
    return number if number is not None and math.isfinite(number) else None


def _whole_numbers(where: str, name: str, value: Any) -> list[int]:
    items: Sequence[Any] = value if isinstance(value, list) else []
    numbers = [_number(item) for item in items]
    if None in numbers:
        raise InputError(f"{where}: {name} is {value!r}, expected numbers")
    return [round(number) for number in numbers if number is not None]


def _picture(where: str, scene_name: str, frame: str) -> str:
    """The published rule: a frame that looks like a path is one, else it lies in the scene's image folder."""
    name = frame if "/" in frame or frame.endswith(_PICTURES) else f"{scene_name}/images/{frame}.jpg"
    if ".." in PurePath(name).parts:
        raise InputError(f"{where}: picture {name!r} leaves the image folder")
    return name
