"""What must hold for every record whatever is asked (specs 11.2), and its difficulty numbers recomputed."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np

from qa_generation.oracle.numbers import UNITS
from qa_generation.oracle.place import Place
from qa_generation.oracle.silhouette import Extent
from qa_generation.oracle.truth import Case, Truth, truth_of
from qa_generation.oracle.wording import Asked, WordingError, read_options, read_pair
from qa_generation.records import QARecord

# random surface points against a regular pattern of them: percentage points of overlap, see benchmarks
OVERLAP_TOLERANCE = 2.0
# mean share that is hidden or cut off, beyond the range of what is counted
SHARE_TOLERANCE = 0.02
OPTION_COUNTS = {"obj_existence_occ": 2}


def check_form(case: Case, record: QARecord) -> None:
    """Frames, texts, letters, unit and box, without looking at the scene."""
    number = len(record.frames)
    if not 2 <= number <= 5 or len(set(record.frames)) < number:
        case.wrong.append(f"frames are {list(record.frames)}, expected 2 to 5 different ones")
    if "\n" in record.question or not record.question.strip():
        case.wrong.append("the question is not one line")
    if record.question_type in UNITS:
        _check_number(case, record)
    else:
        _check_options(case, record)
    _check_box(case, record)
    try:
        evidence = json.loads(record.evidence)
    except ValueError:
        case.wrong.append("evidence is not JSON")
        return
    for mark in evidence:
        if mark.get("frame") not in record.frames:
            case.wrong.append(f"evidence names the frame {mark.get('frame')!r}, which is none of the record's")


def _check_options(case: Case, record: QARecord) -> None:
    try:
        texts = read_options(record.options)
    except WordingError as error:
        case.wrong.append(str(error))
        return
    family = record.question_type.rsplit("_", 1)[0]
    expected = OPTION_COUNTS.get(family, 4)
    if len(texts) != expected or len(set(texts.values())) < expected:
        case.wrong.append(f"the options are {list(texts.values())}, expected {expected} different ones")
    # published rows leave the text of the answer out
    if record.mc_answer not in texts or record.ground_truth not in ("", texts[record.mc_answer]):
        case.wrong.append(f"mc_answer {record.mc_answer!r} is not the option {record.ground_truth!r}")


def _check_number(case: Case, record: QARecord) -> None:
    unit = UNITS[record.question_type]
    if record.unit not in ("", unit):
        case.wrong.append(f"unit is {record.unit!r}, expected {unit!r}")
    value = record.answer_value
    if value is not None and not (math.isfinite(value) and value > 0):
        case.wrong.append(f"answer_value is {value}, expected a positive number")


def _check_box(case: Case, record: QARecord) -> None:
    box = record.bbox_2d
    if not box:
        if record.bbox_2d_diag:
            case.wrong.append(f"bbox_2d is empty, but its diagonal {record.bbox_2d_diag}")
        return
    x0, y0, x1, y1 = box if len(box) == 4 else (0, 0, 0, 0)
    width, height = record.coord_size
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        case.wrong.append(f"bbox_2d is {list(box)}, expected x0 < x1 and y0 < y1 in {width} x {height}")
    elif abs(record.bbox_2d_diag - math.hypot(x1 - x0, y1 - y0)) > 0.01:
        case.wrong.append(f"bbox_2d_diag is {record.bbox_2d_diag}, expected {math.hypot(x1 - x0, y1 - y0):.3f}")


def check_frames(case: Case, place: Place, record: QARecord) -> bool:
    """Whether the scene has the frames, which must be of one size."""
    unknown = [frame for frame in record.frames if place.view(frame) is None]
    if unknown:
        case.wrong.append(f"the scene has no view {unknown[0]!r}")
        return False
    sizes = {view.size for frame in record.frames if (view := place.view(frame)) is not None}
    if len(sizes) > 1:
        case.wrong.append(f"frames are of sizes {sorted(sizes)}, expected one")
    return True


def check_overlap(case: Case, place: Place, record: QARecord) -> None:
    """The cap on every pair of frames, and the stored mean."""
    pairs = [place.overlap(a, b) for a, b in combinations(dict.fromkeys(record.frames), 2)]
    if not pairs:
        return
    cap, largest, mean = place.rules.overlap_cap, max(pairs), float(np.mean(pairs))
    within = Truth.YES if largest <= cap else Truth.MAYBE if largest <= cap + OVERLAP_TOLERANCE else Truth.NO
    case.need(within, "overlap cap", f"two frames share {largest:.1f} % of what they see, at most {cap:g} %")
    for name, stored, found in (("avg", record.overlap_avg, mean), ("max", record.overlap_max, largest)):
        # 0 where the published form does not hold it
        if stored and abs(stored - found) > OVERLAP_TOLERANCE:
            case.wrong.append(f"overlap_{name} is {stored:.2f} %, found {found:.2f} %")
        if stored > cap:
            case.wrong.append(f"overlap_{name} is {stored:.2f} %, at most {cap:g} %")


def check_names(case: Case, place: Place, record: QARecord, asked: Asked) -> None:
    """The columns next to the question say what its words say."""
    if record.query_frame and record.query_frame != asked.frame:
        case.wrong.append(f"query_frame is {record.query_frame}, the question speaks of {asked.frame!r}")
    words = (asked.target, asked.reference)
    if asked.family == "obj_obj_distance_occ_na":  # of a pair either may stand first
        words = read_pair(record.question, lambda name: bool(place.members(name)))
        words = words if words[0] == record.target_category else (words[1], words[0])
    for ids, category, said in (
        (record.target_ids, record.target_category, words[0]),
        (record.reference_ids, record.reference_category, words[1]),
    ):
        if category and said and category != said:
            case.wrong.append(f"the column says {category!r}, the question {said!r}")
        for instance in ids:
            if instance not in place.column or place.category(instance) != category:
                case.wrong.append(f"instance {instance} is no {category} of the scene")


def check_labels(case: Case, place: Place, record: QARecord) -> None:
    """Occlusion, truncation and coverage from own areas, and the labels that go with the stored numbers."""
    if not record.target_ids:
        return
    asked = (
        [*record.target_ids, *record.reference_ids] if record.reference_ids else place.members(record.target_category)
    )
    hidden, cut, unsure = [], [], False
    for frame in record.frames:
        for instance in asked:
            absent = place.presence(frame, instance).absent
            unsure |= absent is Truth.MAYBE
            if absent is Truth.NO:
                low, _, high = place.pixels(frame, instance)
                areas = place.silhouette(frame, instance)
                hidden.append(_missing(low, high, areas.on_canvas))
                cut.append(_missing(areas.in_frame.low, areas.in_frame.high, areas.on_canvas))
    for name, stored, shares in (
        ("occlusion_avg", record.occlusion_avg, hidden),
        ("truncation_avg", record.truncation_avg if record.trunc_level else None, cut),
    ):
        least, most = np.mean(shares, axis=0) if shares else (0.0, 0.0)
        if stored is None or least - SHARE_TOLERANCE <= stored <= most + SHARE_TOLERANCE:
            continue
        truth = Truth.MAYBE if unsure else Truth.NO
        case.need(truth, "one pixel", f"{name} is {stored:.3f}, found {least:.3f} to {most:.3f}")
    _check_coverage(case, place, record)
    _check_levels(case, record)


def _missing(low: float, high: float, whole: Extent) -> tuple[float, float]:
    """Least and largest share of the whole that is not seen."""
    return max(0.0, 1.0 - high / max(whole.low, 1.0)), max(0.0, 1.0 - low / max(whole.high, 1.0))


def _check_coverage(case: Case, place: Place, record: QARecord) -> None:
    deciding = [*record.target_ids, *record.reference_ids]
    full = max(min(place.presence(frame, i).clearly_visible for i in deciding) for frame in record.frames)
    wanted = full if record.gt_scenario == "Full Coverage" else full.negated
    case.need(wanted, "pixels", f"gt_scenario is {record.gt_scenario!r}")


def _check_levels(case: Case, record: QARecord) -> None:
    levels = {
        "occ_level": ("low", "medium", "high", "extreme")[sum(record.occlusion_avg >= x for x in (0.25, 0.5, 0.75))],
        "overlap_level": ("high", "medium", "low")[sum(record.overlap_avg > x for x in (10.0, 20.0))],
        "vis_level": "Fully Visible" if record.occlusion_avg <= 0.05 else "Partially Visible",
    }
    for name, expected in levels.items():
        case.need(
            truth_of(getattr(record, name) == expected),
            "",
            f"{name} is {getattr(record, name)!r}, expected {expected!r}",
        )
