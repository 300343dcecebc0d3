"""What stands in the tables, and that all three forms say the same."""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.spatialmosaic.baselines import chance
from benchmarks.spatialmosaic.facets import visibility_bin
from benchmarks.spatialmosaic.render import cell_text, print_report, to_html, to_markdown
from benchmarks.spatialmosaic.report import CHOICES, OTHERS, OVERALL, Report, Table, compare
from benchmarks.spatialmosaic.results import PREDICTIONS, Run, run_from_predictions
from benchmarks.spatialmosaic.statistics import Cell
from qa_generation.errors import InputError
from tests.benchmarks.samples import make_record

KINDS = ("obj_count_occ", "obj_existence_occ_ab", "obj_existence_occ_lr")
RECORDS = [asdict(make_record(kind, index)) for kind in KINDS for index in range(4)]


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


def means(table: Table, label: str) -> list[float | None]:
    """Number of questions and the means in percent."""
    (found,) = [line for line in table.rows if line.label == label]
    return [found.n, *(None if cell is None else 100 * cell.mean for cell in found.cells)]


def labels(table: Table) -> list[str]:
    return [line.label for line in table.rows]


def table(report: Report, start: str) -> Table:
    (found,) = [table for table in report.tables if table.title.startswith(start)]
    return found


def test_families_are_means_of_their_types(report: Report) -> None:
    scores = table(report, "Score by question family")
    assert scores.columns == ("before", "after", "chance")
    assert means(scores, "Object count") == [4, 25.0, 25.0, 25.0]
    assert means(scores, "obj_existence_occ_ab") == [4, 0.0, 100.0, 25.0]
    assert means(scores, "Object existence") == [8, 12.5, 62.5, 25.0]


def test_the_overall_is_the_published_one(report: Report, before: Run) -> None:
    scores = table(report, "Score by question family")
    assert means(scores, OVERALL)[1] == pytest.approx(before.aggregate()["overall"])
    results = report.to_json()["runs"]["before"]
    assert results["overall"] == before.aggregate()["overall"]
    assert results["repaired"] == before.aggregate_repaired()


def test_choices_and_numbers_have_a_line_each_where_both_are_asked() -> None:
    records = [*RECORDS, *(asdict(make_record("obj_size_occ_na", index)) for index in range(4))]
    model = run_from_predictions("model", [(record, record["mc_answer"] or "1") for record in records])
    scores = table(compare([model, chance(records)]), "Score by question family")
    assert means(scores, OVERALL) == [16, pytest.approx((300 + (means(scores, OTHERS)[1] or 0)) / 4), None]
    assert means(scores, CHOICES) == [12, 100.0, 25.0]
    assert means(scores, OTHERS)[2] is None
    assert scores.columns == ("model", "chance")
    # chance says nothing about numbers: it would not be comparable in lines that mix both
    assert table(compare([model, chance(records)]), "Score by number of views").columns == ("model",)


def test_levels_and_numbers_of_views(report: Report) -> None:
    assert labels(table(report, "Score by level of occlusion")) == ["low", "medium", "high"]
    assert labels(table(report, "Score by difficulty by overlap")) == ["low", "medium", "high"]
    views = table(report, "Score by number of views")
    assert labels(views) == ["2 views", "3 views", "4 views", "5 views"]
    # the record with five views has the letter D: only the gold answers of one type are right
    assert means(views, "5 views") == [3, 0.0, pytest.approx(100 / 3), 25.0]
    # all records show as much of their objects: nothing to tell apart
    assert not [table for table in report.tables if table.name in ("visibility", "coverage", "truncation")]


def test_labels_are_those_of_the_model_as_it_was_asked(before: Run, after: Run) -> None:
    blinded = replace(after, role="baseline", answers=tuple(replace(a, views=1) for a in after.answers))
    views = table(compare([blinded, before]), "Score by number of views")
    assert labels(views) == ["2 views", "3 views", "4 views", "5 views"]


@pytest.mark.parametrize(("share", "label"), [(0.0, "below 25 %"), (0.25, "25 to 50 %"), (1.0, "95 % and more")])
def test_visible_shares_fall_into_bins(share: float, label: str, before: Run) -> None:
    assert visibility_bin(replace(before.answers[0], visibility=share)) == label
    assert visibility_bin(replace(before.answers[0], visibility=None)) == "unknown"


