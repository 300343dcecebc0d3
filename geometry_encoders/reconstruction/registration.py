"""Similarity transforms between two sets of points: weighted least squares, and a fit that bears outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from geometry_encoders.errors import InputError

MIN_POINTS = 3
MEDIAN_TO_SIGMA = 1.4826  # median of |x| times this is the standard deviation of a normal distribution
LOCAL_STEPS = 10


@dataclass(frozen=True)
class Similarity:
    """target = scale * rotation @ source + translation; float64."""

    scale: float
    rotation: Float[ndarray, "3 3"]
    translation: Float[ndarray, "3"]

    def apply(self, points: Float[ndarray, "... 3"]) -> Float[ndarray, "... 3"]:
        """Source points in the target frame."""
        return self.scale * points @ self.rotation.T + self.translation

    def apply_to_poses(self, camera_to_world: Float[ndarray, "... 4 4"]) -> Float[ndarray, "... 4 4"]:
        """Camera poses of the source frame in the target frame; they stay rigid, only their centres are scaled."""
        moved = np.array(camera_to_world, dtype=np.float64)
        moved[..., :3, :3] = self.rotation @ moved[..., :3, :3]
        moved[..., :3, 3] = self.apply(moved[..., :3, 3])
        return moved

    def after(self, first: Similarity) -> Similarity:
        """The transform that does ``first``, then this one."""
        return Similarity(
            self.scale * first.scale, self.rotation @ first.rotation, self.apply(np.asarray(first.translation))
        )

    def inverse(self) -> Similarity:
        """From the target frame back to the source frame."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -rotation @ self.translation / self.scale)

    def matrix(self) -> Float[ndarray, "4 4"]:
        """The 4x4 matrix; its rotation block holds the scale."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.scale * self.rotation
        matrix[:3, 3] = self.translation
        return matrix


@dataclass(frozen=True)
class RobustFit:
    """A similarity, the points it agrees with, and the distance (target units) up to which they count as agreeing."""

    similarity: Similarity
    inliers: Bool[ndarray, " points"]
    threshold: float


def fit_similarity(
    source: Float[ndarray, "points 3"],
    target: Float[ndarray, "points 3"],
    weights: Float[ndarray, " points"] | None = None,
) -> Similarity:
    """The similarity with the smallest weighted sum of squared distances (Umeyama 1991, equations 40-42).

    Args:
        weights: at least 0, any sum; points of weight 0 play no part, whatever their coordinates. All zero (or None)
            counts every point alike.

    Raises:
        InputError: fewer than three points, shapes that differ, numbers that are not finite, or source points that
            all lie in one place.
    """
    source, target, weights = _checked(source, target, weights)
    return _least_squares(source, target, weights)


def fit_similarity_robust(
    source: Float[ndarray, "points 3"],
    target: Float[ndarray, "points 3"],
    weights: Float[ndarray, " points"] | None = None,
    threshold: float | None = None,
    hypotheses: int = 200,
    seed: int = 0,
) -> RobustFit:
    """The similarity that most of the points agree with; the others have no influence.

    Three-point hypotheses, drawn in proportion to the weights, are ranked by the truncated residual (MSAC, Torr and
    Zisserman 2000) where a threshold is given, else by the median residual (least median of squares, Rousseeuw 1984),
    which bears up to half of the weight in outliers and sets the threshold to 2.5 standard deviations. The best one is
    refined by weighted least squares over its inliers until they stay the same.

    Args:
        weights: as in `fit_similarity`.
        threshold: largest distance of an inlier, target units; found from the data by default.
        hypotheses: three-point samples that are tried.
        seed: the same seed and points give the same result.

    Raises:
        InputError: as `fit_similarity`, or no three points agree on any similarity.
    """
    source, target, weights = _checked(source, target, weights)
    if threshold is not None and not threshold > 0:
        raise InputError(f"threshold {threshold}: expected a distance above 0")
    generator = np.random.default_rng(seed)
    best, best_cost = _least_squares(source, target, weights), np.inf
    probability = weights / weights.sum()
    draws = _draw_triples(probability, hypotheses, generator)
    subset = _scoring_subset(len(source), generator)
    for triple in draws:
        candidate = _from_triple(source[triple], target[triple])
        if candidate is None:
            continue
        residual = _residuals(candidate, source[subset], target[subset])
        cost = _cost(residual, probability[subset], threshold)
        if cost < best_cost:
            best, best_cost = candidate, cost
    if not np.isfinite(best_cost):
        raise InputError("no three of the points define a similarity, expected points that do not lie on one line")
    return _refine(best, source, target, weights, threshold)


def _checked(
    source: Float[ndarray, "points 3"], target: Float[ndarray, "points 3"], weights: Float[ndarray, " points"] | None
) -> tuple[ndarray, ndarray, ndarray]:
    """Both sets in float64 without the points of weight 0 made harmful by NaN, and weights that sum to one."""
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise InputError(f"points of shapes {source.shape} and {target.shape}: expected two of the same (points, 3)")
    if weights is None:
        weights = np.ones(len(source))
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != source.shape[:1]:
        raise InputError(f"weights of shape {weights.shape}: expected one per point, ({len(source)},)")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError("weights: found NaN, infinite or negative ones, expected numbers of at least 0")
    total = weights.sum()
    weights = weights / total if total > 0 else np.full(len(source), 1 / max(len(source), 1))
    used = weights > 0
    if used.sum() < MIN_POINTS:
        raise InputError(f"{int(used.sum())} points with a weight: expected at least {MIN_POINTS}")
    if not used.all():
        source, target = np.where(used[:, None], source, 0), np.where(used[:, None], target, 0)
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InputError("points: found NaN or infinite coordinates where the weight is above 0, expected finite ones")
    return source, target, weights


def _least_squares(source: ndarray, target: ndarray, weights: ndarray) -> Similarity:
    source_mean, target_mean = weights @ source, weights @ target
    centred_source, centred_target = source - source_mean, target - target_mean
    spread = float(weights @ np.einsum("nd,nd->n", centred_source, centred_source))
    if spread <= 1e-24 * max(float(source_mean @ source_mean), 1e-24):
        raise InputError("source points: all in one place, expected some that lie apart")
    correlation = (weights[:, None] * centred_target).T @ centred_source
    left, _, right = np.linalg.svd(correlation)
    left[:, 2] *= np.sign(np.linalg.det(left @ right)) or 1.0  # a rotation, never a reflection
    rotation = left @ right
    scale = float((rotation * correlation).sum()) / spread
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def _draw_triples(probability: ndarray, count: int, generator: np.random.Generator) -> ndarray:
    """Rows of three point numbers; a row with a repeated number is harmless, `_from_triple` refuses it."""
    cumulative = np.cumsum(probability)
    return np.searchsorted(cumulative / cumulative[-1], generator.random((count, 3)), side="right").clip(
        max=len(probability) - 1
    )


def _scoring_subset(count: int, generator: np.random.Generator, limit: int = 5000) -> ndarray:
    """Points that hypotheses are ranked on: more than a few thousand change nothing but the time."""
    return np.arange(count) if count <= limit else np.sort(generator.choice(count, limit, replace=False))


def _from_triple(source: ndarray, target: ndarray) -> Similarity | None:
    """The similarity through three points; None where they lie (almost) on a line or in one place."""
    for points in (source, target):
        first, second = points[1] - points[0], points[2] - points[0]
        longest = max(first @ first, second @ second)
        if not np.linalg.norm(np.cross(first, second)) > 1e-6 * longest:
            return None
    similarity = _least_squares(source, target, np.full(3, 1 / 3))
    return similarity if similarity.scale > 0 else None


def _residuals(similarity: Similarity, source: ndarray, target: ndarray) -> ndarray:
    return np.linalg.norm(similarity.apply(source) - target, axis=1)


def _cost(residual: ndarray, probability: ndarray, threshold: float | None) -> float:
    if threshold is None:
        return _weighted_median(residual, probability)
    return float(probability @ np.minimum(residual, threshold) ** 2)


def _weighted_median(values: ndarray, weights: ndarray) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(cumulative, cumulative[-1] / 2)]])


def _refine(
    similarity: Similarity, source: ndarray, target: ndarray, weights: ndarray, threshold: float | None
) -> RobustFit:
    """Least squares over the inliers, repeated until they stay the same."""
    inliers = np.zeros(len(source), dtype=bool)
    limit = 0.0
    for _ in range(LOCAL_STEPS):
        residual = _residuals(similarity, source, target)
        if threshold is None:
            size = np.linalg.norm(target, axis=1).max()
            limit = max(2.5 * MEDIAN_TO_SIGMA * _weighted_median(residual, weights), 1e-9 * size)
        else:
            limit = threshold
        agreeing = (residual <= limit) & (weights > 0)
        if agreeing.sum() < MIN_POINTS or np.array_equal(agreeing, inliers):
            break
        inliers = agreeing
        similarity = _least_squares(source, target, np.where(inliers, weights, 0) / weights[inliers].sum())
    if inliers.sum() < MIN_POINTS:
        raise InputError(f"no similarity brings three points within {limit:g} of their targets")
    return RobustFit(similarity, inliers, float(limit))
