"""The difficulty levels of candidates before they are written, so that all levels can be asked about alike."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from qa_generation import levels
from qa_generation.tasks.base import NONE, Candidates
from qa_generation.tasks.context import SceneContext


def strata(context: SceneContext, candidates: Candidates) -> Int[np.ndarray, "candidates 3"]:
    """Number of the occlusion, truncation and overlap level of every candidate, as `levels` bins the record's."""
    if not len(candidates):
        return np.zeros((0, 3), dtype=np.int64)
    occlusion = _mean(context, candidates, np.nan_to_num(context.table.occlusion))
    truncation = _mean(context, candidates, np.nan_to_num(context.table.truncation))
    overlap = np.array([view_set.overlap_avg for view_set in context.view_sets])[candidates.view_set]
    return np.stack(
        [
            np.digitize(occlusion, levels.OCCLUSION_BINS),
            np.digitize(truncation, levels.TRUNCATION_BINS),
            np.digitize(overlap, levels.OVERLAP_BINS, right=True),
        ],
        axis=1,
    )


def _mean(
    context: SceneContext, candidates: Candidates, share: Float[np.ndarray, "views instances"]
) -> Float[np.ndarray, " candidates"]:
    """Mean share over the frames that show the asked instances: of target and reference, or of the whole category."""
    seen = [context.table.visible_pixels[facts.members] > 0 for facts in context.sets]
    total = np.stack([(share[f.members] * s).sum(axis=0) for f, s in zip(context.sets, seen, strict=True)])
    number = np.stack([s.sum(axis=0) for s in seen]).astype(np.float64)
    row, target, reference = candidates.view_set, candidates.target, candidates.reference
    pair = reference != NONE
    of_category = context.members_of.T.astype(np.float64)
    sums = [
        np.where(
            pair,
            values[row, target] + values[row, reference],
            (values @ of_category)[row, candidates.category],
        )
        for values in (total, number)
    ]
    return sums[0] / np.maximum(sums[1], 1.0)
