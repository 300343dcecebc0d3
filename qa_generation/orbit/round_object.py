"""Questions about the places of several frames on the circle round the object: its opposite side, their order."""

from __future__ import annotations

from itertools import islice, permutations

import numpy as np

from qa_generation.orbit.drafts import MOST_OPTIONS, Asked, OrbitDraft

# "opposite" begins here; asked where every frame is clear of it by the margin
OPPOSITE_DEG, OPPOSITE_MARGIN_DEG = 135.0, 12.0
# neighbours on the circle are this far apart at least
MIN_GAP_DEG = 15.0


def opposite(asked: Asked) -> list[OrbitDraft]:
    """Whether any other frame shows the side opposite to a frame: yes or no."""
    if not asked.among(asked.facts.level).all():
        return []
    step = np.abs(asked.among(asked.facts.azimuth_step_deg))
    margin = OPPOSITE_MARGIN_DEG + asked.among(asked.facts.doubt_deg).max()
    drafts = []
    for query in range(len(asked.rows)):
        farthest = float(step[query].max())
        if abs(farthest - OPPOSITE_DEG) < margin:
            continue
        name = asked.frame(query)
        yes = farthest > OPPOSITE_DEG
        drafts.append(
            OrbitDraft(
                question=(
                    f"Does any other frame show the {asked.thing} from the side opposite to {name}, "
                    f"at least {OPPOSITE_DEG:.0f} degrees round it as seen from above?"
                ),
                answer="Yes" if yes else "No",
                wrong=("No" if yes else "Yes",),
                # the number of frames must not tell: the more there are, the likelier one is opposite
                answer_class=2 * (10 * len(asked.rows) + query) + int(yes),
                about=(query,),
                frames=tuple(range(len(asked.rows))),
                query=query,
            )
        )
    return drafts


def order(asked: Asked) -> list[OrbitDraft]:
    """In which order the other frames come when going round counter-clockwise from one."""
    count = len(asked.rows)
    if count < 4 or not asked.among(asked.facts.level).all():
        return []
    azimuth = asked.among(asked.facts.turn.azimuth_deg)
    circle = np.argsort(azimuth)
    gaps = np.diff(np.append(azimuth[circle], azimuth[circle[0]] + 360.0))
    if gaps.min() < MIN_GAP_DEG + asked.among(asked.facts.doubt_deg).max():
        return []
    drafts = []
    for start in range(count):
        place = int(np.flatnonzero(circle == start)[0])
        true = [int(position) for position in np.roll(circle, -place)[1:]]
        others = [list(way) for way in islice(permutations(sorted(true)), 1000) if list(way) != true]
        shown = [others[int(i)] for i in asked.rng.permutation(len(others))[: MOST_OPTIONS - 1]]
        drafts.append(
            OrbitDraft(
                question=(
                    f"Going once round the {asked.thing}, counter-clockwise as seen from above and starting from "
                    f"{asked.frame(start)}, in which order do the other frames come?"
                ),
                answer=_names(asked, true),
                wrong=tuple(_names(asked, way) for way in shown),
                answer_class=10 * count + true[0],
                # all starts of one set tell the same circle
                about=(),
                frames=tuple(range(count)),
                query=start,
            )
        )
    return drafts


def _names(asked: Asked, positions: list[int]) -> str:
    return ", ".join(asked.frame(position) for position in positions)
