"""Where records come from: a dataset's Parquet shards or a published JSON list, scene by scene."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qa_generation.errors import InputError
from qa_generation.prompts import PREAMBLE, is_choice
from qa_generation.records import QARecord


@dataclass(frozen=True)
class SceneRecords:
    """The records of one scene: files that hold some of them, or the rows themselves."""

    dataset: str
    scene_id: str
    files: tuple[Path, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def read(self) -> Iterator[QARecord]:
        """The records; raises ``InputError`` for a file that is damaged."""
        for path in self.files:
            try:
                table = pq.read_table(path, filters=[("scene_name", "==", self.scene_id)])
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
            for row in table.to_pylist():
                if row["dataset"] == self.dataset:
                    yield QARecord.from_row(row)
        for row in self.rows:
            yield _from_published(row)


def list_scenes(source: Path) -> list[SceneRecords]:
    """All scenes that the dataset folder, Parquet file or published JSON file asks about, sorted.

    Raises:
        InputError: nothing to audit there, or a file that is damaged.
    """
    if source.suffix == ".json":
        return _list_published(source)
    files = [source] if source.suffix == ".parquet" else sorted((source / "data").glob("*/*.parquet"))
    if not files:
        raise InputError(f"{source}: holds no records, expected data/<split>/<scene>.parquet or a published .json")
    found: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        try:
            names = pq.read_table(path, columns=["dataset", "scene_name"]).group_by(["dataset", "scene_name"])
            pairs = names.aggregate([]).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read as Parquet records ({str(error).splitlines()[0]})") from error
        for pair in pairs:
            found.setdefault((pair["dataset"], pair["scene_name"]), []).append(path)
    return [SceneRecords(dataset, scene, tuple(files)) for (dataset, scene), files in sorted(found.items())]


def _list_published(path: Path) -> list[SceneRecords]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "scene_name" in row for row in rows):
        raise InputError(f"{path}: expected a list of records with scene_name")
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((str(row.get("dataset", row.get("data_source"))), str(row["scene_name"])), []).append(row)
    return [SceneRecords(dataset, scene, rows=tuple(mine)) for (dataset, scene), mine in sorted(found.items())]


def _from_published(row: Mapping[str, Any]) -> QARecord:
    """A record of the published test or training form; what the form does not tell is empty."""
    values = dict(row)
    if "conversations" in row:
        values |= _from_conversation(row["conversations"], str(row["question_type"]))
    return QARecord(
        id=str(values["id"]),
        dataset=str(values.get("dataset", values.get("data_source"))),
        scene_name=str(values["scene_name"]),
        question_type=str(values["question_type"]),
        frames=tuple(values["frames"]),
        question=str(values["question"]),
        options=tuple(values.get("options") or ()),
        mc_answer=str(values.get("mc_answer") or ""),
        ground_truth=str(values.get("ground_truth") or ""),
        overlap_avg=float(values.get("overlap_avg") or 0.0),
        occlusion_avg=float(values.get("occlusion_avg") or 0.0),
        occ_level=str(values.get("occ_level") or ""),
        overlap_level=str(values.get("overlap_level") or ""),
        vis_level=str(values.get("vis_level") or ""),
        gt_scenario=str(values.get("GT Scenario") or ""),
        bbox_2d=tuple(values.get("bbox_2d") or ()),
        bbox_2d_diag=float(values.get("bbox_2d_diag") or 0.0),
    )


def _from_conversation(turns: Sequence[Mapping[str, str]], question_type: str) -> dict[str, Any]:
    prompt, answer = turns[0]["value"], turns[1]["value"]
    body = prompt.removeprefix("<image>\n").removeprefix(PREAMBLE).strip("\n")
    question, _, rest = body.partition("\n")
    options = [line for line in rest.splitlines() if re.match(r"[A-D]\. ", line)]
    chosen = is_choice(question_type)
    return {
        "question": question,
        "options": options if chosen else [],
        "mc_answer": answer if chosen else "",
        "ground_truth": "" if chosen else answer,
    }
