"""The best answer that is always the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.spatialmosaic.baselines.learning import CROSS_FITTED, FROM_TRAIN, answer_by_type
from benchmarks.spatialmosaic.results import Run, run_from_predictions
from benchmarks.spatialmosaic.scoring import ACCURACY, MEAN_POINT_ACCURACY, metric_of, parse_number, parse_point
from qa_generation.blind import scores

Record = Mapping[str, Any]


def constant(train: Sequence[Record], test: Sequence[Record], seed: int = 0) -> Run:
    """Per question type the letter, option text, number or point that scores best on the questions learnt from.

    An option text counts as well as a letter: "always No" is a constant wherever No stands.

    Args:
        train: questions of the train split; where it lacks a type, the type is cross-fitted on ``test``.
        test: questions to answer.
        seed: of the folds.
    """
    answers = answer_by_type(train, test, _learn, seed)
    name = f"constant ({FROM_TRAIN if train else CROSS_FITTED})"
    return run_from_predictions(name, list(zip(test, answers, strict=True)), role="baseline")


def _learn(known: Sequence[Record], asked: Sequence[Record]) -> list[str]:
    metric = metric_of(asked[0]["question_type"])
    if metric == ACCURACY:
        wording = _best_wording(known)
        return [_letter_of(record, wording) for record in asked]
    answer = _best_point(known) if metric == MEAN_POINT_ACCURACY else _best_number(known)
    return [answer] * len(asked)


def _best_wording(known: Sequence[Record]) -> str:
    """The letter or option text that is most often true; letters where both are as good."""
    letters = Counter(str(record["mc_answer"]) for record in known)
    texts = Counter(_text(option) for record in known for option in record["options"] if _is_true(record, option))
    best = sorted([(-count, 0, name) for name, count in letters.items()] + [(-n, 1, name) for name, n in texts.items()])
    return best[0][2] if best else "A"


def _letter_of(record: Record, wording: str) -> str:
    """The letter of the option that says ``wording``; ``wording`` itself, or the first letter, where none does."""
    for option in record["options"]:
        if _text(option) == wording:
            return str(option)[:1]
    return wording if len(wording) == 1 else "A"


def _text(option: str) -> str:
    return option[2:].strip().lower()


def _is_true(record: Record, option: str) -> bool:
    return option[:1] == record["mc_answer"]


def _best_number(known: Sequence[Record]) -> str:
    truths = [number for record in known if (number := parse_number(record.get("ground_truth"))) is not None]
    return f"{scores.best_constant(np.array(truths)):g}" if truths else ""


def _best_point(known: Sequence[Record]) -> str:
    pairs = [(parse_point(str(r.get("ground_truth"))), float(r.get("bbox_2d_diag") or 0.0)) for r in known]
    usable = [(point, diagonal) for point, diagonal in pairs if point is not None and diagonal > 0]
    if not usable:
        return ""
    x, y = scores.best_point(np.array([p for p, _ in usable], dtype=float), np.array([d for _, d in usable]))
    return f"({x:.0f},{y:.0f})"
