"""`spatialvlm bench` from the command line."""

from __future__ import annotations

import json
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
    assert sorted(path.name for path in out.iterdir()) == [
        "predictions.jsonl",
        "report.html",
        "report.md",
        "results.json",
    ]
    for path in out.iterdir():
        assert str(path.name) in printed
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
