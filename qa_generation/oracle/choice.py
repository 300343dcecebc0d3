"""Which options of a choice question are true, by the words of the question and the geometry of the scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from qa_generation.oracle.place import Place
from qa_generation.oracle.spatial import holds, opposite
from qa_generation.oracle.subjects import count_bounds, hidden, only, referred
from qa_generation.oracle.truth import Case, Truth, either, every, truth_of
from qa_generation.oracle.wording import Asked, WordingError, read_count_and_frame, read_directions, read_point

# wrong points lie at least half a diagonal off; a box whose edges move by this share of it has no sure centre
LOOSE_BOX = 0.25


class Option(NamedTuple):
    """Truth of one option and the threshold that it hangs on."""

    truth: Truth
    threshold: str = ""


class Scope(NamedTuple):
    """The record's frames and canvas next to what its question asks."""

    asked: Asked
    frames: Sequence[str]
    canvas: tuple[int, int]


def judge(case: Case, place: Place, scope: Scope, texts: Mapping[str, str], letter: str) -> None:
    """Finds the truth of every option and notes unless ``letter`` alone is true."""
    options = FAMILIES[scope.asked.family](case, place, scope, list(texts.values()))
    by_letter = dict(zip(texts, options, strict=True)) if options else {}
    case.found = ", ".join(key for key, option in by_letter.items() if option.truth is Truth.YES)
    for key, option in by_letter.items():
        wanted = option.truth if key == letter else option.truth.negated
        says = "not true" if key == letter else "true as well"
        case.need(wanted, option.threshold, f"option {key} ({texts[key]}) is {says}")


def _count(case: Case, place: Place, scope: Scope, texts: Sequence[str]) -> list[Option]:
    low, high = count_bounds(case, place, scope.asked.target, scope.frames)
    return [Option(_within(_whole(text), low, high), "pixels") for text in texts]


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise WordingError(f"option {text!r} is no whole number")
    return int(text)


def _within(number: int, low: int, high: int) -> Truth:
    return Truth.NO if not low <= number <= high else truth_of(low == high) or Truth.MAYBE


def _best_view(case: Case, place: Place, scope: Scope, texts: Sequence[str]) -> list[Option]:
    target, frames = scope.asked.target, scope.frames
    low, high = count_bounds(case, place, target, frames)
    best = _best_frames(place, target, frames)
    options = []
    for text in texts:
        number, frame = read_count_and_frame(text, target, frames)
        counted = _within(number, low, high)
        options.append(Option(min(counted, best[frame]), "best frame" if counted is Truth.YES else "pixels"))
    return options


def _best_frames(place: Place, category: str, frames: Sequence[str]) -> dict[str, Truth]:
    """Whether each frame shows most instances, or as many as another and more of them in pixels."""
    number, area = {}, {}
    for frame in frames:
        presence = {i: place.presence(frame, i) for i in place.members(category)}
        number[frame] = (
            sum(p.visible is Truth.YES for p in presence.values()),
            sum(p.visible is not Truth.NO for p in presence.values()),
        )
        pixels = [(p.visible, place.pixels(frame, i)) for i, p in presence.items()]
        area[frame] = (
            sum(low for visible, (low, _, _) in pixels if visible is Truth.YES),
            sum(high for visible, (_, _, high) in pixels if visible is not Truth.NO),
        )
    return {frame: every(_beats(number, area, frame, other) for other in frames if other != frame) for frame in frames}


def _beats(
    number: Mapping[str, tuple[int, int]], area: Mapping[str, tuple[float, float]], frame: str, other: str
) -> Truth:
    (low, high), (other_low, other_high) = number[frame], number[other]
    if low > other_high:
        return Truth.YES
    if high < other_low:
        return Truth.NO
    if not low == high == other_low == other_high:
        return Truth.MAYBE
    if area[frame][0] > area[other][1]:
        return Truth.YES
    return Truth.NO if area[frame][1] < area[other][0] else Truth.MAYBE


