"""The scored answers of one run, and their JSON-lines file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from benchmarks.spatialmosaic.scoring import aggregate, is_parsed, score_prediction
from qa_generation.errors import InputError

PREDICTIONS = "predictions.jsonl"

Role = Literal["model", "baseline", "expected"]


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One question with its answer and score.

    Attributes:
        id, scene_name, question_type, occ_level, overlap_level: as in the record.
        views: number of frames shown.
        target: the true letter, number or point.
        response: what the model wrote.
        prediction: the part that was scored, without reasoning.
        metric: published name of the metric; score: 0-1; parsed: whether the answer had the asked form.
    """

    id: str
    scene_name: str
    question_type: str
    occ_level: str
    overlap_level: str
    views: int
    target: str
    response: str
    prediction: str
    metric: str
    score: float
    parsed: bool


@dataclass(frozen=True)
class Run:
    """All answers of one model to one dataset; ``role`` is ``expected`` for scores without answers, such as chance."""

    name: str
    answers: tuple[ScoredAnswer, ...]
    role: Role = "model"

    def aggregate(self) -> dict[str, Any]:
        """The published aggregation: ``overall`` in percent and ``per_type`` as fractions."""
        return aggregate(asdict(answer) for answer in self.answers)

    def write(self, path: Path) -> None:
        """Writes one JSON object per answer."""
        lines = [json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in self.answers]
        path.write_text("".join(lines), encoding="utf-8")

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> Run:
        """The run stored in a predictions file or in the folder that holds one; named after the folder.

        Raises:
            InputError: when there is no such file or a line is not an answer.
        """
        file = path / PREDICTIONS if path.is_dir() else path
        if not file.is_file():
            raise InputError(f"{file}: no such file, expected the {PREDICTIONS} of an earlier run")
        names = {field.name for field in fields(ScoredAnswer)}
        answers = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                answers.append(ScoredAnswer(**{key: row[key] for key in names}))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{file}, line {number}: not a scored answer ({error!r})") from error
        if not answers:
            raise InputError(f"{file}: no answers, expected at least one line")
        return cls(name=name or file.resolve().parent.name, answers=tuple(answers))


def score_answer(record: Mapping[str, Any], prediction: str, response: str | None = None) -> ScoredAnswer:
    """The scored answer to one record; numeric targets <= 0 are scored by equality (the safe mode)."""
    metric, score = score_prediction(record, prediction, mode="safe")
    return _answer(record, prediction, response, metric, score, is_parsed(record, prediction))


def expected_answer(record: Mapping[str, Any], metric: str, score: float) -> ScoredAnswer:
    """An answer known only by its expected score, such as that of guessing."""
    return _answer(record, "", None, metric, score, True)


def run_from_predictions(name: str, pairs: Iterable[tuple[Mapping[str, Any], str]], role: Role = "model") -> Run:
    """The run of (record, prediction) pairs."""
    answers = tuple(score_answer(record, prediction) for record, prediction in pairs)
    return Run(name=name, answers=answers, role=role)


def _answer(
    record: Mapping[str, Any], prediction: str, response: str | None, metric: str, score: float, parsed: bool
) -> ScoredAnswer:
    return ScoredAnswer(
        id=str(record["id"]),
        scene_name=str(record.get("scene_name") or ""),
        question_type=record["question_type"],
        occ_level=record.get("occ_level") or "unknown",
        overlap_level=record.get("overlap_level") or "unknown",
        views=len(record.get("frames") or ()),
        target=record.get("mc_answer") or str(record.get("ground_truth") or ""),
        response=prediction if response is None else response,
        prediction=prediction,
        metric=metric,
        score=score,
        parsed=parsed,
    )
