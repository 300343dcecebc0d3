"""Tables that put runs side by side: families and types, levels, strict and lenient reading, who is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from benchmarks.spatialmosaic.facets import groupings
from benchmarks.spatialmosaic.families import families_of, has_types, weight_of
from benchmarks.spatialmosaic.paired import Comparison, compare_pair
from benchmarks.spatialmosaic.results import Run, ScoredAnswer
from benchmarks.spatialmosaic.scoring import ACCURACY
from benchmarks.spatialmosaic.statistics import (
    Cell,
    Measure,
    by_type,
    mean_of,
    mean_over_types,
    mean_score,
    paired_difference,
    repaired,
    strict,
)
from qa_generation.errors import InputError

FORMAT = 2
FEW = 30  # questions of a type, below which the report warns of it
OVERALL = "Overall (mean of types)"
CHOICES, OTHERS = "Choices (mean of types)", "Numbers and points (mean of types)"
SUMMARIES = (OVERALL, CHOICES, OTHERS)

Kind = Literal["families", "level", "lenient", "reading", "unread", "gain"]
_Average = Callable[[Sequence[ScoredAnswer]], Cell | None]
_Grouped = Sequence[Mapping[str, Sequence[ScoredAnswer]]]  # the answers of every run by question type


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
    kind: Kind = "families"
    name: str = ""


@dataclass(frozen=True)
class Report:
    """What `compare` found; render it with `benchmarks.spatialmosaic.render`."""

    tables: tuple[Table, ...]
    runs: tuple[Run, ...]
    comparisons: tuple[Comparison, ...] = ()

    @property
    def subject(self) -> Run:
        """The run that the report is about: the last model, or the last run where there is none."""
        return ([run for run in self.runs if run.role == "model"] or list(self.runs))[-1]

    @property
    def thin_types(self) -> dict[str, int]:
        """Types with so few questions that their mean says little, though it weighs as much as any other's."""
        counts = {kind: len(answers) for kind, answers in by_type(self.subject.answers).items()}
        return {kind: count for kind, count in sorted(counts.items()) if count < FEW and len(counts) > 1}

    def of_kind(self, *kinds: Kind) -> list[Table]:
        """The tables of some kinds, in order."""
        return [table for table in self.tables if table.kind in kinds]

    def to_json(self) -> dict[str, Any]:
        """Plain data: the published aggregation of every run and all tables."""
        return {
            "format": FORMAT,
            "runs": {run.name: _summary(run) for run in self.runs},
            "tables": [asdict(table) for table in self.tables],
            "comparisons": [asdict(found) | {"sentence": found.sentence()} for found in self.comparisons],
        }


def _summary(run: Run) -> dict[str, Any]:
    lenient = None if run.role == "expected" else run.aggregate_repaired()
    summary = {
        "n": len(run.answers),
        "role": run.role,
        **run.aggregate(),
        "repaired": lenient,
        "facts": dict(run.facts),
    }
    mean = mean_over_types(run.answers)
    if mean is not None and any(weight_of(answer.question_type) != 1.0 for answer in run.answers):
        summary["overall"] = 100.0 * mean.mean
    return summary


def compare(runs: Sequence[Run]) -> Report:
    """The tables of one or several runs, in the given order.

    Families are the mean of their types, the overall is the mean of all types (as published); levels and numbers of
    views are means over the questions. Only questions that every run answered are counted. Expected scores (chance)
    carry no error. The last model is also compared question by question with every other run.

    Raises:
        InputError: without a run that has answers, with two of the same name, or without a common question.
    """
    runs = on_common_questions([run for run in runs if run.answers])
    names = tuple(run.name for run in runs)
    if not runs:
        raise InputError("there is no run with answers to report")
    if len(set(names)) < len(names):
        raise InputError(f"runs are called {', '.join(names)}, expected a different name for each")
    tables = [Table("Score by question family and type", names, tuple(_family_rows(runs, strict)))]
    tables += _level_tables(runs)
    asked = tuple(run for run in runs if run.role != "expected")
    models = tuple(run for run in runs if run.role == "model")
    if asked:
        lenient = tuple(_family_rows(asked, repaired))
        columns = tuple(run.name for run in asked)
        tables.append(Table("Score after a lenient reading of the answers", columns, lenient, kind="lenient"))
    if models:
        tables += [_reading_table(models), _unread_table(models)]
    others = tuple(run for run in asked if run is not models[-1]) if models else ()
    if others:
        tables.append(_gain_table(models[-1], others))
    return Report(tuple(tables), runs, tuple(_comparisons(models[-1], others)) if others else ())


def _comparisons(model: Run, others: Sequence[Run]) -> Iterator[Comparison]:
    """The model with every other run; where numbers are asked too, once more over the choices alone."""
    mixed = len({answer.metric == ACCURACY for answer in model.answers}) > 1
    for choices_only in (False, True) if mixed else (False,):
        for run in others:
            yield compare_pair(model, run, choices_only=choices_only)


