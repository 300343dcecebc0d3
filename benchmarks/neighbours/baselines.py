"""What can be had without looking at a neighbour's pictures: chance, and the best answer that is always the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.neighbours.records import kind_of, score, surrogate
from benchmarks.spatialmosaic.baselines import constant
from benchmarks.spatialmosaic.results import Run, ScoredAnswer


def chance(records: Sequence[Mapping[str, Any]]) -> Run:
    """The expected score of a uniform guess among the options; questions without known options are left out."""
    answers = []
    for record in records:
        if kind_of(record) == "choice" and len(record["options"]) > 1:
            expected = 1.0 / len(record["options"])
            blank = score(record, "", "")
            answers.append(replace(blank, score=expected, score_repaired=expected, parsed=True, parsed_repaired=True))
    return Run("chance", tuple(answers), role="expected")


def best_constant(records: Sequence[Mapping[str, Any]], seed: int = 0) -> Run:
    """Per type the letter, option text or number that scores best on the questions of other scenes (cross-fitted).

    Camera motions have no constant of their own: they are answered by nothing.
    """
    by_type: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_type.setdefault(f"{record['question_type']} {kind_of(record)}", []).append(record)
    found: dict[str, ScoredAnswer] = {}
    for group in by_type.values():
        if kind_of(group[0]) == "motion":
            found |= {record["id"]: score(record, "", "") for record in group}
            continue
        run = constant([], [surrogate(record) for record in group], seed)
        for record, answer in zip(group, run.answers, strict=True):
            found[record["id"]] = score(record, answer.prediction, answer.prediction)
    return Run("constant (cross-fitted)", tuple(found[record["id"]] for record in records), role="baseline")
