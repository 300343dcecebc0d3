"""Works out every orbit answer a second time, from the words of its record and `SecondLook`; the audit calls it.

A record *disagrees* when the second number speaks against it beyond its tolerance or when not exactly one option is
true, and is *borderline* when the second number lies within the tolerance of another answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qa_generation.oracle.truth import Case, Finding, Truth, at_least, every, truth_of
from qa_generation.orbit.capture import ObjectCapture
from qa_generation.orbit.second_look import SecondLook
from qa_generation.prompts import frame_name
from qa_generation.records import QARecord

# what a mask's centroid is worth as the direction of the object, degrees for a pair of cameras
ANGLE_TOLERANCE_DEG = 5.0
# the same for sideways steps of raised cameras
STEP_TOLERANCE_DEG = 6.0
RATIO_TOLERANCE = 0.04
SHARED_TOLERANCE = 0.1
# half of the printed unit, and the sums of floats
HALF_DEGREE = 0.5 + 1e-6
# a number may differ from the one by bearings by this share and so many degrees
NUMBER_TOLERANCE, NUMBER_TOLERANCE_DEG = 0.12, 5.0
MIN_AREA_RATIO = 1.2


@dataclass(frozen=True, eq=False)
class Subject:
    """One record with its frames as rows of the capture.

    Attributes:
        look: measures of the capture.
        rows: of the frames in the order shown.
        names: what the question calls them.
        words: parts of the question that its pattern names.
        options: option texts by letter; empty for numbers.
    """

    look: SecondLook
    rows: Sequence[int]
    names: Sequence[str]
    words: Mapping[str, str]
    options: Mapping[str, str]

    def row(self, word: str) -> int:
        """The row of the frame that a part of the question names; raises ``ValueError`` for another name."""
        return self.rows[self.names.index(self.words[word])]

    @property
    def others(self) -> list[int]:
        """Rows of the frames other than the asked one."""
        return [row for row in self.rows if row != self.row("q")]

    def named(self, text: str) -> list[int]:
        """Rows of the frames that an option lists."""
        return [self.rows[self.names.index(name)] for name in re.split(r", | and ", text)]


def recheck_capture(capture: ObjectCapture, records: Iterable[QARecord]) -> Iterator[Finding]:
    """One finding per record, all of which are about this capture."""
    look = SecondLook(capture)
    return (recheck(look, record) for record in records)


def recheck(look: SecondLook, record: QARecord) -> Finding:
    """What is found of one record."""
    case, rules = Case(), Case()
    _check_form(rules, look.capture, record)
    try:
        subject = _subject(look, record)
        if record.options:
            _judge_options(case, subject, record)
        else:
            _judge_number(case, subject, record)
    except (ValueError, KeyError) as error:
        case.wrong.append(f"the record cannot be understood: {error}")
    return Finding(
        record_id=record.id,
        question_type=record.question_type,
        verdict=case.verdict,
        claimed=record.mc_answer if record.options else record.ground_truth,
        recomputed=case.found,
        why=case.why,
        thresholds=case.thresholds,
        broken_rules=tuple(rules.wrong),
        doubtful_rules=(),
    )


_PATTERNS: Mapping[str, str] = {
    "orbit_bestview": r"In which frame does the (?P<t>.+) appear largest, covering most of the picture\?",
    "orbit_nearest": r"In which frame is the camera nearest to the (?P<t>.+)\?",
    "orbit_highest": r"Which frame looks down on the (?P<t>.+) at the steepest angle\?",
    "orbit_cutoff": r"In which frame is the (?P<t>.+) cut off by the edge of the picture\?",
    "orbit_motion_lr": r"Going from (?P<a>.+) to (?P<b>.+) the shorter way round the (?P<t>.+) and facing it, .+\?",
    "orbit_motion_turn": r"Seen from above, .+ round the (?P<t>.+) on the shorter way from (?P<a>.+) to (?P<b>.+)\?",
    "orbit_motion_ud": r"From (?P<a>.+) to (?P<b>.+), does the camera move up or down\?",
    "orbit_motion_fb": r"From (?P<a>.+) to (?P<b>.+), does the camera come closer to the (?P<t>.+) or move .+\?",
    "orbit_angle": r"Seen from the (?P<t>.+), how many degrees apart are the cameras of (?P<a>.+) and (?P<b>.+)\?",
    "orbit_widest_pair": r"Which two frames show the (?P<t>.+) from the most different directions\?",
    "orbit_overlap": r"Which other frame shows the most of that part of the (?P<t>.+) which (?P<q>.+) shows\?",
    "orbit_opposite": r"Does any .+ show the (?P<t>.+) from the side opposite to (?P<q>.+), at least 135 degrees .+\?",
    "orbit_order": r"Going once round the (?P<t>.+), counter-clockwise .+ starting from (?P<q>.+), in which order .+\?",
    "orbit_angle_deg": (
        r"Seen from the (?P<t>.+), how many degrees apart are the cameras of (?P<a>.+) and (?P<b>.+)\? "
        r"Give a whole number of degrees\."
    ),
}


def _subject(look: SecondLook, record: QARecord) -> Subject:
    match = re.fullmatch(_PATTERNS[record.question_type], record.question)
    if match is None:
        raise ValueError(f"the question does not read as one of {record.question_type}")
    return Subject(
        look=look,
        rows=[look.capture.index(view_id) for view_id in record.frames],
        names=[frame_name(record.frame_naming, i, view_id) for i, view_id in enumerate(record.frames)],
        words=match.groupdict(),
        options={option[:1]: option[3:] for option in record.options},
    )


def _check_form(rules: Case, capture: ObjectCapture, record: QARecord) -> None:
    """What holds for every orbit record, whatever its answer."""
    known = {view.view_id for view in capture.views}
    texts = [option[3:] for option in record.options]
    conditions = {
        "a frame is not of the capture": set(record.frames) <= known,
        "a frame stands twice": len(set(record.frames)) == len(record.frames),
        "not 2 to 5 frames": 2 <= len(record.frames) <= 5,
        "two options read alike": len(set(texts)) == len(texts),
        "the letter does not stand before the true answer": not texts
        or f"{record.mc_answer}. {record.ground_truth}" in record.options,
        "another category than the capture's": record.target_category == capture.category,
    }
    rules.wrong += [text for text, holds in conditions.items() if not holds]


def _judge_options(case: Case, subject: Subject, record: QARecord) -> None:
    truths = {letter: _JUDGES[record.question_type](subject, text) for letter, text in subject.options.items()}
    likely = sorted(truths, key=lambda letter: (-truths[letter], letter))
    case.found = "".join(letter for letter in likely if truths[letter] is not Truth.NO)
    threshold = _THRESHOLDS.get(record.question_type, "angle")
    case.need(truths[record.mc_answer], threshold, f"option {record.mc_answer} does not hold")
    for letter, truth in truths.items():
        if letter != record.mc_answer:
            case.need(truth.negated, threshold, f"option {letter} holds as well")


def _judge_number(case: Case, subject: Subject, record: QARecord) -> None:
    a, b = subject.row("a"), subject.row("b")
    exact, other = subject.look.angle_at_center_deg(a, b), subject.look.angle_deg(a, b)
    case.found = f"{exact:.2f}"
    printed = float(record.ground_truth)
    case.need(truth_of(abs(printed - exact) <= HALF_DEGREE), "unit", f"the angle is {exact:.2f} degrees")
    far = NUMBER_TOLERANCE * printed + NUMBER_TOLERANCE_DEG
    case.need(truth_of(abs(printed - other) <= far), "bearing", f"by bearings the angle is {other:.1f} degrees")


def _largest(values: Sequence[float], best: int, lead: float) -> Truth:
    """Whether ``values[best]`` is ahead of all others; MAYBE while less than ``lead`` apart."""
    return every(
        at_least(values[best] - v - lead, values[best] - v + lead, 0.0) for i, v in enumerate(values) if i != best
    )


def _best_frame(subject: Subject, text: str, rows: Sequence[int], values: Sequence[float], lead: float) -> Truth:
    (row,) = subject.named(text)
    return _largest(values, list(rows).index(row), lead) if row in rows else Truth.NO


def _bestview(subject: Subject, text: str) -> Truth:
    areas = [np.count_nonzero(subject.look.capture.masks[row].pixels()) for row in subject.rows]
    return _best_frame(subject, text, subject.rows, np.log(areas).tolist(), 0.5 * np.log(MIN_AREA_RATIO))


def _nearest(subject: Subject, text: str) -> Truth:
    distances = [subject.look.distance(row) for row in subject.rows]
    if any(distance is None for distance in distances):
        return Truth.MAYBE
    values = [-float(np.log(distance)) for distance in distances if distance]
    return _best_frame(subject, text, subject.rows, values, RATIO_TOLERANCE)


def _highest(subject: Subject, text: str) -> Truth:
    values = [subject.look.elevation_deg(row) for row in subject.rows]
    return _best_frame(subject, text, subject.rows, values, ANGLE_TOLERANCE_DEG)


def _cutoff(subject: Subject, text: str) -> Truth:
    (row,) = subject.named(text)
    inner = subject.look.capture.masks[row].pixels().copy()
    whole = np.count_nonzero(inner)
    inner[1:-1, 1:-1] = False
    return truth_of(np.count_nonzero(inner) > 0.1 * np.sqrt(whole))


def _signed(value: float, positive: bool, tolerance: float) -> Truth:
    signed = value if positive else -value
    return at_least(signed - tolerance, signed + tolerance, 0.0)


def _step(subject: Subject, text: str) -> Truth:
    step = subject.look.step_deg(subject.row("a"), subject.row("b"))
    return _signed(step, text in ("to its right", "counter-clockwise"), STEP_TOLERANCE_DEG)


def _rise(subject: Subject, text: str) -> Truth:
    rise = subject.look.elevation_deg(subject.row("b")) - subject.look.elevation_deg(subject.row("a"))
    return _signed(rise, text == "up", ANGLE_TOLERANCE_DEG)


def _approach(subject: Subject, text: str) -> Truth:
    a, b = (subject.look.distance(subject.row(word)) for word in "ab")
    if a is None or b is None:
        return Truth.MAYBE
    return _signed(float(np.log(b / a)), text == "farther away", RATIO_TOLERANCE)


def _angle_range(subject: Subject, text: str) -> Truth:
    low, high = (float(number) for number in re.findall(r"\d+", text))
    angle = subject.look.angle_deg(subject.row("a"), subject.row("b"))
    above = at_least(angle - ANGLE_TOLERANCE_DEG, angle + ANGLE_TOLERANCE_DEG, low) if low > 0 else Truth.YES
    beyond = at_least(angle - ANGLE_TOLERANCE_DEG, angle + ANGLE_TOLERANCE_DEG, high) if high < 180 else Truth.NO
    return every([above, beyond.negated])


def _widest(subject: Subject, text: str) -> Truth:
    rows = list(subject.rows)
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    angles = [subject.look.angle_deg(*pair) for pair in pairs]
    named = subject.named(text)
    best = next(i for i, pair in enumerate(pairs) if set(pair) == set(named))
    return _largest(angles, best, ANGLE_TOLERANCE_DEG)


def _overlap(subject: Subject, text: str) -> Truth:
    part = subject.look.shown_part(subject.row("q"))
    if part is None:
        return Truth.MAYBE
    rows = subject.others
    return _best_frame(subject, text, rows, part[rows].tolist(), SHARED_TOLERANCE)


def _opposite(subject: Subject, text: str) -> Truth:
    steps = [abs(subject.look.step_deg(subject.row("q"), row)) for row in subject.others]
    truth = at_least(max(steps) - STEP_TOLERANCE_DEG, max(steps) + STEP_TOLERANCE_DEG, 135.0)
    return truth if text == "Yes" else truth.negated


def _order(subject: Subject, text: str) -> Truth:
    steps = {row: subject.look.step_deg(subject.row("q"), row) % 360.0 for row in subject.others}
    rows = subject.named(text)
    if sorted(rows) != sorted(steps):
        return Truth.NO
    gaps = np.diff([0.0, *(steps[row] for row in rows), 360.0])
    return every(at_least(gap - STEP_TOLERANCE_DEG, gap + STEP_TOLERANCE_DEG, 0.0) for gap in gaps.tolist())


_JUDGES: Mapping[str, Callable[[Subject, str], Truth]] = {
    "orbit_bestview": _bestview,
    "orbit_nearest": _nearest,
    "orbit_highest": _highest,
    "orbit_cutoff": _cutoff,
    "orbit_motion_lr": _step,
    "orbit_motion_turn": _step,
    "orbit_motion_ud": _rise,
    "orbit_motion_fb": _approach,
    "orbit_angle": _angle_range,
    "orbit_widest_pair": _widest,
    "orbit_overlap": _overlap,
    "orbit_opposite": _opposite,
    "orbit_order": _order,
}
_THRESHOLDS: Mapping[str, str] = {
    "orbit_bestview": "area",
    "orbit_nearest": "distance",
    "orbit_motion_fb": "distance",
    "orbit_overlap": "surface",
    "orbit_cutoff": "edge",
}
