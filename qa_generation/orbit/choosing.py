"""Which drafts of one type are written: answers balanced, view sets in turn, nothing asked twice of the same views."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from qa_generation.options import allocate
from qa_generation.orbit.drafts import OrbitDraft
from qa_generation.orbit.motion import RANGES

# types whose options are always the same so many: each of them is true equally often, for every group of questions that
# read alike (two named frames, or a number of frames)
WHOLE_CLASSES: Mapping[str, int] = {
    "orbit_motion_lr": 2,
    "orbit_motion_turn": 2,
    "orbit_motion_ud": 2,
    "orbit_motion_fb": 2,
    "orbit_opposite": 2,
    "orbit_angle": RANGES,
}
# largest share of one answer class of the others; where there are fewer classes, all are equally many
MAX_SHARES: Mapping[str, float] = {"orbit_angle_deg": 0.125}
MAX_SHARE_OF_PLACE = 0.1


def choose(
    question_type: str, found: Sequence[tuple[int, OrbitDraft]], quota: int, rng: np.random.Generator
) -> list[tuple[int, OrbitDraft]]:
    """At most ``quota`` of the drafts found, each with the number of its view set."""
    once: dict[tuple[int, ...], tuple[int, OrbitDraft]] = {}
    for place in rng.permutation(len(found)):
        once.setdefault(_what(*found[place]), found[place])
    by_class: dict[int, list[tuple[int, OrbitDraft]]] = defaultdict(list)
    for entry in once.values():
        by_class[entry[1].answer_class].append(entry)
    wanted = _wanted(question_type, {key: len(entries) for key, entries in by_class.items()}, quota)
    times: dict[int, int] = defaultdict(int)
    chosen: list[tuple[int, OrbitDraft]] = []
    for key in rng.permutation([key for key, number in sorted(wanted.items()) for _ in range(number)]).tolist():
        entries = by_class[int(key)]
        least_used = min(range(len(entries)), key=lambda place: times[entries[place][0]])
        chosen.append(entries.pop(least_used))
        times[chosen[-1][0]] += 1
    return chosen


def _what(index: int, draft: OrbitDraft) -> tuple[int, ...]:
    """What is asked once: the two views, or something of one view set."""
    return draft.pair or (index, *draft.about, -1)


def _wanted(question_type: str, available: Mapping[int, int], quota: int) -> dict[int, int]:
    if question_type in WHOLE_CLASSES:
        return _even(available, quota, WHOLE_CLASSES[question_type])
    return allocate(available, quota, MAX_SHARES.get(question_type, MAX_SHARE_OF_PLACE))


def _even(available: Mapping[int, int], quota: int, size: int) -> dict[int, int]:
    """All ``size`` answers of a group equally often; a group that lacks one of them gives nothing."""
    least = {
        group: min(available.get(size * group + answer, 0) for answer in range(size))
        for group in sorted({key // size for key in available})
    }
    least = {group: number for group, number in least.items() if number}
    most = quota // size
    # the spreading of `allocate` is for several classes
    each = allocate(least, most, 1.0) if len(least) > 1 else {key: min(n, most) for key, n in least.items()}
    return {size * group + answer: number for group, number in each.items() for answer in range(size)}
