"""How well a reconstructed cloud of points covers the true one: accuracy, completion, normal consistency.

The numbers of Spann3R's evaluation (arXiv:2408.16061), which earlier work on neural RGB-D mapping uses too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from qa_generation.errors import InputError

Points = Float[np.ndarray, "points 3"]
# larger than the usual 16: far points see a slanted wall at nearly one distance, and look into most leaves anyway
_LEAF_POINTS = 64


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points and their unit normals (direction may be flipped), in the unit of the dataset."""

    points: Points
    normals: Points


@dataclass(frozen=True)
class OneWay:
    """What nearest neighbours of one cloud in the other tell: distances, and |cosine| between normals."""

    distance_mean: float
    distance_median: float
    normal_mean: float
    normal_median: float


@dataclass(frozen=True)
class CloudMetrics:
    """All numbers for one prediction; distances in the unit of the dataset, normal consistency 0-1.

    Attributes:
        accuracy, accuracy_median: distance from predicted points to the nearest true point.
        completion, completion_median: distance from true points to the nearest predicted point.
        normal_consistency_1, ..._1_median: |cosine| between normals of predicted points and their nearest true points.
        normal_consistency_2, ..._2_median: the same from true points to predicted ones.
        normal_consistency, normal_consistency_median: means of both directions.
        completion_ratio: share of true points with a predicted point nearer than the threshold.
        chamfer: mean of accuracy and completion.
    """

    accuracy: float
    accuracy_median: float
    completion: float
    completion_median: float
    normal_consistency_1: float
    normal_consistency_1_median: float
    normal_consistency_2: float
    normal_consistency_2_median: float
    normal_consistency: float
    normal_consistency_median: float
    completion_ratio: float
    chamfer: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def compare_clouds(prediction: Cloud, truth: Cloud, threshold: float) -> CloudMetrics:
    """The metrics of a prediction; ``threshold`` of the completion ratio in the unit of the dataset.

    Raises:
        InputError: a cloud is empty, or holds NaN or infinity.
    """
    _check(prediction, "prediction")
    _check(truth, "ground truth")
    to_truth, _ = one_way(prediction, truth)
    to_prediction, distances = one_way(truth, prediction)
    return CloudMetrics(
        accuracy=to_truth.distance_mean,
        accuracy_median=to_truth.distance_median,
        completion=to_prediction.distance_mean,
        completion_median=to_prediction.distance_median,
        normal_consistency_1=to_truth.normal_mean,
        normal_consistency_1_median=to_truth.normal_median,
        normal_consistency_2=to_prediction.normal_mean,
        normal_consistency_2_median=to_prediction.normal_median,
        normal_consistency=(to_truth.normal_mean + to_prediction.normal_mean) / 2,
        normal_consistency_median=(to_truth.normal_median + to_prediction.normal_median) / 2,
        completion_ratio=float((distances < threshold).mean()),
        chamfer=(to_truth.distance_mean + to_prediction.distance_mean) / 2,
    )


def one_way(source: Cloud, target: Cloud) -> tuple[OneWay, Float[np.ndarray, " points"]]:
    """Statistics from every source point to its nearest target point, and those distances."""
    distances, nearest = cKDTree(target.points, leafsize=_LEAF_POINTS).query(source.points)
    cosines = np.abs(np.einsum("ni,ni->n", source.normals, target.normals[nearest]))
    statistics = OneWay(
        distance_mean=float(distances.mean()),
        distance_median=float(np.median(distances)),
        normal_mean=float(cosines.mean()),
        normal_median=float(np.median(cosines)),
    )
    return statistics, distances


def _check(cloud: Cloud, what: str) -> None:
    if len(cloud.points) == 0:
        raise InputError(f"the {what} has no points, expected at least one valid pixel")
    for name, values in (("points", cloud.points), ("normals", cloud.normals)):
        bad = len(values) - int(np.isfinite(values).all(axis=1).sum())
        if bad:
            raise InputError(f"{bad} of {len(values)} {name} of the {what} are not finite, expected numbers")
