"""Scores of single answers and their means, bit-equal to the published SpatialMosaic-Bench scorer.

Exact match for the 12 multiple-choice types, mean relative accuracy (VSI-Bench, arXiv 2412.14171, section 3) for the
4 numeric types and a mean over box-diagonal tolerances for the point type. Predictions are taken as they stand; the
harness strips them and cuts reasoning blocks away before (see ``tasks/utils.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from qa_generation.errors import InputError
from qa_generation.prompts import ALL_NUMERIC_TYPES, ALL_TYPES, POINT_TYPES, is_choice

ACCURACY = "accuracy"
MEAN_RELATIVE_ACCURACY = "MRA:.5:.95:.05"
MEAN_POINT_ACCURACY = "MPA:.5:1.4:.1"

Mode = Literal["published", "safe"]

# the ten tolerances on |p - g| / g; the published spacing formula gives int((0.95 - 0.5) / 0.05 + 2) = 10 points
RELATIVE_TOLERANCES = 1.0 - np.linspace(0.5, 0.95, 10)
# the ten radii in box diagonals, with the float64 dust of the published ``arange``
DIAGONAL_TOLERANCES = np.arange(0.5, 1.4 + 0.05, 0.1)

# a number is not looked for inside a longer one: the result is the same, the time linear
_NUMBER = r"((?:-|(?<!\d))\d++(?:\.\d++)?+)"
_POINT_PATTERNS = (
    re.compile(rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)"),
    re.compile(rf"{_NUMBER}\s*,\s*{_NUMBER}"),
)
_FIRST_NUMBER = re.compile(_NUMBER)


def metric_of(question_type: str) -> str:
    """The published name of the metric that scores a question type.

    Raises:
        InputError: for a question type that no dataset of ours has.
    """
    if is_choice(question_type):
        return ACCURACY
    if question_type in ALL_NUMERIC_TYPES:
        return MEAN_RELATIVE_ACCURACY
    if question_type in POINT_TYPES:
        return MEAN_POINT_ACCURACY
    raise InputError(f"question_type {question_type!r} is unknown, expected one of {', '.join(ALL_TYPES)}")


def clean(prediction: str) -> str:
    """What is compared for choice and numeric types: text before the first space, without trailing full stops."""
    return prediction.split(" ")[0].rstrip(".").strip()


def parse_number(text: Any) -> float | None:
    """The number that Python's ``float`` reads from a text, None where it reads none."""
    try:
        return float(text)
    except (TypeError, ValueError, OverflowError):
        return None


