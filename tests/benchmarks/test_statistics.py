"""Means and standard errors computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.spatialmosaic.results import ScoredAnswer, score_answer
from benchmarks.spatialmosaic.statistics import mean_of, mean_over_types, mean_score, paired_difference
from tests.benchmarks.samples import make_record


def answer(index: int, score: float, kind: str = "obj_count_occ", scene: str = "a") -> ScoredAnswer:
    record = make_record(kind, index, scene)
    return replace(score_answer(vars(record), ""), score=score)


def test_right_or_wrong_scores_have_the_binomial_error() -> None:
    cell = mean_score([answer(index, float(index < 3)) for index in range(12)])
    assert cell is not None
    assert (cell.mean, cell.n) == (0.25, 12)
    assert cell.stderr == pytest.approx(math.sqrt(0.25 * 0.75 / 11))


def test_one_answer_has_no_error_and_none_has_no_mean() -> None:
    cell = mean_score([answer(0, 1.0)])
    assert cell is not None and cell.stderr is None and cell.mean == 1.0
    assert mean_score([]) is None and mean_over_types([]) is None


def test_scenes_of_one_question_each_are_independent_questions() -> None:
    values = [float(index % 3 == 0) for index in range(30)]
    clustered = mean_of(values, [f"scene {index}" for index in range(30)])
    assert clustered is not None
    assert clustered.stderr == pytest.approx(np.std(values, ddof=1) / math.sqrt(30))


def test_questions_that_stand_and_fall_together_count_as_one() -> None:
    values = [float(scene % 2) for scene in range(20) for _ in range(4)]
    scenes = [f"scene {scene}" for scene in range(20) for _ in range(4)]
    clustered = mean_of(values, scenes)
    assert clustered is not None
    one_each = mean_of(values[::4], scenes[::4])
    assert one_each is not None and clustered.stderr == pytest.approx(one_each.stderr)


def test_few_scenes_fall_back_to_independent_questions() -> None:
    values = [0.0, 1.0, 0.0, 1.0]
    cell = mean_of(values, ["a", "a", "b", "b"])
    assert cell is not None
    assert cell.stderr == pytest.approx(np.std(values, ddof=1) / 2)


def test_types_weigh_the_same_and_errors_add_in_quadrature() -> None:
    first = [answer(index, float(index % 2)) for index in range(8)]
    second = [answer(index, 1.0 * (index == 0), "obj_size_occ_na") for index in range(4)]
    cell, one, two = mean_over_types(first + second), mean_score(first), mean_score(second)
    assert cell is not None and one is not None and two is not None
    assert cell.mean == pytest.approx((0.5 + 0.25) / 2)
    assert cell.stderr == pytest.approx(math.hypot(one.stderr or 0, two.stderr or 0) / 2)
    assert cell.n == 12


def test_a_paired_difference_counts_only_common_questions() -> None:
    before = [answer(index, float(index % 2)) for index in range(6)]
    after = [answer(index, 1.0) for index in range(2, 8)]
    cell = paired_difference(before, after)
    assert cell is not None
    assert (cell.mean, cell.n) == (0.5, 4)
    assert cell.stderr == pytest.approx(math.sqrt(np.var([1, 0, 1, 0], ddof=1) / 4))


def test_equal_gains_have_no_error() -> None:
    before = [answer(index, 0.2 * index) for index in range(3)]
    cell = paired_difference(before, [replace(item, score=item.score + 0.1) for item in before])
    assert cell is not None and cell.mean == pytest.approx(0.1) and cell.stderr == pytest.approx(0.0)
