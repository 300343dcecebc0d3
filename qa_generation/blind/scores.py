"""Scores of numbers and points, the best constant guesses, and means over scenes with their standard error.

MRA and MPA are those of SpatialMosaic's evaluation (specs 8.3, 8.4), over arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

# 1 - theta for theta = 0.5, 0.55, ..., 0.95
RELATIVE_TOLERANCES = 1.0 - np.linspace(0.5, 0.95, 10)
# radii in box diagonals
DIAGONAL_TOLERANCES = np.arange(0.5, 1.45, 0.1)
MOST_CANDIDATES = 400
MIN_CLUSTERS = 10


def relative_accuracy(
    guess: Float[np.ndarray, " records"], truth: Float[np.ndarray, " records"]
) -> Float[np.ndarray, " records"]:
    """MRA of every guess, 0-1; a truth of 0 or less, which is never generated, wants equality."""
    safe = np.where(truth > 0, truth, 1.0)
    score = (np.abs(guess - truth)[..., None] / safe[..., None] <= RELATIVE_TOLERANCES).mean(axis=-1)
    return np.where(truth > 0, score, guess == truth)


def point_accuracy(
    guess: Float[np.ndarray, "records 2"],
    truth: Float[np.ndarray, "records 2"],
    diagonal_px: Float[np.ndarray, " records"],
) -> Float[np.ndarray, " records"]:
    """MPA of every guessed point, 0-1; ``diagonal_px`` is that of the true 2D box."""
    distance_px = np.linalg.norm(guess - truth, axis=-1)
    return (distance_px[..., None] <= diagonal_px[..., None] * DIAGONAL_TOLERANCES).mean(axis=-1)


def best_constant(truth: Float[np.ndarray, " records"]) -> float:
    """The number with the best MRA on these answers."""
    candidates = number_candidates(truth)
    scores = [float(relative_accuracy(np.full(len(truth), value), truth).mean()) for value in candidates]
    return float(candidates[int(np.argmax(scores))])


def best_point(
    truth: Float[np.ndarray, "records 2"], diagonal_px: Float[np.ndarray, " records"]
) -> Float[np.ndarray, "2"]:
    """The pixel with the best MPA on these answers."""
    candidates = point_candidates(truth)
    scores = [float(point_accuracy(np.broadcast_to(p, truth.shape), truth, diagonal_px).mean()) for p in candidates]
    return candidates[int(np.argmax(scores))]


def number_candidates(truth: Float[np.ndarray, " records"]) -> Float[np.ndarray, " candidates"]:
    """Numbers worth guessing: the answers themselves, thinned evenly over their ranks."""
    values = np.unique(truth)
    if len(values) <= MOST_CANDIDATES:
        return values
    return values[np.linspace(0, len(values) - 1, MOST_CANDIDATES).round().astype(np.int64)]


def point_candidates(truth: Float[np.ndarray, "records 2"], side: int = 12) -> Float[np.ndarray, "candidates 2"]:
    """Pixels worth guessing: a grid over where the answers lie."""
    (left, top), (right, bottom) = truth.min(axis=0), truth.max(axis=0)
    x, y = np.meshgrid(np.linspace(left, right, side), np.linspace(top, bottom, side))
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def clustered_mean(values: Float[np.ndarray, " records"], scenes: Sequence[str]) -> tuple[float, float]:
    """Mean and its standard error, clustered by scene where there are at least ten (Miller, arXiv 2411.00640)."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, 0.0
    cluster: Int[np.ndarray, " records"] = np.unique(np.asarray(scenes), return_inverse=True)[1]
    number = int(cluster.max()) + 1
    if number < MIN_CLUSTERS:
        return mean, float(values.std(ddof=1) / np.sqrt(len(values)))
    sums = np.bincount(cluster, weights=values - mean)
    return mean, float(np.sqrt((sums**2).sum() / len(values) ** 2 * number / (number - 1)))
