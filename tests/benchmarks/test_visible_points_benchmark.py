"""Visible points against closed-form truth: the truth itself on paper, and how well annotation finds it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.performance.visible_points import Box, Score, Sphere, measure, truth

LENS = np.array([[100.0, 0.0, 79.5], [0.0, 100.0, 59.5], [0.0, 0.0, 1.0]])


def test_a_ray_enters_a_ball_and_a_box_where_it_should() -> None:
    ball, box = Sphere(np.array([0.0, 0.0, 3.0]), 0.5), Box(np.array([-1.0, -1.0, 2.0]), np.array([1.0, 1.0, 4.0]))
    ways = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.3, 0.0, 1.0], [0.0, 0.6, 1.0]])
    assert ball.enters(np.zeros(3), ways).tolist() == [2.5, math.inf, math.inf, math.inf]
    assert box.enters(np.zeros(3), ways).tolist() == [2.0, math.inf, 2.0, math.inf]
    # half way between the middle and the rim of the ball
    tilted = ball.enters(np.zeros(3), np.array([[0.1, 0.0, 1.0]]))[0]
    assert np.linalg.norm(tilted * np.array([0.1, 0.0, 1.0]) - ball.center) == pytest.approx(0.5)


def test_the_visible_cap_of_a_ball() -> None:
    # from 3 m a ball of 0.5 m shows the cap up to acos(r / d), that is (1 - r / d) / 2 of its surface
    ball = Sphere(np.array([0.0, 0.0, 3.0]), 0.5)
    points = ball.sample(np.random.default_rng(0))
    inside, seen = truth([ball], points, LENS, np.eye(4), (160, 120), 0.0, 0.0)
    assert inside.all()
    assert seen.mean() == pytest.approx((1 - 0.5 / 3) / 2, abs=0.01)
    middle = (points - ball.center) @ np.array([0.0, 0.0, -1.0]) / 0.5
    assert middle[seen].min() >= 0.5 / 3 - 1e-6 >= middle[~seen].max() - 2e-6


def test_a_box_hides_what_lies_behind_it_by_more_than_the_tolerance() -> None:
    box = Box(np.array([-1.0, -1.0, 2.0]), np.array([1.0, 1.0, 2.5]))
    points = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 2.04], [0.0, 0.0, 2.06], [0.0, 0.0, 3.0], [9.0, 0.0, 3.0]])
    inside, seen = truth([box], points, LENS, np.eye(4), (160, 120), 0.05, 0.02)
    assert inside.tolist() == [True, True, True, True, False]
    assert seen.tolist() == [True, True, False, False, False]


def test_scores() -> None:
    score = Score.of(np.array([True, True, False, False]), np.array([True, False, True, False]))
    assert score == Score(1, 1, 1) and score.recall == score.precision == 0.5


@pytest.mark.parametrize("size", [(640, 480), (160, 120)])
def test_nearly_all_visible_points_are_found_and_no_others(size: tuple[int, int]) -> None:
    strict, defined = measure(0, size, views=2)
    assert defined.recall >= 0.999 and defined.precision >= 0.999
    assert strict.recall >= 0.999
    strict, _ = measure(0, size, (0.01, 0.003), views=2)
    assert strict.recall >= 0.99 and strict.precision >= 0.99
