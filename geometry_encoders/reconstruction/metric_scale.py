"""From a network's own unit to metres: a known distance, or known cameras.

DUSt3R and Spann3R reconstruct up to an unknown scale. Anything whose size is known fixes it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.registration import Similarity, fit_similarity_robust
from geometry_encoders.reconstruction.result import Reconstruction

AXIS_LENGTH = 0.5  # in median distances of the cameras: weight of a viewing direction beside a position
MIN_BASELINE = 1e-9


def rescale(result: Reconstruction, metres_per_unit: float) -> Reconstruction:
    """The reconstruction in metres: points and camera centres multiplied by one factor."""
    if not np.isfinite(metres_per_unit) or metres_per_unit <= 0:
        raise InputError(f"scale {metres_per_unit}: expected a finite number above 0")
    return transform(result, Similarity(metres_per_unit, np.eye(3), np.zeros(3)), metric=True)


def transform(result: Reconstruction, similarity: Similarity, metric: bool) -> Reconstruction:
    """The reconstruction moved into the target frame of ``similarity``; says whether that frame is in metres."""
    poses = result.camera_to_world
    return replace(
        result,
        pointmaps=tuple(similarity.apply(points).astype(np.float32) for points in result.pointmaps),
        camera_to_world=None if poses is None else similarity.apply_to_poses(poses),
        metric=metric,
    )


def scale_from_distance(
    result: Reconstruction, pixel_a: tuple[int, int, int], pixel_b: tuple[int, int, int], distance_m: float
) -> float:
    """Metres per unit, from the distance between what two pixels (view, column, row) show.

    Raises:
        InputError: a pixel outside its view or without a point, the same point twice, or no positive distance.
    """
    if not np.isfinite(distance_m) or distance_m <= 0:
        raise InputError(f"distance {distance_m}: expected a length above 0 metres")
    length = float(np.linalg.norm(_point_at(result, pixel_a) - _point_at(result, pixel_b)))
    if length < MIN_BASELINE:
        raise InputError(f"pixels {pixel_a} and {pixel_b} show the same point, expected two that lie apart")
    return distance_m / length


def scale_from_positions(result: Reconstruction, positions_m: Float[ndarray, "views 3"]) -> float:
    """Metres per unit, from where the cameras were: the median ratio of the distances between pairs of cameras.

    The known positions may be in any frame. Half of the pairs may be wrong.

    Raises:
        InputError: no poses, fewer than two views, or cameras that all stand in one place.
    """
    centres = _poses_of(result)[:, :3, 3]
    known = _positions(positions_m, len(result))
    first, second = np.triu_indices(len(result), k=1)
    ours = np.linalg.norm(centres[first] - centres[second], axis=1)
    theirs = np.linalg.norm(known[first] - known[second], axis=1)
    apart = (ours > MIN_BASELINE) & (theirs > MIN_BASELINE)
    if not apart.any():
        raise InputError("no two cameras stand apart, expected at least two known positions that differ")
    return float(np.median(theirs[apart] / ours[apart]))


def align_to_positions(
    result: Reconstruction, positions_m: Float[ndarray, "views 3"]
) -> tuple[Reconstruction, Bool[ndarray, " views"]]:
    """The reconstruction in the metric frame of known camera positions, and which of them agree with it.

    Raises:
        InputError: no poses, fewer than three views, or positions on one line, which leave a rotation open.
    """
    fit = fit_similarity_robust(_poses_of(result)[:, :3, 3], _positions(positions_m, len(result)))
    return transform(result, fit.similarity, metric=True), fit.inliers


def align_to_poses(
    result: Reconstruction, camera_to_world_m: Float[ndarray, "views 4 4"]
) -> tuple[Reconstruction, Bool[ndarray, " views"]]:
    """The reconstruction in the metric frame of known camera poses, and which of them agree with it.

    Viewing directions count beside positions, so that two views are enough and cameras may stand on one line. The
    estimated and the known poses need OpenCV axes.

    Raises:
        InputError: no poses, or cameras that all stand in one place (then nothing tells the scale).
    """
    ours, known = _poses_of(result), np.asarray(camera_to_world_m, dtype=np.float64)
    if known.shape != ours.shape or not np.isfinite(known).all():
        raise InputError(f"known poses of shape {known.shape}: expected finite ones of shape {ours.shape}")
    scale = scale_from_positions(result, known[:, :3, 3])
    reach = AXIS_LENGTH * _median_distance(ours[:, :3, 3])
    source = _tripods(ours, reach)
    target = _tripods(known, reach * scale)
    fit = fit_similarity_robust(source, target)
    agrees = np.asarray(fit.inliers.reshape(-1, len(ours)).all(axis=0))
    return transform(result, fit.similarity, metric=True), agrees


def _tripods(camera_to_world: ndarray, reach: float) -> Float[ndarray, "4*views 3"]:
    """Camera centres, then the points ``reach`` along each axis of each camera."""
    centres = camera_to_world[:, :3, 3]
    return np.concatenate([centres, *(centres + reach * camera_to_world[:, :3, axis] for axis in range(3))])


def _median_distance(centres: Float[ndarray, "views 3"]) -> float:
    first, second = np.triu_indices(len(centres), k=1)
    distances = np.linalg.norm(centres[first] - centres[second], axis=1)
    return float(np.median(distances[distances > MIN_BASELINE]))


def _poses_of(result: Reconstruction) -> Float[ndarray, "views 4 4"]:
    if result.camera_to_world is None:
        raise InputError("the reconstruction has no camera poses, expected them (see cameras.with_cameras)")
    return result.camera_to_world


def _positions(positions: ndarray, views: int) -> Float[ndarray, "views 3"]:
    positions = np.asarray(positions, dtype=np.float64)
    if positions.shape != (views, 3) or not np.isfinite(positions).all():
        raise InputError(f"known positions of shape {positions.shape}: expected finite ones of shape {(views, 3)}")
    return positions


def _point_at(result: Reconstruction, pixel: tuple[int, int, int]) -> Float[ndarray, "3"]:
    view, column, row = pixel
    if not 0 <= view < len(result):
        raise InputError(f"pixel {pixel}: no view {view}, expected 0 to {len(result) - 1}")
    height, width = result.sizes[view]
    if not (0 <= column < width and 0 <= row < height):
        raise InputError(f"pixel {pixel}: outside {result.names[view]}, which is {width} x {height} pixels")
    if result.confidence[view][row, column] <= 0:
        raise InputError(f"pixel {pixel}: {result.names[view]} has no point there")
    return result.pointmaps[view][row, column].astype(np.float64)
