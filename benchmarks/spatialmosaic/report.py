"""Tables that put runs side by side: families and types, occlusion, overlap, number of views, unreadable answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.spatialmosaic.results import Run, ScoredAnswer
from benchmarks.spatialmosaic.statistics import Cell, mean_of, mean_over_types, mean_score, paired_difference
from qa_generation.errors import InputError
from qa_generation.prompts import ALL_FAMILIES

OVERALL = "Overall (mean of types)"
_LEVELS = ("low", "medium", "high", "extreme", "unknown")
_Measure = Callable[[Sequence[ScoredAnswer]], Cell | None]


@dataclass(frozen=True)
class Row:
    """One line: ``cells`` holds one mean per run, None where the run does not cover the line's question types."""

    label: str
    n: int
    cells: tuple[Cell | None, ...]
    indent: int = 0


@dataclass(frozen=True)
class Table:
    """Lines under one title; ``columns`` are the names of the runs, ``is_score`` False for rates and differences."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    is_score: bool = True


@dataclass(frozen=True)
class Report:
    """What `compare` found; render it with `benchmarks.spatialmosaic.render`."""

    tables: tuple[Table, ...]
    runs: tuple[Run, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data: the published aggregation of every run and all tables."""
        return {
            "runs": {run.name: {"n": len(run.answers), **run.aggregate()} for run in self.runs if run.answers},
            "tables": [asdict(table) for table in self.tables],
        }


def compare(runs: Sequence[Run]) -> Report:
    """The tables of one or several runs, in the given order.

    Families are the mean of their types, the overall is the mean of all types (as published); levels and numbers of
    views are means over the questions. Only questions that every run answered are counted. Expected scores (chance)
    carry no standard error. The last model is also compared question by question with every other run.

    Raises:
        InputError: without a run that has answers, with two of the same name, or without a common question.
    """
    runs = _on_common_questions([run for run in runs if run.answers])
    names = tuple(run.name for run in runs)
    if not runs:
        raise InputError("there is no run with answers to report")
    if len(set(names)) < len(names):
        raise InputError(f"runs are called {', '.join(names)}, expected a different name for each")
    tables = [
        Table("Score by question family and type", names, tuple(_family_rows(runs))),
        Table("Score by occlusion, overlap and number of views", names, tuple(_level_rows(runs))),
    ]
    models = tuple(run for run in runs if run.role == "model")
    if models:
        tables.append(_failure_table(models))
        others = tuple(run for run in runs if run.role != "expected" and run is not models[-1])
        if others:
            tables.append(_gain_table(models[-1], others))
    return Report(tuple(tables), runs)


def _on_common_questions(runs: Sequence[Run]) -> tuple[Run, ...]:
    asked = [{answer.id for answer in run.answers} for run in runs if run.role != "expected"]
    if not asked:
        return tuple(runs)
    common = set.intersection(*asked)
    if not common:
        raise InputError(f"runs {', '.join(run.name for run in runs)} share no question, expected the same dataset")
    kept = (replace(run, answers=tuple(answer for answer in run.answers if answer.id in common)) for run in runs)
    return tuple(run for run in kept if run.answers)


def _family_rows(runs: Sequence[Run]) -> Iterator[Row]:
    present = {answer.question_type for run in runs for answer in run.answers}
    yield _row(OVERALL, runs, present, mean_over_types)
    for family, kinds in ALL_FAMILIES.items():
        here = [kind for kind in kinds if kind in present]
        if here:
            yield _row(family, runs, set(here), mean_over_types)
        if here and len(kinds) > 1:
            for kind in here:
                yield replace(_row(kind, runs, {kind}, mean_score), indent=1)


def _row(label: str, runs: Sequence[Run], kinds: set[str], measure: _Measure) -> Row:
    return _line(label, runs, [[a for a in run.answers if a.question_type in kinds] for run in runs], measure)


def _level_rows(runs: Sequence[Run]) -> Iterator[Row]:
    labels: list[Callable[[ScoredAnswer], str]] = [
        lambda answer: f"occlusion {answer.occ_level}",
        lambda answer: f"overlap level {answer.overlap_level}",
        lambda answer: f"{answer.views} views",
    ]
    for label_of in labels:
        present = {label_of(answer) for run in runs for answer in run.answers}
        for label in sorted(present, key=_level_order):
            chosen = [[answer for answer in run.answers if label_of(answer) == label] for run in runs]
            yield _line(label, runs, chosen, mean_score)


def _level_order(label: str) -> tuple[int, str]:
    level = label.rsplit(" ", 1)[-1]
    return (_LEVELS.index(level) if level in _LEVELS else len(_LEVELS), label)


def _line(label: str, runs: Sequence[Run], chosen: Sequence[Sequence[ScoredAnswer]], measure: _Measure) -> Row:
    """One row from the chosen answers of each run; a run that lacks some of the question types gets no cell."""
    kinds = {answer.question_type for answers in chosen for answer in answers}
    cells: list[Cell | None] = []
    for run, answers in zip(runs, chosen, strict=True):
        cell = measure(answers) if {answer.question_type for answer in answers} == kinds else None
        cells.append(replace(cell, stderr=None) if cell and run.role == "expected" else cell)
    return Row(label, len({answer.id for answers in chosen for answer in answers}), tuple(cells))


def _failure_table(models: Sequence[Run]) -> Table:
    """Shares of answers without the asked form: over all, and in the families that have some."""
    present = {answer.question_type for run in models for answer in run.answers}
    rows = [_row("All questions", models, present, _share_unread)]
    families = [_row(family, models, set(kinds) & present, _share_unread) for family, kinds in ALL_FAMILIES.items()]
    rows += [row for row in families if any(cell and cell.mean > 0 for cell in row.cells)]
    return Table("Answers that could not be read", tuple(run.name for run in models), tuple(rows), is_score=False)


def _share_unread(answers: Sequence[ScoredAnswer]) -> Cell | None:
    return mean_of([float(not answer.parsed) for answer in answers], [answer.scene_name for answer in answers])


def _gain_table(model: Run, others: Sequence[Run]) -> Table:
    groups: dict[str, tuple[str, ...] | None] = {"All questions": None, **ALL_FAMILIES}
    rows = []
    for label, kinds in groups.items():
        mine = [answer for answer in model.answers if kinds is None or answer.question_type in kinds]
        cells = tuple(paired_difference(other.answers, mine) for other in others)
        if any(cells):
            rows.append(Row(label, max(cell.n for cell in cells if cell), cells))
    columns = tuple(f"over {run.name}" for run in others)
    return Table(f"Gain of {model.name}, question by question", columns, tuple(rows), is_score=False)
