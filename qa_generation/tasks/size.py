"""Object size in centimetres: the longest side of an object that every frame shows only in part.

The side is that of the object's oriented box. Objects whose combined occlusion is below 0.2 in some frame are not asked
about: their size could be had from that frame alone (specs 3.3).
"""

from __future__ import annotations

import numpy as np

from qa_generation.tasks.base import Candidate, Candidates, Draft, marks_of
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.measures import log_bins

TYPE = "obj_size_occ_na"
LEAST_OCCLUSION = 0.2
# half a centimetre of rounding is then at most a twentieth
SMALLEST_CM = 10.0


def candidates(context: SceneContext) -> Candidates:
    """A candidate per object of its own kind that is partly hidden wherever it shows; the class is the size's bin."""
    size_cm = context.longest_side_cm
    parts = []
    for index, facts in enumerate(context.sets):
        occlusion = np.nan_to_num(context.table.occlusion[facts.members], nan=1.0)
        partial = ((occlusion >= LEAST_OCCLUSION) | facts.absent).all(axis=0)
        found = np.flatnonzero(facts.alone & context.askable & partial & (size_cm >= SMALLEST_CM))
        parts.append(
            Candidates.of(log_bins(size_cm[found]), view_set=index, category=context.category_of[found], target=found)
        )
    return Candidates.join(parts)


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """The question with its answer in whole centimetres."""
    target, size_cm = context.labels[candidate.target], float(context.longest_side_cm[candidate.target])
    return Draft(
        question=f"How long, in centimetres, is the longest side of the {target}?",
        answer=str(round(size_cm)),
        wrong=(),
        target_category=target,
        targets=(candidate.target,),
        marks=tuple(marks_of(context, candidate.view_set, [candidate.target], "target")),
        value=size_cm,
        unit="cm",
    )
