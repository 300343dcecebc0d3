"""Difficulty labels of a record from its raw numbers (specs 4.7); the bins are our choice, the numbers stay with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

OCCLUSION_BINS = (0.25, 0.5, 0.75)
TRUNCATION_BINS = (0.05, 0.5)
OVERLAP_BINS = (10.0, 20.0)
OCC_LEVELS = ("low", "medium", "high", "extreme")
TRUNC_LEVELS = ("whole", "cut", "mostly cut")
OVERLAP_LEVELS = ("high", "medium", "low")


def occlusion_avg(occlusion: Float[np.ndarray, "views instances"], seen: Bool[np.ndarray, "views instances"]) -> float:
    """Mean combined occlusion (0-1) over the pairs of which at least one pixel is seen; 0 where there is none."""
    return float(occlusion[seen].mean()) if seen.any() else 0.0


def occ_level(occlusion: float) -> str:
    """``low`` below 0.25, ``medium`` below 0.5, ``high`` below 0.75, else ``extreme``."""
    return OCC_LEVELS[int(np.digitize(occlusion, OCCLUSION_BINS))]


def trunc_level(truncation: float) -> str:
    """``whole`` up to 0.05 (nothing to speak of is cut off by the frames), ``cut`` below 0.5, else ``mostly cut``."""
    return TRUNC_LEVELS[int(np.digitize(truncation, TRUNCATION_BINS))]


def overlap_level(overlap_percent: float) -> str:
    """Difficulty, not amount: ``high`` up to 10 percent overlap, ``medium`` up to 20, else ``low``."""
    return OVERLAP_LEVELS[int(np.digitize(overlap_percent, OVERLAP_BINS, right=True))]


def vis_level(occlusion: float) -> str:
    """``Fully Visible`` up to a mean occlusion of 0.05, else ``Partially Visible``."""
    return "Fully Visible" if occlusion <= 0.05 else "Partially Visible"


def labelled(occlusion: float, truncation: float, overlap_percent: float) -> dict[str, Any]:
    """The fields of a record that tell how hard it is: the three numbers and the labels that follow from them."""
    return {
        "occlusion_avg": occlusion,
        "occ_level": occ_level(occlusion),
        "vis_level": vis_level(occlusion),
        "truncation_avg": truncation,
        "trunc_level": trunc_level(truncation),
        "overlap_avg": overlap_percent,
        "overlap_level": overlap_level(overlap_percent),
    }


def gt_scenario(visible: Bool[np.ndarray, "views instances"]) -> str:
    """``Full Coverage`` iff one frame alone shows all the instances that decide the answer."""
    return "Full Coverage" if visible.all(axis=1).any() else "Partial Coverage"
