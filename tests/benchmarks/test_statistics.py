"""Means and standard errors computed by hand."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.stats import bootstrap

from benchmarks.spatialmosaic.results import ScoredAnswer, score_answer
from benchmarks.spatialmosaic.statistics import mean_of, mean_over_types, mean_score, paired_difference
from tests.benchmarks.samples import make_record


def answer(index: int, score: float, kind: str = "obj_count_occ", scene: str = "a") -> ScoredAnswer:
    record = make_record(kind, index, scene)
    return replace(score_answer(asdict(record), ""), score=score)


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


def scene_values(seed: int, scenes: int = 40) -> tuple[list[float], list[str]]:
    rng = np.random.default_rng(seed)
    values, names = [], []
    for scene in range(scenes):
        ease = rng.uniform(0.1, 0.9)
        for _ in range(int(rng.integers(2, 9))):
            values.append(float(rng.uniform() < ease))
            names.append(f"scene {scene}")
    return values, names


def test_the_interval_is_that_of_scipy_over_scenes() -> None:
    values, names = scene_values(0)
    cell = mean_of(values, names)
    unit = np.unique(names, return_inverse=True)[1]
    sums, counts = np.bincount(unit, weights=values), np.bincount(unit)
    found = bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert cell is not None and cell.low is not None and cell.high is not None
    assert cell.low == pytest.approx(found.low, abs=0.012)
    assert cell.high == pytest.approx(found.high, abs=0.012)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(150):
        cell = mean_of(*scene_values(seed))
        assert cell is not None and cell.low is not None and cell.high is not None
        covered += cell.low <= 0.5 <= cell.high
    assert 0.88 <= covered / 150 <= 0.99


def test_scenes_make_the_interval_wider_than_questions_would() -> None:
    values = [float(scene % 2) for scene in range(20) for _ in range(4)]
    clustered = mean_of(values, [f"scene {scene}" for scene in range(20) for _ in range(4)])
    alone = mean_of(values, [f"scene {index}" for index in range(80)])
    assert clustered is not None and alone is not None
    assert (clustered.high or 0) - (clustered.low or 0) > 1.7 * ((alone.high or 0) - (alone.low or 0))


def test_all_right_still_has_an_interval() -> None:
    cell = mean_of([1.0] * 12, [f"scene {index}" for index in range(12)])
    assert cell is not None and cell.mean == 1.0
    assert cell.low == pytest.approx(0.7575, abs=1e-3) and cell.high == pytest.approx(1.0)  # Wilson's 12 of 12


def test_intervals_do_not_hang_on_the_order_of_the_answers() -> None:
    values, names = scene_values(3)
    assert mean_of(values, names) == mean_of(values[::-1], names[::-1])


def test_very_many_questions_get_the_normal_interval() -> None:
    values = [float(index % 4 == 0) for index in range(6000)]
    cell = mean_of(values, ["one scene"] * 6000)
    assert cell is not None and cell.stderr is not None and cell.low is not None
    assert cell.low == pytest.approx(0.25 - 1.96 * cell.stderr, abs=1e-4)


def test_the_error_of_types_that_share_scenes_counts_what_they_share() -> None:
    # the second type repeats the first: together they are no surer than one
    one = [answer(index, float(index % 2), scene=f"scene {index}") for index in range(20)]
    two = [answer(index, float(index % 2), "obj_size_occ_na", scene=f"scene {index}") for index in range(20)]
    both, alone = mean_over_types(one + two), mean_over_types(one)
    assert both is not None and alone is not None
    assert both.stderr == pytest.approx(alone.stderr)
