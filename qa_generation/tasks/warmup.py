"""Easy questions about a single frame with open one-word answers: a curriculum for small models, never a test.

They practise what the six families take for granted: finding a named thing in a named frame, counting within a frame,
and the directions, here between two objects that both show. Wordings share the families' words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool

from qa_generation.tasks.base import Candidate, Candidates, Draft, Mark, Task
from qa_generation.tasks.categories import with_article
from qa_generation.tasks.context import SceneContext, SetFacts
from qa_generation.tasks.relations import AXES

ABSENT, PRESENT = 0, 1
THIRDS = ("left", "middle", "right")
# a centre this near to the border of two thirds, as a share of the width, is in neither
THIRD_MARGIN = 0.04
WORDS: dict[str, tuple[str, str]] = {
    "lr": ("left", "right"),
    "ab": ("lower", "higher"),
    "fb": ("closer", "farther"),
}
CHOICES: dict[str, tuple[str, str]] = {
    "lr": ("to the left", "to the right"),
    "ab": ("lower", "higher"),
    "fb": ("closer to the camera", "farther from the camera"),
}
MOST_IN_FRAME = 6


def _frames(context: SceneContext) -> Iterator[tuple[int, int, SetFacts]]:
    for index, facts in enumerate(context.sets):
        for frame in range(len(facts.members)):
            yield index, frame, facts


def _alone(context: SceneContext, facts: SetFacts, frame: int) -> Bool[np.ndarray, " instances"]:
    """Instances visible in the frame with nothing else of their kind there."""
    present = ~facts.absent[frame]
    return facts.visible[frame] & context.askable & ((context.kin & present[None]).sum(axis=1) == 1)


def _in_frame(context: SceneContext, facts: SetFacts, frame: int) -> np.ndarray:
    """Visible instances of every category in the frame, -1 where it cannot be told or must not be asked."""
    members, kin = context.members_of, context.kin_of
    unclear = (kin & facts.ambiguous[frame][None]).any(axis=1)
    unclear |= (kin & ~members & ~facts.absent[frame][None]).any(axis=1)
    unclear |= ~(members & context.askable[None]).any(axis=1)
    return np.where(unclear, -1, (members & facts.visible[frame][None]).sum(axis=1))


def presence_candidates(context: SceneContext) -> Candidates:
    """Every category that a frame clearly shows or clearly does not."""
    parts = []
    for index, frame, facts in _frames(context):
        number = _in_frame(context, facts, frame)
        found = np.flatnonzero((number >= 0) & context.countable)
        answer = np.where(number[found] > 0, PRESENT, ABSENT)
        parts.append(Candidates.of(answer, view_set=index, query=frame, category=found))
    return Candidates.join(parts)


def write_presence(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """Is there a chair in Frame 2? yes or no."""
    category = context.categories[candidate.category]
    frame = context.frame(context.sets[candidate.view_set], candidate.query)
    answer = "Yes" if candidate.answer == PRESENT else "No"
    return _category_draft(candidate, context, f"Is there {with_article(category)} in {frame}?", answer)


def count_candidates(context: SceneContext) -> Candidates:
    """Every category with a clear number in a frame, zero included."""
    parts = []
    for index, frame, facts in _frames(context):
        number = _in_frame(context, facts, frame)
        found = np.flatnonzero((number >= 0) & (number <= MOST_IN_FRAME) & context.countable)
        parts.append(Candidates.of(number[found], view_set=index, query=frame, category=found))
    return Candidates.join(parts)


def write_count(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """How many chair(s) can be seen in Frame 2? a number."""
    category = context.categories[candidate.category]
    frame = context.frame(context.sets[candidate.view_set], candidate.query)
    question = f"How many {category}(s) can be seen in {frame}?"
    return _category_draft(candidate, context, question, str(candidate.answer))


def _category_draft(candidate: Candidate, context: SceneContext, question: str, answer: str) -> Draft:
    facts = context.sets[candidate.view_set]
    columns = np.flatnonzero(context.members_of[candidate.category] & facts.visible[candidate.query])
    return Draft(
        question=question,
        answer=answer,
        wrong=(),
        target_category=context.categories[candidate.category],
        targets=tuple(int(c) for c in columns),
        query=candidate.query,
        marks=tuple(Mark(candidate.query, int(c), "target") for c in columns),
    )


def relation_candidates(context: SceneContext) -> Candidates:
    """Pairs of objects that each stand alone in a frame, on every axis that decides; the class is axis and sign."""
    parts = []
    for index, frame, facts in _frames(context):
        alone = _alone(context, facts, frame)
        signs = context.relations(int(facts.members[frame]))
        axis, target, reference = np.nonzero((signs != 0) & (alone[:, None] & alone[None] & ~context.kin)[None])
        answer = 2 * axis + (signs[axis, target, reference] > 0)
        category = context.category_of[target]
        parts.append(
            Candidates.of(answer, view_set=index, query=frame, category=category, target=target, reference=reference)
        )
    return Candidates.join(parts)


def write_relation(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """Seen from Frame 2, is the chair lower or higher than the table? the one word."""
    axis, positive = AXES[candidate.answer // 2], candidate.answer % 2
    first, second = (CHOICES[axis][i] for i in rng.permutation(2))
    joint = " of" if axis == "lr" else " than"
    frame = context.frame(context.sets[candidate.view_set], candidate.query)
    target, reference = context.labels[candidate.target], context.labels[candidate.reference]
    return Draft(
        question=f"Seen from {frame}, is the {target} {first} or {second}{joint} the {reference}?",
        answer=WORDS[axis][positive],
        wrong=(),
        target_category=target,
        targets=(candidate.target,),
        reference_category=reference,
        references=(candidate.reference,),
        query=candidate.query,
        marks=(
            Mark(candidate.query, candidate.target, "target"),
            Mark(candidate.query, candidate.reference, "reference"),
        ),
    )


def where_candidates(context: SceneContext) -> Candidates:
    """Objects that stand alone in a frame and lie clearly in one third of it."""
    width = context.config.coord_size[0]
    parts = []
    for index, frame, facts in _frames(context):
        place = context.centers[int(facts.members[frame]), :, 0] / width
        third = np.clip((3.0 * place).astype(np.int64), 0, 2)
        clear = np.abs(place[:, None] - np.array([[1 / 3, 2 / 3]])).min(axis=1) >= THIRD_MARGIN
        found = np.flatnonzero(_alone(context, facts, frame) & clear)
        category = context.category_of[found]
        parts.append(Candidates.of(third[found], view_set=index, query=frame, category=category, target=found))
    return Candidates.join(parts)


def write_where(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """Which third of Frame 2 shows the chair: left, middle or right?"""
    category = context.labels[candidate.target]
    facts = context.sets[candidate.view_set]
    box = context.boxes[int(facts.members[candidate.query]), candidate.target]
    frame = context.frame(facts, candidate.query)
    return Draft(
        question=f"Which third of {frame} shows the {category}: left, middle or right?",
        answer=THIRDS[candidate.answer],
        wrong=(),
        target_category=category,
        targets=(candidate.target,),
        query=candidate.query,
        marks=(Mark(candidate.query, candidate.target, "target"),),
        asked_box=tuple(int(v) for v in box),
    )


def _even(classes: int) -> Callable[..., dict[int, float]]:
    return lambda config: dict.fromkeys(range(classes), 1.0 / classes)


WARMUP_TASKS: dict[str, Task] = {
    "warmup_presence": Task(presence_candidates, write_presence, shares=_even(2)),
    "warmup_count_frame": Task(count_candidates, write_count, max_share=0.25),
    "warmup_relation": Task(relation_candidates, write_relation, shares=_even(6)),
    "warmup_where": Task(where_candidates, write_where, shares=_even(3)),
}
