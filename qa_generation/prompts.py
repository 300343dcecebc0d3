"""The texts around a question: the published preamble and instructions, and how the frames are named to the model."""

from __future__ import annotations

from collections.abc import Sequence

PREAMBLE = "These are frames of a video."
POST_CHOICE = "Answer with the option's letter from the given choices directly."
POST_NUMERIC = "Please answer the question using a single word or phrase."
POST_POINT = "Please answer with the coordinate pair only, formatted as (x,y)."

CHOICE_TYPES: tuple[str, ...] = (
    "obj_count_occ",
    "bestview_count_occ",
    "obj_existence_occ_ab",
    "obj_existence_occ_fb",
    "obj_existence_occ_lr",
    "obj_attribute_occ_ab",
    "obj_attribute_occ_fb",
    "obj_attribute_occ_lr",
    "obj_spatial_occ_ab",
    "obj_spatial_occ_fb",
    "obj_spatial_occ_lr",
    "obj_localization_occ",
)
NUMERIC_TYPES: tuple[str, ...] = (
    "obj_count_occ_na",
    "obj_distance_occ_na",
    "obj_obj_distance_occ_na",
    "obj_size_occ_na",
)
POINT_TYPES: tuple[str, ...] = ("obj_localization_occ_na",)
QUESTION_TYPES: tuple[str, ...] = CHOICE_TYPES + NUMERIC_TYPES + POINT_TYPES
# streets have too few kinds of things for four names, and their boxes are no measure of size (specs 2)
INDOOR_TYPES: tuple[str, ...] = (*(t for t in CHOICE_TYPES if t.startswith("obj_attribute")), "obj_size_occ_na")
# our own questions about captures that go round one object (`orbit`); not of the published set
ORBIT_CHOICE_TYPES: tuple[str, ...] = (
    "orbit_bestview",
    "orbit_nearest",
    "orbit_highest",
    "orbit_cutoff",
    "orbit_motion_lr",
    "orbit_motion_turn",
    "orbit_motion_ud",
    "orbit_motion_fb",
    "orbit_angle",
    "orbit_widest_pair",
    "orbit_overlap",
    "orbit_opposite",
    "orbit_order",
)
ORBIT_NUMERIC_TYPES: tuple[str, ...] = ("orbit_angle_deg",)
ORBIT_TYPES: tuple[str, ...] = ORBIT_CHOICE_TYPES + ORBIT_NUMERIC_TYPES
# everything that a dataset of ours may hold, by what is answered
ALL_CHOICE_TYPES: tuple[str, ...] = CHOICE_TYPES + ORBIT_CHOICE_TYPES
ALL_NUMERIC_TYPES: tuple[str, ...] = NUMERIC_TYPES + ORBIT_NUMERIC_TYPES
ALL_TYPES: tuple[str, ...] = QUESTION_TYPES + ORBIT_TYPES
# our own single-view training questions with open one-word answers; never part of a benchmark
WARMUP_TYPES: tuple[str, ...] = ("warmup_presence", "warmup_count_frame", "warmup_relation", "warmup_where")

FAMILIES: dict[str, tuple[str, ...]] = {
    "Object count": ("obj_count_occ",),
    "Best view": ("bestview_count_occ",),
    "Object existence": ("obj_existence_occ_ab", "obj_existence_occ_fb", "obj_existence_occ_lr"),
    "Object attribute": ("obj_attribute_occ_ab", "obj_attribute_occ_fb", "obj_attribute_occ_lr"),
    "Object relation": ("obj_spatial_occ_ab", "obj_spatial_occ_fb", "obj_spatial_occ_lr"),
    "Object localisation": ("obj_localization_occ",),
    "Object count (number)": ("obj_count_occ_na",),
    "Camera-object distance": ("obj_distance_occ_na",),
    "Object-object distance": ("obj_obj_distance_occ_na",),
    "Object size": ("obj_size_occ_na",),
    "Object localisation (point)": ("obj_localization_occ_na",),
}
ORBIT_FAMILIES: dict[str, tuple[str, ...]] = {
    "Orbit best frame": ("orbit_bestview", "orbit_nearest", "orbit_highest", "orbit_cutoff"),
    "Orbit camera motion": ("orbit_motion_lr", "orbit_motion_turn", "orbit_motion_ud", "orbit_motion_fb"),
    "Orbit angle": ("orbit_angle", "orbit_widest_pair"),
    "Orbit shared surface": ("orbit_overlap", "orbit_opposite"),
    "Orbit order": ("orbit_order",),
    "Orbit angle (number)": ("orbit_angle_deg",),
}
ALL_FAMILIES: dict[str, tuple[str, ...]] = FAMILIES | ORBIT_FAMILIES


def is_choice(question_type: str) -> bool:
    """Whether a type is answered by the letter of an option, published or ours."""
    return question_type in ALL_CHOICE_TYPES


def frame_name(naming: str, index: int, view_id: str) -> str:
    """How frame ``index`` (0-based) is called in a question: ``Frame 1`` for ``index``, its file stem for ``stem``."""
    return f"Frame {index + 1}" if naming == "index" else view_id


def question_prompt(question_type: str, question: str, options: Sequence[str]) -> str:
    """The user text of the benchmark: preamble, question, options where it has any, instruction; single newlines.

    Raises:
        ValueError: for a question type that is neither one of the 17 nor an orbit or warm-up type.
    """
    if is_choice(question_type):
        return "\n".join([PREAMBLE, question, "Options:", *options, POST_CHOICE])
    if question_type in ALL_NUMERIC_TYPES + WARMUP_TYPES:
        return "\n".join([PREAMBLE, question, POST_NUMERIC])
    if question_type in POINT_TYPES:
        return "\n".join([PREAMBLE, question, POST_POINT])
    raise ValueError(f"question_type {question_type!r} is unknown, expected one of {', '.join(ALL_TYPES)}")
