"""Reading questions from both formats, and the sentence a person gets for a dataset that cannot be used."""

from __future__ import annotations

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


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    root = rewritten(tmp_path)
    (root / "images/room_0/frame_000010.jpg").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"1 of 3 pictures cannot be read: .*frame_000010\.jpg \(Unidentified"):
        load(root)


def test_ids_that_are_not_unique_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 ids are not unique: room_0/obj_count_occ/0"):
        load(rewritten(tmp_path, id="room_0/obj_count_occ/0"))


def test_questions_whose_answer_is_missing_are_listed(tmp_path: Path) -> None:
    kinds = ("obj_count_occ", "obj_count_occ_na", "obj_localization_occ_na", "obj_localization_occ_na")
    records = [make_record(kind, index) for index, kind in enumerate(kinds)]
    records[0] = replace(records[0], mc_answer="E")
    records[1] = replace(records[1], ground_truth="many")
    records[2] = replace(records[2], bbox_2d_diag=0.0)
    write_split(tmp_path, "test", records)
    write_images(tmp_path, records)
    assert load(tmp_path).without_truth() == tuple(record.id for record in records[:3])


def test_a_limit_keeps_the_first_of_every_type(dataset: Path) -> None:
    data = load(dataset)
    kept = data.limited(2)
    assert kept.question_types == QUESTION_TYPES and kept.table.num_rows == 34
    for kind in QUESTION_TYPES:
        assert kept.of_type(kind)["id"].to_pylist() == data.of_type(kind)["id"].to_pylist()[:2]


def test_places_are_told_by_the_dataset(tmp_path: Path) -> None:
    records = [make_record("obj_count_occ", 0), replace(make_record("obj_count_occ", 1), dataset="waymo")]
    write_split(tmp_path, "test", records)
    write_images(tmp_path, records)
    data = load(tmp_path)
    assert data.types_by_place == {"indoor": ("obj_count_occ",), "outdoor": ("obj_count_occ",)}
    assert data.of_type("obj_count_occ", "outdoor")["id"].to_pylist() == [records[1].id]


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


def test_a_dataset_without_train_split_has_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no train split"):
        load_train(load(rewritten(tmp_path)))