def parse_point(text: str) -> tuple[float, float] | None:
    """The first ``(x, y)`` of a text, else its first ``x, y``, else its first two numbers, else None."""
    for pattern in _POINT_PATTERNS:
        if match := pattern.search(text):
            return float(match[1]), float(match[2])
    numbers = [float(match[1]) for _, match in zip(range(2), _FIRST_NUMBER.finditer(text), strict=False)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def relative_accuracy(prediction: float, target: float) -> float:
    """Share of the ten tolerances that the relative error meets; unitless, 0-1.

    Raises:
        ZeroDivisionError: for a target of 0, as published.
    """
    return float(np.mean(abs(prediction - target) / target <= RELATIVE_TOLERANCES))


def point_accuracy(prediction: tuple[float, float], target: tuple[float, float], diagonal_px: float) -> float:
    """Share of the ten radii (0.5-1.4 box diagonals) within which the predicted point lies; 0-1."""
    dx, dy = prediction[0] - target[0], prediction[1] - target[1]
    distance_px = math.sqrt(dx * dx + dy * dy)
    return float(np.mean(distance_px <= diagonal_px * DIAGONAL_TOLERANCES))


def score_prediction(record: Mapping[str, Any], prediction: str, mode: Mode = "published") -> tuple[str, float]:
    """The metric's name and the score (0-1) of a raw prediction for one record.

    Args:
        record: a row of the official test JSON or of our Parquet files.
        prediction: the model's text, not stripped beforehand.
        mode: ``published`` equals the published scorer; ``safe`` scores numeric targets <= 0, which the published one
            cannot score (0: crash, negative: always right), by equality of the numbers.

    Raises:
        InputError: for an unknown type, a choice record without ``mc_answer``, and in published mode for a numeric
            target of 0 with a readable prediction. The published scorer stops with a bare exception at the last two.
    """
    question_type = record.get("question_type") or ""
    metric = metric_of(question_type)
    if metric == ACCURACY:
        return metric, _score_choice(record, prediction)
    if metric == MEAN_RELATIVE_ACCURACY:
        return metric, _score_number(record, prediction, mode)
    return metric, _score_point(record, prediction)


def is_parsed(record: Mapping[str, Any], prediction: str) -> bool:
    """Whether a prediction has the asked form at all: one of the offered letters, a finite number, a point."""
    metric = metric_of(record.get("question_type") or "")
    if metric == ACCURACY:
        letters = {option[:1].lower() for option in record.get("options") or ()} or set("abcd")
        return clean(prediction).lower() in letters
    if metric == MEAN_RELATIVE_ACCURACY:
        number = parse_number(clean(prediction))
        return number is not None and math.isfinite(number)
    return parse_point(prediction) is not None


def aggregate(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``{"overall": mean of the type means x 100, "per_type": {"<type>_<metric>": mean}}``; all types weigh the same.

    Args:
        rows: scored answers with ``question_type`` (at the top, or inside ``record`` or ``doc``) and ``score``; rows
            that carry a ``prediction`` but no score are scored here. A ``metric`` beside the score names that of a
            type from elsewhere.

    Raises:
        InputError: when there are no rows.
    """
    scores: dict[str, list[float]] = {}
    metrics: dict[str, str] = {}
    for row in rows:
        record = row.get("record") or row.get("doc") or row
        score = row["score"] if "score" in row else score_prediction(record, row["prediction"])[1]
        scores.setdefault(record["question_type"], []).append(float(score))
        if row.get("metric"):
            metrics[record["question_type"]] = row["metric"]
    if not scores:
        raise InputError("there are no scored answers to average, expected at least one")
    means = {kind: float(np.mean(np.asarray(scores[kind], dtype=np.float64))) for kind in sorted(scores)}
    return {
        "overall": sum(means.values()) / len(means) * 100.0,
        "per_type": {f"{kind}_{metrics.get(kind) or metric_of(kind)}": mean for kind, mean in means.items()},
    }


def _name(record: Mapping[str, Any]) -> str:
    return f"record {record.get('id')!r} ({record.get('question_type')})"


def _score_choice(record: Mapping[str, Any], prediction: str) -> float:
    answer = record.get("mc_answer")
    if not isinstance(answer, str):
        raise InputError(f"{_name(record)}: mc_answer is {answer!r}, expected the letter of the true option")
    return 1.0 if clean(prediction).lower() == answer.lower() else 0.0


def _score_number(record: Mapping[str, Any], prediction: str, mode: Mode) -> float:
    number, target = parse_number(clean(prediction)), parse_number(record.get("ground_truth"))
    if number is None or target is None:
        return 0.0
    if mode == "safe" and target <= 0:
        return 1.0 if number == target else 0.0
    if target == 0:
        raise InputError(f"{_name(record)}: ground_truth is 0, expected a positive number (or use the safe mode)")
    return relative_accuracy(number, target)


def _score_point(record: Mapping[str, Any], prediction: str) -> float:
    point, target = parse_point(prediction), parse_point(str(record.get("ground_truth")))
    diagonal_px = parse_number(record.get("bbox_2d_diag"))
    if point is None or target is None or diagonal_px is None or not diagonal_px > 0:
        return 0.0
    return point_accuracy(point, target, diagonal_px)
