"""Moves a prediction, which is known up to scale only, onto the ground truth before it is measured.

First in closed form (medians of depth and of size, as in Spann3R's evaluation), then by iterative closest points.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.reconstruction.metrics import Cloud, Points
from qa_generation.errors import InputError

_SCALE_LIMITS = (1e-3, 1e3)
_NEIGHBOURS_OF_NORMALS = 30
PointGrid = Float[np.ndarray, "*shape 3"]


@dataclass(frozen=True)
class MedianFrame:
    """Where a cloud lies in front of its first camera, and how large it is.

    Attributes:
        depth: lower median of z.
        scale: lower median of the distance to the point whose coordinates are the lower medians.
    """

    depth: float
    scale: float

    @classmethod
    def of(cls, points: Points) -> MedianFrame:
        """Of the valid points of all frames, in the first camera's frame."""
        if len(points) == 0:
            raise InputError("no valid points to align, expected at least one")
        centre = _lower_median(points)
        return cls(float(centre[2]), float(_lower_median(np.linalg.norm(points - centre, axis=1))))


@dataclass(frozen=True, eq=False)
class IcpResult:
    """The rigid move that iterative closest points found; ``fitness`` is the share of points with a partner."""

    transform: Float[np.ndarray, "4 4"]
    fitness: float
    rmse: float


def align_medians(
    prediction: PointGrid, truth: PointGrid, valid: Bool[np.ndarray, "*shape"]
) -> tuple[PointGrid, MedianFrame, MedianFrame]:
    """The prediction with the truth's median depth and size, and both frames as they were found.

    Both in the first camera's frame: prediction := s (prediction - depth_pred e_z) + depth_true e_z with s the ratio of
    the median sizes, that of the prediction limited to 1e-3 .. 1e3.

    Raises:
        InputError: no pixel is valid, or a valid prediction is not finite.
    """
    chosen = prediction[valid]
    bad = len(chosen) - int(np.isfinite(chosen).all(axis=1).sum())
    if bad:
        raise InputError(f"{bad} of {len(chosen)} predicted points are not finite, expected numbers")
    own, true = MedianFrame.of(chosen), MedianFrame.of(truth[valid])
    factor = true.scale / float(np.clip(own.scale, *_SCALE_LIMITS))
    shift = np.array([0, 0, own.depth], dtype=np.float64)
    target = np.array([0, 0, true.depth], dtype=np.float64)
    return ((prediction - shift) * factor + target).astype(prediction.dtype), own, true


def _lower_median(values: Float[np.ndarray, "points *axes"]) -> np.ndarray:
    return np.quantile(values, 0.5, axis=0, method="lower")


def transform_points(points: PointGrid, transform: Float[np.ndarray, "4 4"]) -> PointGrid:
    """Points moved by a 4x4 matrix."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def icp(source: Points, target: Points, max_distance: float) -> IcpResult:
    """The move of ``source`` by point-to-point ICP from where it is; partners at most ``max_distance`` apart.

    Open3D's defaults otherwise: no scale, at most 30 rounds, stop when fitness and error change by less than 1e-6.
    """
    import open3d as o3d

    with one_thread():
        found = o3d.pipelines.registration.registration_icp(
            _to_open3d(source),
            _to_open3d(target),
            max_distance,
            np.eye(4),
            o3d.pipelines.registration.TransformationEstimationPointToPoint(),
        )
    return IcpResult(np.asarray(found.transformation), float(found.fitness), float(found.inlier_rmse))


def with_normals(points: Points) -> Cloud:
    """The points with normals of planes through their 30 nearest neighbours, direction arbitrary."""
    import open3d as o3d

    cloud = _to_open3d(points)
    with one_thread():
        cloud.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(knn=_NEIGHBOURS_OF_NORMALS))
    return Cloud(np.asarray(cloud.points), np.asarray(cloud.normals))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps Open3D from adding numbers up in an order that depends on which thread is first."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="openmp"):
        yield


def _to_open3d(points: Points) -> Any:
    import open3d as o3d

    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.ascontiguousarray(points, dtype=np.float64)))
