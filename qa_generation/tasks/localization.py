"""Object localisation: whether a frame shows an object and where its 2D box is centred (``obj_localization_occ``).

Options are ``No`` and three ``Yes; (x, y)``. The three points form a triangle drawn without regard to the truth; one of
its corners, chosen at random, is then put on the true centre (or, where the answer is ``No``, on the object's centre in
another frame). So the true point is no more in the middle than the others, and triangles of both answers look alike.
Things that are partly hidden stand near the border, where wrong points fit on the inner side only; so the true point is
also made the outermost, the middle and the innermost of the three equally often, and is not asked for where it cannot.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from qa_generation.generation_config import GenerationConfig
from qa_generation.tasks.base import Candidate, Candidates, Draft, Mark, marks_of
from qa_generation.tasks.categories import with_article
from qa_generation.tasks.context import SceneContext, SetFacts

TYPE = "obj_localization_occ"
POINT_TYPE = "obj_localization_occ_na"
NO, YES = 0, 1
# sides of the triangle, in half diagonals of the box: from one on a corner never lies inside the box of another
SIDES = (1.0, 2.0)
MIN_SIDE_PX = 10.0


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
        fitting = _fitting(context, facts)
        welcome = fitting.any(axis=0) & facts.shown & context.askable
        for frame in range(len(facts.members)):
            present = ~facts.absent[frame]
            kin_present = (context.kin & present[None]).sum(axis=1)
            positive = np.flatnonzero(fitting[frame] & context.askable & (kin_present == 1))
            negative = np.flatnonzero(welcome & (kin_present == 0))
            found = np.concatenate([positive, negative])
            answer = np.repeat([YES, NO], [len(positive), len(negative)])
            category = context.category_of[found]
            parts.append(Candidates.of(answer, view_set=index, query=frame, category=category, target=found))
    return Candidates.join(parts)


def _fitting(context: SceneContext, facts: SetFacts) -> np.ndarray:
    """(frames, instances): visible, partly hidden, and with room for wrong points on all sides."""
    low, high = context.config.occlusion_window
    occlusion = np.nan_to_num(context.table.occlusion[facts.members], nan=1.0)
    boxes, centers = context.boxes[facts.members], context.centers[facts.members]
    reach = np.hypot(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])[..., None] / 2.0
    roomy = ((centers >= reach) & (centers < np.asarray(context.config.coord_size) - reach)).all(axis=-1)
    return facts.visible & (occlusion >= low) & (occlusion <= high) & roomy


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft | None:
    """The question with its points; None where the triangle does not fit into the frame."""
    facts, column = context.sets[candidate.view_set], candidate.target
    category = context.labels[column]
    shown_in = candidate.query
    if candidate.answer == NO:
        shown_in = int(rng.choice(np.flatnonzero(_fitting(context, facts)[:, column])))
    box = context.boxes[int(facts.members[shown_in]), column]
    points = triangle(box, context.config.coord_size, rng)
    if points is None:
        return None
    texts = [f"Yes; ({x}, {y})" for x, y in points]
    present = candidate.answer == YES
    marks = [Mark(shown_in, column, "target")]
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


def triangle(
    box: Int[np.ndarray, "4"], canvas: tuple[int, int], rng: np.random.Generator, tries: int = 192
) -> Int[np.ndarray, "3 2"] | None:
    """Three pixels on the canvas, the first the centre of ``box``, their sides 1-2 half diagonals.

    The first is nearest to, second and farthest from the middle of the canvas with equal chances; None where it lies so
    that it cannot be each of them.
    """
    center = (box[:2] + box[2:]) // 2
    half_diagonal = max(float(np.hypot(*(box[2:] - box[:2]))) / 2.0, MIN_SIDE_PX)
    angle = rng.uniform(0.0, 2.0 * np.pi, (tries, 2))
    radius = rng.uniform(*SIDES, (tries, 2)) * half_diagonal
    corners = np.zeros((tries, 3, 2))
    corners[:, 1:] = radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    # any corner may be the true one
    order = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])[rng.integers(3, size=tries)]
    corners = np.take_along_axis(corners, order[..., None], axis=1)
    points = np.rint(corners - corners[:, :1] + center).astype(np.int64)

    sides = np.linalg.norm(points - np.roll(points, 1, axis=1), axis=-1)
    inside = ((points >= 0) & (points < np.asarray(canvas))).all(axis=(1, 2))
    fits = inside & (sides >= SIDES[0] * half_diagonal).all(axis=1) & (sides <= SIDES[1] * half_diagonal).all(axis=1)
    from_middle = np.linalg.norm(points - np.asarray(canvas) / 2, axis=-1)
    nearer = (from_middle[:, 1:] < from_middle[:, :1]).sum(axis=1)
    by_rank = [np.flatnonzero(fits & (nearer == rank)) for rank in range(3)]
    if not all(len(found) for found in by_rank):
        return None
    return points[by_rank[int(rng.integers(3))][0]]
