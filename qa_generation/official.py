"""The published JSON files of SpatialMosaic from our records (specs 1.1, 1.2), streamed so that memory stays flat."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qa_generation.prompts import POINT_TYPES, POST_CHOICE, POST_NUMERIC, POST_POINT, PREAMBLE, is_choice
from qa_generation.records import QARecord
from qa_generation.seeding import stable_int
from qa_generation.whole_files import whole_file

OUTDOOR_DATASETS = ("waymo",)


def training_row(record: QARecord) -> dict[str, Any]:
    """One object of the published training list; the id is a UUID made from the record's id."""
    if is_choice(record.question_type):
        tail = "\n".join(["Options:", *record.options, POST_CHOICE])
        answer = record.mc_answer
    else:
        tail = POST_POINT if record.question_type in POINT_TYPES else POST_NUMERIC
        answer = record.ground_truth
    prompt = f"<image>\n{PREAMBLE}\n\n{record.question}\n\n{tail}"
    return {
        "id": str(uuid.UUID(int=stable_int(0, record.id), version=4)),
        "data_source": record.dataset,
        "scene_name": record.scene_name,
        "question_type": record.question_type,
        "frames": list(record.frames),
        "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}],
    }


def benchmark_row(record: QARecord, index: int) -> dict[str, Any]:
    """One object of the published test list; ``index`` is its running number."""
    return {
        "dataset": record.dataset,
        "scene_name": record.scene_name,
        "question_type": record.question_type,
        "frames": list(record.frames),
        "question": record.question,
        "options": list(record.options),
        "ground_truth": record.ground_truth,
        "mc_answer": record.mc_answer,
        "overlap_avg": record.overlap_avg,
        "occlusion_avg": record.occlusion_avg,
        "occ_level": record.occ_level,
        "overlap_level": record.overlap_level,
        "vis_level": record.vis_level,
        "GT Scenario": record.gt_scenario,
        "id": index,
        "bbox_2d": list(record.bbox_2d),
        "bbox_2d_diag": f"{record.bbox_2d_diag:g}",
    }


def write_training_json(path: Path, records: Iterable[QARecord]) -> None:
    """Writes ``train.json``."""
    _write_list(path, records, lambda record, _: training_row(record))


def write_benchmark_json(path: Path, records: Iterable[QARecord]) -> None:
    """Writes ``merged_indoor_test.json`` (or outdoor)."""
    _write_list(path, records, benchmark_row)


def benchmark_file_name(dataset: str) -> str:
    """Name of the published test file a dataset belongs to."""
    return f"merged_{'outdoor' if dataset in OUTDOOR_DATASETS else 'indoor'}_test.json"


def _write_list(path: Path, records: Iterable[QARecord], row: Callable[[QARecord, int], dict[str, Any]]) -> None:
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for index, record in enumerate(records):
            stream.write(",\n" if index else "\n")
            stream.write(json.dumps(row(record, index), ensure_ascii=False))
        stream.write("\n]\n")
