"""Recomputes the answers of numeric and point questions and compares them with what is printed.

Agreement: counts are equal; lengths lie within half the printed unit of the exact length, and their unrounded value
within 1 cm; points lie within one pixel of the counting grid of where the box centre may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from trimesh.triangles import closest_point

from qa_generation.oracle.choice import Scope
from qa_generation.oracle.measure import ACCURACY_M, longest_along_axes_m, surface_distance_m, upright_sides_m
from qa_generation.oracle.place import Place
from qa_generation.oracle.subjects import count_bounds, only
from qa_generation.oracle.truth import Case, Truth, truth_of
from qa_generation.oracle.wording import WordingError, read_pair, read_point
from qa_generation.records import QARecord

NEAR_ENOUGH_M = 0.01
# a box whose edges depend on where the grid lies by more than this share of its diagonal has no sure centre
LOOSE_BOX = 0.1
UNITS = {
    "obj_count_occ_na": "objects",
    "obj_distance_occ_na": "m",
    "obj_obj_distance_occ_na": "m",
    "obj_size_occ_na": "cm",
    "obj_localization_occ_na": "px",
}


def judge(case: Case, place: Place, scope: Scope, record: QARecord) -> None:
    """Notes unless the record's printed answer is the recomputed one."""
    FAMILIES[scope.asked.family](case, place, scope, record)


def _count(case: Case, place: Place, scope: Scope, record: QARecord) -> None:
    low, high = count_bounds(case, place, scope.asked.target, scope.frames)
    case.found = str(low) if low == high else f"{low} to {high}"
    if not record.ground_truth.isdecimal():
        raise WordingError(f"the answer {record.ground_truth!r} is no whole number")
    claimed = int(record.ground_truth)
    if record.answer_value is not None and record.answer_value != claimed:
        case.wrong.append(f"answer_value is {record.answer_value}, but the answer {claimed}")
    right = Truth.NO if not low <= claimed <= high else Truth.YES if low == high else Truth.MAYBE
    case.need(right, "pixels", f"{case.found} are visible, not {claimed}")


def _camera_distance(case: Case, place: Place, scope: Scope, record: QARecord) -> None:
    target = _shown(case, place, scope.asked.target, scope.frames)
    view = place.view(scope.asked.frame)
    if target is None or view is None:
        return
    corners = place.corners(target)
    # the camera centre by solving, in float64, triangle by triangle
    pose = view.world_to_camera
    center = np.linalg.solve(pose[:3, :3], -pose[:3, 3])
    nearest = closest_point(corners, np.broadcast_to(center, (len(corners), 3)))
    _compare(case, record, float(np.linalg.norm(nearest - center, axis=1).min()), 0.1, NEAR_ENOUGH_M)


def _object_distance(case: Case, place: Place, scope: Scope, record: QARecord) -> None:
    names = read_pair(record.question, lambda name: bool(place.members(name)))
    pair = [_shown(case, place, name, scope.frames) for name in names]
    first, second = pair
    if first is None or second is None:
        return
    for frame in scope.frames:
        both = min(place.presence(frame, i).absent.negated for i in (first, second))
        case.need(both.negated, "one pixel", f"{frame} shows both: {place.presence(frame, first).text}")
    corners = place.corners(first), place.corners(second)
    if len(corners[0]) > len(corners[1]):
        first, second = second, first
    length_m = surface_distance_m(place.corners(first), place.alone(second))
    _compare(case, record, length_m - ACCURACY_M / 2.0, 0.1, NEAR_ENOUGH_M)


def _size(case: Case, place: Place, scope: Scope, record: QARecord) -> None:
    target = _shown(case, place, scope.asked.target, scope.frames)
    if target is None:
        return
    box, vertices = place.scene.instances[target].obb, place.corners(target).reshape(-1, 3)
    stored_cm = 100.0 * float(box.extents.max())
    _compare(case, record, stored_cm, 1.0, 100.0 * NEAR_ENOUGH_M)
    # the stored box must be one that fits the thing itself: along its own axes, or the least upright one
    along_cm = 100.0 * longest_along_axes_m(box, vertices)
    low_cm, high_cm = (100.0 * side for side in upright_sides_m(vertices))
    fits = abs(along_cm - stored_cm) <= 1.0 or low_cm - 1.0 <= stored_cm <= high_cm + 1.0
    text = f"the stored box is {stored_cm:.1f} cm long, its surface {along_cm:.1f}, an upright box {low_cm:.1f} cm"
    case.need(Truth.YES if fits else Truth.MAYBE, "annotated box", text)


