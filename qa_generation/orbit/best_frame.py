"""Questions whose answer is one of the frames shown: where the object is largest, nearest, seen from highest, cut off;
which frame shares most surface with another; which two are farthest apart.

Each has one true answer because the best frame is ahead of all others by a margin that the doubt about the middle of
the object, and the roughness of hull and masks, cannot undo.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from qa_generation.orbit.drafts import MOST_OPTIONS, Asked, OrbitDraft

MIN_AREA_RATIO = 1.2
MIN_DISTANCE_RATIO = 1.15
MIN_RISE_DEG = 8.0
MIN_SPREAD_DEG = 15.0
# a frame cuts the object off when this many of its pixels lie on an edge, in square roots of its area ...
MIN_EDGE_LENGTH = 0.15
# ... and the others keep clear of their edges by this share of the picture's longer side
MIN_EDGE_GAP = 0.01
# the frame that shares most shows this much more of what the asked frame shows, and is nearer by so many degrees; on
# filmed meshes whose surface is known, 0 of 1,889 answers were wrong, and 22 of 3,192 by a lead of 0.2 alone
MIN_SHARED_LEAD, MIN_NEARER_DEG = 0.25, 30.0


def largest(asked: Asked) -> list[OrbitDraft]:
    """The frame in which the object covers most pixels."""
    best = _ahead(np.array([asked.facts.capture.masks[row].area for row in asked.rows], dtype=float), MIN_AREA_RATIO)
    question = f"In which frame does the {asked.thing} appear largest, covering most of the picture?"
    return [] if best is None else [asked.frame_choice(question, best, range(len(asked.rows)))]


def nearest(asked: Asked) -> list[OrbitDraft]:
    """The frame whose camera is nearest to the object, whichever way its middle is found."""
    found = {_ahead(1 / distance[asked.rows], MIN_DISTANCE_RATIO) for distance in asked.facts.distances}
    best = found.pop()
    if found or best is None:
        return []
    question = f"In which frame is the camera nearest to the {asked.thing}?"
    return [asked.frame_choice(question, best, range(len(asked.rows)))]


def highest(asked: Asked) -> list[OrbitDraft]:
    """The frame that looks down most steeply."""
    if not asked.facts.turn.up_is_known:
        return []
    elevation, doubt = asked.among(asked.facts.turn.elevation_deg), asked.among(asked.facts.doubt_deg)
    second, best = (int(position) for position in np.argsort(elevation)[-2:])
    if elevation[best] - elevation[second] < MIN_RISE_DEG + doubt[best].max() or elevation[best] < MIN_RISE_DEG:
        return []
    question = f"Which frame looks down on the {asked.thing} at the steepest angle?"
    return [asked.frame_choice(question, best, range(len(asked.rows)))]


def cut_off(asked: Asked) -> list[OrbitDraft]:
    """The only frame whose edge cuts the object off."""
    masks = [asked.facts.capture.masks[row] for row in asked.rows]
    cut = [mask.edge_pixels >= MIN_EDGE_LENGTH * np.sqrt(mask.area) for mask in masks]
    clear = [mask.border_gap >= MIN_EDGE_GAP * max(mask.size) for mask in masks]
    if sum(cut) != 1 or sum(clear) != len(masks) - 1:
        return []
    question = f"In which frame is the {asked.thing} cut off by the edge of the picture?"
    return [asked.frame_choice(question, cut.index(True), range(len(masks)))]


def shared_surface(asked: Asked) -> list[OrbitDraft]:
    """The frame that shows most of the surface that another frame shows; surface counts as squarely as both face it."""
    if not asked.facts.surface_is_known or len(asked.rows) < 3:
        return []
    part, degrees = asked.among(asked.facts.hull.shown_part), asked.among(asked.facts.angle_deg)
    drafts = []
    for query in range(len(asked.rows)):
        others = np.array([position for position in range(len(asked.rows)) if position != query])
        second, best = others[np.argsort(part[others, query])[-2:]]
        nearer = np.delete(degrees[query], [query, best]).min() - degrees[query, best]
        if part[best, query] - part[second, query] < MIN_SHARED_LEAD or nearer < MIN_NEARER_DEG:
            continue
        name = asked.frame(query)
        question = f"Which other frame shows the most of that part of the {asked.thing} which {name} shows?"
        drafts.append(asked.frame_choice(question, int(best), others.tolist(), query))
    return drafts


def widest_pair(asked: Asked) -> list[OrbitDraft]:
    """The two frames taken from the most different directions."""
    if len(asked.rows) < 3:
        return []
    degrees, doubt = asked.among(asked.facts.angle_deg), asked.among(asked.facts.doubt_deg)
    pairs = list(combinations(range(len(asked.rows)), 2))
    values = np.array([degrees[pair] for pair in pairs])
    order = np.argsort(values)
    best, second = int(order[-1]), int(order[-2])
    if values[best] - values[second] < MIN_SPREAD_DEG + doubt.max():
        return []
    names = [f"{asked.frame(a)} and {asked.frame(b)}" for a, b in pairs]
    shown = asked.rng.permutation(np.delete(np.arange(len(pairs)), best))[: MOST_OPTIONS - 1].tolist()
    return [
        OrbitDraft(
            question=f"Which two frames show the {asked.thing} from the most different directions?",
            answer=names[best],
            wrong=tuple(names[index] for index in shown),
            answer_class=10 * len(asked.rows) + best,
            frames=tuple(range(len(asked.rows))),
        )
    ]


def _ahead(values: np.ndarray, ratio: float) -> int | None:
    """The position of the largest value where it is at least ``ratio`` times every other."""
    second, best = (int(position) for position in np.argsort(values)[-2:])
    return best if values[best] >= ratio * values[second] else None
