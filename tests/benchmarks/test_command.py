"""`spatialvlm bench` from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.spatialmosaic.results import Run
from qa_generation.errors import InputError
from spatialvlm.cli import build_app
from tests.benchmarks.samples import make_record, write_images, write_split


def bench(*arguments: object) -> str:
    result = CliRunner().invoke(build_app(), ["bench", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def finished(model_dir: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("runs") / "first"
    printed = bench(model_dir, dataset, "--limit", 1, "--max-new-tokens", 2, "--baselines", "--out", out)
    return out, printed


def test_everything_is_written_and_named(finished: tuple[Path, str]) -> None:
    out, printed = finished
    written = ["predictions.jsonl", "report.html", "report.md", "results.json", "run.json"]
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == written
    for name in written:
        assert name in printed
    for column in ("small", "chance", "question only"):
        assert column in printed


def test_the_results_agree_with_the_predictions(finished: tuple[Path, str]) -> None:
    results = json.loads((finished[0] / "results.json").read_text())
    run = Run.read(finished[0])
    assert results["runs"]["small"]["overall"] == run.aggregate()["overall"]
    assert results["facts"]["questions"] == len(run.answers) == 17


def test_an_earlier_run_stands_beside_the_new_one(
    finished: tuple[Path, str], model_dir: Path, dataset: Path, tmp_path: Path
) -> None:
    printed = bench(
        model_dir,
        dataset,
        "--limit",
        1,
        "--max-new-tokens",
        2,
        "--out",
        tmp_path,
        "--name",
        "second",
        "--against",
        finished[0],
    )
    assert "first" in printed and "second" in printed and "Gain of second" in printed
    rows = json.loads((tmp_path / "results.json").read_text())["tables"][-1]["rows"]
    assert rows[0]["cells"][0]["mean"] == 0.0


def test_the_facts_say_how_to_do_it_again(finished: tuple[Path, str], model_dir: Path, dataset: Path) -> None:
    facts = Run.read(finished[0]).facts
    assert facts["model"] == str(model_dir) and facts["dataset"] == str(dataset) and facts["split"] == "test"
    assert facts["limit_per_type"] == 1 and facts["max_new_tokens"] == 2 and facts["processes"] == 1
    assert len(facts["model_digest"]) == len(facts["dataset_digest"]) == 64
    assert {"python", "spatialvlm", "torch", "transformers", "lm-eval"} <= set(facts["versions"])
    assert "not installed" not in facts["versions"].values()
    assert 0 < facts["seconds_in_model"] < facts["seconds_total"] and facts["without_truth"] == 0
    assert facts["dtype"] == "float32" and facts["device"] == "cpu"


def test_baselines_that_ask_the_model_again(model_dir: Path, dataset: Path, tmp_path: Path) -> None:
    names = ("shuffled_views", "no_geometry")
    printed = bench(
        model_dir,
        dataset,
        *("--limit", 2, "--max-new-tokens", 4, "--out", tmp_path),
        *(argument for name in names for argument in ("--baseline", name)),
    )
    assert "shuffled views" in printed and "geometry bypassed" in printed
    mine = [answer.response for answer in Run.read(tmp_path).answers]
    for folder in (tmp_path / "baselines").iterdir():
        run = Run.read(folder)
        assert len(run.answers) == (24 if folder.name == "chance" else 34)
        if folder.name != "chance":
            assert [answer.response for answer in run.answers] != mine, folder.name
    assert not list(tmp_path.glob(".answers*"))


def test_an_unknown_baseline_is_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="baseline 'luck' is unknown"):
        bench("tiny", dataset, "--baseline", "luck", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_questions_without_an_answer_are_listed_before_the_model_is_looked_for(
    tmp_path: Path,
) -> None:
    records = [replace(make_record("obj_count_occ_na", 0), ground_truth=""), make_record("obj_count_occ_na", 1)]
    write_split(tmp_path, "test", records)
    write_images(tmp_path, records)
    result = CliRunner().invoke(build_app(), ["bench", "none", str(tmp_path)])
    assert "no such model" in str(result.exception)
    assert "1 questions have no readable answer and score 0, ids room_0/obj_count_occ_na/0" in result.stderr


def test_written_tasks_are_announced(dataset: Path, tmp_path: Path) -> None:
    assert "tasks for 17 question types" in bench("--write-tasks", tmp_path / "tasks", dataset)
    assert (tmp_path / "tasks" / "spatialmosaic_bench.yaml").is_file()


def test_missing_pictures_stop_the_run_before_the_model_is_looked_for(tmp_path: Path) -> None:
    records = [make_record("obj_count_occ", 0)]
    write_split(tmp_path, "test", records)
    write_images(tmp_path, records)
    (tmp_path / records[0].images[1]).unlink()
    with pytest.raises(InputError, match="1 of 2 pictures are missing"):
        bench("no-such-model", tmp_path, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_is_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no-such-model: no such model"):
        bench("no-such-model", dataset, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_model_and_dataset_are_needed() -> None:
    with pytest.raises(InputError, match="MODEL and DATASET are needed"):
        bench("tiny")
    with pytest.raises(InputError, match="DATASET is needed"):
        bench("--write-tasks", "somewhere")


def test_help_shows_an_example() -> None:
    assert "Example: spatialvlm bench tiny data/rooms" in bench("--help")
