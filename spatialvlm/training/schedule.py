"""Learning-rate factors over the progress of a run, where progress counts steps and, if limited, minutes."""

from __future__ import annotations

import math
from typing import Literal

ScheduleName = Literal["cosine", "linear", "constant"]


def progress(step: int, max_steps: int, elapsed_min: float = 0.0, max_minutes: float | None = None) -> float:
    """How much of the run is over, 0-1: the larger of the shares of steps and of minutes."""
    share = step / max_steps if max_steps > 0 else 0.0
    if max_minutes is not None:
        share = max(share, elapsed_min / max_minutes)
    return min(1.0, share)


def learning_rate_factor(name: ScheduleName, done: float, warmup: float = 0.03, floor: float = 0.0) -> float:
    """Factor on the peak learning rate at progress ``done``: linear warm-up over the share ``warmup``, then decay.

    Args:
        name: ``cosine`` and ``linear`` fall to ``floor``, ``constant`` stays at 1.
        done: progress of the run, 0-1.
        warmup: share of the run over which the factor rises from 0 to 1.
        floor: factor at the end.
    """
    if done < warmup:
        return done / warmup
    if name == "constant":
        return 1.0
    rest = min(1.0, (done - warmup) / max(1e-9, 1.0 - warmup))
    fallen = (1 - math.cos(math.pi * rest)) / 2 if name == "cosine" else rest
    return 1.0 - (1.0 - floor) * fallen
