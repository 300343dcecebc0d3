"""What can be had without looking: chance, and a classifier that reads only question texts and options.

The question-only baseline shows how much of a score a model could owe to wording and answer statistics. It learns
from the train split: a logistic regression rates every option from hashed features of its text, rank and letter, by
question type and crossed with the words of the question; the best-rated option is the answer. Numeric types get the
train median of the same type and category, points the train median point.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from statistics import median, median_low
from typing import Any

import numpy as np
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.spatialmosaic.results import Run, expected_answer, run_from_predictions
from benchmarks.spatialmosaic.scoring import ACCURACY, metric_of, parse_number, parse_point
from qa_generation.errors import InputError
from qa_generation.prompts import POINT_TYPES, is_choice

CHANCE, QUESTION_ONLY = "chance", "question only"
MAX_TRAIN = 30_000  # more does not change the baseline, only its time
_FEATURES = 2**18
_WORDS = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")

Record = Mapping[str, Any]


def chance(records: Iterable[Record]) -> Run:
    """The expected score of a uniform guess among the options; numeric and point types have none and are left out."""
    choices = [record for record in records if metric_of(record["question_type"]) == ACCURACY]
    answers = [expected_answer(record, ACCURACY, 1.0 / max(1, len(record["options"]))) for record in choices]
    return Run(name=CHANCE, answers=tuple(answers), role="expected")


def question_only(train: Sequence[Record], test: Sequence[Record]) -> Run:
    """The answers of a classifier that never sees a picture; the same records give the same answers.

    Raises:
        InputError: when there is nothing to learn from.
    """
    if not train:
        raise InputError("the question-only baseline needs train questions, found none")
    reader = OptionReader(train)
    values = TypicalValues(train)
    pairs = [(record, (reader if is_choice(record["question_type"]) else values).answer(record)) for record in test]
    return run_from_predictions(QUESTION_ONLY, pairs, role="baseline")


class OptionReader:
    """A logistic regression over (question, option) pairs, fitted on construction."""

    def __init__(self, train: Sequence[Record]) -> None:
        choices = sorted(
            (record for record in train if is_choice(record["question_type"]) and record["options"]),
            key=lambda record: sha256(str(record["id"]).encode()).digest(),
        )[:MAX_TRAIN]
        self._hasher = FeatureHasher(_FEATURES, input_type="string", alternate_sign=False)
        rows = [(features, is_true) for record in choices for features, is_true in _labelled(record)]
        self._model: LogisticRegression | None = None
        if rows:
            matrix = self._hasher.transform(features for features, _ in rows)
            self._model = LogisticRegression(C=0.3, max_iter=300, solver="lbfgs", tol=1e-3)
            # one thread: how a sum is split among threads changes its last digits, and with them close decisions
            with threadpool_limits(limits=1):
                self._model.fit(matrix, np.array([is_true for _, is_true in rows]))

    def answer(self, record: Record) -> str:
        """The letter of the best-rated option; the first letter when nothing was learnt."""
        options = list(record["options"])
        if self._model is None or not options:
            return "A"
        ratings = self._model.decision_function(self._hasher.transform(option_features(record)))
        # rounded, so that options which read alike are a tie on every machine
        return options[int(np.argmax(np.round(ratings, 6)))][:1]


def _labelled(record: Record) -> Iterator[tuple[list[str], bool]]:
    for option, features in zip(record["options"], option_features(record), strict=True):
        yield features, option[:1] == record["mc_answer"]


def option_features(record: Record) -> list[list[str]]:
    """Features of every option: its letter, words and ranks, by type and crossed with the words of the question."""
    kind = record["question_type"]
    texts = [option[3:].lower() for option in record["options"]]
    question = sorted(_ngrams(record["question"].lower()))
    numbers = [[float(n) for n in re.findall(r"\d+", text)] for text in texts]
    all_rows = []
    for index, text in enumerate(texts):
        own = [f"letter {index} of {len(texts)}"]
        for place, value in enumerate(numbers[index]):
            others = [row[place] for row in numbers if len(row) > place]
            own.append(f"number {place} ranks {sum(other < value for other in others)} of {len(others)}")
            own.append(f"number {place} shared by {sum(other == value for other in others)}")
        own += sorted(_ngrams(text))
        crossed = [f"{name} | {word}" for name in own for word in question]
        all_rows.append([f"{kind} | {name}" for name in own] + crossed)
    return all_rows


def _ngrams(text: str) -> set[str]:
    """Words and pairs of neighbouring words."""
    words = _WORDS.findall(text)
    return set(words) | {f"{first} {second}" for first, second in pairwise(words)}


class TypicalValues:
    """Gives the train median of the question's type and category (of the type alone where that is new)."""

    def __init__(self, train: Sequence[Record]) -> None:
        self._numbers: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._points: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for record in train:
            kind, truth = record["question_type"], str(record["ground_truth"])
            if kind in POINT_TYPES:
                if point := parse_point(truth):
                    self._points[kind].append(point)
            elif not is_choice(kind) and (number := parse_number(truth)) is not None:
                self._numbers[kind, record.get("target_category") or ""].append(number)
                self._numbers[kind, ""].append(number)

    def answer(self, record: Record) -> str:
        """The answer as text, empty where the train split has none of the type."""
        kind = record["question_type"]
        if kind in POINT_TYPES:
            points = self._points.get(kind)
            return f"({median(x for x, _ in points):.0f},{median(y for _, y in points):.0f})" if points else ""
        numbers = self._numbers.get((kind, record.get("target_category") or "")) or self._numbers.get((kind, ""))
        return f"{median_low(numbers):g}" if numbers else ""
