"""What a blind audit found, per question type and per record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# tolerated above chance on choices, and above the best constant on numbers and points
CHOICE_LIMIT, ANSWER_LIMIT = 0.03, 0.05


@dataclass(frozen=True)
class TypeReport:
    """How well the questions of one type are answered without looking.

    Attributes:
        question_type: one of the 17.
        metric: ``accuracy``, ``MRA`` or ``MPA``; all scores are 0-1.
        records, scenes: how many there are.
        baseline: a guesser's score: one over the number of options, or the best constant learned from other scenes.
        structural: what the form of the options alone gives by design; the baseline where it gives nothing.
        scores: reader -> out-of-fold score.
        stderr: standard error of the best reader's score, clustered by scene.
    """

    question_type: str
    metric: str
    records: int
    scenes: int
    baseline: float
    structural: float
    scores: Mapping[str, float]
    stderr: float

    @property
    def best(self) -> float:
        """Score of the best reader."""
        return max(self.scores.values())

    @property
    def best_reader(self) -> str:
        """Its name."""
        return max(sorted(self.scores), key=lambda name: self.scores[name])

    @property
    def excess(self) -> float:
        """The best reader's lead over a guesser."""
        return self.best - self.baseline

    @property
    def passed(self) -> bool:
        """Whether the lead is within the tolerated one."""
        return self.excess <= (CHOICE_LIMIT if self.metric == "accuracy" else ANSWER_LIMIT)


@dataclass(frozen=True)
class BlindReport:
    """An audit of a whole set.

    Attributes:
        types: question type -> report; types with too few scenes or records to learn from are in ``skipped``.
        skipped: question type -> why it was not audited.
        bias: record id -> mean out-of-fold probability of the truth over the readers (for numbers and points the
            expected score of the readers' guess, as it turned out).
    """

    types: Mapping[str, TypeReport]
    skipped: Mapping[str, str] = field(default_factory=dict)
    bias: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every audited type is within its limit."""
        return all(report.passed for report in self.types.values())

    def to_dict(self, with_bias: bool = False) -> dict[str, Any]:
        """JSON-able content, rounded so that it reads well and is the same on every machine."""
        types = {}
        for name, report in sorted(self.types.items()):
            row = asdict(report) | {"best": report.best, "best_reader": report.best_reader, "excess": report.excess}
            types[name] = {key: _rounded(value) for key, value in row.items()} | {"passed": report.passed}
            del types[name]["question_type"]
        content: dict[str, Any] = {"passed": self.passed, "types": types, "skipped": dict(sorted(self.skipped.items()))}
        if with_bias:
            content["bias"] = {key: round(value, 4) for key, value in sorted(self.bias.items())}
        return content

    def to_json(self, with_bias: bool = False) -> str:
        """The content of a report file."""
        return json.dumps(self.to_dict(with_bias), indent=2) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return value