def on_common_questions(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs with only the questions that all of them answered; expected scores need not cover them all.

    Raises:
        InputError: when there is no such question.
    """
    asked = [{answer.id for answer in run.answers} for run in runs if run.role != "expected"]
    if not asked:
        return tuple(runs)
    common = set.intersection(*asked)
    if not common:
        raise InputError(f"runs {', '.join(run.name for run in runs)} share no question, expected the same dataset")
    kept = (replace(run, answers=tuple(answer for answer in run.answers if answer.id in common)) for run in runs)
    return tuple(run for run in kept if run.answers)


def _family_rows(runs: Sequence[Run], measure: Measure) -> Iterator[Row]:
    grouped = [by_type(run.answers) for run in runs]
    present = {kind for groups in grouped for kind in groups}

    def over_types(answers: Sequence[ScoredAnswer]) -> Cell | None:
        return mean_over_types(answers, measure)

    yield _row(OVERALL, runs, grouped, present, over_types)
    choices = {answer.question_type for run in runs for answer in run.answers if answer.metric == ACCURACY}
    if choices and choices != present:
        yield _row(CHOICES, runs, grouped, choices, over_types)
        yield _row(OTHERS, runs, grouped, present - choices, over_types)
    for family, kinds in families_of(present).items():
        yield _row(family, runs, grouped, set(kinds), over_types)
        if has_types(family):
            for kind in kinds:
                row = _row(kind, runs, grouped, {kind}, lambda answers: mean_score(answers, measure))
                yield replace(row, indent=1)


def _row(label: str, runs: Sequence[Run], grouped: _Grouped, kinds: set[str], average: _Average) -> Row:
    chosen = [[answer for kind in sorted(kinds) for answer in groups.get(kind, ())] for groups in grouped]
    return _line(label, runs, chosen, average)


def _level_tables(runs: Sequence[Run]) -> Iterator[Table]:
    """One table per facet, without runs that cover some of the question types only (chance, beside numbers)."""
    present = {answer.question_type for run in runs for answer in run.answers}
    runs = [run for run in runs if {answer.question_type for answer in run.answers} == present]
    names = tuple(run.name for run in runs)
    for grouping in groupings(runs) if runs else ():
        chosen = [_labelled(run, grouping.label_of) for run in runs]
        rows = [
            _line(label, runs, [groups.get(label, []) for groups in chosen], mean_score) for label in grouping.labels
        ]
        title = f"Score by {grouping.facet.title}"
        yield Table(title, names, tuple(rows), kind="level", name=grouping.facet.name)


def _labelled(run: Run, label_of: Mapping[str, str]) -> dict[str, list[ScoredAnswer]]:
    groups: dict[str, list[ScoredAnswer]] = {}
    for answer in run.answers:
        groups.setdefault(label_of.get(answer.id, ""), []).append(answer)
    return groups


def _line(label: str, runs: Sequence[Run], chosen: Sequence[Sequence[ScoredAnswer]], average: _Average) -> Row:
    """One row from the chosen answers of each run; a run that lacks some of the question types gets no cell."""
    kinds = {answer.question_type for answers in chosen for answer in answers}
    cells: list[Cell | None] = []
    for run, answers in zip(runs, chosen, strict=True):
        cell = average(answers) if {answer.question_type for answer in answers} == kinds else None
        bare = cell and run.role == "expected"
        cells.append(Cell(cell.mean, None, cell.n) if cell and bare else cell)
    return Row(label, len({answer.id for answers in chosen for answer in answers}), tuple(cells))


def _reading_table(models: Sequence[Run]) -> Table:
    """Each model read by the published rules and leniently, and how many answers neither could read."""
    columns = ("published", "lenient", "unreadable, published", "unreadable, lenient")
    rows = []
    for run in models:
        unread = [_share(run.answers, lambda answer: not answer.parsed)]
        unread.append(_share(run.answers, lambda answer: not answer.parsed_repaired))
        scores = [mean_over_types(run.answers, strict), mean_over_types(run.answers, repaired)]
        rows.append(Row(run.name, len(run.answers), (*scores, *unread)))
    return Table("Published and lenient reading", columns, tuple(rows), is_score=False, kind="reading")


def _unread_table(models: Sequence[Run]) -> Table:
    """Shares of answers without the asked form: over all, and in the families that have some."""
    grouped = [by_type(run.answers) for run in models]
    present = {kind for groups in grouped for kind in groups}
    rows = [_row("All questions", models, grouped, present, _share_unread)]
    parts = families_of(present).items()
    families = [_row(family, models, grouped, set(kinds), _share_unread) for family, kinds in parts]
    rows += [row for row in families if any(cell and cell.mean > 0 for cell in row.cells)]
    title = "Answers that could not be read"
    return Table(title, tuple(run.name for run in models), tuple(rows), is_score=False, kind="unread")


def _share_unread(answers: Sequence[ScoredAnswer]) -> Cell | None:
    return _share(answers, lambda answer: not answer.parsed)


def _share(answers: Sequence[ScoredAnswer], holds: Callable[[ScoredAnswer], bool]) -> Cell | None:
    return mean_of([float(holds(answer)) for answer in answers], [answer.scene_name for answer in answers])


def _gain_table(model: Run, others: Sequence[Run]) -> Table:
    present = {answer.question_type for answer in model.answers}
    groups: dict[str, tuple[str, ...]] = {"All questions": tuple(present), **families_of(present)}
    rows = []
    for label, kinds in groups.items():
        mine = [answer for answer in model.answers if answer.question_type in kinds]
        cells = tuple(paired_difference(other.answers, mine) for other in others)
        if any(cells):
            rows.append(Row(label, max(cell.n for cell in cells if cell), cells))
    columns = tuple(f"over {run.name}" for run in others)
    title = f"Gain of {model.name}, question by question"
    return Table(title, columns, tuple(rows), is_score=False, kind="gain")
