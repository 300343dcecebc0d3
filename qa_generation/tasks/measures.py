"""How measured answers are printed, when they round surely, and into which classes they are spread."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

# answers printed to a tenth of a metre are not asked for this near to where the tenth changes
UNSURE_M = 0.005
# neighbouring classes differ by a quarter
_BIN = np.log(1.25)


def metres(distance_m: float) -> str:
    """The distance to a tenth of a metre."""
    return f"{distance_m:.1f}"


def rounds_surely(distance_m: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether an error of `UNSURE_M` would leave the printed tenth as it is."""
    tenths = 10.0 * np.asarray(distance_m, dtype=np.float64)
    return np.abs(tenths - np.floor(tenths) - 0.5) >= 10.0 * UNSURE_M


def log_bins(values: Float[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Class of each positive value, equally wide in the logarithm."""
    return np.floor(np.log(np.maximum(np.asarray(values, dtype=np.float64), 1e-3)) / _BIN).astype(np.int64)
