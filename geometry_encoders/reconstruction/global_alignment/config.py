"""Settings of the global alignment, and what may be known about the cameras beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from geometry_encoders.errors import InputError

RIGID_TOLERANCE = 1e-4


@dataclass(frozen=True)
class StorageConfig:
    """Where the predictions of all pairs are kept during the optimisation.

    Attributes:
        precision: of points and confidences; ``auto`` halves it where float32 would exceed the limit. float16 keeps
            three digits and nothing beyond 65504.
        place: ``memory``, ``disk`` (read again in every iteration), or ``auto``: disk where memory would exceed the
            limit even at half precision.
        limit_gb: of ``auto``, in 10^9 bytes.
        directory: for files, which are deleted afterwards; the system's temporary directory by default.
    """

    precision: Literal["auto", "float32", "float16"] = "auto"
    place: Literal["auto", "memory", "disk"] = "auto"
    limit_gb: float = 4.0
    directory: Path | None = None

    def __post_init__(self) -> None:
        _one_of("precision", self.precision, ("auto", "float32", "float16"))
        _one_of("place", self.place, ("auto", "memory", "disk"))


@dataclass(frozen=True)
class AlignmentConfig:
    """How pairwise predictions are brought into one frame (DUSt3R, arXiv:2312.14132, section 3.4).

    Attributes:
        iterations: of Adam; 0 gives the start unchanged.
        learning_rate: at the beginning.
        min_learning_rate: at the end.
        schedule: of the learning rate.
        distance: between points, ``l1`` the Euclidean norm, ``l2`` its square.
        weighting: of a pixel by its confidence c: ``log`` c, ``sqrt`` c, ``minus_one`` c - 1, or c itself.
        base_scale: geometric mean of the scales of all pairs; without effect where poses fix the scale.
        optimize_principal_points: of views whose intrinsics are not known.
        pairwise_adaptors: also optimise a stretch of every pair across against along the viewing direction.
        focal_break: focal lengths are optimised as this times their logarithm.
        min_confidence: of the pixels that poses are estimated from.
        pnp_iterations: RANSAC samples of a pose (10 in the original).
        max_edges: keep only so many directed pairs, those of the spanning tree first, then the surest ones.
        clean: lower the confidence of points that stand in front of surer surfaces.
        sky: set the confidence of sky to 0.
        first_camera_identity: put the world into the first camera; without effect where poses are known.
        chunk_points: points that are processed at a time; bounds the memory and changes results by rounding only. The
            default suits the cache of a CPU; a GPU wants some millions.
        device: where the optimisation runs.
        storage: where predictions are kept.
        compat: do as the original program where it has slips: focal lengths of the spanning tree from the edge
            processed before (dust3r issue 164), points behind a camera moved to depth 1, poses of views without sure
            pixels left at the identity, relative poses with the focal length and principal point of the other view,
            inliers of poses within 5 pixels at any size, translations of exactly 0 without a gradient, sky
            found in RGB pictures read as BGR, the result in the frame of the optimiser, even where its loss is larger
            than at the start.
    """

    iterations: int = 300
    learning_rate: float = 0.01
    min_learning_rate: float = 1e-6
    schedule: Literal["cosine", "linear"] = "cosine"
    distance: Literal["l1", "l2"] = "l1"
    weighting: Literal["log", "sqrt", "minus_one", "identity"] = "log"
    base_scale: float = 0.5
    optimize_principal_points: bool = False
    pairwise_adaptors: bool = False
    focal_break: float = 20.0
    min_confidence: float = 3.0
    pnp_iterations: int = 100
    max_edges: int | None = None
    clean: bool = True
    sky: bool = False
    first_camera_identity: bool = True
    chunk_points: int = 2**16
    device: str = "cpu"
    storage: StorageConfig = field(default_factory=StorageConfig)
    compat: bool = False

    def __post_init__(self) -> None:
        _one_of("schedule", self.schedule, ("cosine", "linear"))
        _one_of("distance", self.distance, ("l1", "l2"))
        _one_of("weighting", self.weighting, ("log", "sqrt", "minus_one", "identity"))
        for name in ("learning_rate", "base_scale", "focal_break", "chunk_points"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} {getattr(self, name)}: expected a number above 0")
        if self.iterations < 0:
            raise InputError(f"iterations {self.iterations}: expected at least 0")

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> AlignmentConfig:
        """The settings in a dictionary, e.g. read from YAML.

        Raises:
            InputError: an unknown name.
        """
        known = {entry.name for entry in fields(AlignmentConfig)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(f"unknown settings {', '.join(unknown)}: expected some of {', '.join(sorted(known))}")
        values = dict(values)
        if isinstance(values.get("storage"), Mapping):
            values["storage"] = StorageConfig(**values["storage"])
        return AlignmentConfig(**values)

    def pnp_limit_px(self, height: int, width: int) -> float:
        """Largest reprojection error of an inlier: a hundredth of the longer side (5 pixels in the original)."""
        return 5.0 if self.compat else max(2.0, max(height, width) / 100)


@dataclass(frozen=True)
class KnownCameras:
    """What is known about the cameras of some or all views and shall stay as it is.

    Attributes:
        camera_to_world: poses by number of the view, OpenCV axes.
        intrinsics: pinhole matrices of the pictures as the network sees them (resized and cropped); they fix the focal
            lengths, which may differ in x and y, and the principal point.
        focals: in pixels of these pictures, where only the focal length is known.
    """

    camera_to_world: Mapping[int, Float[ndarray, "4 4"]] = field(default_factory=dict)
    intrinsics: Mapping[int, Float[ndarray, "3 3"]] = field(default_factory=dict)
    focals: Mapping[int, float] = field(default_factory=dict)

    def check(self, views: int) -> None:
        """Raises InputError where something does not fit ``views`` views or is no camera."""
        for name in ("camera_to_world", "intrinsics", "focals"):
            wrong = [number for number in getattr(self, name) if not 0 <= number < views]
            if wrong:
                raise InputError(f"known {name} of view {wrong[0]}: expected a number from 0 to {views - 1}")
        for number, pose in self.camera_to_world.items():
            if not _is_rigid(np.asarray(pose)):
                raise InputError(f"known camera_to_world of view {number}: not a 4x4 rotation with a translation")
        for number, matrix in self.intrinsics.items():
            if not _is_pinhole(np.asarray(matrix)):
                raise InputError(
                    f"known intrinsics of view {number}: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], fx, fy above 0"
                )
        for number, focal in self.focals.items():
            if not (np.isfinite(focal) and focal > 0):
                raise InputError(f"known focal length of view {number}: {focal}, expected a number of pixels above 0")

    def focal(self, view: int) -> float | None:
        """The horizontal focal length, where it is known."""
        if view in self.intrinsics:
            return float(np.asarray(self.intrinsics[view])[0, 0])
        return float(self.focals[view]) if view in self.focals else None

    def aspect(self, view: int) -> float:
        """Vertical over horizontal focal length, 1 where it is not known."""
        matrix = np.asarray(self.intrinsics.get(view, np.eye(3)))
        return float(matrix[1, 1] / matrix[0, 0])

    def principal_point(self, view: int, height: int, width: int) -> tuple[float, float]:
        """(x, y), the middle of the picture where it is not known."""
        if view in self.intrinsics:
            matrix = np.asarray(self.intrinsics[view])
            return float(matrix[0, 2]), float(matrix[1, 2])
        return width / 2, height / 2

    def fix_everything(self, views: int) -> bool:
        """Whether pose and focal length of every view are known."""
        return all(view in self.camera_to_world and self.focal(view) is not None for view in range(views))


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} {value!r}: expected one of {', '.join(choices)}")


def _is_rigid(pose: ndarray) -> bool:
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        return False
    rotation = pose[:3, :3]
    orthonormal = bool(np.abs(rotation @ rotation.T - np.eye(3)).max() < RIGID_TOLERANCE)
    return orthonormal and bool(np.linalg.det(rotation) > 0) and bool((pose[3] == (0, 0, 0, 1)).all())


def _is_pinhole(matrix: ndarray) -> bool:
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        return False
    zeros = abs(matrix[0, 1]) + abs(matrix[1, 0]) < 1e-6 * abs(matrix[0, 0])
    return bool(matrix[0, 0] > 0 and matrix[1, 1] > 0 and zeros and (matrix[2] == (0, 0, 1)).all())
