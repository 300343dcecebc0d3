"""Several runs over the same questions in order of their scores, and which of them can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from scipy.stats import false_discovery_control

from benchmarks.spatialmosaic.paired import ALPHA, Comparison, compare_pair
from benchmarks.spatialmosaic.publish import BASELINES, RESULTS
from benchmarks.spatialmosaic.report import Row, compare, on_common_questions
from benchmarks.spatialmosaic.results import PREDICTIONS, Run
from benchmarks.spatialmosaic.statistics import Cell, mean_over_types, repaired
from qa_generation.errors import InputError

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One run on the board.

    Attributes:
        rank: 1 plus the number of runs that are clearly better; runs that cannot be told apart may share it.
        name, role: of the run.
        overall, lenient: mean of types, published and lenient reading; None where the run does not cover all types.
        unreadable: share of answers that the published reading could not read.
        families: name of each line of the report's families table to the run's cell.
        facts: of the run.
    """

    rank: int
    name: str
    role: str
    overall: Cell | None
    lenient: Cell | None
    unreadable: float
    families: Mapping[str, Cell | None]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """A comparison of two runs, its p-value alone and adjusted for the number of comparisons on the board."""

    comparison: Comparison
    adjusted_p: float

    @property
    def is_clear(self) -> bool:
        """Whether the two can be told apart on a board with so many pairs."""
        return self.adjusted_p < ALPHA


@dataclass(frozen=True)
class Board:
    """The entries, best first; ``pairs`` by the names of both, in that order; ``questions`` that all answered."""

    entries: tuple[Entry, ...]
    pairs: Mapping[tuple[str, str], Pair]
    questions: int
    scenes: int
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        pairs = [
            {**asdict(pair.comparison), "adjusted_p": pair.adjusted_p, "is_clear": pair.is_clear}
            for pair in self.pairs.values()
        ]
        counts = {"questions": self.questions, "scenes": self.scenes, "left_out": self.left_out}
        return {"format": FORMAT, **counts, "entries": [asdict(entry) for entry in self.entries], "pairs": pairs}


def read_runs(paths: Sequence[Path], with_baselines: bool = True) -> list[Run]:
    """The runs in report folders, their results or predictions files, each followed by its baselines.

    Runs of the same name are told apart by the folder above theirs; a baseline that several reports hold comes once.

    Raises:
        InputError: for a path without answers, or two paths of the same run.
    """
    files = [_predictions_of(path) for path in paths]
    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise InputError(f"{twice}: given twice, expected different runs")
    names = [file.parent.name for file in files]
    runs = []
    for file, name in zip(files, names, strict=True):
        full = f"{file.parent.parent.name}/{name}" if names.count(name) > 1 else name
        runs.append(Run.read(file, full))
    known = {run.name for run in runs}
    for file in files if with_baselines else ():
        for held in sorted((file.parent / BASELINES).glob(f"*/{PREDICTIONS}")):
            run = Run.read(held)
            title = str(run.facts.get("title") or run.name)
            if title not in known:
                runs.append(Run(title, run.answers, run.role, run.facts))
                known.add(title)
    return runs


def _predictions_of(path: Path) -> Path:
    file = path / PREDICTIONS if path.is_dir() else path
    file = file.with_name(PREDICTIONS) if file.name == RESULTS else file
    if not file.is_file():
        raise InputError(f"{path}: no finished run, expected a folder with {PREDICTIONS}, or that file")
    return file.resolve()


def rank_runs(runs: Sequence[Run]) -> Board:
    """The board over the questions that all runs answered; p-values adjusted by Benjamini and Hochberg (1995).

    Raises:
        InputError: with fewer than two runs, two of the same name, or without a common question.
    """
    if len([run for run in runs if run.role != "expected"]) < 2:
        raise InputError(f"{len(runs)} runs given, expected two or more to rank")
    common = on_common_questions([run for run in runs if run.answers])
    (families,) = compare(common).of_kind("families")
    found = {(a.name, b.name): compare_pair(a, b) for a, b in combinations([r for r in common if _is_asked(r)], 2)}
    adjusted = false_discovery_control([comparison.p_value for comparison in found.values()])
    pairs: dict[tuple[str, str], Pair] = {}
    for names, p_value in zip(found, adjusted, strict=True):
        pairs[names] = Pair(found[names], float(p_value))
    most = max(len(run.answers) for run in runs)
    size = max(len(run.answers) for run in common)
    entries = [_entry(run, place, families.rows, pairs) for place, run in enumerate(common)]
    entries.sort(key=lambda entry: (-_score(entry), entry.name))
    scenes = len({answer.scene_name for run in common for answer in run.answers})
    return Board(tuple(entries), pairs, size, scenes, most - size)


def _is_asked(run: Run) -> bool:
    return run.role != "expected"


def _entry(run: Run, place: int, rows: Sequence[Row], pairs: Mapping[tuple[str, str], Pair]) -> Entry:
    cells = {row.label: row.cells[place] for row in rows if not row.indent}
    overall = next(iter(cells.values()))
    asked = _is_asked(run)
    unread = sum(not answer.parsed for answer in run.answers) / len(run.answers) if asked else 0.0
    return Entry(
        rank=1 + sum(_beaten_by(run.name, names, pair) for names, pair in pairs.items()),
        name=run.name,
        role=run.role,
        overall=overall,
        lenient=mean_over_types(run.answers, repaired) if asked and overall else None,
        unreadable=unread,
        families=cells,
        facts=run.facts,
    )


def _beaten_by(name: str, names: tuple[str, str], pair: Pair) -> bool:
    """Whether ``name`` is the clearly worse one of a pair."""
    if not pair.is_clear or name not in names:
        return False
    gain = pair.comparison.difference.mean
    return gain < 0 if name == names[0] else gain > 0


def _score(entry: Entry) -> float:
    return entry.overall.mean if entry.overall else -1.0
