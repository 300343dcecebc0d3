"""Which drafts of one type are written: answers balanced, view sets in turn, nothing asked twice of the same views."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from qa_generation.options import allocate
from qa_generation.orbit.drafts import OrbitDraft
from qa_generation.orbit.motion import RANGES

# largest share of one answer class; where there are fewer classes, all are equally many
MAX_SHARES: Mapping[str, float] = {"orbit_angle_deg": 0.125}
MAX_SHARE_OF_PLACE = 0.1
# types whose options are always the same so many; every number of frames is even in itself, since it tells something
WHOLE_CLASSES: Mapping[str, int] = {"orbit_angle": RANGES, "orbit_opposite": 2}
TWO_WAYS = ("orbit_motion_lr", "orbit_motion_turn", "orbit_motion_ud", "orbit_motion_fb")


def choose(
    question_type: str, found: Sequence[tuple[int, OrbitDraft]], quota: int, rng: np.random.Generator
) -> list[tuple[int, OrbitDraft]]:
    """At most ``quota`` of the drafts found, each with the number of its view set."""
    by_class: dict[int, list[tuple[int, OrbitDraft]]] = defaultdict(list)
    used: set[tuple[int, ...]] = set()
    times: dict[int, int] = defaultdict(int)
    for place in rng.permutation(len(found)):
        by_class[found[place][1].answer_class].append(found[place])
    chosen: list[tuple[int, OrbitDraft]] = []
    available = {key: len(drafts) for key, drafts in by_class.items()}
    if question_type in TWO_WAYS:
        # every pair of views stands there in both orders, and only one is asked
        most = len({_what(*entry) for entry in found}) // 2
        available = {key: min(number, most) for key, number in available.items()}
    wanted = _wanted(question_type, available, quota)
    for key in [int(k) for k in rng.permutation([k for k, number in sorted(wanted.items()) for _ in range(number)])]:
        free = [entry for entry in by_class[key] if _what(*entry) not in used]
        if not free:
            continue
        index, draft = min(free, key=lambda entry: times[entry[0]])
        used.add(_what(index, draft))
        times[index] += 1
        chosen.append((index, draft))
    return chosen


def _what(index: int, draft: OrbitDraft) -> tuple[int, ...]:
    """What may be asked once: the two views, or something of one view set."""
    return draft.pair or (index, *draft.about, -1)


def _wanted(question_type: str, available: Mapping[int, int], quota: int) -> dict[int, int]:
    if question_type in WHOLE_CLASSES:
        return _even(available, quota, WHOLE_CLASSES[question_type])
    share = 0.5 if question_type in TWO_WAYS else MAX_SHARE_OF_PLACE
    return allocate(available, quota, MAX_SHARES.get(question_type, share))


def _even(available: Mapping[int, int], quota: int, size: int) -> dict[int, int]:
    """All ``size`` answers of a number of frames equally often; a number that lacks one of them gives nothing."""
    least = {
        frames: min(available.get(size * frames + answer, 0) for answer in range(size))
        for frames in sorted({key // size for key in available})
    }
    least = {frames: number for frames, number in least.items() if number}
    most = quota // size
    # the spreading of `allocate` is for several classes
    each = allocate(least, most, 1.0) if len(least) > 1 else {key: min(n, most) for key, n in least.items()}
    return {size * frames + answer: number for frames, number in each.items() for answer in range(size)}
