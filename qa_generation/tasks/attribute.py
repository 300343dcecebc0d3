"""Object attribute: which category is in this direction from the reference (``obj_attribute_occ_*``).

Exactly one option is true: the hidden target. Of every wrong category all instances with a pixel in the set are decided
the other way. Some wrong options are hidden in the query frame as well, so that "the one not shown" is no giveaway, and
categories that were often the truth are preferred as wrong options, so that a name alone says little. Where names have
habits (`name_priors`), the expected name among the four is asked less often, so that each is the truth as often.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int8

from qa_generation.tasks import hidden
from qa_generation.tasks.base import Candidate, Candidates, Draft, marks_of
from qa_generation.tasks.context import SceneContext, SetFacts
from qa_generation.tasks.relations import AXES, phrase

WRONG = 3


def candidates(context: SceneContext, axis: str) -> Candidates:
    """A candidate per hidden target and reference with enough categories on the other side; the class is the sign."""
    pairs = hidden.hidden_pairs(context)
    sign = pairs.signs[AXES.index(axis)]
    target_category = context.category_of[pairs.target]
    similar = context.similar(axis).astype(np.float32)
    enough, alike = np.zeros((2, len(sign)), dtype=bool)
    # pairs come frame by frame
    starts = np.flatnonzero(np.diff(pairs.view_set * 8 + pairs.query, prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(sign)]):
        facts, query = context.sets[pairs.view_set[start]], int(pairs.query[start])
        signs = hidden.signs(context, facts, query)[AXES.index(axis)]
        for side in (-1, 1):
            opposite = opposite_categories(context, facts, signs, side).astype(np.float32)
            here = start + np.flatnonzero(sign[start:end] == side)
            enough[here] = opposite.sum(axis=0)[pairs.reference[here]] >= WRONG
            alike[here] = (similar @ opposite)[target_category[here], pairs.reference[here]] >= WRONG
    return pairs.candidates(context, enough, sign, alike)


def opposite_categories(
    context: SceneContext, facts: SetFacts, sign: Int8[np.ndarray, "instances instances"], side: int
) -> Bool[np.ndarray, "categories references"]:
    """Categories shown in the set of whose kind every instance with a pixel lies on the other side of the reference."""
    # float32 for the fast matrix product; the numbers are small and whole
    seen_kin = (context.kin_of & facts.seen[None]).astype(np.float32)
    opposite = seen_kin @ (sign == -side).astype(np.float32) == seen_kin.sum(axis=1, keepdims=True)
    shown = (context.members_of & (facts.shown & context.askable)[None]).any(axis=1)
    return opposite & shown[:, None] & ~context.kin_of


def write(candidate: Candidate, context: SceneContext, rng: np.random.Generator, axis: str) -> Draft | None:
    """The question with four category names; None where kindred names leave fewer than three wrong ones."""
    facts = context.sets[candidate.view_set]
    sign = hidden.signs(context, facts, candidate.query)[AXES.index(axis)]
    pool = opposite_categories(context, facts, sign, candidate.answer)[:, candidate.reference]
    pool &= ~context.category_kin[candidate.category]
    similar = pool & context.similar(axis)[candidate.category]
    # names that promise about the same as the true one, where there are enough
    pool = similar if similar.sum() >= WRONG else pool
    wrong = _choose_wrong(np.flatnonzero(pool), facts, candidate.query, context, rng, axis)
    if wrong is None or not context.fair_choice(axis, candidate.answer, candidate.category, wrong):
        return None
    names = [context.categories[c] for c in wrong]
    target, reference = context.labels[candidate.target], context.labels[candidate.reference]
    context.tally[f"attribute_{axis}", target, "truth"] += 1
    for name in names:
        context.tally[f"attribute_{axis}", name, "wrong"] += 1
    named = context.reference_text(facts, candidate.query, candidate.reference)
    frame_text = context.frame(facts, candidate.query)
    columns = np.flatnonzero(context.members_of[wrong].any(axis=0) & facts.seen)
    return Draft(
        question=f"Seen from {frame_text}, which object is {phrase(axis, candidate.answer)} the {named}?",
        answer=target,
        wrong=tuple(names),
        target_category=target,
        targets=(candidate.target,),
        reference_category=reference,
        references=(candidate.reference,),
        query=candidate.query,
        marks=(
            *hidden.pair_marks(candidate, context),
            *marks_of(context, candidate.view_set, columns, "distractor"),
        ),
    )


def _choose_wrong(
    pool: np.ndarray, facts: SetFacts, query: int, context: SceneContext, rng: np.random.Generator, axis: str
) -> list[int] | None:
    """Three categories, none kin of another, a random number of them hidden in the query frame."""
    hidden_here = ~(context.members_of[pool] & ~facts.absent[query][None]).any(axis=1)
    wanted_hidden = int(rng.integers(WRONG + 1))
    owed = np.array([_owed(context, axis, context.categories[c]) for c in pool])
    order = np.lexsort((rng.random(len(pool)), -owed))
    ranked = [i for i in order if hidden_here[i]][:wanted_hidden]
    ranked += [i for i in order if not hidden_here[i]] + [i for i in order if hidden_here[i]][wanted_hidden:]
    chosen: list[int] = []
    for i in ranked:
        category = int(pool[i])
        if len(chosen) < WRONG and not context.category_kin[category][chosen].any():
            chosen.append(category)
    return chosen if len(chosen) == WRONG else None


def _owed(context: SceneContext, axis: str, category: str) -> int:
    """Appearances as a wrong option that would make up for those as the truth."""
    truth = context.tally[f"attribute_{axis}", category, "truth"]
    return WRONG * truth - context.tally[f"attribute_{axis}", category, "wrong"]
