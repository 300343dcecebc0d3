"""A scene of which every answer is known on paper, and records about it, for tests of the audit.

Two cameras stand at (0, 0, 1). The first looks along +x and shows a chair and a table, 3 m ahead; the second looks
between +x and +y and shows a lamp, which lies in front of the first camera too but left of its frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qa_generation.oracle.wording import split_type
from qa_generation.records import QARecord
from qa_generation.scene import Scene
from tests.qa_generation.factories import Part, level_camera, make_scene

SIZE = (160, 120)
FRAMES = ("frame_000000", "frame_000010")
CHAIR = Part("chair", (3.0, 0.5, 1.0), (0.4, 0.4, 0.4))
TABLE = Part("table", (3.0, -0.6, 1.0), (0.4, 0.4, 0.4))
LAMP = Part("lamp", (4.0, 4.0, 1.9), (0.4, 0.4, 0.4))
IDS = {"chair": (1,), "table": (2,), "lamp": (3,)}


def paper_scene(*more: Part) -> Scene:
    """Chair 1, table 2, lamp 3, then ``more``."""
    cameras = [level_camera((0, 0, 1), (1, 0, 0)), level_camera((0, 0, 1), (1, 1, 0))]
    return make_scene([CHAIR, TABLE, LAMP, *more], cameras, size=SIZE)


_TEXTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "obj_count_occ": (
        "Counting each physical object once, how many chair(s) can be seen in these frames?",
        ("2", "1", "3", "4"),
        "1",
    ),
    "obj_count_occ_na": (
        "Counting each physical object once, how many chair(s) can be seen in these frames? Give a whole number.",
        (),
        "1",
    ),
    "bestview_count_occ": (
        "Counting each physical object once, how many chair(s) can be seen, and which frame shows them best?",
        ("1 chair(s); Frame 2", "2 chair(s); Frame 1", "1 chair(s); Frame 1", "2 chair(s); Frame 2"),
        "1 chair(s); Frame 1",
    ),
    "obj_localization_occ": (
        "Does Frame 1 show a table? If yes, where is the centre of its 2D box?",
        ("No", "Yes; (60, 60)", "Yes; (108, 60)", "Yes; (108, 90)"),
        "Yes; (108, 60)",
    ),
    "obj_localization_occ_na": (
        "In Frame 1, give the pixel centre (x,y) of the 2D box of the table; "
        "pictures are 160 pixels wide and 120 high.",
        (),
        "(108,60)",
    ),
    "obj_existence_occ_lr": ("Seen from Frame 1, is the lamp to the right of the table?", ("Yes", "No"), "No"),
    "obj_existence_occ_ab": ("Seen from Frame 1, is the lamp higher than the table?", ("Yes", "No"), "Yes"),
    "obj_spatial_occ_lr": (
        "Seen from Frame 1, where is the lamp with respect to the table?",
        tuple(
            f"{side} and {height} the table."
            for side in ("to the left of", "to the right of")
            for height in ("lower than", "higher than")
        ),
        "to the left of and higher than the table.",
    ),
    "obj_spatial_occ_fb": (
        "Seen from Frame 1, where is the lamp with respect to the table?",
        (
            "closer to the camera than the table.",
            "lower than the table.",
            "farther from the camera than the table.",
            "to the right of the table.",
        ),
        "farther from the camera than the table.",
    ),
    "obj_distance_occ_na": (
        "How far, in metres, is the camera of Frame 1 from the nearest point of the table?",
        (),
        "2.8",
    ),
    "obj_obj_distance_occ_na": (
        "How far apart, in metres, are the nearest points of the lamp and the chair?",
        (),
        "3.2",
    ),
    "obj_size_occ_na": ("How long, in centimetres, is the longest side of the lamp?", (), "40"),
}
PAPER_TYPES = tuple(_TEXTS)
_VALUES = {
    "obj_count_occ_na": (1.0, "objects"),
    "obj_distance_occ_na": ((2.8**2 + 0.4**2) ** 0.5, "m"),
    "obj_obj_distance_occ_na": ((0.6**2 + 3.1**2 + 0.5**2) ** 0.5, "m"),
    "obj_size_occ_na": (40.0, "cm"),
    "obj_localization_occ_na": (None, "px"),
}


def paper_record(question_type: str, **changes: Any) -> QARecord:
    """The true record of that type about `paper_scene`, with some fields changed."""
    question, texts, answer = _TEXTS[question_type]
    value, unit = _VALUES.get(question_type, (None, ""))
    names = [name for name in IDS if name in question.lower()]
    target, reference = (names[0], "") if len(names) == 1 else ("lamp", "table" if "table" in names else "chair")
    record = QARecord(
        id=f"paper.{question_type}",
        dataset="synthetic",
        scene_name="toy_0001",
        question_type=question_type,
        frames=FRAMES,
        question=question,
        options=tuple(f"{letter}. {text}" for letter, text in zip("ABCD", texts, strict=False)),
        mc_answer="ABCD"[texts.index(answer)] if texts else "",
        ground_truth=answer,
        overlap_avg=0.0,
        occlusion_avg=0.0,
        occ_level="low",
        overlap_level="high",
        vis_level="Fully Visible",
        gt_scenario="Partial Coverage" if reference else "Full Coverage",
        query_frame=FRAMES[0] if "Frame 1" in question else "",
        target_category=target,
        reference_category=reference,
        target_ids=IDS[target],
        reference_ids=IDS[reference] if reference else (),
        coord_size=SIZE,
        answer_value=value,
        unit=unit,
    )
    return replace(record, **changes)


def relabelled(record: QARecord, letter: str) -> QARecord:
    """The record with another option called the right one."""
    text = next(option[3:] for option in record.options if option[0] == letter)
    return replace(record, mc_answer=letter, ground_truth=text)


def is_choice(question_type: str) -> bool:
    return not split_type(question_type)[0].endswith("_na")
