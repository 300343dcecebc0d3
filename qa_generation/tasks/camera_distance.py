"""Camera-object distance in metres: from the camera of a frame to the nearest point of an object.

The object is the only one of its kind in the set. It may be hidden in the asked frame: its distance then follows only
from the frames together. The published generator's exact rule is unknown; this is specs 3.3 with surface points.
"""

from __future__ import annotations

import numpy as np

from qa_generation.tasks.base import Candidate, Candidates, Draft, marks_of
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.measures import log_bins, metres, rounds_surely

TYPE = "obj_distance_occ_na"


def candidates(context: SceneContext) -> Candidates:
    """A candidate per frame and object of its own kind; the class is the distance's bin."""
    low_m, high_m = context.settings.camera_distance_m
    parts = []
    for index, facts in enumerate(context.sets):
        fit = facts.alone & context.askable
        weight = np.where(context.well_seen(facts), 2.0, 1.0)
        for frame, row in enumerate(facts.members):
            distance_m = context.camera_distance_m[int(row)]
            # barely shown in the asked frame, it would be a matter of taste whether the frame shows it
            clear = ~facts.ambiguous[frame] & rounds_surely(distance_m)
            found = np.flatnonzero(fit & clear & (distance_m >= low_m) & (distance_m <= high_m))
            hidden = np.where(facts.absent[frame, found], 1.5, 1.0)
            parts.append(
                Candidates.of(
                    log_bins(distance_m[found]),
                    view_set=index,
                    query=frame,
                    category=context.category_of[found],
                    target=found,
                    weight=weight[found] * hidden,
                )
            )
    return Candidates.join(parts)


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator) -> Draft:
    """The question with its answer to a tenth of a metre."""
    facts, target = context.sets[candidate.view_set], context.labels[candidate.target]
    distance_m = float(context.camera_distance_m[int(facts.members[candidate.query]), candidate.target])
    frame = context.frame(facts, candidate.query)
    return Draft(
        question=f"How far, in metres, is the camera of {frame} from the nearest point of the {target}?",
        answer=metres(distance_m),
        wrong=(),
        target_category=target,
        targets=(candidate.target,),
        query=candidate.query,
        marks=tuple(marks_of(context, candidate.view_set, [candidate.target], "target")),
        value=distance_m,
        unit="m",
    )