def test_answers_without_a_letter_are_counted(report: Report) -> None:
    unread = table(report, "Answers that could not be read")
    assert unread.columns == ("before", "after")
    assert means(unread, "All questions")[1] == pytest.approx(100 / 3)
    assert means(unread, "Object existence")[1] == 50.0
    assert labels(unread) == ["All questions", "Object existence"]


def test_both_readings_stand_side_by_side() -> None:
    model = run_from_predictions("model", [(record, f"({record['mc_answer']})") for record in RECORDS])
    found = compare([model])
    assert means(table(found, "Published and lenient"), "model") == [12, 0.0, 100.0, 100.0, 0.0]
    assert means(table(found, "Score after a lenient"), "Object count") == [4, 100.0]


def test_gains_are_paired_and_said_in_words(report: Report) -> None:
    gains = table(report, "Gain of after")
    assert gains.columns == ("over before",)
    assert means(gains, "Object existence") == [8, 50.0]
    (found,) = report.comparisons
    assert found.difference.mean == pytest.approx((0 + 1 + 0) / 3)
    assert found.sentence() in to_markdown(report)


def test_types_with_few_questions_are_named(report: Report, before: Run) -> None:
    assert report.thin_types == dict.fromkeys(KINDS, 4)
    sentence = "full weight in the overall score: obj_count_occ (4), obj_existence_occ_ab (4)"
    assert sentence in to_markdown(report) and sentence in to_html(report)
    many = replace(before, answers=tuple(replace(a, id=f"{a.id} {i}") for a in before.answers for i in range(10)))
    assert compare([many]).thin_types == {} and "Few questions" not in to_markdown(compare([many]))


def test_choices_are_compared_alone_where_numbers_are_asked_too() -> None:
    records = [*RECORDS, *(asdict(make_record("obj_size_occ_na", index)) for index in range(4))]
    gold = run_from_predictions("gold", [(record, record["mc_answer"] or record["ground_truth"]) for record in records])
    numb = run_from_predictions("numb", [(record, record["mc_answer"]) for record in records])
    everything, choices = compare([gold, numb]).comparisons
    assert everything.difference.mean == pytest.approx(-0.25) and everything.scope == ""
    assert choices.difference.mean == 0.0 and choices.sentence().startswith("Choices: numb and gold cannot be told")


def test_only_common_questions_are_compared(before: Run, after: Run) -> None:
    shorter = replace(after, answers=after.answers[:5])
    scores = compare([before, shorter, chance(RECORDS)]).tables[0]
    assert means(scores, OVERALL)[0] == 5
    assert means(scores, "Object existence")[0] == 1


def test_a_run_without_some_types_gets_no_mean_over_them() -> None:
    number = asdict(make_record("obj_size_occ_na", 0))
    both = run_from_predictions("model", [(number, "1"), (RECORDS[0], "A")])
    scores = compare([both, chance([number, RECORDS[0]])]).tables[0]
    assert means(scores, OVERALL) == [2, 100.0, None]
    assert means(scores, "Object size") == [1, 100.0, None]


def test_runs_that_cannot_be_compared_are_refused(before: Run, after: Run) -> None:
    with pytest.raises(InputError, match="no run with answers"):
        compare([Run("empty", ())])
    with pytest.raises(InputError, match="expected a different name for each"):
        compare([before, replace(after, name="before")])
    with pytest.raises(InputError, match="share no question"):
        compare([replace(before, answers=before.answers[:2]), replace(after, answers=after.answers[3:])])


def test_markdown_html_and_terminal_show_the_same(report: Report) -> None:
    facts = {"model": "tiny", "versions": {"torch": "2"}}
    markdown = to_markdown(report, facts)
    page = to_html(report, facts)
    buffer = io.StringIO()
    print_report(report, Console(file=buffer, width=150))
    for text in ("62.5", "Object existence", report.comparisons[0].sentence()):
        assert text in markdown and text in page and text in buffer.getvalue()
    assert "obj_existence_occ_lr" in markdown and "obj_existence_occ_lr" in page
    assert "- model: tiny" in markdown and "<dd>tiny</dd>" in page
    assert "- versions, torch: 2" in markdown and "<dt>versions, torch</dt><dd>2</dd>" in page


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
    ("cell", "text"),
    [
        (None, "–"),
        (Cell(0.5, None, 1), "50.0"),
        (Cell(0.1234, 0.056, 9, 0.05, 0.25), "12.3 [5.0, 25.0]"),
    ],
)
def test_cells_are_percent(cell: Cell | None, text: str) -> None:
    assert cell_text(cell) == text
