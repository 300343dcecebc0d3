"""Which frames of a sequence are trained on: few and near ones first, then further apart, nearer again at the end.

Spann3R, arXiv:2408.16061, section 4.1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Order = Literal["stored", "tour"]

PEAK = 0.75  # share of the training after which the windows shrink again


def window_ratio(done: float) -> float:
    """How far the window is open at that share of the training: 0 to 1 over the first half, down to 0.5 at the end."""
    if done < PEAK:
        return min(1.0, 2 * done)
    return max(0.5, 1 - (done - PEAK) / (1 - PEAK))


def window_frames(smallest: int, largest: int, ratio: float) -> int:
    """The largest step from one chosen frame to the next."""
    return int(smallest + ratio * (largest - smallest))


def draw_frames(
    available: int, frames: int, window: int, rng: np.random.Generator, reverse_share: float = 0.5
) -> Int[np.ndarray, " frames"]:
    """Indices of ``frames`` of the ``available`` frames, each at most ``window`` after the one before.

    Their order is reversed with probability ``reverse_share``. Raises ``ValueError`` where there are too few frames.
    """
    if available < frames or frames < 1 or window < 1:
        raise ValueError(
            f"{frames} frames of {available} with a window of {window}: expected as many frames, a window of 1 or more"
        )
    while (chosen := _one_try(available, frames, window, rng)) is None:
        pass
    turned = rng.choice([True, False]) if reverse_share == 0.5 else rng.random() < reverse_share
    return np.array(chosen[::-1] if turned else chosen)


def _one_try(available: int, frames: int, window: int, rng: np.random.Generator) -> list[int] | None:
    """Indices in rising order, or None where a draw leaves no room for the rest."""
    first = max(available // frames, available - window * (frames - 1))
    chosen = [int(rng.choice(np.arange(first)))]
    while len(chosen) < frames:
        last = min(chosen[-1] + window, available - (frames - len(chosen)))
        if last <= chosen[-1]:
            return None
        chosen.append(int(rng.choice(np.arange(chosen[-1] + 1, last + 1))))
    return chosen


def overlap_tour(overlap: Float[np.ndarray, "views views"]) -> Int[np.ndarray, " views"]:
    """An order of all views in which neighbours see much of the same, for scenes whose views are in no order.

    Starts at the view that shares least with all others, an end of the path, and goes on to the one, of those not
    visited yet, that shares most with the current view; ties go to the lower number.
    """
    shared = (overlap + overlap.T) / 2
    np.fill_diagonal(shared, -1.0)
    free = np.ones(len(shared), dtype=bool)
    tour = [int(shared.sum(1).argmin())]
    free[tour[0]] = False
    while free.any():
        tour.append(int(np.where(free, shared[tour[-1]], -np.inf).argmax()))
        free[tour[-1]] = False
    return np.array(tour)


def confidence_reward(done: float, start: float = 0.4, end: float = 0.2) -> float:
    """Alpha of the confidence loss at that share of the training: ``start`` in the first half, then down to ``end``."""
    return start if done <= 0.5 else start - (start - end) * (done - 0.5) / 0.5
