"""Best view: how many objects of a category there are and which frame shows most of them (``bestview_count_occ``).

The best frame shows the most instances; on a tie the larger sum of visible pixels wins, by at least a tenth, else the
question is dropped. The four options are {n, m} x {best, other}: every number and every frame stands twice, so that
counting appearances does not help.
"""

from __future__ import annotations

import numpy as np

from qa_generation.tasks.base import Candidate, Candidates, Draft, marks_of
from qa_generation.tasks.context import SceneContext, SetFacts
from qa_generation.tasks.count import countable, number_options

TYPE = "bestview_count_occ"
PIXEL_MARGIN = 1.1


def best_frame(visible: np.ndarray, pixels: np.ndarray) -> int:
    """The frame that shows most instances, ties by visible pixels with a margin of a tenth; -1 where undecided.

    Args:
        visible: (frames, instances) flags of the instances asked for.
        pixels: visible pixels of the same.
    """
    number: np.ndarray = visible.sum(axis=1)
    area: np.ndarray = np.where(visible, pixels, 0).sum(axis=1)
    first, second = (int(frame) for frame in np.lexsort((area, number))[:-3:-1])
    if number[first] == number[second] and area[first] < PIXEL_MARGIN * area[second]:
        return -1
    return first


def candidates(context: SceneContext) -> Candidates:
    """A candidate per view set and category with at least two instances and one clearly best frame."""
    fair = context.fair_counts(TYPE)
    parts = []
    for index, facts in enumerate(context.sets):
        count = countable(context, facts)
        doubtful = facts.ambiguous.any(axis=0, keepdims=True)
        clear = ~(context.members_of & doubtful).any(axis=1)
        best = {int(c): _best(context, facts, int(c)) for c in np.flatnonzero((count >= 2) & clear)}
        found = np.array([c for c, frame in best.items() if frame >= 0], dtype=np.int64)
        query = np.array([best[int(c)] for c in found], dtype=np.int64)
        told = fair[found, count[found]]
        parts.append(Candidates.of(count[found], view_set=index, query=query, category=found, fair=told))
    return Candidates.join(parts)


def _best(context: SceneContext, facts: SetFacts, category: int) -> int:
    columns = context.members_of[category]
    return best_frame(facts.visible[:, columns], context.table.visible_pixels[facts.members][:, columns])


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """The question with the two-by-two options."""
    category = context.categories[candidate.category]
    facts = context.sets[candidate.view_set]
    columns = np.flatnonzero(context.members_of[candidate.category] & facts.shown)
    (other_number,) = number_options(context, TYPE, size=2, smallest=2).wrong(candidate.answer, rng)
    other_frame = int(rng.choice([f for f in range(len(facts.members)) if f != candidate.query]))

    def option(number: int, frame: int) -> str:
        return f"{number} {category}(s); {context.frame(facts, frame)}"

    return Draft(
        question=(
            f"Counting each physical object once, how many {category}(s) can be seen, and which frame shows them best?"
        ),
        answer=option(candidate.answer, candidate.query),
        wrong=(
            option(candidate.answer, other_frame),
            option(other_number, candidate.query),
            option(other_number, other_frame),
        ),
        target_category=category,
        targets=tuple(int(c) for c in columns),
        marks=tuple(marks_of(context, candidate.view_set, columns, "target")),
    )
