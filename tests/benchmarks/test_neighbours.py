"""Neighbouring benchmarks from their public files: views, prompts, scores, and a run with lm-eval."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.neighbours.baselines import best_constant, chance
from benchmarks.neighbours.catalogue import FAMILIES, SPAR, TASK_NAMES, VSI, VSTI, WEIGHTS
from benchmarks.neighbours.dataset import NeighbourData, load
from benchmarks.neighbours.evaluate import evaluate
from benchmarks.neighbours.motions import motion_accuracy, parse_motions
from benchmarks.neighbours.pictures import spread
from benchmarks.neighbours.records import offered_letters, score, user_text
from benchmarks.neighbours.tasks.utils import mean_of_tasks
from benchmarks.spatialmosaic.publish import write_report
from benchmarks.spatialmosaic.report import compare
from benchmarks.spatialmosaic.results import Run
from benchmarks.spatialmosaic.scoring import relative_accuracy
from qa_generation.errors import InputError
from spatialvlm.cli import build_app
from tests.benchmarks.neighbour_files import (
    SCENES,
    SPAR_TYPES,
    VSI_TYPES,
    VSTI_TYPES,
    vsi_rows,
    write_frames,
    write_spar,
    write_vsi,
    write_vsti,
)
from tests.benchmarks.samples import AnsweringModel


@pytest.fixture
def vsi(tmp_path: Path) -> NeighbourData:
    write_frames(tmp_path / "frames")
    return load(write_vsi(tmp_path), tmp_path / "frames", frames=3)


@pytest.fixture
def spar(tmp_path: Path) -> NeighbourData:
    write_spar(tmp_path)
    return load(tmp_path)


def test_vsi_questions_show_frames_spread_over_their_video(vsi: NeighbourData) -> None:
    assert vsi.benchmark == VSI and len(vsi.rows) == 3 * len(VSI_TYPES)
    row = vsi.rows[0]
    assert row["images"] == [f"scannet/{SCENES[0]}/{frame:06d}.jpg" for frame in (0, 3, 6)]
    assert (row["mc_answer"], row["ground_truth"], row["options"]) == ("", "4", [])
    assert (vsi.rows[3]["mc_answer"], vsi.rows[3]["options"][0]) == ("A", "A. left")


def test_the_prompt_is_the_published_one(vsi: NeighbourData) -> None:
    views = "Frame 1: <image>\nFrame 2: <image>\nFrame 3: <image>\n"
    assert user_text(vsi.rows[0]) == (
        views + "These are frames of a video.\nAbout the object_counting?\n"
        "Please answer the question using a single word or phrase."
    )
    assert user_text(vsi.rows[3]) == (
        views + "These are frames of a video.\nAbout the object_rel_direction_easy?\nOptions:\nA. left\nB. right\n"
        "C. back\nAnswer with the option's letter from the given choices directly."
    )


def test_vsti_keeps_its_letters_apart_from_its_numbers(tmp_path: Path) -> None:
    write_frames(tmp_path)
    found = load(write_vsti(tmp_path), frames=2)
    assert found.benchmark == VSTI
    truths = {row["question_type"]: row["mc_answer"] or row["ground_truth"] for row in found.rows}
    assert truths == VSTI_TYPES


def test_spar_unpacks_its_pictures_once(spar: NeighbourData, tmp_path: Path) -> None:
    assert spar.benchmark == SPAR
    names = {name for row in spar.rows for name in row["images"]}
    assert len(names) == 4 and {path.name for path in (tmp_path / ".pictures").iterdir()} == names
    assert len({row["scene_name"] for row in spar.rows}) == 2


def test_options_inside_a_question_are_known_and_not_repeated(spar: NeighbourData) -> None:
    row = next(row for row in spar.rows if row["question_type"] == "position_matching")
    assert row["options"] == ["A. red dot", "B. blue dot", "C. green dot", "D. none of them"]
    assert user_text(row).count("red dot") == 1 and "Options:" not in user_text(row)


@pytest.mark.parametrize(
    ("question", "letters"),
    [
        ("Which? A. left B. right", ["A", "B"]),
        ("Which?\n(A) left\n(B) right", ["A", "B"]),
        ("Is A. Smith in frame 2?", []),
        ("How far is it?", []),
    ],
)
def test_letters_are_found_in_questions(question: str, letters: list[str]) -> None:
    assert offered_letters(question) == letters


def test_gold_scores_one_and_nothing_scores_zero(vsi: NeighbourData, spar: NeighbourData) -> None:
    for row in (*vsi.rows, *spar.rows):
        gold = score(row, row["mc_answer"] or row["ground_truth"], "")
        assert (gold.score, gold.score_repaired, gold.parsed) == (1.0, 1.0, True)
        empty = score(row, "", "")
        assert (empty.score, empty.score_repaired, empty.parsed) == (0.0, 0.0, False)


def test_the_rules_are_those_of_our_scorer(vsi: NeighbourData) -> None:
    number, choice = vsi.rows[0], vsi.rows[3]
    assert score(number, "5", "").score == relative_accuracy(5.0, 4.0)
    assert (score(choice, "(A)", "").score, score(choice, "(A)", "").score_repaired) == (0.0, 1.0)


def test_tasks_weigh_the_same_however_many_types_they_have() -> None:
    items = [("object_counting", 1.0), *((f"object_rel_direction_{level}", 0.0) for level in ("easy", "medium"))]
    assert mean_of_tasks(items) == pytest.approx(1.0 / (1.0 + 2 / 3))
    items.append(("object_rel_direction_hard", 0.0))
    assert mean_of_tasks(items) == pytest.approx(0.5)
    assert sum(WEIGHTS.get(kind, 1.0) for family in list(FAMILIES)[:8] for kind in FAMILIES[family]) == pytest.approx(8)


@pytest.mark.parametrize(
    ("text", "motions"),
    [
        ("move_right:0.3,rotate_up:20", {"move x": 0.3, "rotate y": 20.0}),
        ("Move left: 0.3 and rotate_down = 5", {"move x": -0.3, "rotate y": -5.0}),
        ("move_sideways:1", {}),
        ("no idea", {}),
    ],
)
def test_motions_are_read_with_their_signs(text: str, motions: dict[str, float]) -> None:
    assert parse_motions(text) == motions


def test_a_motion_the_wrong_way_earns_nothing() -> None:
    target = parse_motions("move_right:0.4,rotate_up:0")
    assert motion_accuracy(parse_motions("move_right:0.4,rotate_up:0"), target) == 1.0
    assert motion_accuracy(parse_motions("move_left:0.4"), target) == 0.0
    assert motion_accuracy(parse_motions("move_right:0.5"), target) == pytest.approx(relative_accuracy(1.25, 1.0) / 2)


@pytest.mark.parametrize(
    ("total", "count", "indices"), [(9, 3, [0, 4, 8]), (2, 5, [0, 1]), (9, 1, [4]), (4, 4, [0, 1, 2, 3])]
)
def test_frames_are_spread_evenly(total: int, count: int, indices: list[int]) -> None:
    assert spread(total, count) == indices


def ask(model: AnsweringModel, asked: NeighbourData, frames: int | None = None) -> Run:
    where = {"data": str(asked.data.source), "images": str(asked.data.image_root), "frames": frames}
    found = evaluate(model, asked, where, "gold")
    assert found is not None
    return found[0]


def test_lm_eval_asks_every_question_with_its_views(vsi: NeighbourData) -> None:
    model = AnsweringModel(lambda doc: doc["mc_answer"] or doc["ground_truth"])
    run = ask(model, vsi, 3)
    assert run.name == "gold" and run.aggregate()["overall"] == 100.0
    assert [answer.id for answer in run.answers] == [row["id"] for row in vsi.rows]
    assert all(len(views) == 3 and text.count("<image>") == 3 for text, views in model.seen)
    assert ask(AnsweringModel(lambda doc: ""), vsi, 3).aggregate()["overall"] == 0.0


def test_the_report_has_the_published_tasks(spar: NeighbourData, tmp_path: Path) -> None:
    run = ask(AnsweringModel(lambda doc: "C"), spar)
    beside = [chance(spar.rows), best_constant(spar.rows)]
    report, _ = write_report(tmp_path / "out", [run, *beside], spar.data, title=SPAR)
    labels = [row.label for row in report.tables[0].rows]
    assert [label for label in labels if label.startswith("SPAR")] == ["SPAR low level", "SPAR medium level"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h1>SPAR-Bench: gold</h1>" in page and page.count("data:image/jpeg") >= 4
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["runs"]["gold"]["overall"] == pytest.approx(100 / 3)


def test_the_overall_of_vsi_counts_directions_once(vsi: NeighbourData) -> None:
    run = ask(AnsweringModel(lambda doc: "A"), vsi, 3)
    report = compare([run])
    # count 0, directions 1/3, route 1: not the mean of five types
    assert report.to_json()["runs"]["gold"]["overall"] == pytest.approx(100 * (0 + 1 / 3 + 1) / 3)
    cell = report.tables[0].rows[0].cells[0]
    assert cell is not None and cell.mean == pytest.approx(4 / 9)


def test_constants_are_learnt_from_other_questions(vsi: NeighbourData) -> None:
    by_type = best_constant(vsi.rows).aggregate()["per_type"]
    assert by_type["route_planning_accuracy"] == 1.0 and by_type["object_counting_MRA:.5:.95:.05"] == 1.0
    assert [answer.score for answer in chance(vsi.rows).answers] == [pytest.approx(1 / 3)] * 12


def test_limits_count_per_type(tmp_path: Path) -> None:
    write_frames(tmp_path)
    assert len(load(write_vsi(tmp_path), frames=1, limit=2).rows) == 2 * len(VSI_TYPES)


def broken(tmp_path: Path, **changes: Any) -> Path:
    rows = [{**vsi_rows()[3], **changes}]
    file = tmp_path / "test.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ground_truth": None}, "record 0: the answer is '', expected a letter, a number"),
        ({"scene_name": "scene9999_00"}, "no frames of scene 'scene9999_00', expected scannet/scene9999_00/"),
        ({"scene_name": "../../secret"}, "is no folder below it"),
        ({"scene_name": "/etc"}, "is no folder below it"),
        ({"frames": ["a"]}, "use `spatialvlm bench`"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_frames(tmp_path / "frames")
    with pytest.raises(InputError, match=message):
        load(broken(tmp_path, **changes), tmp_path / "frames")


def test_a_video_without_frames_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "scannet").mkdir()
    (tmp_path / "scannet" / f"{SCENES[0]}.mp4").write_bytes(b"not looked into")
    with pytest.raises(InputError, match=r"a video, expected frames in .*ffmpeg -i"):
        load(broken(tmp_path), tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no questions, expected a Parquet, JSON or JSONL file"):
        load(tmp_path)
    (tmp_path / "test.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        load(tmp_path / "test.json")
    (tmp_path / "test.json").write_text('[{"a": 1}]')
    with pytest.raises(InputError, match="columns are a, expected those of SPAR-Bench: id, task"):
        load(tmp_path / "test.json")
    (tmp_path / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        load(tmp_path / "test.parquet")


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    file = write_spar(tmp_path)
    rows = pq.read_table(file).to_pylist()
    rows[1]["image"][1]["bytes"] = b"GIF89a, or so it says"
    pq.write_table(pa.Table.from_pylist(rows), file)
    with pytest.raises(InputError, match="record 1: picture 1 is not readable"):
        load(tmp_path)


def test_ids_are_unique(tmp_path: Path) -> None:
    write_frames(tmp_path)
    file = broken(tmp_path)
    file.write_text(file.read_text() * 2)
    with pytest.raises(InputError, match=r"1 ids are not unique, e\.g\. '3'"):
        load(file, frames=1)


def test_the_command_runs_a_model_and_reports(model_dir: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "frames")
    file = write_vsi(tmp_path)
    out = tmp_path / "out"
    command = ["transfer", model_dir, file, "--images", tmp_path / "frames", "--frames", 2, "--limit", 1, "--out", out]
    result = CliRunner().invoke(build_app(), [*map(str, command), "--max-new-tokens", "2"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        "baselines",
        "predictions.jsonl",
        "report.html",
        "report.md",
        "results.json",
        "run.json",
    ]
    facts = json.loads((out / "run.json").read_text())["facts"]
    assert facts["benchmark"] == VSI and facts["frames"] == 2 and len(facts["model_digest"]) == 64


def test_every_benchmark_has_a_packaged_task() -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "neighbours" / "tasks"
    for name in TASK_NAMES.values():
        assert f"task: {name}" in (folder / f"{name}.yaml").read_text()
    assert set(SPAR_TYPES) <= {kind for kinds in FAMILIES.values() for kind in kinds}


def test_unknown_types_are_scored_by_what_their_answers_look_like(vsi: NeighbourData) -> None:
    row = {**vsi.rows[3], "question_type": "something_new"}
    answer = score(row, "A", "A")
    assert (answer.question_type, answer.score, answer.metric) == ("something_new", 1.0, "accuracy")
    report = compare([Run("model", (answer, replace(answer, id="other")))])
    assert report.tables[0].rows[1].label == "something_new"
