"""Object existence: is the hidden target in this direction from the reference, yes or no (``obj_existence_occ_*``).

Direction words and answers are balanced together: each of the four combinations is equally frequent as far as the scene
allows, so neither the word nor the answer alone tells. What a reader knows of the world (lamps are higher than rugs)
remains and is measured by the question-only baseline.
"""

from __future__ import annotations

import numpy as np

from qa_generation.tasks import hidden
from qa_generation.tasks.base import Candidate, Candidates, Draft
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.relations import AXES, phrase


def candidates(context: SceneContext, axis: str) -> Candidates:
    """A candidate per hidden target and reference with a decided relation on the axis; the class is its sign."""
    pairs = hidden.hidden_pairs(context)
    sign = pairs.signs[AXES.index(axis)]
    return pairs.candidates(context, sign != 0, sign, context.fair(axis, pairs.target, pairs.reference, sign))


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator, axis: str) -> Draft:
    """The question with the true direction, or with its opposite."""
    facts = context.sets[candidate.view_set]
    target, reference = context.labels[candidate.target], context.labels[candidate.reference]
    named = context.reference_text(facts, candidate.query, candidate.reference)
    said_yes = context.tally[f"existence_{axis}", str(candidate.answer), "yes"]
    said_no = context.tally[f"existence_{axis}", str(candidate.answer), "no"]
    answer = "yes" if said_yes < said_no or (said_yes == said_no and rng.random() < 0.5) else "no"
    context.tally[f"existence_{axis}", str(candidate.answer), answer] += 1
    direction = phrase(axis, candidate.answer if answer == "yes" else -candidate.answer)
    return Draft(
        question=f"Seen from {context.frame(facts, candidate.query)}, is the {target} {direction} the {named}?",
        answer=answer.capitalize(),
        wrong=("No" if answer == "yes" else "Yes",),
        target_category=target,
        targets=(candidate.target,),
        reference_category=reference,
        references=(candidate.reference,),
        query=candidate.query,
        marks=hidden.pair_marks(candidate, context),
    )
