"""What stands in the tables, and that all three forms say the same."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.spatialmosaic.baselines import chance
from benchmarks.spatialmosaic.render import cell_text, print_report, to_html, to_markdown
from benchmarks.spatialmosaic.report import OVERALL, Report, Table, compare
from benchmarks.spatialmosaic.results import PREDICTIONS, Run, run_from_predictions
from benchmarks.spatialmosaic.statistics import Cell
from qa_generation.errors import InputError
from tests.benchmarks.samples import make_record

KINDS = ("obj_count_occ", "obj_existence_occ_ab", "obj_existence_occ_lr")
RECORDS = [vars(make_record(kind, index)) for kind in KINDS for index in range(4)]


def run(name: str, letter_of: dict[str, str]) -> Run:
    return run_from_predictions(name, [(record, letter_of[record["question_type"]]) for record in RECORDS])


@pytest.fixture
def before() -> Run:
    return run("before", {"obj_count_occ": "A", "obj_existence_occ_ab": "chair", "obj_existence_occ_lr": "B"})


@pytest.fixture
def after() -> Run:
    answers = [(record, record["mc_answer"] if record["question_type"] == KINDS[1] else "C") for record in RECORDS]
    return run_from_predictions("after", answers)


@pytest.fixture
def report(before: Run, after: Run) -> Report:
    return compare([before, after, chance(RECORDS)])


def row(table: Table, label: str) -> list[str]:
    (found,) = [line for line in table.rows if line.label == label]
    return [str(found.n), *map(cell_text, found.cells)]


def table(report: Report, start: str) -> Table:
    (found,) = [table for table in report.tables if table.title.startswith(start)]
    return found


def test_families_are_means_of_their_types(report: Report) -> None:
    scores = table(report, "Score by question family")
    assert scores.columns == ("before", "after", "chance")
    assert row(scores, "Object count") == ["4", "25.0 ± 25.0", "25.0 ± 25.0", "25.0"]
    assert row(scores, "obj_existence_occ_ab") == ["4", "0.0 ± 0.0", "100.0 ± 0.0", "25.0"]
    assert row(scores, "Object existence") == ["8", "12.5 ± 12.5", "62.5 ± 12.5", "25.0"]


def test_the_overall_is_the_published_one(report: Report, before: Run) -> None:
    scores = table(report, "Score by question family")
    assert row(scores, OVERALL)[1].startswith(f"{before.aggregate()['overall']:.1f} ")
    assert report.to_json()["runs"]["before"]["overall"] == before.aggregate()["overall"]


def test_levels_and_numbers_of_views(report: Report) -> None:
    levels = table(report, "Score by occlusion")
    assert [line.label for line in levels.rows] == [
        "occlusion low",
        "occlusion medium",
        "occlusion high",
        "overlap level low",
        "overlap level medium",
        "overlap level high",
        "2 views",
        "3 views",
        "4 views",
        "5 views",
    ]
    # the record with five views has the letter D: only the gold answers of one type are right
    assert row(levels, "5 views") == ["3", "0.0 ± 0.0", "33.3 ± 33.3", "25.0"]


def test_answers_without_a_letter_are_counted(report: Report) -> None:
    unread = table(report, "Answers that could not be read")
    assert unread.columns == ("before", "after")
    assert row(unread, "All questions")[1].startswith("33.3 ")
    assert row(unread, "Object existence")[1].startswith("50.0 ")
    assert [line.label for line in unread.rows] == ["All questions", "Object existence"]


def test_gains_are_paired(report: Report) -> None:
    gains = table(report, "Gain of after")
    assert gains.columns == ("over before",)
    assert row(gains, "Object existence") == ["8", "50.0 ± 26.7"]


def test_only_common_questions_are_compared(before: Run, after: Run) -> None:
    shorter = replace(after, answers=after.answers[:5])
    scores = compare([before, shorter, chance(RECORDS)]).tables[0]
    assert row(scores, OVERALL)[0] == "5"
    assert row(scores, "Object existence")[0] == "1"


def test_a_run_without_some_types_gets_no_mean_over_them() -> None:
    number = vars(make_record("obj_size_occ_na", 0))
    both = run_from_predictions("model", [(number, "1"), (RECORDS[0], "A")])
    scores = compare([both, chance([number, RECORDS[0]])]).tables[0]
    assert row(scores, OVERALL) == ["2", "100.0", "–"]
    assert row(scores, "Object size") == ["1", "100.0", "–"]


def test_runs_that_cannot_be_compared_are_refused(before: Run, after: Run) -> None:
    with pytest.raises(InputError, match="no run with answers"):
        compare([Run("empty", ())])
    with pytest.raises(InputError, match="expected a different name for each"):
        compare([before, replace(after, name="before")])
    with pytest.raises(InputError, match="share no question"):
        compare([replace(before, answers=before.answers[:2]), replace(after, answers=after.answers[3:])])


def test_markdown_html_and_terminal_show_the_same_cells(report: Report) -> None:
    markdown = to_markdown(report, {"model": "tiny"})
    page = to_html(report, {"model": "tiny"})
    buffer = io.StringIO()
    print_report(report, Console(file=buffer, width=120))
    for text in ("62.5 ± 12.5", "50.0 ± 26.7", "obj_existence_occ_lr", "Gain of after"):
        assert text in markdown and text in page and text in buffer.getvalue()
    assert "- model: tiny" in markdown and "<dd>tiny</dd>" in page


def test_the_page_is_one_file_and_names_are_escaped(before: Run) -> None:
    page = to_html(compare([replace(before, name="<script>x</script>")]), {"model": "<b>"})
    assert "<script>" not in page and "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_bar_in_a_markdown_name_keeps_the_columns(before: Run) -> None:
    lines = to_markdown(compare([replace(before, name="a|b")])).splitlines()
    header = next(line for line in lines if line.startswith("|  | n |"))
    assert header == "|  | n | a\\|b |"


def test_runs_come_back_from_disk_as_they_were(before: Run, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    before.write(tmp_path / "before" / PREDICTIONS)
    assert Run.read(tmp_path / "before") == before
    assert Run.read(tmp_path / "before" / PREDICTIONS, name="other").name == "other"


@pytest.mark.parametrize(("text", "message"), [("{}\n", "line 1: not a scored answer"), ("", "no answers")])
def test_a_file_without_answers_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / PREDICTIONS).write_text(text)
    with pytest.raises(InputError, match=message):
        Run.read(tmp_path)


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file, expected the predictions\.jsonl"):
        Run.read(tmp_path)


@pytest.mark.parametrize(
    ("cell", "text"), [(None, "–"), (Cell(0.5, None, 1), "50.0"), (Cell(0.1234, 0.056, 9), "12.3 ± 5.6")]
)
def test_cells_are_percent(cell: Cell | None, text: str) -> None:
    assert cell_text(cell) == text
