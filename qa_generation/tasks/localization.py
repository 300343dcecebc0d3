"""Object localisation: whether a frame shows an object and where its 2D box is centred (``obj_localization_occ``).

Options are ``No`` and three ``Yes; (x, y)``. Rugs lie low in a picture and lamps hang high, so points put around the
true one give it away: it is the one where such things are wont to be. Wrong points are therefore places where things of
this name are centred in other frames of the scene, under the very conditions that the true one meets. Of three such
places none is more likely than another to be that of the asked frame.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from qa_generation.generation_config import GenerationConfig
from qa_generation.tasks.base import Candidate, Candidates, Draft, Mark, marks_of
from qa_generation.tasks.categories import with_article
from qa_generation.tasks.context import SceneContext

TYPE = "obj_localization_occ"
POINT_TYPE = "obj_localization_occ_na"
NO, YES = 0, 1
POINTS = 3
# any two of the three points are so far apart, in half diagonals of the larger box of the two
LEAST_APART = 0.75
LEAST_APART_PX = 10.0


def shares(config: GenerationConfig) -> dict[int, float]:
    """Shares of the answers."""
    return {NO: config.localization_negatives, YES: 1.0 - config.localization_negatives}


def all_yes(config: GenerationConfig) -> dict[int, float]:
    """The question for a point is asked only where there is one."""
    return {YES: 1.0}


def candidates(context: SceneContext) -> Candidates:
    """A candidate per view set, frame and instance: shown there with nothing of its kind beside it, or shown elsewhere
    while nothing of its kind has a pixel there."""
    parts = []
    for index, facts in enumerate(context.sets):
        welcome = context.well_seen(facts) & context.askable
        for frame, member in enumerate(facts.members):
            kin_present = (context.kin & ~facts.absent[frame][None]).any(axis=1)
            positive = np.flatnonzero(context.placed[member] & context.askable)
            negative = np.flatnonzero(welcome & ~kin_present)
            found = np.concatenate([positive, negative])
            answer = np.repeat([YES, NO], [len(positive), len(negative)])
            category = context.category_of[found]
            parts.append(Candidates.of(answer, view_set=index, query=frame, category=category, target=found))
    return Candidates.join(parts)


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft | None:
    """The question with its points; None where too few frames show such things at other places."""
    facts, column = context.sets[candidate.view_set], candidate.target
    category = context.labels[column]
    present = candidate.answer == YES
    asked = int(facts.members[candidate.query])
    box = context.boxes[asked, column]
    points = _points(context, column, asked, box[None] if present else box[:0].reshape(0, 4), rng)
    if points is None:
        return None
    texts = [f"Yes; ({x}, {y})" for x, y in points]
    marks = [Mark(candidate.query, column, "target")]
    return Draft(
        question=(
            f"Does {context.frame(facts, candidate.query)} show {with_article(category)}? "
            "If yes, where is the centre of its 2D box?"
        ),
        answer=texts[0] if present else "No",
        wrong=("No", *texts[1:]) if present else tuple(texts),
        target_category=category,
        targets=(column,),
        query=candidate.query,
        marks=tuple(marks if present else marks_of(context, candidate.view_set, [column], "elsewhere")),
        asked_box=tuple(int(v) for v in box) if present else (),
    )


def _points(
    context: SceneContext, column: int, asked: int, true: Int[np.ndarray, "true 4"], rng: np.random.Generator
) -> Int[np.ndarray, "3 2"] | None:
    """The centre of the true box, if there is one, and those of things of the name in other views than the asked."""
    views, columns = np.nonzero(context.placed & context.members_of[context.category_of[column]])
    order = rng.permutation(np.flatnonzero(views != asked))
    boxes = np.concatenate([true, context.boxes[views[order], columns[order]]])
    chosen = apart(boxes, POINTS)
    return None if chosen is None else ((boxes[:, :2] + boxes[:, 2:]) // 2)[chosen]


def apart(boxes: Int[np.ndarray, "boxes 4"], number: int) -> list[int] | None:
    """The first boxes whose centres tell them apart, beginning with the first of all; None where there are too few."""
    centers: Float[np.ndarray, "boxes 2"] = ((boxes[:, :2] + boxes[:, 2:]) // 2).astype(np.float64)
    reach = np.maximum(LEAST_APART * np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T) / 2.0, LEAST_APART_PX)
    free: Bool[np.ndarray, " boxes"] = np.ones(len(boxes), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < number:
        if not free.any():
            return None
        chosen.append(int(np.argmax(free)))
        distance = np.linalg.norm(centers - centers[chosen[-1]], axis=1)
        free &= distance >= np.maximum(reach, reach[chosen[-1]])
    return chosen


def point_candidates(context: SceneContext) -> Candidates:
    """Those of `candidates` whose answer is yes, for the question that asks for the centre itself."""
    found = candidates(context)
    return found.only(found.answer == YES)


def write_point(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """The question for the centre (``obj_localization_occ_na``), in pixels of the canvas that it names."""
    facts, column = context.sets[candidate.view_set], candidate.target
    category, (width, height) = context.labels[column], context.config.coord_size
    box = context.boxes[int(facts.members[candidate.query]), column]
    x, y = (box[:2] + box[2:]) // 2
    return Draft(
        question=(
            f"In {context.frame(facts, candidate.query)}, give the pixel centre (x,y) of the 2D box of the {category}; "
            f"pictures are {width} pixels wide and {height} high."
        ),
        answer=f"({x},{y})",
        wrong=(),
        target_category=category,
        targets=(column,),
        query=candidate.query,
        marks=(Mark(candidate.query, column, "target"),),
        asked_box=tuple(int(v) for v in box),
        unit="px",
    )
