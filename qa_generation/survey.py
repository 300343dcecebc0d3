"""Counts in one scene what `name_priors` learns from: directions between named things, and true counts per name."""

from __future__ import annotations

from collections import Counter

import numpy as np

from qa_generation.name_priors import Survey, pair_key
from qa_generation.sampling import usable_views
from qa_generation.tasks import TASKS, best_view, count
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.relations import AXES


def survey(context: SceneContext) -> Survey:
    """The habits of one scene: directions over all its usable frames, counts over its view sets."""
    counted = (count.TYPE, count.NUMBER_TYPE, best_view.TYPE)
    return Survey(_pairs(context), {question_type: _counts(context, question_type) for question_type in counted})


def _pairs(context: SceneContext) -> dict[str, int]:
    table, names = context.table, context.categories
    shown = table.visible.any(axis=0) & context.askable
    of = context.members_of.astype(np.int64)
    positive = np.zeros((len(AXES), len(names), len(names)), dtype=np.int64)
    negative = np.zeros_like(positive)
    for row in usable_views(table, context.config.sampling):
        hidden, named = shown & table.absent[row], table.visible[row] & context.askable
        asked = hidden[:, None] & named[None] & ~context.kin
        signs = context.relations(int(row))
        positive += of @ ((signs > 0) & asked) @ of.T
        negative += of @ ((signs < 0) & asked) @ of.T
    # "b left of a" says the same as "a right of b"
    first = positive + negative.transpose(0, 2, 1)
    total = first + negative + positive.transpose(0, 2, 1)
    per_mille = 1000 * first // np.maximum(total, 1)
    found = zip(*np.nonzero(np.triu(total, k=1)), strict=True)
    return {pair_key(AXES[k], names[a], names[b]): int(per_mille[k, a, b]) for k, a, b in found}


def _counts(context: SceneContext, question_type: str) -> dict[str, dict[str, int]]:
    candidates = TASKS[question_type].candidates(context)
    pairs = Counter(zip(candidates.category.tolist(), candidates.answer.tolist(), strict=True))
    counts: dict[str, dict[str, int]] = {}
    for (category, answer), number in sorted(pairs.items()):
        counts.setdefault(context.categories[category], {})[str(answer)] = number
    return counts
