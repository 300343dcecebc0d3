"""The audit of single records: what is true on paper agrees, any other answer does not, thresholds are told apart."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest

from qa_generation.audit import audit_record, place_of
from qa_generation.oracle.place import Place
from qa_generation.oracle.truth import Finding
from qa_generation.records import QARecord
from tests.qa_generation.audit_scene import PAPER_TYPES, is_choice, paper_record, paper_scene, relabelled
from tests.qa_generation.factories import Part


@lru_cache
def place(*more: Part) -> Place:
    return place_of(paper_scene(*more))


def audit(record: QARecord, *more: Part) -> Finding:
    return audit_record(record, place(*more))


@pytest.mark.parametrize("question_type", PAPER_TYPES)
def test_what_is_true_on_paper_agrees(question_type: str) -> None:
    finding = audit(paper_record(question_type))
    assert finding.verdict == "agree", finding
    assert not finding.broken_rules and not finding.doubtful_rules, finding


@pytest.mark.parametrize("question_type", [name for name in PAPER_TYPES if is_choice(name)])
def test_every_other_letter_is_found_out(question_type: str) -> None:
    true = paper_record(question_type)
    for option in true.options:
        if option[0] != true.mc_answer:
            finding = audit(relabelled(true, option[0]))
            assert finding.verdict == "disagree" and finding.recomputed == true.mc_answer, finding


@pytest.mark.parametrize(
    ("question_type", "answer"),
    [
        ("obj_count_occ_na", "2"),
        ("obj_distance_occ_na", "2.9"),
        ("obj_distance_occ_na", "2.7"),
        ("obj_obj_distance_occ_na", "3.3"),
        ("obj_size_occ_na", "42"),
        ("obj_localization_occ_na", "(112,60)"),
        ("obj_distance_occ_na", "nan"),
        ("obj_distance_occ_na", "far"),
        ("obj_localization_occ_na", "108"),
    ],
)
def test_other_numbers_are_found_out(question_type: str, answer: str) -> None:
    assert audit(paper_record(question_type, ground_truth=answer, answer_value=None)).verdict == "disagree"


@pytest.mark.parametrize(
    ("question_type", "value"),
    [("obj_distance_occ_na", 2.842), ("obj_obj_distance_occ_na", 3.18), ("obj_size_occ_na", 41.2)],
)
def test_the_unrounded_value_must_be_within_a_centimetre(question_type: str, value: float) -> None:
    assert audit(paper_record(question_type, answer_value=value)).verdict == "disagree"


def test_a_box_must_be_where_the_object_is() -> None:
    good = paper_record("obj_localization_occ_na", bbox_2d=(97, 50, 119, 70), bbox_2d_diag=29.732)
    assert audit(good).verdict == "agree"
    moved = audit(replace(good, bbox_2d=(90, 50, 126, 70), bbox_2d_diag=41.183))
    assert moved.verdict == "disagree" and "bbox_2d" in moved.why[0]


def test_frames_may_be_named_by_file_stem() -> None:
    record = paper_record("obj_existence_occ_ab", frame_naming="stem")
    record = replace(record, question=record.question.replace("Frame 1", "frame_000000"))
    assert audit(record).verdict == "agree"


def test_a_second_object_of_the_name_makes_the_name_meaningless() -> None:
    # a desk lamp is a lamp: in the second frame, beside the first lamp
    finding = audit(paper_record("obj_existence_occ_ab"), Part("desk lamp", (4.5, 3.0, 1.0), (0.4, 0.4, 0.4)))
    assert finding.verdict == "disagree" and "another of its kind" in finding.why[0]


def test_a_target_that_the_query_frame_shows_is_no_hidden_target() -> None:
    record = paper_record("obj_existence_occ_ab", target_category="chair", target_ids=(1,))
    finding = audit(replace(record, question=record.question.replace("lamp", "chair")))
    assert finding.verdict == "disagree" and "query frame shows the target" in finding.why[0]


def test_a_direction_within_the_margin_is_undecided() -> None:
    record = paper_record("obj_existence_occ_ab", target_category="globe", target_ids=(4,))
    record = replace(record, question=record.question.replace("lamp", "globe"))
    high = Part("globe", (3.5, 4.5, 1.56), (0.4, 0.4, 0.4))  # its box starts 16 cm above the table's top
    low = Part("globe", (3.5, 4.5, 1.54), (0.4, 0.4, 0.4))
    assert audit(record, high).verdict == "agree"
    finding = audit(record, low)
    assert finding.verdict == "disagree" and "neither higher than nor lower than" in finding.why[0]


def plate(pixels: float) -> Part:
    """A square facing the first camera, 2.5 m ahead, above the chair, that covers so many of its pixels."""
    side = (pixels**0.5) * 2.5 / (80 / 3**0.5 * 3)
    return Part("picture", (2.501, 0.0, 1.7), (0.002, side, side))


def count_of_pictures(answer: str) -> QARecord:
    record = paper_record("obj_count_occ", target_category="picture", target_ids=(4,))
    record = replace(record, question=record.question.replace("chair", "picture"))
    return relabelled(record, {"1": "B", "2": "A"}[answer])


@pytest.mark.parametrize(("pixels", "verdict"), [(110, "agree"), (65, "borderline"), (30, "disagree")])
def test_an_instance_near_the_least_size_is_borderline(pixels: float, verdict: str) -> None:
    finding = audit(count_of_pictures("1"), plate(pixels))
    assert finding.verdict == verdict, finding
    assert finding.thresholds == (("pixels",) if verdict == "borderline" else ())


@pytest.mark.parametrize(("inset_m", "verdict"), [(-0.05, "agree"), (0.003, "borderline"), (0.2, "disagree")])
def test_a_sliver_is_borderline_where_absence_matters(inset_m: float, verdict: str) -> None:
    # a banner that reaches so far into the first frame from the left, 3 m ahead; 2.2 cm are a pixel there
    border_m = 3.0 / 3.0**0.5
    banner = Part("banner", (3.0, border_m - inset_m + 0.5, 1.9), (0.002, 1.0, 0.3))
    record = paper_record("obj_existence_occ_ab", target_category="banner", target_ids=(4,))
    finding = audit(replace(record, question=record.question.replace("lamp", "banner")), banner)
    assert finding.verdict == verdict, finding
    assert finding.thresholds == (("one pixel",) if verdict == "borderline" else ())


@pytest.mark.parametrize(("inset_m", "verdict"), [(-0.05, "agree"), (0.003, "borderline"), (0.2, "disagree")])
def test_no_is_borderline_where_a_sliver_shows(inset_m: float, verdict: str) -> None:
    banner = Part("banner", (3.0, 3.0 / 3.0**0.5 - inset_m + 0.5, 1.9), (0.002, 1.0, 0.3))
    record = paper_record("obj_localization_occ", target_category="banner", target_ids=(4,))
    record = relabelled(replace(record, question=record.question.replace("table", "banner")), "A")
    finding = audit(record, banner)
    assert finding.verdict == verdict, finding


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"frames": ("frame_000000",)}, "frames"),
        ({"frames": ("frame_000000", "frame_000000")}, "frames"),
        ({"options": ("A. 1", "B. 1", "C. 2", "D. 3")}, "options"),
        ({"options": ("A. 1", "C. 2", "B. 3", "D. 4")}, "lettered"),
        ({"ground_truth": "4"}, "mc_answer"),
        ({"overlap_avg": 12.0}, "overlap_avg"),
        ({"overlap_max": 31.0}, "overlap_max"),
        ({"occlusion_avg": 0.4}, "occlusion_avg"),
        ({"occ_level": "high"}, "occ_level"),
        ({"gt_scenario": "Partial Coverage"}, "gt_scenario"),
        ({"bbox_2d": (1, 2, 3, 4), "bbox_2d_diag": 9.0}, "bbox_2d_diag"),
        ({"bbox_2d": (5, 2, 3, 4)}, "bbox_2d"),
        ({"target_ids": (2,)}, "instance 2"),
        ({"target_category": "sofa"}, "sofa"),
        ({"query_frame": "frame_000010"}, "query_frame"),
        ({"evidence": "{"}, "evidence"),
        ({"evidence": '[{"frame": "frame_9", "box": []}]'}, "frame_9"),
    ],
)
def test_rules_of_records(changes: dict[str, object], rule: str) -> None:
    finding = audit(paper_record("obj_count_occ", **changes))
    assert any(rule in text for text in finding.broken_rules), finding


def test_rules_of_numbers() -> None:
    finding = audit(paper_record("obj_size_occ_na", unit="m", answer_value=-40.0))
    assert len(finding.broken_rules) == 2 and finding.verdict == "disagree"


def test_an_unknown_frame_is_told() -> None:
    finding = audit(paper_record("obj_count_occ", frames=("frame_000000", "frame_7")))
    assert finding.verdict == "disagree" and "no view 'frame_7'" in finding.broken_rules[0]
