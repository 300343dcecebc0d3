"""Questions and options read back into facts; nothing but their words is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qa_generation.oracle.spatial import DIRECTIONS

DIRECTION = "|".join(DIRECTIONS)
_COUNT = r"Counting each physical object once, how many (?P<target>.+)\(s\) can be seen"
_FRAME = r"(?P<frame>.+?)"

QUESTIONS: dict[str, str] = {
    "obj_count_occ": rf"{_COUNT} in these frames\?",
    "obj_count_occ_na": rf"{_COUNT} in these frames\? Give a whole number\.",
    "bestview_count_occ": rf"{_COUNT}, and which frame shows them best\?",
    "obj_localization_occ": (
        rf"Does {_FRAME} show (?:an? )?(?P<target>.+)\? If yes, where is the centre of its 2D box\?"
    ),
    "obj_localization_occ_na": (
        rf"In {_FRAME}, give the pixel centre \(x,y\) of the 2D box of the (?P<target>.+); "
        r"pictures are (?P<width>\d+) pixels wide and (?P<height>\d+) high\."
    ),
    "obj_existence_occ": (
        rf"Seen from {_FRAME}, is the (?P<target>.+?) (?P<direction>{DIRECTION}) the (?P<reference>.+)\?"
    ),
    "obj_attribute_occ": rf"Seen from {_FRAME}, which object is (?P<direction>{DIRECTION}) the (?P<reference>.+)\?",
    "obj_spatial_occ": (rf"Seen from {_FRAME}, where is the (?P<target>.+?) with respect to the (?P<reference>.+)\?"),
    "obj_distance_occ_na": (
        rf"How far, in metres, is the camera of {_FRAME} from the nearest point of the (?P<target>.+)\?"
    ),
    "obj_obj_distance_occ_na": (
        r"How far apart, in metres, are the nearest points of the (?P<target>.+?) and the (?P<reference>.+)\?"
    ),
    "obj_size_occ_na": r"How long, in centimetres, is the longest side of the (?P<target>.+)\?",
}
_AXIS = re.compile(r"_(lr|ab|fb)\Z")
_PLACED = re.compile(r"(?P<name>.+)\((?P<x>\d+),(?P<y>\d+)\)")


class WordingError(Exception):
    """A question or an option that is not written as it should be."""


@dataclass(frozen=True)
class Asked:
    """What a question says.

    Attributes:
        family: question type without its axis.
        axis: ``lr``, ``ab``, ``fb``, or empty.
        target: category asked about; empty where the options name it.
        frame: view id the question is seen from; empty where there is none.
        direction: direction words, empty where there are none.
        reference: category, and its box centre where the question tells it.
        canvas: (width, height) that the question gives, else None.
    """

    family: str
    axis: str = ""
    target: str = ""
    frame: str = ""
    direction: str = ""
    reference: str = ""
    reference_at: tuple[int, int] | None = None
    canvas: tuple[int, int] | None = None


def split_type(question_type: str) -> tuple[str, str]:
    """Family and axis, e.g. ``obj_spatial_occ`` and ``lr``."""
    axis = _AXIS.search(question_type)
    return (question_type[: axis.start()], axis.group(1)) if axis else (question_type, "")


def read_question(question_type: str, question: str, frames: Sequence[str]) -> Asked:
    """What the question says; raises ``WordingError`` when it says nothing of the kind."""
    family, axis = split_type(question_type)
    match = re.fullmatch(QUESTIONS[family], question)
    if match is None:
        raise WordingError(f"the question is not worded as {question_type} is")
    groups = match.groupdict()
    reference, at = _placed(groups.get("reference") or "")
    direction = groups.get("direction") or ""
    if direction and DIRECTIONS[direction][0] != axis:
        raise WordingError(f"the question asks {direction!r}, which is not on the axis {axis}")
    return Asked(
        family=family,
        axis=axis,
        target=groups.get("target") or "",
        frame=read_frame(groups["frame"], frames) if "frame" in groups else "",
        direction=direction,
        reference=reference,
        reference_at=at,
        canvas=(int(groups["width"]), int(groups["height"])) if "width" in groups else None,
    )


def read_pair(question: str, known: Callable[[str], bool]) -> tuple[str, str]:
    """The two categories of an object-object distance question; a name may hold the word "and" itself.

    Raises:
        WordingError: no way to part the words gives two known categories.
    """
    match = re.fullmatch(r"How far apart, in metres, are the nearest points of the (.+)\?", question)
    words = match.group(1) if match else ""
    for joint in re.finditer(r" and the ", words):
        first, second = words[: joint.start()], words[joint.end() :]
        if known(first) and known(second):
            return first, second
    raise WordingError("the question names no two categories of the scene")


def _placed(text: str) -> tuple[str, tuple[int, int] | None]:
    match = _PLACED.fullmatch(text)
    return (match["name"], (int(match["x"]), int(match["y"]))) if match else (text, None)


def read_frame(name: str, frames: Sequence[str]) -> str:
    """The view id that ``Frame 2`` or a file stem means."""
    if name in frames:
        return name
    match = re.fullmatch(r"Frame (\d+)", name)
    if match is None or not 1 <= int(match.group(1)) <= len(frames):
        raise WordingError(f"{name!r} is none of the record's frames")
    return frames[int(match.group(1)) - 1]


def read_point(text: str) -> tuple[int, int]:
    """The pixel of ``(217,122)``, with or without a space."""
    match = re.fullmatch(r"\((\d+), ?(\d+)\)", text)
    if match is None:
        raise WordingError(f"{text!r} is no point (x,y)")
    return int(match.group(1)), int(match.group(2))


def read_count_and_frame(text: str, target: str, frames: Sequence[str]) -> tuple[int, str]:
    """Number and view id of ``3 chair(s); Frame 2``."""
    match = re.fullmatch(rf"(\d+) {re.escape(target)}\(s\); (.+)", text)
    if match is None:
        raise WordingError(f"option {text!r} is not a number of {target}(s) and a frame")
    return int(match.group(1)), read_frame(match.group(2), frames)


def read_directions(text: str, reference: str) -> tuple[str, ...]:
    """The direction words of ``lower than the table.`` or ``lower than and closer to the camera than the table.``"""
    match = re.fullmatch(rf"({DIRECTION})(?: and ({DIRECTION}))? the {re.escape(reference)}\.", text)
    if match is None:
        raise WordingError(f"option {text!r} is no direction from the {reference}")
    return tuple(words for words in match.groups() if words)


def read_options(options: Sequence[str]) -> dict[str, str]:
    """Letter -> text of ``A. text`` options; raises ``WordingError`` unless they are lettered in order."""
    letters = "ABCD"[: len(options)]
    if [option[:3] for option in options] != [f"{letter}. " for letter in letters]:
        raise WordingError(f"the options are not lettered {', '.join(letters)}")
    return {option[0]: option[3:] for option in options}
