"""The scored answers of one run, what is known about the run, and the two files that keep them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from benchmarks.spatialmosaic.repair import score_repaired
from benchmarks.spatialmosaic.scoring import aggregate, is_parsed, score_prediction
from qa_generation.errors import InputError
from qa_generation.whole_files import whole_file

PREDICTIONS = "predictions.jsonl"
RUN_FACTS = "run.json"
UNKNOWN = "unknown"

Role = Literal["model", "baseline", "expected"]
_ROLES: dict[str, Role] = {"model": "model", "baseline": "baseline", "expected": "expected"}


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One question with its answer and scores.

    Attributes:
        id, dataset, scene_name, question_type: as in the record.
        occ_level, overlap_level, trunc_level, vis_level, gt_scenario: labels of the record, ``unknown`` where it has
            none.
        visibility: visible share of the asked objects in the frames that show them, 0-1; None where not recorded.
        views: number of frames shown.
        target: the true letter, number or point.
        response: what the model wrote.
        prediction: the part that was scored, without reasoning.
        metric: published name of the metric; score: 0-1, published rules; parsed: whether they could read an answer.
        score_repaired, parsed_repaired: the same after a lenient reading (`benchmarks.spatialmosaic.repair`).
    """

    id: str
    dataset: str = ""
    scene_name: str
    question_type: str
    occ_level: str = UNKNOWN
    overlap_level: str = UNKNOWN
    trunc_level: str = UNKNOWN
    vis_level: str = UNKNOWN
    gt_scenario: str = UNKNOWN
    visibility: float | None = None
    views: int
    target: str
    response: str
    prediction: str
    metric: str
    score: float
    parsed: bool
    score_repaired: float
    parsed_repaired: bool


@dataclass(frozen=True)
class Run:
    """All answers of one model to one dataset.

    Attributes:
        name: how reports call it.
        answers: one per question, in file order.
        role: ``expected`` for scores without answers, such as chance.
        facts: what is known about the run (command, versions, times ...; see ``docs/benchmark.md``), plain JSON values.
    """

    name: str
    answers: tuple[ScoredAnswer, ...]
    role: Role = "model"
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def aggregate(self) -> dict[str, Any]:
        """The published aggregation: ``overall`` in percent and ``per_type`` as fractions."""
        return self._aggregated([answer.score for answer in self.answers])

    def aggregate_repaired(self) -> dict[str, Any]:
        """The same means over the repaired scores."""
        return self._aggregated([answer.score_repaired for answer in self.answers])

    def _aggregated(self, scores: list[float]) -> dict[str, Any]:
        pairs = zip(self.answers, scores, strict=True)
        return aggregate({"question_type": a.question_type, "metric": a.metric, "score": score} for a, score in pairs)

    def write(self, path: Path) -> None:
        """Writes one JSON object per answer to ``path``, and ``run.json`` with role and facts beside it."""
        with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(json.dumps(_plain(vars(answer)), ensure_ascii=False) + "\n" for answer in self.answers)
        about = {"name": self.name, "role": self.role, "facts": dict(self.facts)}
        with whole_file(path.with_name(RUN_FACTS)) as partial:
            partial.write_text(json.dumps(_plain(about), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> Run:
        """The run stored in a predictions file or in the folder that holds one; named after the folder.

        Raises:
            InputError: when there is no such file or a line is not an answer.
        """
        file = path / PREDICTIONS if path.is_dir() else path
        if not file.is_file():
            raise InputError(f"{file}: no such file, expected the {PREDICTIONS} of an earlier run")
        try:
            # not str.splitlines: a model may write the line separators of Unicode
            with file.open(encoding="utf-8", newline="\n") as stream:
                answers = [_read_answer(file, number, line) for number, line in enumerate(stream, start=1)]
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: not UTF-8 text ({error})") from error
        if not answers:
            raise InputError(f"{file}: no answers, expected at least one line")
        about = _read_facts(file.with_name(RUN_FACTS))
        role = _ROLES.get(about.get("role", ""), "model")
        name = name or file.resolve().parent.name
        return cls(name=name, answers=tuple(answers), role=role, facts=about.get("facts") or {})


def score_answer(record: Mapping[str, Any], prediction: str, response: str | None = None) -> ScoredAnswer:
    """The scored answer to one record; numeric targets <= 0 are scored by equality (the safe mode)."""
    metric, score = score_prediction(record, prediction, mode="safe")
    repaired, readable = score_repaired(record, prediction)
    return _answer(record, prediction, response, metric, (score, repaired), (is_parsed(record, prediction), readable))


def expected_answer(record: Mapping[str, Any], metric: str, score: float) -> ScoredAnswer:
    """An answer known only by its expected score, such as that of guessing."""
    return _answer(record, "", None, metric, (score, score), (True, True))


def run_from_predictions(name: str, pairs: Iterable[tuple[Mapping[str, Any], str]], role: Role = "model") -> Run:
    """The run of (record, prediction) pairs."""
    answers = tuple(score_answer(record, prediction) for record, prediction in pairs)
    return Run(name=name, answers=answers, role=role)


def _answer(
    record: Mapping[str, Any],
    prediction: str,
    response: str | None,
    metric: str,
    scores: tuple[float, float],
    parsed: tuple[bool, bool],
) -> ScoredAnswer:
    labels = ("occ_level", "overlap_level", "trunc_level", "vis_level", "gt_scenario")
    occlusion = record.get("occlusion_avg")
    return ScoredAnswer(
        id=str(record["id"]),
        dataset=str(record.get("dataset") or ""),
        scene_name=str(record.get("scene_name") or ""),
        question_type=record["question_type"],
        **{label: record.get(label) or UNKNOWN for label in labels},
        visibility=None if occlusion is None else round(1.0 - occlusion, 9),
        views=len(record.get("frames") or ()),
        target=record.get("mc_answer") or str(record.get("ground_truth") or ""),
        response=prediction if response is None else response,
        prediction=prediction,
        metric=metric,
        score=scores[0],
        parsed=parsed[0],
        score_repaired=scores[1],
        parsed_repaired=parsed[1],
    )


def _read_answer(file: Path, number: int, line: str) -> ScoredAnswer:
    try:
        row = json.loads(line)
        return ScoredAnswer(**{f.name: row[f.name] for f in fields(ScoredAnswer)})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}, line {number}: not a scored answer ({error!r})") from error


def _read_facts(file: Path) -> dict[str, Any]:
    """What `Run.write` left beside the answers; empty where there is nothing, since answers stand by themselves."""
    if not file.is_file():
        return {}
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(about, dict):
        raise InputError(f"{file}: holds a {type(about).__name__}, expected an object")
    return about


def _plain(value: Any) -> Any:
    """The value as every JSON reader takes it: half surrogate pairs become U+FFFD, nan and infinities null."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
