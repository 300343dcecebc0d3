"""What a reader without pictures takes from a question and its options: names, directions, numbers, frames, points.

Only the texts and the number of frames are read. The target's category is taken from the record where the question says
it, never where it is the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from qa_generation.records import QARecord
from qa_generation.tasks.relations import AXES, PHRASES

# phrase -> +-(axis + 1)
CLAIMS: dict[str, int] = {
    text: (1 if positive else -1) * (AXES.index(axis) + 1)
    for axis in AXES
    for positive, text in enumerate(PHRASES[axis])
}
_CLAIM = re.compile("|".join(CLAIMS))
_FRAME = re.compile(r"\bFrame (\d+)")
_POINT = re.compile(r"\((\d+), ?(\d+)\)")
_NUMBER = re.compile(r"\d+")
_LETTER = re.compile(r"[A-Z]\.\s*")


@dataclass(frozen=True)
class QuestionText:
    """What a question says; 0 and the empty string where it does not.

    Attributes:
        target, reference: categories named.
        claim: the direction asked about, see `CLAIMS`.
        frame: number of the frame asked about, from 1.
        frames: number of frames shown.
        point: position of the reference in shares of the canvas, None where none is given.
    """

    target: str
    reference: str
    claim: int
    frame: int
    frames: int
    point: tuple[float, float] | None


@dataclass(frozen=True)
class OptionText:
    """What an option says; -1, 0 and None where it does not.

    Attributes:
        kind: 1 for Yes, 0 for No, -1 else.
        number: leading whole number.
        claims: directions, see `CLAIMS`.
        point: pixels.
        rest: the text without point and reference, lower case.
    """

    kind: int
    number: int
    claims: tuple[int, ...]
    point: tuple[int, int] | None
    rest: str


def read_question(record: QARecord) -> QuestionText:
    """What the question of a record says."""
    text = record.question
    claim = _CLAIM.search(text)
    point = _POINT.search(text)
    width, height = record.coord_size
    target_is_asked = record.question_type.startswith("obj_attribute")
    return QuestionText(
        target="" if target_is_asked or record.target_category not in text else record.target_category,
        reference=record.reference_category if record.reference_category in text else "",
        claim=CLAIMS[claim[0]] if claim else 0,
        frame=frame_number(text, record.frames),
        frames=len(record.frames),
        point=(int(point[1]) / width, int(point[2]) / height) if point else None,
    )


@lru_cache(maxsize=1 << 16)
def read_option(option: str) -> OptionText:
    """What an option says, its letter left aside."""
    letter = _LETTER.match(option)
    text = option[letter.end() :] if letter else option
    number, point = _NUMBER.match(text), _POINT.search(text)
    claims = tuple(CLAIMS[found] for found in _CLAIM.findall(text))
    return OptionText(
        kind=1 if text.startswith("Yes") else 0 if text.startswith("No") else -1,
        number=int(number[0]) if number else -1,
        claims=claims,
        point=(int(point[1]), int(point[2])) if point else None,
        rest=str(claims) if claims else _POINT.sub("", text).strip().lower(),
    )


def frame_number(text: str, frames: Sequence[str]) -> int:
    """Number (from 1) of the frame that a text names as ``Frame k`` or by its file stem; 0 where it names none."""
    if match := _FRAME.search(text):
        return int(match[1])
    return next((number for number, stem in enumerate(frames, start=1) if stem in text), 0)


@lru_cache(maxsize=1 << 16)
def code(text: str) -> int:
    """A 64-bit number for a text, the same on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
