"""Ranks, adjusted p-values, and the page over several runs on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from typer.testing import CliRunner

from benchmarks.spatialmosaic.baselines import chance, constant
from benchmarks.spatialmosaic.leaderboard import rank_runs, read_runs
from benchmarks.spatialmosaic.pages.leaderboard_page import board_to_html, board_to_markdown
from benchmarks.spatialmosaic.publish import write_report
from benchmarks.spatialmosaic.results import PREDICTIONS, Run, run_from_predictions
from qa_generation.errors import InputError
from spatialvlm.cli import build_app
from tests.benchmarks.samples import make_record

RECORDS = [asdict(make_record("obj_count_occ", index, f"room_{index % 20}")) for index in range(200)]


def run(name: str, right: float, seed: int) -> Run:
    rng = np.random.default_rng(seed)
    answers = [r["mc_answer"] if rng.uniform() < right else "BCDA"["ABCD".index(r["mc_answer"])] for r in RECORDS]
    return run_from_predictions(name, list(zip(RECORDS, answers, strict=True)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    for name, right, seed in (("strong", 0.9, 1), ("weak", 0.5, 2), ("weak too", 0.5, 3)):
        found = replace(run(name, right, seed), facts={"command": f"spatialvlm bench {name}"})
        write_report(root / name, [found, chance(RECORDS), constant([], RECORDS)])
        found.write(root / name / PREDICTIONS)
    return [root / name for name in ("weak", "strong", "weak too")]


def test_runs_that_cannot_be_told_apart_share_a_rank(folders: list[Path]) -> None:
    board = rank_runs(read_runs(folders))
    ranks = {entry.name: entry.rank for entry in board.entries}
    assert ranks == {"strong": 1, "weak": 2, "weak too": 2, "constant (cross-fitted)": 4, "chance": 1}
    assert board.entries[0].name == "strong" and board.questions == 200 and board.scenes == 20


def test_baselines_come_once_and_can_be_left_out(folders: list[Path]) -> None:
    names = [found.name for found in read_runs(folders)]
    assert names == ["weak", "strong", "weak too", "chance", "constant (cross-fitted)"]
    assert [found.name for found in read_runs(folders, with_baselines=False)] == names[:3]
    assert [found.role for found in read_runs(folders)][3:] == ["expected", "baseline"]


def test_p_values_are_adjusted_for_all_pairs(folders: list[Path]) -> None:
    pairs = rank_runs(read_runs(folders, with_baselines=False)).pairs.values()
    assert len(pairs) == 3
    adjusted = false_discovery_control([pair.comparison.p_value for pair in pairs])
    assert [pair.adjusted_p for pair in pairs] == pytest.approx(adjusted.tolist())


def test_only_shared_questions_count(folders: list[Path]) -> None:
    first, second, *_ = read_runs(folders)
    board = rank_runs([first, replace(second, answers=second.answers[:50])])
    assert (board.questions, board.left_out) == (50, 150)


def test_a_results_file_stands_for_its_run(folders: list[Path]) -> None:
    assert read_runs([folders[0] / "results.json"])[0] == read_runs([folders[0]])[0]


def test_runs_of_the_same_name_are_told_apart_by_their_parents(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "weak").mkdir()
    run("weak", 0.6, 4).write(tmp_path / "weak" / PREDICTIONS)
    names = [found.name for found in read_runs([folders[0], tmp_path / "weak"], with_baselines=False)]
    assert names == [f"{folders[0].parent.name}/weak", f"{tmp_path.name}/weak"]


def test_what_cannot_be_ranked_is_named(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="given twice"):
        read_runs([folders[0], folders[0] / PREDICTIONS])
    with pytest.raises(InputError, match=r"no finished run, expected a folder with predictions\.jsonl"):
        read_runs([tmp_path])
    with pytest.raises(InputError, match="expected two or more to rank"):
        rank_runs(read_runs(folders[:1], with_baselines=False))


def test_the_page_sorts_by_itself_and_escapes_names(folders: list[Path]) -> None:
    runs = read_runs(folders)
    page = board_to_html(rank_runs([replace(runs[0], name="<u>x</u>"), *runs[1:]]))
    assert "<u>" not in page and "&lt;u&gt;x" in page
    assert page.count("<script>") == 1 and "&#" not in page.split("<script>")[1].split("</script>")[0]
    assert 'src="' not in page and "spatialvlm bench strong" in page


def test_markdown_lists_every_pair(folders: list[Path]) -> None:
    text = board_to_markdown(rank_runs(read_runs(folders, with_baselines=False)))
    assert "strong is better than weak: +" in text and "weak and weak too cannot be told apart" in text
    assert text.count("Adjusted p") == 3


@pytest.mark.parametrize("suffix", [".html", ".md", ".json"])
def test_the_command_writes_each_form(folders: list[Path], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"board{suffix}"
    result = CliRunner().invoke(build_app(), ["leaderboard", *map(str, folders), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].split() == ["1", f"{100 * _mean('strong', folders):.1f}", "strong"]
    if suffix == ".json":
        board = json.loads(out.read_text())
        assert len(board["entries"]) == 5 and len(board["pairs"]) == 6


def _mean(name: str, folders: list[Path]) -> float:
    (found,) = [found for found in read_runs(folders, with_baselines=False) if found.name == name]
    return float(found.aggregate()["overall"]) / 100


def test_an_unknown_suffix_is_refused(folders: list[Path]) -> None:
    result = CliRunner().invoke(build_app(), ["leaderboard", *map(str, folders), "--out", "board.pdf"])
    assert isinstance(result.exception, InputError) and "ends in .html, .md, .json" in str(result.exception)
