"""A run on disk: what is read is what was written, whatever a model says, and files that are no run are explained."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.spatialmosaic.results import PREDICTIONS, RUN_FACTS, Run, expected_answer, score_answer
from qa_generation.errors import InputError
from tests.benchmarks.samples import make_record

RECORD = asdict(make_record("obj_count_occ", 0)) | {"trunc_level": "medium"}
ANSWER = score_answer(RECORD, "A", "<think>5</think>A")


def test_the_facts_of_the_question_stand_beside_the_answer() -> None:
    assert ANSWER.dataset == "synthetic" and ANSWER.scene_name == "room_0" and ANSWER.views == 2
    labels = (ANSWER.occ_level, ANSWER.overlap_level, ANSWER.trunc_level, ANSWER.vis_level, ANSWER.gt_scenario)
    assert labels == ("low", "medium", "medium", "Partially Visible", "Full Coverage")
    assert ANSWER.visibility == 0.7 and ANSWER.target == "A" and ANSWER.response == "<think>5</think>A"


def test_what_a_record_does_not_say_is_unknown() -> None:
    bare = {"id": 3, "question_type": "obj_count_occ", "mc_answer": "A", "options": ["A. 1", "B. 2"]}
    answer = score_answer(bare | {"occlusion_avg": None, "occ_level": None}, "A")
    assert answer.visibility is None and answer.occ_level == answer.trunc_level == "unknown" and answer.id == "3"


def test_a_run_comes_back_with_its_facts(tmp_path: Path) -> None:
    facts = {"command": "spatialvlm bench tiny data", "versions": {"torch": "2"}, "seconds_total": 1.5, "limit": None}
    run = Run("a name", (ANSWER, expected_answer(RECORD, "accuracy", 0.25)), "expected", facts)
    run.write(tmp_path / "folder" / PREDICTIONS)
    again = Run.read(tmp_path / "folder")
    assert again.answers == run.answers and again.role == "expected" and again.facts == facts
    assert again.name == "folder" and Run.read(tmp_path / "folder", "other").name == "other"
    assert json.loads((tmp_path / "folder" / RUN_FACTS).read_text())["name"] == "a name"


def test_answers_stand_without_facts(tmp_path: Path) -> None:
    Run("x", (ANSWER,)).write(tmp_path / PREDICTIONS)
    (tmp_path / RUN_FACTS).unlink()
    assert Run.read(tmp_path).facts == {} and Run.read(tmp_path / PREDICTIONS).answers == (ANSWER,)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(exclude_categories=[])), st.text())
def test_every_text_survives(tmp_path: Path, response: str, prediction: str) -> None:
    """Lone halves of surrogate pairs, which no file in UTF-8 can hold, become U+FFFD."""
    answers = (replace(ANSWER, response=response, prediction=prediction), ANSWER)
    Run("x", answers).write(tmp_path / PREDICTIONS)
    first, second = Run.read(tmp_path).answers
    assert second == ANSWER and first.prediction == prediction
    assert first.response == response.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert len((tmp_path / PREDICTIONS).read_bytes().split(b"\n")) == 3


def test_facts_that_json_does_not_know_become_null(tmp_path: Path) -> None:
    Run("x", (ANSWER,), facts={"loss": float("nan"), "best": [float("inf"), 1]}).write(tmp_path / PREDICTIONS)
    assert Run.read(tmp_path).facts == {"loss": None, "best": [None, 1]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (PREDICTIONS, b"", "no answers, expected at least one line"),
        (PREDICTIONS, b"{}\n", "line 1: not a scored answer"),
        (PREDICTIONS, b"\xff\n", "not UTF-8 text"),
        (RUN_FACTS, b"{", r"run.json: not readable as JSON"),
        (RUN_FACTS, b"[]", r"run.json: holds a list, expected an object"),
    ],
)
def test_files_that_are_no_run_are_explained(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    Run("x", (ANSWER,)).write(tmp_path / PREDICTIONS)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        Run.read(tmp_path)


def test_no_such_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file, expected the predictions"):
        Run.read(tmp_path)


def test_types_weigh_the_same_in_both_readings() -> None:
    other = score_answer(asdict(make_record("obj_size_occ_na", 0)), "1 cm or so")
    run = Run("x", (ANSWER, ANSWER, replace(other, score=0.0, score_repaired=1.0)))
    assert run.aggregate()["overall"] == 50.0 and run.aggregate_repaired()["overall"] == 100.0
