"""Questions about two frames: how the camera moved from one to the other, and how far round the object.

Each has one true answer because it is asked only where the movement is clear of zero, of the opposite point and of the
borders between options by more than the middle of the object is in doubt (`OrbitFacts.doubt_deg`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, permutations

import numpy as np

from qa_generation.orbit.drafts import Asked, OrbitDraft

# sideways movement is told from this many degrees on, and up to where both ways round are about equally long
MIN_STEP_DEG, MAX_STEP_DEG = 15.0, 155.0
MIN_RISE_DEG = 10.0
# height above the object, in camera distances: who rises also gets higher when coming nearer does not undo it
MIN_RISE = 0.08
MIN_DISTANCE_RATIO = 1.15
EDGES_DEG = (45, 90, 135)
RANGES = len(EDGES_DEG) + 1
EDGE_MARGIN_DEG = 6.0
MIN_ANGLE_DEG, MAX_ANGLE_DEG = 15.0, 172.0
# a number is asked where the doubt is at most this share of it
MAX_DOUBT_SHARE = 0.1


def left_right(asked: Asked) -> list[OrbitDraft]:
    """To its left or right, facing the object: right is counter-clockwise as seen from above."""
    return [
        _two_ways(
            asked,
            pair,
            step > 0,
            "Going from {a} to {b} the shorter way round the {thing} and facing it, "
            "does the camera move to its left or to its right?",
            ("to its left", "to its right"),
        )
        for pair, step in _steps(asked)
    ]


def turning(asked: Asked) -> list[OrbitDraft]:
    """Clockwise or counter-clockwise as seen from above."""
    return [
        _two_ways(
            asked,
            pair,
            step > 0,
            "Seen from above, does the camera go clockwise or counter-clockwise round the {thing} "
            "on the shorter way from {a} to {b}?",
            ("clockwise", "counter-clockwise"),
        )
        for pair, step in _steps(asked)
    ]


def up_down(asked: Asked) -> list[OrbitDraft]:
    """Up or down: both the angle above the level and the height of the camera must agree."""
    if not asked.facts.turn.up_is_known:
        return []
    elevation = asked.among(asked.facts.turn.elevation_deg)
    distance, doubt = asked.among(asked.facts.turn.distance), asked.among(asked.facts.doubt_deg)
    height = distance * np.sin(np.radians(elevation))
    drafts = []
    for a, b in _pairs(asked):
        rise, climb = elevation[b] - elevation[a], (height[b] - height[a]) / distance[[a, b]].mean()
        if abs(rise) < MIN_RISE_DEG + doubt[a, b] or abs(climb) < MIN_RISE or (rise > 0) != (climb > 0):
            continue
        question = "From {a} to {b}, does the camera move up or down?"
        drafts.append(_two_ways(asked, (a, b), rise > 0, question, ("down", "up")))
    return drafts


def forth_back(asked: Asked) -> list[OrbitDraft]:
    """Closer or farther: a ratio, so that the unknown scale does not matter."""
    drafts = []
    distances = asked.facts.distances[:, asked.rows]
    for a, b in _pairs(asked):
        ratio = distances[:, b] / distances[:, a]
        if not ((ratio >= MIN_DISTANCE_RATIO).all() or (ratio <= 1 / MIN_DISTANCE_RATIO).all()):
            continue
        question = "From {a} to {b}, does the camera come closer to the {thing} or move farther away from it?"
        drafts.append(_two_ways(asked, (a, b), bool(ratio[0] > 1), question, ("closer", "farther away")))
    return drafts


def angle(asked: Asked) -> list[OrbitDraft]:
    """The angle between two cameras as one of four ranges."""
    edges = (0, *EDGES_DEG, 180)
    ranges = [f"{low} to {high} degrees" for low, high in pairwise(edges)]
    degrees, doubt = asked.among(asked.facts.angle_deg), asked.among(asked.facts.doubt_deg)
    drafts = []
    for a, b in _unordered(asked):
        if np.abs(degrees[a, b] - EDGES_DEG).min() < EDGE_MARGIN_DEG + doubt[a, b]:
            continue
        index = int(np.digitize(degrees[a, b], EDGES_DEG))
        drafts.append(
            OrbitDraft(
                question=_angle_question(asked, a, b),
                answer=ranges[index],
                wrong=tuple(text for text in ranges if text != ranges[index]),
                # the more frames, the nearer some of them are
                answer_class=RANGES * len(asked.rows) + index,
                pair=_same_pair(asked, a, b),
                frames=(a, b),
            )
        )
    return drafts


def angle_number(asked: Asked) -> list[OrbitDraft]:
    """The angle between two cameras in whole degrees."""
    degrees, doubt = asked.among(asked.facts.angle_deg), asked.among(asked.facts.doubt_deg)
    return [
        OrbitDraft(
            question=f"{_angle_question(asked, a, b)} Give a whole number of degrees.",
            answer=str(round(float(degrees[a, b]))),
            wrong=(),
            # evenly over the range, or guessing the middle would pay
            answer_class=int(degrees[a, b] // 20),
            pair=_same_pair(asked, a, b),
            frames=(a, b),
            value=float(degrees[a, b]),
            unit="deg",
        )
        for a, b in _unordered(asked)
        if MIN_ANGLE_DEG <= degrees[a, b] <= MAX_ANGLE_DEG and doubt[a, b] <= MAX_DOUBT_SHARE * degrees[a, b]
    ]


def _angle_question(asked: Asked, a: int, b: int) -> str:
    return (
        f"Seen from the {asked.thing}, how many degrees apart are the cameras of {asked.frame(a)} and {asked.frame(b)}?"
    )


def _pairs(asked: Asked) -> Iterator[tuple[int, int]]:
    """All ordered pairs of frame positions; either order of a pair may be asked, but only one is."""
    return permutations(range(len(asked.rows)), 2)


def _unordered(asked: Asked) -> Iterator[tuple[int, int]]:
    """Every two frame positions once, in random order."""
    for pair in combinations(range(len(asked.rows)), 2):
        a, b = asked.rng.permutation(pair).tolist()
        yield a, b


def _steps(asked: Asked) -> Iterator[tuple[tuple[int, int], float]]:
    """Pairs with a clear sideways movement, and its azimuth in degrees."""
    step, doubt = asked.among(asked.facts.azimuth_step_deg), asked.among(asked.facts.doubt_deg)
    level = asked.among(asked.facts.level)
    # a circle of latitude is shorter than the equator, so the same doubt turns it farther
    doubt = doubt / np.cos(np.radians(np.abs(asked.among(asked.facts.turn.elevation_deg)).clip(max=80).max()))
    for a, b in _pairs(asked):
        if level[a] and level[b] and MIN_STEP_DEG + doubt[a, b] <= abs(step[a, b]) <= MAX_STEP_DEG - doubt[a, b]:
            yield (a, b), float(step[a, b])


def _two_ways(asked: Asked, pair: tuple[int, int], second: bool, question: str, ways: tuple[str, str]) -> OrbitDraft:
    a, b = pair
    return OrbitDraft(
        question=question.format(a=asked.frame(a), b=asked.frame(b), thing=asked.thing),
        answer=ways[int(second)],
        wrong=(ways[1 - int(second)],),
        # every ordered pair of names is even in itself
        answer_class=2 * (10 * a + b) + int(second),
        pair=_same_pair(asked, a, b),
        frames=(a, b),
    )


def _same_pair(asked: Asked, a: int, b: int) -> tuple[int, ...]:
    first, second = sorted((asked.set.views[a], asked.set.views[b]))
    return (first, second)
