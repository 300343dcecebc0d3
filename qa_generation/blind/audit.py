"""The blind audit: how much of a set is answered from its texts alone, by models trained on other scenes of the set.

After the Test-set Stress-Test (Brown et al., "Benchmark Designers Should Train on the Test Set to Expose Exploitable
Non-Visual Shortcuts", arXiv 2511.04655): k-fold question-only models on the very set that is to be released.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from qa_generation.blind import choices
from qa_generation.blind.answer_table import Answers, Bins, Guesser, answer_table
from qa_generation.blind.folds import even_folds
from qa_generation.blind.one_thread import one_thread
from qa_generation.blind.option_table import option_table
from qa_generation.blind.readers import TOGETHER, read_blindly
from qa_generation.blind.report import BlindReport, TypeReport
from qa_generation.blind.scores import clustered_mean
from qa_generation.blind.text_features import bin_matrix, option_matrix
from qa_generation.errors import InputError
from qa_generation.prompts import ALL_TYPES, is_choice
from qa_generation.records import QARecord

LEAST_RECORDS = 50


def audit_records(records: Sequence[QARecord], seed: int = 0, folds: int = 5) -> BlindReport:
    """How well question-only models answer every type of this set, folds by scene.

    The order of the records does not matter; the same records and seed give the same report.

    Args:
        records: the set; warm-up questions are left out.
        seed: of the folds and forests; take another one than the plan that pruned the set.
        folds: groups of scenes.

    Raises:
        InputError: fewer than two folds; a number or point question without a readable answer.
    """
    if folds < 3:
        raise InputError(f"folds is {folds}, expected at least 3")
    by_type: dict[str, list[QARecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.id):
        by_type[record.question_type].append(record)
    types: dict[str, TypeReport] = {}
    skipped: dict[str, str] = {}
    bias: dict[str, float] = {}
    with one_thread():
        for question_type, group in sorted(by_type.items()):
            scenes = len({record.scene_name for record in group})
            if question_type not in ALL_TYPES:
                skipped[question_type] = "not a question type of the benchmark"
            elif len(group) < LEAST_RECORDS or scenes < folds:
                skipped[question_type] = (
                    f"{len(group)} records of {scenes} scenes, expected at least {LEAST_RECORDS} of {folds}"
                )
            else:
                audit = _audit_choices if is_choice(question_type) else _audit_answers
                types[question_type], found = audit(group, seed, folds)
                bias.update(zip([record.id for record in group], found.tolist(), strict=True))
    return BlindReport(types, skipped, bias)


def _audit_choices(records: Sequence[QARecord], seed: int, folds: int) -> tuple[TypeReport, Float[np.ndarray, " n"]]:
    table = option_table(records)
    fold = even_folds([record.scene_name for record in records], seed, folds)
    read = read_blindly(table, option_matrix(records), fold, folds, seed)
    right = {name: choices.right(table, found.decided(table)) for name, found in read.items()}
    bias = choices.of_truth(table, np.mean([f.honest(table) for name, f in read.items() if name != TOGETHER], axis=0))
    chance = float((1.0 / table.counts).mean())
    structural = float(table.grid(table.prior, fill=0.0).max(axis=1).mean())
    return _report(records, "accuracy", chance, structural, right), bias


def _audit_answers(records: Sequence[QARecord], seed: int, folds: int) -> tuple[TypeReport, Float[np.ndarray, " n"]]:
    answers = Answers.of(records)
    bins = Bins.of(answers)
    index = bins.index(answers)
    prior = (np.bincount(index, minlength=bins.number) + 1.0) / (len(records) + bins.number)
    table = answer_table(records, bins, prior)
    fold = even_folds([record.scene_name for record in records], seed, folds)
    read = read_blindly(table, bin_matrix(records, bins.number), fold, folds, seed)
    scores = {name: _scores(answers, index, table.grid(f.decided(table)), fold) for name, f in read.items()}
    constant = np.zeros(len(records))
    for number in np.unique(fold):
        test = fold == number
        guess = answers.only(~test).constant()
        constant[test] = answers.only(test).score(np.tile(guess, (int(test.sum()), 1)))
    metric = "MPA" if answers.are_points else "MRA"
    baseline = float(constant.mean())
    bias = np.mean([score for name, score in scores.items() if name != TOGETHER], axis=0)
    return _report(records, metric, baseline, baseline, scores), bias


def _scores(
    answers: Answers,
    index: Int[np.ndarray, " records"],
    probability: Float[np.ndarray, "records bins"],
    fold: Int[np.ndarray, " records"],
) -> Float[np.ndarray, " records"]:
    """Score of the best guess of every record, what guesses are worth learned from the other folds."""
    result = np.zeros(len(index))
    for number in np.unique(fold):
        test = fold == number
        guesser = Guesser.of(answers.only(~test), index[~test], probability.shape[1])
        result[test] = answers.only(test).score(guesser.guess(probability[test]))
    return result


def _report(
    records: Sequence[QARecord],
    metric: str,
    baseline: float,
    structural: float,
    per_record: dict[str, Float[np.ndarray, " records"]],
) -> TypeReport:
    scenes = [record.scene_name for record in records]
    scores = {name: float(values.mean()) for name, values in per_record.items()}
    best = max(sorted(scores), key=lambda name: scores[name])
    return TypeReport(
        question_type=records[0].question_type,
        metric=metric,
        records=len(records),
        scenes=len(set(scenes)),
        baseline=baseline,
        structural=structural,
        scores=scores,
        stderr=clustered_mean(per_record[best], scenes)[1],
    )
