"""Questions and options read back into facts."""

from __future__ import annotations

import pytest

from qa_generation.oracle import choice, numbers
from qa_generation.oracle.wording import (
    QUESTIONS,
    Asked,
    WordingError,
    read_count_and_frame,
    read_directions,
    read_frame,
    read_options,
    read_pair,
    read_point,
    read_question,
    split_type,
)
from qa_generation.prompts import QUESTION_TYPES
from tests.qa_generation.audit_scene import PAPER_TYPES, paper_record

FRAMES = ("frame_000000", "frame_000010")


def test_all_seventeen_types_are_audited() -> None:
    families = {split_type(name)[0] for name in QUESTION_TYPES}
    assert families == set(QUESTIONS) == set(choice.FAMILIES) | set(numbers.FAMILIES)
    assert families == {split_type(name)[0] for name in PAPER_TYPES} | {"obj_attribute_occ"}


@pytest.mark.parametrize("question_type", PAPER_TYPES)
def test_words_of_a_record_say_what_its_columns_say(question_type: str) -> None:
    record = paper_record(question_type)
    asked = read_question(question_type, record.question, record.frames)
    assert asked.frame == record.query_frame
    if question_type != "obj_obj_distance_occ_na":
        assert (asked.target, asked.reference) == (record.target_category, record.reference_category)


@pytest.mark.parametrize(
    ("question_type", "question", "asked"),
    [
        (
            "obj_existence_occ_fb",
            "Seen from Frame 2, is the duct tape roll closer to the camera than the cardboard box(217,122)?",
            Asked(
                "obj_existence_occ",
                "fb",
                "duct tape roll",
                "frame_000010",
                "closer to the camera than",
                "cardboard box",
                (217, 122),
            ),
        ),
        (
            "obj_localization_occ",
            "Does frame_000010 show books? If yes, where is the centre of its 2D box?",
            Asked("obj_localization_occ", "", "books", "frame_000010"),
        ),
        (
            "obj_localization_occ",
            "Does Frame 1 show an oven? If yes, where is the centre of its 2D box?",
            Asked("obj_localization_occ", "", "oven", "frame_000000"),
        ),
        (
            "obj_attribute_occ_lr",
            "Seen from Frame 1, which object is to the left of the box (open)?",
            Asked("obj_attribute_occ", "lr", "", "frame_000000", "to the left of", "box (open)"),
        ),
    ],
)
def test_known_words(question_type: str, question: str, asked: Asked) -> None:
    assert read_question(question_type, question, FRAMES) == asked


@pytest.mark.parametrize(
    ("question_type", "question"),
    [
        ("obj_size_occ_na", "How long is the table?"),
        ("obj_existence_occ_lr", "Seen from Frame 1, is the cup higher than the table?"),
        ("obj_existence_occ_ab", "Seen from Frame 3, is the cup higher than the table?"),
        ("obj_existence_occ_ab", "Seen from frame_000020, is the cup higher than the table?"),
        ("obj_count_occ", "Counting each physical object once, how many cup(s) can be seen in these frames? Now."),
    ],
)
def test_other_words_are_refused(question_type: str, question: str) -> None:
    with pytest.raises(WordingError):
        read_question(question_type, question, FRAMES)


def test_a_stem_that_looks_like_a_number_is_a_stem() -> None:
    assert read_frame("Frame 2", ("Frame 2", "Frame 1")) == "Frame 2"


def test_options() -> None:
    assert read_options(["A. 3", "B. A. B"]) == {"A": "3", "B": "A. B"}
    assert read_count_and_frame("3 box (open)(s); frame_000010", "box (open)", FRAMES) == (3, "frame_000010")
    assert read_point("(217, 122)") == read_point("(217,122)") == (217, 122)
    assert read_directions("lower than the mat.", "mat") == ("lower than",)
    both = ("to the left of", "closer to the camera than")
    assert read_directions("to the left of and closer to the camera than the mat.", "mat") == both


@pytest.mark.parametrize("text", ["left of the mat.", "lower than the rug.", "lower than the mat", ""])
def test_directions_that_are_none(text: str) -> None:
    with pytest.raises(WordingError):
        read_directions(text, "mat")


def test_two_names_one_of_which_holds_the_joint() -> None:
    known = {"salt and the pepper", "table"}.__contains__
    question = "How far apart, in metres, are the nearest points of the {} and the {}?"
    assert read_pair(question.format("salt and the pepper", "table"), known) == ("salt and the pepper", "table")
    assert read_pair(question.format("table", "salt and the pepper"), known) == ("table", "salt and the pepper")
    with pytest.raises(WordingError):
        read_pair(question.format("sofa", "table"), known)
