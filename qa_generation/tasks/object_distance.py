"""Object-object distance in metres: between the nearest points of two objects that no frame of the set shows together.

So the answer must be put together from several frames. Each is the only one of its kind in the set.
"""

from __future__ import annotations

import numpy as np

from qa_generation.tasks.base import Candidate, Candidates, Draft, marks_of
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.measures import log_bins, metres, rounds_surely

TYPE = "obj_obj_distance_occ_na"


def candidates(context: SceneContext) -> Candidates:
    """A candidate per pair of objects; the class is the bin of the distance between their axis-aligned boxes."""
    low_m, high_m = context.settings.object_distance_m
    gaps_m = context.box_gaps_m
    parts = []
    for index, facts in enumerate(context.sets):
        fit = np.flatnonzero(facts.alone & context.askable)
        present = (~facts.absent[:, fit]).astype(np.int32)
        apart = present.T @ present == 0
        near = (gaps_m[np.ix_(fit, fit)] <= high_m) & (gaps_m[np.ix_(fit, fit)] >= 0.5 * low_m)
        first, second = np.nonzero(np.triu(apart & near, k=1))
        weight = np.where(context.well_seen(facts), 2.0, 1.0)[fit]
        parts.append(
            Candidates.of(
                log_bins(gaps_m[fit[first], fit[second]]),
                view_set=index,
                category=context.category_of[fit[first]],
                target=fit[first],
                reference=fit[second],
                weight=weight[first] * weight[second],
            )
        )
    return Candidates.join(parts)


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft | None:
    """The question with its answer to a tenth of a metre; None where it is out of range or rounds unsurely."""
    low_m, high_m = context.settings.object_distance_m
    columns = [candidate.target, candidate.reference]
    distance_m = context.object_distance_m(*columns)
    if not low_m <= distance_m <= high_m or not rounds_surely(np.array([distance_m]))[0]:
        return None
    first, second = columns if rng.random() < 0.5 else columns[::-1]
    names = context.labels[first], context.labels[second]
    return Draft(
        question=f"How far apart, in metres, are the nearest points of the {names[0]} and the {names[1]}?",
        answer=metres(distance_m),
        wrong=(),
        target_category=names[0],
        targets=(first,),
        reference_category=names[1],
        references=(second,),
        marks=(
            *marks_of(context, candidate.view_set, [first], "target"),
            *marks_of(context, candidate.view_set, [second], "reference"),
        ),
        value=distance_m,
        unit="m",
    )
