"""Which of two runs is better: p-values computed by hand, and the sentence that says so."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks.spatialmosaic.paired import compare_pair, p_text
from benchmarks.spatialmosaic.results import Run, score_answer
from qa_generation.errors import InputError
from tests.benchmarks.samples import make_record


def run(name: str, scores: list[float], kind: str = "obj_count_occ", scenes: int = 1) -> Run:
    answers = []
    for index, score in enumerate(scores):
        record = make_record(kind, index, f"room_{index % scenes}")
        answers.append(replace(score_answer(asdict(record), ""), score=score))
    return Run(name, tuple(answers))


def test_six_gains_of_six_have_the_exact_p_value() -> None:
    found = compare_pair(run("a", [1.0] * 6), run("b", [0.0] * 6))
    assert found.p_value == pytest.approx(2 / 2**6)
    assert found.mcnemar_p == pytest.approx(2 / 2**6)
    assert (found.only_first, found.only_second) == (6, 0)
    assert found.sentence().startswith("a is better than b: +100.0 points")
    assert "p = 0.031, 6 questions of 1 scene." in found.sentence()


def test_the_better_run_comes_first_whichever_was_given_first() -> None:
    found = compare_pair(run("b", [0.0] * 8), run("a", [1.0] * 6 + [0.0] * 2))
    assert found.difference.mean == pytest.approx(-0.75)
    assert found.sentence().startswith("a is better than b: +75.0 points [+")


def test_equal_runs_cannot_be_told_apart() -> None:
    found = compare_pair(run("a", [0.0, 1.0, 1.0]), run("b", [0.0, 1.0, 1.0]))
    assert (found.p_value, found.mcnemar_p, found.difference.mean) == (1.0, 1.0, 0.0)
    assert found.sentence().startswith("a and b cannot be told apart: +0.0 points")


def test_a_gain_within_one_scene_of_twelve_proves_nothing() -> None:
    # 24 questions of twelve scenes; all gains come from one scene, so that flipping it undoes everything
    gains = [1.0 if index % 12 == 0 else 0.0 for index in range(48)]
    found = compare_pair(run("a", gains, scenes=12), run("b", [0.0] * 48, scenes=12))
    assert found.clustered and found.scenes == 12
    assert found.p_value == 1.0 and found.mcnemar_p is not None and found.mcnemar_p < 0.2


def test_no_difference_is_called_clear_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    clear = 0
    for _ in range(60):
        first, second = (rng.integers(0, 2, 120).astype(float).tolist() for _ in range(2))
        clear += compare_pair(run("a", first, scenes=12), run("b", second, scenes=12)).is_clear
    assert clear <= 9


def test_a_small_but_steady_gain_is_found() -> None:
    rng = np.random.default_rng(2)
    base = rng.integers(0, 2, 400).astype(float)
    better = np.where(rng.uniform(size=400) < 0.1, 1.0, base)
    found = compare_pair(run("a", better.tolist(), scenes=40), run("b", base.tolist(), scenes=40))
    assert found.is_clear and 0.02 < found.difference.mean < 0.1


def test_the_difference_is_that_of_the_published_overall_scores() -> None:
    many, few = [1.0] * 30, [0.0, 1.0]
    first = Run("a", run("a", many).answers + run("a", few, "obj_size_occ_na").answers)
    second = Run("b", run("b", [0.0] * 30).answers + run("b", few, "obj_size_occ_na").answers)
    found = compare_pair(first, second)
    assert 100 * found.difference.mean == pytest.approx(first.aggregate()["overall"] - second.aggregate()["overall"])


def test_runs_without_a_common_question_are_refused() -> None:
    first = run("a", [1.0])
    with pytest.raises(InputError, match="share no question"):
        compare_pair(first, Run("b", (replace(first.answers[0], id="other"),)))


@pytest.mark.parametrize(("p", "text"), [(0.0004, "p < 0.001"), (0.031, "p = 0.031"), (0.5, "p = 0.5")])
def test_p_values_are_short(p: float, text: str) -> None:
    assert p_text(p) == text
