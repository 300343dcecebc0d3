"""What can be had from texts and options alone, by the readers that audit our sets.

Not a second implementation: forest, boosting and logistic regression, their features and the habits they look up are
those of `qa_generation.blind`. Here they are fitted on the train split and rate the test questions; without a train
split they are cross-fitted, as in the audit.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix

from benchmarks.spatialmosaic.baselines.learning import (
    CROSS_FITTED,
    FOLDS,
    FROM_TRAIN,
    answer_by_type,
    cross_folds,
)
from benchmarks.spatialmosaic.results import Run, run_from_predictions
from benchmarks.spatialmosaic.scoring import ACCURACY, metric_of
from qa_generation.blind.answer_table import Answers, Bins, Guesser, answer_table
from qa_generation.blind.habits import HabitSums
from qa_generation.blind.one_thread import one_thread
from qa_generation.blind.option_features import option_features
from qa_generation.blind.option_table import OptionTable, option_table
from qa_generation.blind.row_models import boosting, forest, linear, log_odds
from qa_generation.blind.text_features import bin_matrix, option_matrix
from qa_generation.errors import InputError
from qa_generation.records import QARecord
from qa_generation.seeding import stable_int

MOST_KNOWN = 2500  # questions of a type to learn from; more cost time and change little
TEXT_STRENGTH = 0.3

Record = Mapping[str, Any]

_TEXTS = ("dataset", "scene_name", "question", "mc_answer", "ground_truth")
_LABELS = ("occ_level", "overlap_level", "vis_level", "gt_scenario")
_BLANK: dict[str, Any] = {
    **dict.fromkeys((*_TEXTS, *_LABELS), ""),
    **dict.fromkeys(("frames", "options"), ()),
    **dict.fromkeys(("overlap_avg", "occlusion_avg"), 0.0),
}


def question_only(train: Sequence[Record], test: Sequence[Record], seed: int = 0) -> Run:
    """The answers of readers that never see a picture; the same records give the same answers, in any order.

    Args:
        train: questions to learn from; a type that is not among them is cross-fitted on ``test``.
        test: questions to answer.
        seed: of folds and forests.

    Raises:
        InputError: when there are fewer than two questions to learn from; for a number without a readable truth.
    """
    if len(train) + len(test) < 2:
        raise InputError("the question-only baseline needs questions to learn from, found none")

    def learn(known: Sequence[Record], asked: Sequence[Record]) -> list[str]:
        ranked = sorted(known, key=lambda record: stable_int(seed, "known", str(record["id"])))[:MOST_KNOWN]
        records = [_complete(record) for record in (*ranked, *asked)]
        is_choice = metric_of(records[0].question_type) == ACCURACY
        if not ranked:
            return ["A" if is_choice else ""] * len(asked)
        return (_letters if is_choice else _values)(records, len(ranked), seed)

    with one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using the fractional value")  # few questions, small forests
        answers = answer_by_type(train, test, learn, seed)
    name = f"question only ({FROM_TRAIN if train else CROSS_FITTED})"
    return run_from_predictions(name, list(zip(test, answers, strict=True)), role="baseline")


def _complete(record: Record) -> QARecord:
    """The record with empty values for all fields that it lacks: readers look at texts, options and truth only."""
    known = {name: value for name, value in record.items() if value is not None}
    return QARecord.from_row(_BLANK | known)


def _letters(records: Sequence[QARecord], known: int, seed: int) -> list[str]:
    """The letters of the likeliest options of all records after the first ``known``."""
    table = option_table(records)
    odds = table.grid(_log_odds(table, option_matrix(records), _fold(records, known, seed), seed), fill=-np.inf)
    # rounded, so that options which read alike are a tie on every machine
    best = np.argmax(np.round(odds, 6), axis=1)
    return [
        record.options[place][:1] if record.options else "A"
        for record, place in zip(records[known:], best[known:], strict=True)
    ]


def _values(records: Sequence[QARecord], known: int, seed: int) -> list[str]:
    """The numbers or points with the best expected score for all records after the first ``known``."""
    answers = Answers.of(records)
    is_known = np.arange(len(records)) < known
    bins = Bins.of(answers.only(is_known))
    index = bins.index(answers)
    prior = (np.bincount(index[is_known], minlength=bins.number) + 1.0) / (known + bins.number)
    table = answer_table(records, bins, prior)
    odds = table.grid(_log_odds(table, bin_matrix(records, bins.number), _fold(records, known, seed), seed))
    probability = 1.0 / (1.0 + np.exp(-odds[known:]))
    probability /= probability.sum(axis=1, keepdims=True)
    guesser = Guesser.of(answers.only(is_known), index[is_known], bins.number)
    guesses = guesser.guess(probability)
    if answers.are_points:
        return [f"({x:.0f},{y:.0f})" for x, y in guesses]
    return [f"{value:g}" for (value,) in guesses]


def _fold(records: Sequence[QARecord], known: int, seed: int) -> np.ndarray:
    """Folds of the known records by scene, and one more for those that are asked."""
    learnt = [{"id": record.id, "scene_name": record.scene_name} for record in records[:known]]
    return np.concatenate([cross_folds(learnt, seed), np.full(len(records) - known, FOLDS)])


def _log_odds(table: OptionTable, texts: csr_matrix, fold: np.ndarray, seed: int) -> Float[np.ndarray, " rows"]:
    """Mean log odds of every row by the three readers, fitted on all folds but the last; 0 for known rows.

    What is known of a word (habits) comes from folds other than the row's own and never from the asked questions.
    """
    row_fold = fold[table.record]
    is_asked: Bool[np.ndarray, " rows"] = row_fold == FOLDS
    learnt, asked = np.flatnonzero(~is_asked), np.flatnonzero(is_asked)
    odds = np.zeros(len(table.slot))
    if not len(learnt) or len(np.unique(table.truth[learnt])) < 2:
        return odds
    sums = HabitSums(table.keys, row_fold, table.truth.astype(np.float64), table.prior, FOLDS + 1)
    known = option_features(table, sums.inside(FOLDS), with_position=True)[learnt]
    new = option_features(table, sums.habits().look_up(table.keys, FOLDS), with_position=True)[asked]
    random_state = stable_int(seed, "question only") % 2**31
    for model in (forest(random_state), boosting(random_state)):
        odds[asked] += log_odds(model.fit(known, table.truth[learnt]), new) / 3
    odds[asked] += log_odds(linear(TEXT_STRENGTH).fit(texts[learnt], table.truth[learnt]), texts[asked]) / 3
    return odds
