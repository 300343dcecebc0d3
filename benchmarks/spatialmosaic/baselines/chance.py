"""The expected score of guessing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.spatialmosaic.results import Run, expected_answer
from benchmarks.spatialmosaic.scoring import ACCURACY, metric_of

CHANCE = "chance"


def chance(records: Iterable[Mapping[str, Any]]) -> Run:
    """The expected score of a uniform guess among the options; numeric and point types have none and are left out."""
    choices = [record for record in records if metric_of(record["question_type"]) == ACCURACY]
    answers = [expected_answer(record, ACCURACY, 1.0 / max(1, len(record["options"]))) for record in choices]
    return Run(name=CHANCE, answers=tuple(answers), role="expected")
