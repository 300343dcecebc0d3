"""Object count: how many different objects of a category the frames show together (``obj_count_occ``).

The truth is the number of instances visible in at least one frame. A category is dropped in a set where some instance
is neither visible in a frame nor absent from all, or where a kindred category (``office chair`` for ``chair``) shows.
Labels of heaps (``books``) are never counted. ``obj_count_occ_na`` asks the same for a number in words of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qa_generation.options import NumberOptions
from qa_generation.tasks.base import Candidate, Candidates, Draft, marks_of
from qa_generation.tasks.context import SceneContext, SetFacts

TYPE = "obj_count_occ"
NUMBER_TYPE = "obj_count_occ_na"


def countable(context: SceneContext, facts: SetFacts) -> np.ndarray:
    """Number of instances of every category visible in the set, 0 where it cannot be told."""
    members, kin = context.members_of, context.kin_of
    doubtful = (kin & (facts.seen & ~facts.shown)[None]).any(axis=1)
    disturbed = (kin & ~members & facts.seen[None]).any(axis=1)
    count = (members & facts.shown[None]).sum(axis=1)
    unfit = doubtful | disturbed | (count > context.config.max_count) | ~context.countable
    return np.where(unfit, 0, count)


def candidates(context: SceneContext, question_type: str = TYPE) -> Candidates:
    """A candidate per view set and category that can be counted; categories with several instances are preferred."""
    several = context.members_of.sum(axis=1) > 1
    fair = context.fair_counts(question_type)
    parts = []
    for index, facts in enumerate(context.sets):
        count = countable(context, facts)
        found = np.flatnonzero(count)
        # an object that has no sibling in the scene is always "1": asking for it teaches the category, not the views
        weight = np.where(several[found], 8.0, 1.0)
        parts.append(
            Candidates.of(count[found], view_set=index, category=found, weight=weight, fair=fair[found, count[found]])
        )
    return Candidates.join(parts)


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """The question with three wrong numbers, fitted so that the options alone do not tell."""
    numbers = number_options(context, TYPE, size=4, smallest=1)
    draft = write_number(candidate, context, rng)
    return replace(
        draft,
        question=_question(draft.target_category),
        wrong=tuple(str(n) for n in numbers.wrong(candidate.answer, rng)),
        value=None,
        unit="",
    )


def write_number(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """The question for the number itself."""
    category = context.categories[candidate.category]
    columns = np.flatnonzero(context.members_of[candidate.category] & context.sets[candidate.view_set].shown)
    return Draft(
        question=f"{_question(category)} Give a whole number.",
        answer=str(candidate.answer),
        wrong=(),
        target_category=category,
        targets=tuple(int(c) for c in columns),
        marks=tuple(marks_of(context, candidate.view_set, columns, "target")),
        value=float(candidate.answer),
        unit="objects",
    )


def _question(category: str) -> str:
    return f"Counting each physical object once, how many {category}(s) can be seen in these frames?"


def number_options(context: SceneContext, question_type: str, size: int, smallest: int) -> NumberOptions:
    """The options for this scene's answers of one type; fitted once."""
    if question_type not in context.number_options:
        shares = {number: float(count) for number, count in context.answer_counts[question_type].items()}
        context.number_options[question_type] = NumberOptions(shares, size, smallest)
    return context.number_options[question_type]
