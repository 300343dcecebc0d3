"""Reading questions from both formats, and the sentence a person gets for a dataset that cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.spatialmosaic.dataset import load, load_train
from qa_generation.errors import InputError
from qa_generation.prompts import QUESTION_TYPES
from qa_generation.records import QARecord, to_table
from tests.benchmarks.samples import make_record, write_images, write_split


def official_row(record: QARecord, index: int) -> dict[str, Any]:
    return {
        "dataset": record.dataset,
        "scene_name": record.scene_name,
        "question_type": record.question_type,
        "frames": list(record.frames),
        "question": record.question,
        "options": list(record.options),
        "ground_truth": None if record.mc_answer else record.ground_truth,
        "mc_answer": record.mc_answer,
        "overlap_avg": None,
        "occlusion_avg": None,
        "occ_level": None,
        "overlap_level": None,
        "vis_level": None,
        "GT Scenario": "Full Coverage",
        "id": index,
        "bbox_2d": None,
        "bbox_2d_diag": str(record.bbox_2d_diag),
    }


def test_all_shards_of_the_split_are_read_in_order(dataset: Path, records: list[QARecord]) -> None:
    data = load(dataset)
    assert sorted(data.table["id"].to_pylist()) == sorted(record.id for record in records)
    assert data.question_types == QUESTION_TYPES
    assert data.max_views == 5
    assert data.image_root == dataset
    assert data.of_type("obj_count_occ").num_rows == 4


def test_the_hub_naming_of_shards_is_read_too(tmp_path: Path, records: list[QARecord]) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(to_table(records[:3]), tmp_path / "data" / "test-00000-of-00001.parquet")
    write_images(tmp_path, records[:3])
    assert load(tmp_path).table.num_rows == 3


def test_train_questions_need_no_pictures(dataset: Path) -> None:
    assert all(name.startswith("train/") for name in load_train(load(dataset))["id"].to_pylist())


def test_official_json_with_nulls_and_numbers_as_text(tmp_path: Path) -> None:
    records = [make_record("obj_count_occ", 1), make_record("obj_localization_occ_na", 2)]
    root = tmp_path / "spatial_mosaic_dataset"
    for record in records:
        for frame in record.frames:
            path = root / "synthetic" / record.scene_name / "images" / f"{frame}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    file = root / "spatial_mosaic_vqa" / "merged_indoor_test.json"
    file.parent.mkdir()
    file.write_text(json.dumps([official_row(record, index) for index, record in enumerate(records)]))
    data = load(file)
    first, second = data.table.to_pylist()
    assert data.image_root == root / "synthetic"
    assert first["id"] == "0" and first["mc_answer"] == "B" and first["ground_truth"] == ""
    assert first["images"] == [f"room_0/images/{frame}.jpg" for frame in records[0].frames]
    assert first["gt_scenario"] == "Full Coverage" and first["frame_naming"] == "stem"
    assert second["bbox_2d_diag"] == 28.3 and second["ground_truth"] == "(42,90)"


def rewritten(tmp_path: Path, **changes: Any) -> Path:
    """A dataset of two records, the second with changed fields."""
    records = [make_record("obj_count_occ", 0), replace(make_record("obj_count_occ", 1), **changes)]
    write_split(tmp_path, "test", records)
    write_images(tmp_path, records)
    return tmp_path


def test_missing_pictures_are_named(tmp_path: Path) -> None:
    root = rewritten(tmp_path)
    (root / "images/room_0/frame_000010.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of 3 pictures are missing: .*frame_000010\.jpg"):
        load(root)


def test_choice_questions_without_a_letter_are_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 choice questions have no mc_answer, ids room_0/obj_count_occ/1"):
        load(rewritten(tmp_path, mc_answer=""))


def test_unknown_types_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="question_type 'obj_colour' is unknown"):
        load(rewritten(tmp_path, question_type="obj_colour"))


def test_frames_without_pictures_are_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames and images differ in number, ids room_0/obj_count_occ/1"):
        load(rewritten(tmp_path, images=("images/room_0/frame_000000.jpg",)))


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such dataset"):
        load(tmp_path / "nothing")


def test_no_such_split(dataset: Path) -> None:
    with pytest.raises(InputError, match=r"no Parquet files, expected data/validation/\*\.parquet"):
        load(dataset, "validation")


def test_truncated_parquet_is_named(tmp_path: Path) -> None:
    root = rewritten(tmp_path)
    (shard,) = (root / "data" / "test").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(InputError, match=rf"{shard.name}: not a readable Parquet file"):
        load(root)


def test_foreign_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "data" / "test").mkdir(parents=True)
    pq.write_table(pa.table({"question": ["?"]}), tmp_path / "data" / "test" / "a.parquet")
    with pytest.raises(InputError, match="columns id, dataset, scene_name"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected a JSON list of records"),
        ("{", "not readable as JSON"),
        ("[]", "holds no questions"),
        ('[{"scene_name": "a"}]', "record 0 has no field frames, question_type"),
    ],
)
def test_unusable_json_is_explained(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "test.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load(file)


def test_a_dataset_without_train_split_has_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no train split"):
        load_train(load(rewritten(tmp_path)))
