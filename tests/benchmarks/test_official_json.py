"""The released test JSON as its authors wrote it: nulls, text for numbers, stray quotes; and files nobody can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.spatialmosaic.dataset import BenchData, load
from benchmarks.spatialmosaic.harness import evaluate
from benchmarks.spatialmosaic.official_json import read_official_json
from benchmarks.spatialmosaic.prompt import user_text
from benchmarks.spatialmosaic.results import Run
from qa_generation.errors import InputError
from qa_generation.official import write_benchmark_json
from qa_generation.prompts import QUESTION_TYPES
from tests.benchmarks.samples import AnsweringModel, make_record

# the kinds of rows that the public preview shows; texts are ours
ATTRIBUTE = {
    "dataset": "scannetpp",
    "scene_name": "2ab7bea148",
    "question_type": "obj_attribute_occ_lr",
    "frames": ["frame_009170", "frame_016110", "frame_001790"],
    "question": 'In frame_016110, which object appears left the suitcase(280,201) in this viewpoint?"',
    "options": ["A. wardrobe", "B. shoes", "C. sandals", "D. socks"],
    "ground_truth": None,
    "mc_answer": "D",
    "overlap_avg": None,
    "occlusion_avg": None,
    "occ_level": None,
    "overlap_level": None,
    "vis_level": None,
    "GT Scenario": None,
    "id": 0,
    "bbox_2d": None,
    "bbox_2d_diag": None,
}
EXISTENCE = ATTRIBUTE | {
    "question_type": "obj_existence_occ_ab",
    "question": "In frame_009170, is the bottles appears lower the duct tape roll in this viewpoint?",
    "options": ["A. No", "B. Yes"],
    "mc_answer": "B",
    "id": 1,
}
COUNT = ATTRIBUTE | {
    "question_type": "obj_count_occ_na",
    "question": "How many chair(s) are visible across these frames?",
    "options": ["A. 4", "B. 3", "C. 2", "D. 1"],
    "ground_truth": "1",
    "overlap_avg": 3.9537576000000003,
    "occlusion_avg": 0.0,
    "occ_level": "low",
    "overlap_level": "high",
    "vis_level": "Fully Visible",
    "GT Scenario": "Full Coverage",
    "id": 2,
    "bbox_2d": [],
    "bbox_2d_diag": "0",
}
POINT = COUNT | {
    "question_type": "obj_localization_occ_na",
    "ground_truth": "(217,122)",
    "id": 3,
    "bbox_2d": [200, 100, 234, 144],
    "bbox_2d_diag": "55.6",
}
THREE = COUNT | {"question_type": "obj_count_occ", "options": ["A. 2", "B. 3", "C. 1"], "mc_answer": "C", "id": 4}
OUTDOOR = COUNT | {"dataset": "waymo", "scene_name": "segment-1", "frames": ["front_1", "front_2"], "ground_truth": 3}
ROWS = [ATTRIBUTE, EXISTENCE, COUNT, POINT, THREE]


def released(root: Path, rows: list[dict[str, Any]], name: str = "merged_indoor_test.json", prefix: str = "") -> Path:
    """The rows in ``spatial_mosaic_vqa`` with pictures in the published layout."""
    for row in rows:
        for frame in row["frames"]:
            path = root / (prefix or row["dataset"] or "scannetpp") / row["scene_name"] / "images" / f"{frame}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6)).save(path)
    file = root / "spatial_mosaic_vqa" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def ask(data: BenchData, answer: Any) -> Run:
    found = evaluate(AnsweringModel(answer), data)
    assert found is not None
    return found[0]


def test_every_oddity_of_the_release_is_read(tmp_path: Path) -> None:
    data = load(released(tmp_path, ROWS))
    attribute, existence, count, point, three = data.table.to_pylist()
    assert data.image_root == tmp_path
    assert attribute["images"] == [f"scannetpp/2ab7bea148/images/{frame}.jpg" for frame in ATTRIBUTE["frames"]]
    assert attribute["id"] == "0" and attribute["ground_truth"] == "" and attribute["bbox_2d"] == []
    assert attribute["overlap_avg"] is None and attribute["occ_level"] == "" and attribute["gt_scenario"] == ""
    assert existence["options"] == ["A. No", "B. Yes"] and len(three["options"]) == 3
    assert count["gt_scenario"] == "Full Coverage" and count["mc_answer"] == "D" and count["bbox_2d_diag"] == 0.0
    assert count["overlap_avg"] == 3.9537576000000003 and count["occlusion_avg"] == 0.0
    assert point["bbox_2d_diag"] == 55.6 and point["bbox_2d"] == [200, 100, 234, 144]
    assert data.without_truth() == ()


def test_the_prompt_keeps_the_question_to_the_letter(tmp_path: Path) -> None:
    (row, *_) = load(released(tmp_path, ROWS)).table.to_pylist()
    lines = user_text(row).split("\n")
    assert lines[-7:] == [ATTRIBUTE["question"], "Options:", *ATTRIBUTE["options"], lines[-1]]
    assert lines[-8] == "These are frames of a video."


def test_gold_scores_one_hundred_and_nothing_scores_zero(tmp_path: Path) -> None:
    data = load(released(tmp_path, ROWS))
    truth = {"obj_count_occ_na": "1", "obj_localization_occ_na": "(217,122)"}
    gold = ask(data, lambda doc: truth.get(doc["question_type"]) or doc["mc_answer"])
    for means in (gold.aggregate(), gold.aggregate_repaired()):
        assert means["overall"] == 100.0 and set(means["per_type"].values()) == {1.0}
    empty = ask(data, lambda doc: "")
    assert empty.aggregate()["overall"] == empty.aggregate_repaired()["overall"] == 0.0
    assert [answer.occ_level for answer in gold.answers] == ["unknown", "unknown", "low", "low", "low"]
    assert [answer.visibility for answer in gold.answers] == [None, None, 1.0, 1.0, 1.0]


def test_all_types_through_our_writer_of_the_released_form(tmp_path: Path) -> None:
    records = [make_record(kind, index) for index, kind in enumerate(QUESTION_TYPES)]
    for record in records:
        for frame in record.frames:
            path = tmp_path / record.dataset / record.scene_name / "images" / f"{frame}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6)).save(path)
    write_benchmark_json(tmp_path / "merged_indoor_test.json", records)
    data = load(tmp_path / "merged_indoor_test.json")
    assert data.question_types == QUESTION_TYPES
    gold = ask(data, lambda doc: doc["mc_answer"] or doc["ground_truth"])
    assert gold.aggregate()["overall"] == gold.aggregate_repaired()["overall"] == 100.0


def test_indoor_and_outdoor_in_one_file_and_each_for_itself(tmp_path: Path) -> None:
    data = load(released(tmp_path, [COUNT, OUTDOOR | {"id": 9}]))
    assert data.types_by_place == {"indoor": ("obj_count_occ_na",), "outdoor": ("obj_count_occ_na",)}
    assert [name.split("/")[0] for (name, *_) in data.table["images"].to_pylist()] == ["scannetpp", "waymo"]
    assert data.table["ground_truth"].to_pylist() == ["1", "3"]


def test_a_file_that_is_called_outdoor_is_outdoor_where_it_does_not_say(tmp_path: Path) -> None:
    file = released(tmp_path, [OUTDOOR | {"dataset": None}], "merged_outdoor_test.json", prefix="waymo")
    data = load(file)
    assert data.table["dataset"].to_pylist() == ["waymo"] and list(data.types_by_place) == ["outdoor"]


def test_pictures_under_a_folder_of_the_users_own(tmp_path: Path) -> None:
    file = released(tmp_path / "release", ROWS)
    images = tmp_path / "elsewhere"
    (tmp_path / "release" / "scannetpp").rename(images)
    with pytest.raises(InputError, match=r"3 of 3 pictures are missing: .*; looked in .*--images names another"):
        load(file)
    assert load(file, image_root=images).image_root == images


def test_frames_that_are_paths_are_taken_as_such(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/one.png", "two.jpg"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    file = tmp_path / "test.json"
    file.write_text(json.dumps([COUNT | {"frames": ["a/one.png", str(tmp_path / "two.jpg")], "dataset": None}]))
    assert load(file).table["images"].to_pylist() == [["a/one.png", str(tmp_path / "two.jpg")]]


def test_ids_that_repeat_become_running_numbers(tmp_path: Path) -> None:
    rows = [COUNT | {"id": 7}, COUNT | {"id": 7}, {key: value for key, value in COUNT.items() if key != "id"}]
    file = tmp_path / "test.json"
    file.write_text(json.dumps(rows))
    assert read_official_json(file)["id"].to_pylist() == ["0", "1", "2"]


def test_values_that_are_no_numbers_are_unknown_not_errors(tmp_path: Path) -> None:
    rows = [COUNT | {"overlap_avg": "3.5", "occlusion_avg": float("nan"), "bbox_2d_diag": "", "extra": [1]}]
    file = tmp_path / "test.json"
    file.write_text("\ufeff" + json.dumps(rows), encoding="utf-8")
    (row,) = read_official_json(file).to_pylist()
    assert (row["overlap_avg"], row["occlusion_avg"], row["bbox_2d_diag"]) == (3.5, None, 0.0)


def test_missing_answers_are_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 choice questions have no mc_answer, ids 0"):
        load(released(tmp_path, [ATTRIBUTE | {"mc_answer": None}]))
    data = load(released(tmp_path, [COUNT | {"ground_truth": None}, POINT | {"bbox_2d_diag": None}, THREE]))
    assert data.without_truth() == ("2", "3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected a JSON list of records"),
        ("{", "not readable as JSON"),
        ("\x80", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ("[]", "holds no questions"),
        ('[{"scene_name": "a"}]', "record 0 has no field question_type, question, frames, options, mc_answer"),
        (json.dumps([COUNT, COUNT | {"frames": None}]), "record 1: frames is None, expected a list"),
        (json.dumps([COUNT | {"frames": []}]), r"record 0: frames is \[\], expected a list of names"),
        (json.dumps([COUNT | {"question": None}]), "record 0: question is None, expected a text"),
        (json.dumps([COUNT | {"options": "A. 1"}]), "record 0: options is 'A. 1', expected a list"),
        (json.dumps([COUNT | {"bbox_2d": ["x"]}]), r"record 0: bbox_2d is \['x'\], expected numbers"),
        (json.dumps([COUNT | {"bbox_2d": [10**30]}]), "a field has a value that does not fit"),
        (json.dumps([COUNT | {"frames": ["../../secret.png"]}]), r"'../../secret.png' leaves the image folder"),
        (json.dumps([COUNT | {"question_type": "obj_colour"}]), "question_type 'obj_colour' is unknown"),
    ],
)
def test_unusable_files_are_explained(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "test.json"
    file.write_bytes(text.encode("latin-1") if text == "\x80" else text.encode())
    with pytest.raises(InputError, match=message):
        load(file)