def _localization(case: Case, place: Place, scope: Scope, texts: Sequence[str]) -> list[Option]:
    category, frame = scope.asked.target, scope.asked.frame
    present = either(place.seen([frame], i) for i in place.kin(category))
    points = {text: read_point(text.removeprefix("Yes; ")) for text in texts if text != "No"}
    if not place.members(category):
        case.wrong.append(f"the scene holds no {category}")
        return []
    if present is not Truth.YES:  # a sliver at most, which has no place to speak of
        shown = either(place.shown(scope.frames, i) for i in place.members(category))
        case.need(shown, "pixels", f"no frame shows the {category}")
        return [Option(present.negated if text == "No" else Truth.NO, "one pixel") for text in texts]
    target = only(case, place, category, [frame])
    if target is None:
        return []
    presence = place.presence(frame, target)
    case.need(presence.visible, presence.threshold, f"neither visible nor absent: {presence.text}")
    hull = place.centers(frame, target, scope.canvas)
    assert hull is not None
    loose = place.loose(frame, target, scope.canvas, LOOSE_BOX)
    case.need(Truth.MAYBE if loose else Truth.YES, "box edge", f"an edge of the box hangs on a sliver: {presence.text}")
    inside = {text for text, point in points.items() if (hull[0] <= point).all() and (point <= hull[1]).all()}
    here = Truth.YES if len(inside) < 2 else Truth.MAYBE
    case_text = f"its box centre is at {hull[0].round()} to {hull[1].round()}"
    if not inside:
        case.wrong.append(f"no option is there: {case_text}")
    return [
        Option(Truth.NO) if text == "No" else Option(here if text in inside else Truth.NO, "box edge") for text in texts
    ]


def _relation(
    case: Case, place: Place, scope: Scope, first: int, direction: str, second: int, seen: Truth = Truth.YES
) -> Truth:
    """Truth of ``first direction second``; where it is undecided the record is mistaken, if ``first`` is seen."""
    query, margin_m = scope.asked.frame, place.rules.margin_m
    seats = place.seat(query, first), place.seat(query, second)
    says = holds(seats[0], direction, seats[1], margin_m)
    against = holds(seats[0], opposite(direction), seats[1], margin_m)
    case.need(
        max(says, against, seen.negated),
        "margin" if seen is Truth.YES else "one pixel",
        f"{place.category(first)} {first} is neither {direction} nor {opposite(direction)} {place.category(second)} "
        f"{second} by {margin_m} m",
    )
    return says


def _pair(case: Case, place: Place, scope: Scope) -> tuple[int, int] | None:
    asked = scope.asked
    target = hidden(case, place, asked.target, scope.frames, asked.frame)
    reference = referred(case, place, asked.reference, asked.reference_at, asked.frame, scope.canvas)
    return None if target is None or reference is None else (target, reference)


def _existence(case: Case, place: Place, scope: Scope, texts: Sequence[str]) -> list[Option]:
    pair = _pair(case, place, scope)
    if pair is None:
        return []
    says = _relation(case, place, scope, pair[0], scope.asked.direction, pair[1])
    if set(texts) != {"Yes", "No"}:
        raise WordingError("the options are not Yes and No")
    return [Option(says if text == "Yes" else says.negated, "margin") for text in texts]


def _spatial(case: Case, place: Place, scope: Scope, texts: Sequence[str]) -> list[Option]:
    pair = _pair(case, place, scope)
    if pair is None:
        return []
    options = []
    for text in texts:
        directions = read_directions(text, scope.asked.reference)
        options.append(Option(every(_relation(case, place, scope, pair[0], d, pair[1]) for d in directions), "margin"))
    return options


def _attribute(case: Case, place: Place, scope: Scope, texts: Sequence[str]) -> list[Option]:
    asked = scope.asked
    reference = referred(case, place, asked.reference, asked.reference_at, asked.frame, scope.canvas)
    if reference is None:
        return []
    options = []
    for text in texts:
        seen = {i: place.seen(scope.frames, i) for i in place.kin(text)}
        possible = [i for i, truth in seen.items() if truth is not Truth.NO]
        if not any(place.category(i) == text for i in possible):
            case.wrong.append(f"option {text!r} is seen in none of the frames")
        # an instance that may not be seen at all matters only as far as it may be seen
        truths = [min(seen[i], _relation(case, place, scope, i, asked.direction, reference, seen[i])) for i in possible]
        options.append(Option(either(truths), "one pixel"))
    return options


def hidden_answer(case: Case, place: Place, scope: Scope, text: str) -> None:
    """Notes unless the category of the right option names one object, hidden in the query frame (attribute)."""
    hidden(case, place, text, scope.frames, scope.asked.frame)


FAMILIES: dict[str, Callable[[Case, Place, Scope, Sequence[str]], list[Option]]] = {
    "obj_count_occ": _count,
    "bestview_count_occ": _best_view,
    "obj_localization_occ": _localization,
    "obj_existence_occ": _existence,
    "obj_spatial_occ": _spatial,
    "obj_attribute_occ": _attribute,
}
