"""The published JSON layouts, field by field."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from qa_generation.official import (
    benchmark_file_name,
    benchmark_row,
    training_row,
    write_benchmark_json,
    write_training_json,
)
from tests.qa_generation.test_records import record


def test_training_layout():
    row = training_row(record())
    assert list(row) == ["id", "data_source", "scene_name", "question_type", "frames", "conversations"]
    assert uuid.UUID(row["id"]).version == 4
    assert row["frames"] == ["frame_000020", "frame_000000"] and row["data_source"] == "synthetic"
    assert row["conversations"] == [
        {
            "from": "human",
            "value": "<image>\nThese are frames of a video.\n\n"
            "Does Frame 2 show a lamp? If yes, where is the centre of its 2D box?\n\n"
            "Options:\nA. No\nB. Yes; (10, 20)\nC. Yes; (30, 40)\nD. Yes; (50, 60)\n"
            "Answer with the option's letter from the given choices directly.",
        },
        {"from": "gpt", "value": "B"},
    ]


def test_training_layout_of_open_answers():
    point = record(question_type="obj_localization_occ_na", options=(), mc_answer="", ground_truth="(10,20)")
    human, gpt = training_row(point)["conversations"]
    assert gpt["value"] == "(10,20)" and "Options" not in human["value"] and human["value"].count("<image>") == 1


def test_benchmark_layout():
    row = benchmark_row(record(), 7)
    assert list(row) == [
        *("dataset", "scene_name", "question_type", "frames", "question", "options", "ground_truth", "mc_answer"),
        *("overlap_avg", "occlusion_avg", "occ_level", "overlap_level", "vis_level", "GT Scenario", "id"),
        *("bbox_2d", "bbox_2d_diag"),
    ]
    assert row["id"] == 7 and row["GT Scenario"] == "Full Coverage"
    assert row["bbox_2d"] == [5, 10, 15, 30] and row["bbox_2d_diag"] == "22.361"
    assert benchmark_row(record(bbox_2d=(), bbox_2d_diag=0.0), 0)["bbox_2d_diag"] == "0"


def test_files_are_json_lists(tmp_path: Path):
    records = [record(id=str(i), question="Ist das schön?") for i in range(3)]
    write_training_json(tmp_path / "train.json", iter(records))
    write_benchmark_json(tmp_path / "test.json", iter(records))
    rows = json.loads((tmp_path / "train.json").read_text(encoding="utf-8"))
    assert len({row["id"] for row in rows}) == 3
    assert [row["id"] for row in json.loads((tmp_path / "test.json").read_text(encoding="utf-8"))] == [0, 1, 2]
    write_training_json(tmp_path / "none.json", [])
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_file_names():
    assert benchmark_file_name("scannet") == "merged_indoor_test.json"
    assert benchmark_file_name("waymo") == "merged_outdoor_test.json"
