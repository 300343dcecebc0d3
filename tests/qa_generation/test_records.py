"""Records survive the way to Parquet and back, and the prompts are the published ones."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from qa_generation.prompts import (
    ALL_TYPES,
    CHOICE_TYPES,
    FAMILIES,
    ORBIT_FAMILIES,
    ORBIT_TYPES,
    QUESTION_TYPES,
    frame_name,
    is_choice,
    question_prompt,
)
from qa_generation.records import SCHEMA, QARecord, to_table
from qa_generation.shards import read_shard, shard_fingerprint, write_shard


def record(**changes: object) -> QARecord:
    """A localisation record."""
    values = {
        "id": "synthetic.room_0.obj_localization_occ.000",
        "dataset": "synthetic",
        "scene_name": "room_0",
        "question_type": "obj_localization_occ",
        "frames": ("frame_000020", "frame_000000"),
        "question": "Does Frame 2 show a lamp? If yes, where is the centre of its 2D box?",
        "options": ("A. No", "B. Yes; (10, 20)", "C. Yes; (30, 40)", "D. Yes; (50, 60)"),
        "mc_answer": "B",
        "ground_truth": "Yes; (10, 20)",
        "overlap_avg": 3.5,
        "occlusion_avg": 0.25,
        "occ_level": "medium",
        "overlap_level": "high",
        "vis_level": "Partially Visible",
        "gt_scenario": "Full Coverage",
        "bbox_2d": (5, 10, 15, 30),
        "bbox_2d_diag": 22.361,
        "target_ids": (4,),
    }
    return QARecord(**{**values, **changes})  # type: ignore[arg-type]


def test_the_schema_has_every_field_in_order():
    assert SCHEMA.names == [f.name for f in fields(QARecord)]


def test_shard_round_trip(tmp_path: Path):
    records = [record(), record(id="x", options=(), bbox_2d=(), evidence='[{"frame":"ä"}]')]
    path = tmp_path / "data" / "train" / "room_0.parquet"
    write_shard(path, records, "abc")
    assert list(read_shard(path)) == records
    assert shard_fingerprint(path) == "abc" and [p.name for p in path.parent.iterdir()] == ["room_0.parquet"]


def test_an_empty_shard_keeps_the_schema(tmp_path: Path):
    write_shard(tmp_path / "a.parquet", [], "abc")
    assert list(read_shard(tmp_path / "a.parquet")) == []
    assert pq.read_schema(tmp_path / "a.parquet").names == SCHEMA.names


def test_a_broken_shard_has_no_fingerprint(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 cut off")
    assert shard_fingerprint(tmp_path / "a.parquet") is None
    assert shard_fingerprint(tmp_path / "missing.parquet") is None


def test_to_table_keeps_the_order():
    assert to_table([record(id="b"), record(id="a")])["id"].to_pylist() == ["b", "a"]


def test_seventeen_types_in_eleven_families():
    assert len(QUESTION_TYPES) == 17 and len(CHOICE_TYPES) == 12
    assert [t for types in FAMILIES.values() for t in types] == list(QUESTION_TYPES)


def test_orbit_types_stand_apart_in_families_of_their_own():
    assert [t for types in ORBIT_FAMILIES.values() for t in types] == list(ORBIT_TYPES)
    assert not set(ORBIT_TYPES) & set(QUESTION_TYPES) and ALL_TYPES == QUESTION_TYPES + ORBIT_TYPES
    assert all(is_choice(kind) == (kind != "orbit_angle_deg") for kind in ORBIT_TYPES)
    assert "Options:" in question_prompt("orbit_order", "Which?", ["A. x", "B. y"])
    assert "Options:" not in question_prompt("orbit_angle_deg", "How far?", [])


def test_prompt_of_the_three_kinds():
    assert question_prompt("obj_count_occ", "How many?", ["A. 1", "B. 2"]) == (
        "These are frames of a video.\nHow many?\nOptions:\nA. 1\nB. 2\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert question_prompt("obj_size_occ_na", "How long?", []) == (
        "These are frames of a video.\nHow long?\nPlease answer the question using a single word or phrase."
    )
    assert question_prompt("obj_localization_occ_na", "Where?", []).endswith("formatted as (x,y).")
    with pytest.raises(ValueError, match="obj_colour"):
        question_prompt("obj_colour", "Which?", [])


def test_frame_names():
    assert frame_name("index", 1, "frame_000120") == "Frame 2"
    assert frame_name("stem", 1, "frame_000120") == "frame_000120"
