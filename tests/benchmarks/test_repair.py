"""The lenient reading: what it finds, what it leaves alone, and that no text breaks or slows it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.spatialmosaic.quantities import read_number, unit_of
from benchmarks.spatialmosaic.repair import read_letter, read_point, score_repaired, true_letter
from benchmarks.spatialmosaic.results import score_answer
from benchmarks.spatialmosaic.scoring import is_parsed, score_prediction
from qa_generation.prompts import CHOICE_TYPES, NUMERIC_TYPES

OBJECTS = ["A. chair", "B. table", "C. sofa", "D. arm chair"]
COUNTS = ["A. 4", "B. 3", "C. 2", "D. 1"]
PLACES = ["A. No", "B. Yes; (12, 30)", "C. Yes; (40, 50)", "D. Yes; (99, 20)"]
SIDES = ["A. to the left of the chair.", "B. to the right of the chair.", "C. closer to the camera than the chair."]


def number(target: Any, kind: str = "obj_distance_occ_na", **fields: Any) -> dict[str, Any]:
    return {"id": 1, "question_type": kind, "ground_truth": target} | fields


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("[b]", "B"),
        ("B)", "B"),
        ("**B**", "B"),
        ("`B`", "B"),
        ("Answer: B", "B"),
        ("The answer is B.", "B"),
        ("final answer: **C**", "C"),
        ("I think it's option C", "C"),
        ("\\boxed{D}", "D"),
        ("$\\boxed{\\text{D}}$", "D"),
        ('{"answer": "C"}', "C"),
        ("B: table", "B"),
        ("D - arm chair", "D"),
        ("The correct answer is (D) arm chair", "D"),
        ("table", "B"),
        ("The table.", "B"),
        ("It is the sofa.", "C"),
        ("arm chair", "D"),
        ("A chair", "A"),
        ("a table", "B"),
        ("The answer is a table", "B"),
        ("The answer is A because it is near", "A"),
        ("A lamp is on the left, so B", "B"),
        ("B is wrong; answer: C", "C"),
        ("not the chair but the table", "B"),
        ("B\nbecause it is near", "B"),
    ],
)
def test_letters_that_a_person_would_read(text: str, letter: str) -> None:
    assert read_letter(text, OBJECTS) == letter


@pytest.mark.parametrize("text", ["", "E", "chair or table", "A, B", "B/C", "Between B and C", "?"])
def test_no_letter_is_guessed(text: str) -> None:
    assert read_letter(text, OBJECTS) is None


def test_where_nothing_better_is_found_the_published_reading_stands() -> None:
    assert read_letter("A or B", OBJECTS) == read_letter("A B C D", OBJECTS) == "A"
    assert read_number("2 to 3 m", "m") == 2.0


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        ("four", COUNTS, "A"),
        ("There are 3 chairs.", COUNTS, "B"),
        ("3 chairs in Frame 2", COUNTS, "B"),
        ("Frame 1 has 2, Frame 2 has 1, total 3", COUNTS, "B"),
        ("10", COUNTS, None),
        ("Yes, there is no doubt", ["A. Yes", "B. No"], "A"),
        ("no", ["A. Yes", "B. No"], "B"),
        ("(12,30)", PLACES, "B"),
        ("Yes; (40,50)", PLACES, "C"),
        ("Yes, at (99, 20)", PLACES, "D"),
        ("yes", PLACES, None),
        ("No.", PLACES, "A"),
        ("to the right of the chair", SIDES, "B"),
        ("It is closer to the camera than the chair", SIDES, "C"),
        ("3 chairs, Frame 1", ["A. 3 chair(s); Frame 2", "B. 3 chair(s); Frame 1"], "B"),
        ("C", [], "C"),
    ],
)
def test_options_are_read_by_their_text(text: str, options: list[str], letter: str | None) -> None:
    assert read_letter(text, options) == letter


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("2.3", 2.3),
        ("2.3m", 2.3),
        ("2.3 m.", 2.3),
        ("230 cm", 2.3),
        ("2300 mm", 2.3),
        ("about 2.3 meters", 2.3),
        ("2,3 m", 2.3),
        ("1,000", 1000.0),
        ("1,234.5", 1234.5),
        ("1_000", 1000.0),
        ("12\u202f000", 12000.0),
        ("1/2", 0.5),
        ("2 1/2 m", 2.5),
        ("½", 0.5),
        ("2½ m", 2.5),
        ("\\frac{1}{2} m", 0.5),
        ("two", 2.0),
        ("twenty-one", 21.0),
        ("two hundred and five", 205.0),
        ("a dozen", 12.0),
        ("one third of a metre", 1 / 3),
        ("half a metre", 0.5),
        ("one and a half meters", 1.5),
        ("a metre", 1.0),
        ("1 m 20 cm", 1.2),
        ("5 ft 3 in", 1.6002),
        ("3 in the first frame", 3.0),
        ("The distance in frame_009170 is 2.5 m", 2.5),
        ("It is 2.5 m (250 cm).", 2.5),
        ("From Frame 2 the answer is approximately **1.5** m", 1.5),
        ("-2", -2.0),
        ("１．５", 1.5),
    ],
)
def test_numbers_with_units_and_words(text: str, metres: float) -> None:
    assert read_number(text, "m") == metres


@pytest.mark.parametrize("text", ["", "far", "between 2 and 3", "2-3 m", "0.5–0.6", "1/0", "between one and two"])
def test_no_number_is_guessed(text: str) -> None:
    assert read_number(text, "m") is None


def test_numbers_come_in_the_unit_of_the_record() -> None:
    assert read_number("2.3 m", "cm") == 230.0
    assert read_number("3 chairs within 2 m", "objects") == 3.0
    assert score_repaired(number("2.3"), "230 cm") == (1.0, True)
    assert score_repaired(number("230", "obj_size_occ_na"), "2.3 m") == (1.0, True)
    assert score_prediction(number("2.3"), "230 cm")[1] == 0.0


@pytest.mark.parametrize(
    ("record", "unit"),
    [
        (number("1"), "m"),
        (number("1", "obj_size_occ_na"), "cm"),
        (number("1", "obj_count_occ_na"), "objects"),
        (number("1", "orbit_angle_deg", unit="deg"), "deg"),
        (number("1", "obj_size_occ_na", question="How long, in metres, is the table?"), "m"),
        (number("1", "obj_distance_occ_na", question="How far, in centimeters, is it?"), "cm"),
    ],
)
def test_the_unit_is_that_of_the_record_the_question_or_the_type(record: dict[str, Any], unit: str) -> None:
    assert unit_of(record) == unit


def test_zero_and_negative_targets_are_compared_by_equality() -> None:
    assert [score_repaired(number("0"), text)[0] for text in ("0 m", "zero", "1", "none")] == [1.0, 1.0, 0.0, 0.0]
    assert [score_repaired(number("-3"), text)[0] for text in ("-3", "1000")] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("(1,2)", (1, 2)),
        ("[3, 4]", (3, 4)),
        ("{5;6}", (5, 6)),
        ("<217, 122>", (217, 122)),
        ("x=217, y=122", (217, 122)),
        ("x: 217 y: 122", (217, 122)),
        ('{"x": 217, "y": 122}', (217, 122)),
        ('{"point_2d": [217, 122], "label": "table 2"}', (217, 122)),
        ("(217 px, 122 px)", (217, 122)),
        ("217 122", (217, 122)),
        ("In frame 4, 217 and 122", (217, 122)),
        ("[10, 20, 30, 40]", (20, 30)),
        ("The point is (.5, 0)", (0.5, 0)),
        ("answer: [9;8]", (9, 8)),
        ("(1,2) or (0,0)", (1, 2)),
        ("217", None),
        ("", None),
    ],
)
def test_points_in_other_brackets(text: str, point: tuple[float, float] | None) -> None:
    assert read_point(text) == point


def test_a_missing_diagonal_comes_from_the_box() -> None:
    record = {"id": 1, "question_type": "obj_localization_occ_na", "ground_truth": "(5,5)", "bbox_2d": [2, 1, 8, 9]}
    assert score_repaired(record | {"bbox_2d_diag": "0"}, "(10,5)") == (1.0, True)
    assert score_repaired(record | {"bbox_2d_diag": None}, "(11,5)")[0] == 0.9
    assert score_prediction(record | {"bbox_2d_diag": "0"}, "(5,5)")[1] == 0.0


def test_a_missing_letter_comes_from_the_text_of_the_answer() -> None:
    record = {"id": 1, "question_type": "obj_attribute_occ_ab", "options": OBJECTS, "mc_answer": None}
    assert true_letter(record | {"ground_truth": "sofa"}) == "C"
    assert true_letter(record | {"ground_truth": None}) is None


def test_both_scores_stand_in_the_answer() -> None:
    record = {"id": 1, "question_type": "obj_attribute_occ_ab", "options": OBJECTS, "mc_answer": "B"}
    answer = score_answer(record, "Answer: B")
    assert (answer.score, answer.parsed, answer.score_repaired, answer.parsed_repaired) == (0.0, False, 1.0, True)


RECORDS = st.sampled_from(
    [
        {"id": 1, "question_type": kind, "options": options, "mc_answer": "A", "ground_truth": None}
        for kind in CHOICE_TYPES
        for options in (OBJECTS, COUNTS, PLACES, ["A. Yes", "B. No"])
    ]
    + [number("2.5", kind) for kind in NUMERIC_TYPES]
    + [{"id": 1, "question_type": "obj_localization_occ_na", "ground_truth": "(9,9)", "bbox_2d_diag": "20"}]
)
ANSWERS = (
    st.text(max_size=60)
    | st.from_regex(r"[-+(.,\d eE_)/½xm]{0,40}", fullmatch=True)
    | st.lists(st.sampled_from(["A", "B.", "a", "the", "chair", "answer", "is", "2", "m", "cm", "(", ")", "or", "Yes"]))
    .map(" ".join)
)  # fmt: skip


@given(RECORDS, ANSWERS)
def test_any_text_gets_a_score_and_what_the_published_rules_read_stays_readable(
    record: dict[str, Any], prediction: str
) -> None:
    score, readable = score_repaired(record, prediction)
    assert 0.0 <= score <= 1.0 and not math.isnan(score)
    assert readable or score == 0.0
    assert readable or not is_parsed(record, prediction)


@pytest.mark.parametrize("letter", list("ABCD"))
@pytest.mark.parametrize("shape", ["{}", "{}.", "({})", "{}: {}", "Answer: {}", "**{}**", "The answer is {}.", "{}\n"])
def test_every_form_of_every_letter_is_read_whatever_the_options(letter: str, shape: str) -> None:
    for options in (OBJECTS, COUNTS, PLACES):
        text = shape.format(letter, options["ABCD".index(letter)][3:])
        assert read_letter(text, options) == letter


LONG = [
    *("7" * 50_000, "(" * 50_000, "90 " * 20_000, "word " * 20_000, "1," * 30_000, "answer is " * 6_000, "A " * 30_000),
    *(" " * 60_000, "-" * 50_000, "1 /" * 20_000, "frame 1 and 2 and" * 4_000, "x 1 " * 15_000, "one and " * 10_000),
    *("twenty " * 9_000, "a half " * 9_000, "hundred and " * 5_000, "option " * 9_000, "\\boxed{" * 9_000),
]


def test_very_long_answers_are_read() -> None:
    """In a fraction of a second each; a reading of quadratic time would take minutes here."""
    for text in LONG:
        letter, value, point = read_letter(text, OBJECTS), read_number(text, "m"), read_point(text)
        assert letter in (None, "A")
        assert value is None or not value < 0
        assert point is None or len(point) == 2
