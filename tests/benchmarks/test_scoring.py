"""The vectors printed in the description of the published scorer, and what cannot be scored."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.spatialmosaic import aggregate, metric_of, score_prediction
from benchmarks.spatialmosaic.scoring import is_parsed, parse_point
from qa_generation.errors import InputError
from qa_generation.prompts import CHOICE_TYPES, NUMERIC_TYPES, POINT_TYPES, QUESTION_TYPES


def choice(answer: str | None = "A", kind: str = "obj_count_occ") -> dict[str, Any]:
    return {"id": 7, "question_type": kind, "mc_answer": answer, "ground_truth": None, "options": ["A. 1", "B. 2"]}


def number(target: Any, kind: str = "obj_count_occ_na") -> dict[str, Any]:
    return {"id": 8, "question_type": kind, "mc_answer": None, "ground_truth": target}


def point(target: Any = "(0,0)", diagonal: Any = "10") -> dict[str, Any]:
    kind = "obj_localization_occ_na"
    return {"id": 9, "question_type": kind, "mc_answer": None, "ground_truth": target, "bbox_2d_diag": diagonal}


def score(record: dict[str, Any], prediction: str, **kwargs: Any) -> float:
    return score_prediction(record, prediction, **kwargs)[1]


@pytest.mark.parametrize("prediction", ["A", "a", "A.", "A..", "A. chair", "A .", "A\n"])
def test_letters_that_count(prediction: str) -> None:
    assert score_prediction(choice("A"), prediction) == ("accuracy", 1.0)


@pytest.mark.parametrize(
    "prediction", ["A,", "A:", "A)", "(A)", "A.chair", " A", "A\nB", "A\tx", "", ".", "Answer: A", "B", "AB"]
)
def test_letters_that_do_not_count(prediction: str) -> None:
    assert score(choice("A"), prediction) == 0.0


# rows: predicted 0-8; columns: true 1-6
COUNT_TABLE = """
0  0  0  0  0  0
1  .1 0  0  0  0
0  1  .4 .1 0  0
0  .1 1  .6 .3 .1
0  0  .4 1  .6 .4
0  0  0  .6 1  .7
0  0  0  .1 .6 1
0  0  0  0  .3 .7
0  0  0  0  0  .4
"""


def test_count_table() -> None:
    expected = [[float(cell) for cell in line.split()] for line in COUNT_TABLE.strip().splitlines()]
    found = [[score(number(str(g)), str(p)) for g in range(1, 7)] for p in range(9)]
    assert found == expected


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        (1.5, 1, 0.1),
        (0.5, 1, 0.1),
        (1.05, 1, 1),
        (0.95, 1, 1),
        (1.1, 1, 0.9),
        (0.9, 1, 0.9),
        (1.2, 1, 0.7),
        (1.3, 1, 0.5),
        (0.7, 1, 0.5),
        (2.5, 2, 0.6),
        (4, 5, 0.6),
        (0.8, 1, 0.7),
    ],
)
def test_relative_errors_at_the_edges(predicted: float, target: float, expected: float) -> None:
    assert score_prediction(number(str(target), "obj_distance_occ_na"), str(predicted)) == ("MRA:.5:.95:.05", expected)


@pytest.mark.parametrize("prediction", ["1.", "1...", "1 m", "1e0", "+1", "１"])
def test_spellings_of_one_that_count(prediction: str) -> None:
    assert score(number("1"), prediction) == 1.0


def test_underscores_belong_to_numbers() -> None:
    assert score(number("1000"), "1_000") == 1.0


@pytest.mark.parametrize("prediction", ["", "abc", "1m", "1,000", "2\nx", "nan", "inf", "-inf"])
def test_unreadable_numbers_score_nothing(prediction: str) -> None:
    assert score(number("1"), prediction) == 0.0


@pytest.mark.parametrize("target", [None, "many", "nan", "inf"])
def test_unreadable_targets_score_nothing(target: str | None) -> None:
    assert score(number(target), "1") == 0.0


def test_published_mode_refuses_a_zero_target_only_where_the_published_scorer_stops() -> None:
    assert score(number("0"), "none") == 0.0
    with pytest.raises(InputError, match=r"record 8 \(obj_count_occ_na\): ground_truth is 0"):
        score(number("0"), "0")


def test_published_mode_calls_every_number_right_for_a_negative_target() -> None:
    assert score(number("-3"), "1000") == 1.0


def test_safe_mode_compares_zero_and_negative_targets_by_equality() -> None:
    assert [score(number("0"), text, mode="safe") for text in ("0", "0.0", "1", "none")] == [1.0, 1.0, 0.0, 0.0]
    assert [score(number("-3"), text, mode="safe") for text in ("-3", "1000")] == [1.0, 0.0]
    assert score(number("5"), "4", mode="safe") == score(number("5"), "4")


@pytest.mark.parametrize("answer", [None, float("nan")])
def test_a_choice_without_its_letter_is_an_error_that_names_the_record(answer: Any) -> None:
    with pytest.raises(InputError, match=r"record 7 \(obj_count_occ\): mc_answer is"):
        score(choice(answer), "A")


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(0, 1), (5, 1), (6, 0.9), (7, 0.8), (8, 0.6), (9, 0.6), (10, 0.4), (11, 0.3), (12, 0.2), (13, 0.1), (14, 0.1)],
)
def test_distances_for_a_diagonal_of_ten_pixels(distance: int, expected: float) -> None:
    assert score_prediction(point(), f"({distance},0)") == ("MPA:.5:1.4:.1", expected)


def test_beyond_the_widest_radius_nothing_counts() -> None:
    assert score(point(), "(14.1,0)") == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[0, 0]", (0, 0)),
        ("frame 1: (3,4)", (3, 4)),
        ("1. 0, 0", (0, 0)),
        ("x=0 y=0", (0, 0)),
        ("(1,2) or (0,0)", (1, 2)),
        ("3-4", (3, -4)),
        ("(.5,0)", (5, 0)),
        ("(1e1,0)", (1, 0)),
        ("0", None),
        ("", None),
    ],
)
def test_spellings_of_points(text: str, expected: tuple[float, float] | None) -> None:
    assert parse_point(text) == expected


@pytest.mark.parametrize("diagonal", [0, "0", "", "-3", None, "nan"])
def test_a_point_without_a_usable_diagonal_scores_nothing(diagonal: Any) -> None:
    assert score(point(diagonal=diagonal), "(0,0)") == 0.0


def test_an_infinite_diagonal_accepts_every_point() -> None:
    assert score(point(diagonal="inf"), "(900,900)") == 1.0


def test_golden_vector_of_the_aggregation() -> None:
    here = "(100,200)"
    records = [choice("D"), choice("A"), number("3"), number("2"), number("5"), point(here, "50"), point(here, "0")]
    predictions = ["D", "b", "4", "2", "4", "(130,200)", "(100,200)"]
    scores = [score_prediction(r, p)[1] for r, p in zip(records, predictions, strict=True)]
    assert scores == [1, 0, 0.4, 1, 0.6, 0.9, 0]
    means = aggregate({"question_type": r["question_type"], "score": s} for r, s in zip(records, scores, strict=True))
    assert means["per_type"] == pytest.approx(
        {
            "obj_count_occ_accuracy": 0.5,
            "obj_count_occ_na_MRA:.5:.95:.05": 0.6666666666666666,
            "obj_localization_occ_na_MPA:.5:1.4:.1": 0.45,
        },
        abs=1e-12,
    )
    assert means["overall"] == pytest.approx(53.888888888888886, abs=1e-12)


def test_types_weigh_the_same_whatever_their_size() -> None:
    rows = [{"question_type": "obj_count_occ", "score": 1.0}] * 9 + [
        {"question_type": "bestview_count_occ", "score": 0}
    ]
    assert aggregate(rows)["overall"] == 50.0


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(InputError, match="no scored answers"):
        aggregate([])


def test_unknown_type_is_named() -> None:
    with pytest.raises(InputError, match="'obj_colour'"):
        metric_of("obj_colour")


@pytest.mark.parametrize(
    ("record", "prediction", "expected"),
    [
        (choice(), "b. 2", True),
        (choice(), "C", False),
        (choice(), "the chair", False),
        (number("1"), "1.5 m", True),
        (number("1"), "nan", False),
        (number("1"), "about 2", False),
        (point(), "at 3, 4", True),
        (point(), "left", False),
    ],
)
def test_whether_an_answer_has_the_asked_form(record: dict[str, Any], prediction: str, expected: bool) -> None:
    assert is_parsed(record, prediction) is expected


ANY_RECORD = st.sampled_from(
    [choice("A", kind) for kind in CHOICE_TYPES] + [number("4.2", kind) for kind in NUMERIC_TYPES] + [point("(9,9)")]
)


@given(ANY_RECORD, st.text(max_size=60) | st.from_regex(r"[-+(.,\d eE_)x]{0,40}", fullmatch=True))
def test_any_text_gets_a_score_between_zero_and_one(record: dict[str, Any], prediction: str) -> None:
    value = score(record, prediction)
    assert 0.0 <= value <= 1.0 and not math.isnan(value)


@given(st.floats(0.1, 1e4), st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_a_smaller_relative_error_never_scores_less(target: float, first: float, second: float) -> None:
    near, far = sorted((first, second))
    assert score(number(target), repr(target * (1 + near))) >= score(number(target), repr(target * (1 + far)))


def test_very_long_nonsense_is_scored() -> None:
    records = (choice(), number("2"), point())
    for text in ("7" * 20_000, "(" * 20_000, "90 " * 20_000, "word " * 20_000):
        assert [score(record, text) for record in records] == [0, 0, 0]


def test_the_seventeen_types_are_covered() -> None:
    assert len(QUESTION_TYPES) == 17 and {metric_of(kind) for kind in POINT_TYPES} == {"MPA:.5:1.4:.1"}