def _point(case: Case, place: Place, scope: Scope, record: QARecord) -> None:
    category, frame, canvas = scope.asked.target, scope.asked.frame, scope.asked.canvas
    assert canvas is not None
    if canvas != tuple(record.coord_size):
        case.wrong.append(f"the question speaks of {canvas} pixels, the record of {tuple(record.coord_size)}")
    target = only(case, place, category, [frame])
    edges = None if target is None else place.edges(frame, target, canvas)
    if target is None or edges is None:
        return
    presence = place.presence(frame, target)
    case.need(presence.visible, presence.threshold, f"neither visible nor absent: {presence.text}")
    claimed = np.array(read_point(record.ground_truth))
    low, high = place.centers(frame, target, canvas) or (claimed, claimed)
    case.found = f"({', '.join(f'{value:.0f}' for value in (low + high) / 2.0)})"
    inside = bool((low <= claimed).all() and (claimed <= high).all())
    case.need(truth_of(inside), "", f"the box centre is at {low.round()} to {high.round()}, not {tuple(claimed)}")
    pixel = np.tile(np.array(canvas) / np.array(place.lens(frame).grid), 2)
    loose = place.loose(frame, target, canvas, LOOSE_BOX)
    case.need(Truth.MAYBE if loose else Truth.YES, "box edge", f"an edge of the box hangs on a sliver: {presence.text}")
    if record.bbox_2d:
        box = np.array(record.bbox_2d, dtype=np.float64)
        fits = (edges.min(axis=0) - pixel <= box).all() and (box <= edges.max(axis=0) + pixel).all()
        case.need(truth_of(bool(fits)), "", f"bbox_2d is {box.tolist()}, found {np.median(edges, axis=0).tolist()}")
        if not np.array_equal((box[:2] + box[2:]) // 2, claimed):
            case.wrong.append(f"{tuple(claimed)} is not the centre of bbox_2d {box.tolist()}")


def _shown(case: Case, place: Place, category: str, frames: Sequence[str]) -> int | None:
    """The only instance of the kind in the frames; it must be visible in one of them."""
    target = only(case, place, category, frames)
    if target is not None:
        text = f"not visible: {place.describe(frames, target)}"
        case.need(place.shown(frames, target), "pixels", text)
    return target


def _compare(case: Case, record: QARecord, exact: float, printed_unit: float, tolerance: float) -> None:
    """Notes unless the printed answer is ``exact`` rounded, and the unrounded one is near it."""
    case.found = f"{exact:.4f}"
    try:
        claimed = float(record.ground_truth)
    except ValueError:
        raise WordingError(f"the answer {record.ground_truth!r} is no number") from None
    off = abs(claimed - exact)
    if not (math.isfinite(claimed) and off <= printed_unit / 2.0 + tolerance):
        case.wrong.append(f"{claimed} is printed, {exact:.4f} is found")
    elif off > printed_unit / 2.0:
        case.need(Truth.MAYBE, "rounding", f"{claimed} is printed, {exact:.4f} is found, on the border of the unit")
    if record.answer_value is not None and not abs(record.answer_value - exact) <= tolerance:
        case.wrong.append(f"answer_value is {record.answer_value}, {exact:.4f} is found")


FAMILIES: dict[str, Callable[[Case, Place, Scope, QARecord], None]] = {
    "obj_count_occ_na": _count,
    "obj_distance_occ_na": _camera_distance,
    "obj_obj_distance_occ_na": _object_distance,
    "obj_size_occ_na": _size,
    "obj_localization_occ_na": _point,
}
