"""Which instance a name in a question means, and what must be true so that it means one only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qa_generation.oracle.place import Place
from qa_generation.oracle.truth import Case, Truth, truth_of

# another instance of the kind nearer than this to the named centre could be meant as well, canvas pixels
LEAST_APART_PX = 8.0


def only(case: Case, place: Place, category: str, frames: Sequence[str]) -> int | None:
    """The only instance of the kind with a pixel in the frames; notes what speaks against there being just one."""
    seen = {i: place.seen(frames, i) for i in place.kin(category)}
    members = [i for i in place.members(category) if seen[i] is not Truth.NO]
    if not members:
        case.wrong.append(f"no {category} is seen")
        return None
    chosen = max(members, key=lambda i: sum(place.pixels(frame, i)[1] for frame in frames))
    case.need(seen[chosen], "one pixel", f"whether {place.describe(frames, chosen)}")
    for other, truth in seen.items():
        if other != chosen:
            case.need(truth.negated, "one pixel", f"another of its kind is seen: {place.describe(frames, other)}")
    return chosen


def hidden(case: Case, place: Place, category: str, frames: Sequence[str], query: str) -> int | None:
    """The only instance of the kind: visible in the frames, and with no pixel in the query frame."""
    target = only(case, place, category, frames)
    if target is not None:
        presence = place.presence(query, target)
        case.need(presence.absent, "one pixel", f"the query frame shows the target: {presence.text}")
        text = f"the target is not visible in the other frames: {place.describe(frames, target)}"
        case.need(place.shown(frames, target), place.presence(_best(place, frames, target), target).threshold, text)
    return target


def _best(place: Place, frames: Sequence[str], instance: int) -> str:
    return max(frames, key=lambda frame: place.pixels(frame, instance)[1])


def referred(
    case: Case, place: Place, category: str, at: tuple[int, int] | None, query: str, canvas: tuple[int, int]
) -> int | None:
    """The instance that ``table`` or ``table(217,122)`` means in the query frame; it must be visible there."""
    reference = only(case, place, category, [query]) if at is None else _at(case, place, category, at, query, canvas)
    if reference is not None:
        presence = place.presence(query, reference)
        case.need(presence.visible, presence.threshold, f"the reference is not visible: {presence.text}")
    return reference


def _at(
    case: Case, place: Place, category: str, at: tuple[int, int], query: str, canvas: tuple[int, int]
) -> int | None:
    distance = {}
    for instance in place.members(category):
        hull = place.centers(query, instance, canvas)
        if hull is not None:
            distance[instance] = float(
                np.linalg.norm(np.maximum(np.maximum(hull[0] - at, np.subtract(at, hull[1])), 0))
            )
    if not distance or min(distance.values()) > 0:
        near = f", the nearest is {min(distance.values()):.0f} px off" if distance else ""
        case.wrong.append(f"no {category} has its box centre at {at} in {query}{near}")
        return None
    # among several at the same place, the one that shows most
    reference = max((i for i in distance if distance[i] == 0), key=lambda i: place.pixels(query, i)[1])
    for other, apart in distance.items():
        if other != reference:
            seen = place.presence(query, other).absent.negated
            clash = min(seen, truth_of(apart < LEAST_APART_PX))
            text = f"{category} {other} is within {LEAST_APART_PX:.0f} px of {at} too"
            case.need(clash.negated, "box edge", text)
    return reference


def count_bounds(case: Case, place: Place, category: str, frames: Sequence[str]) -> tuple[int, int]:
    """Least and largest number of instances of the category visible in some frame; notes whatever cannot be counted."""
    low = high = 0
    for instance in place.kin(category):
        seen, shown = place.seen(frames, instance), place.shown(frames, instance)
        text = place.describe(frames, instance)
        if place.category(instance) != category:
            case.need(seen.negated, "one pixel", f"kin of the counted is seen: {text}")
            continue
        doubtful = min(seen, shown.negated)
        threshold = place.presence(_best(place, frames, instance), instance).threshold
        case.need(doubtful.negated, threshold, f"neither visible nor absent: {text}")
        low += shown is Truth.YES
        high += shown is not Truth.NO
    return low, high
