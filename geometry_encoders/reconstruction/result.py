"""What a reconstruction is: pictures, their pointmaps in one common frame, confidences and cameras."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8
from numpy.typing import NDArray

from geometry_encoders.errors import InputError

RIGID_TOLERANCE = 1e-4


@dataclass(frozen=True)
class PointCloud:
    """Coloured points and the pixels that they were seen in.

    Attributes:
        points: in the frame and unit of the reconstruction.
        colours: RGB of the pixels.
        confidence: of the pixels, larger is surer.
        view: number of the view that each point comes from.
        pixels: (column, row) of each point in its view.
    """

    points: Float32[np.ndarray, "points 3"]
    colours: UInt8[np.ndarray, "points 3"]
    confidence: Float32[np.ndarray, " points"]
    view: Int[np.ndarray, " points"]
    pixels: Int[np.ndarray, "points 2"]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Reconstruction:
    """A scene reconstructed from views, which may differ in size.

    Cameras have OpenCV axes (x right, y down, z forward); pixel centres have integer coordinates. A pixel without a
    point has confidence 0; everywhere else points are finite.

    Attributes:
        names: one per view, e.g. the file name of the picture.
        images: RGB pictures at the size that the network saw.
        pointmaps: 3D point of every pixel, all views in one common frame (the first camera unless its maker says
            otherwise); metres when ``metric``, else the network's own unit.
        confidence: per pixel, larger is surer; its range belongs to the encoder.
        camera_to_world: pose of every view in the common frame, or None.
        intrinsics: pinhole matrix of every view in pixels of ``images``, or None.
        metric: whether lengths are metres.

    Raises:
        InputError: fields that do not fit each other, values that are not finite, poses that are not rigid.
    """

    names: tuple[str, ...]
    images: tuple[UInt8[np.ndarray, "height width 3"], ...]
    pointmaps: tuple[Float32[np.ndarray, "height width 3"], ...]
    confidence: tuple[Float32[np.ndarray, "height width"], ...]
    camera_to_world: Float64[np.ndarray, "views 4 4"] | None = None
    intrinsics: Float64[np.ndarray, "views 3 3"] | None = None
    metric: bool = False

    def __post_init__(self) -> None:
        for field in ("names", "images", "pointmaps", "confidence"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        _check_views(self)
        if self.camera_to_world is not None:
            _check_poses(self.camera_to_world, len(self))
        if self.intrinsics is not None:
            _check_intrinsics(self.intrinsics, len(self))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every view."""
        return tuple((image.shape[0], image.shape[1]) for image in self.images)

    def point_cloud(self, min_confidence: float = 0.0) -> PointCloud:
        """The points of all views with a confidence above ``min_confidence``, view by view, row by row; may be empty.

        Pixels of confidence 0 hold no point and are never among them.
        """
        keep = [confidence > max(min_confidence, 0.0) for confidence in self.confidence]
        view = np.concatenate([np.full(int(mask.sum()), number) for number, mask in enumerate(keep)])
        return PointCloud(
            points=_select(self.pointmaps, keep),
            colours=_select(self.images, keep),
            confidence=_select(self.confidence, keep),
            view=view,
            pixels=np.concatenate([np.argwhere(mask)[:, ::-1] for mask in keep]),
        )

    def save(self, path: Path) -> None:
        """Writes everything to one compressed ``.npz`` file, which `load` reads."""
        arrays: dict[str, NDArray] = {"names": np.array(self.names), "metric": np.array(self.metric)}
        for kind, values in (("image", self.images), ("pointmap", self.pointmaps), ("confidence", self.confidence)):
            arrays |= {f"{kind}_{number}": value for number, value in enumerate(values)}
        for field in ("camera_to_world", "intrinsics"):
            if getattr(self, field) is not None:
                arrays[field] = getattr(self, field)
        with path.open("wb") as file:  # a path would get the suffix .npz appended
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @staticmethod
    def load(path: Path) -> Reconstruction:
        """The reconstruction in a file that `save` wrote; nothing in it is unpickled.

        Raises:
            InputError: no such file, damaged, or not a reconstruction.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file, expected a reconstruction in .npz form")
        try:
            with np.load(path, allow_pickle=False) as file:
                names = tuple(str(name) for name in file["names"])
                images, pointmaps, confidence = (
                    tuple(file[f"{kind}_{number}"] for number in range(len(names)))
                    for kind in ("image", "pointmap", "confidence")
                )
                poses = file.get("camera_to_world")
                intrinsics = file.get("intrinsics")
                metric = bool(file["metric"])
        except (KeyError, ValueError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: damaged or no reconstruction ({error}), expected a file of save()") from error
        return Reconstruction(names, images, pointmaps, confidence, poses, intrinsics, metric)


def _select(maps: tuple[NDArray, ...], keep: list[NDArray[np.bool_]]) -> NDArray:
    return np.concatenate([values[mask] for values, mask in zip(maps, keep, strict=True)])


def _check_views(result: Reconstruction) -> None:
    count = len(result.names)
    if count == 0:
        raise InputError("reconstruction: no views, expected at least one")
    for field in ("images", "pointmaps", "confidence"):
        if len(getattr(result, field)) != count:
            raise InputError(
                f"reconstruction: {len(getattr(result, field))} {field} for {count} names, expected one each"
            )
    views = zip(result.names, result.images, result.pointmaps, result.confidence, strict=True)
    for name, image, points, confidence in views:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"view {name}: image {image.dtype} {image.shape}, expected uint8 (height, width, 3)")
        size = image.shape[:2]
        if points.dtype != np.float32 or points.shape != (*size, 3):
            raise InputError(f"view {name}: pointmap {points.dtype} {points.shape}, expected float32 {(*size, 3)}")
        if confidence.dtype != np.float32 or confidence.shape != size:
            raise InputError(f"view {name}: confidence {confidence.dtype} {confidence.shape}, expected float32 {size}")
        if not np.isfinite(confidence).all():
            raise InputError(f"view {name}: {int((~np.isfinite(confidence)).sum())} confidences are not finite")
        broken = int((~np.isfinite(points).all(-1) & (confidence > 0)).sum())
        if broken:
            raise InputError(f"view {name}: {broken} points are not finite, expected confidence 0 where there is none")


def _check_poses(poses: NDArray, count: int) -> None:
    if poses.dtype != np.float64 or poses.shape != (count, 4, 4):
        raise InputError(f"camera_to_world: {poses.dtype} {poses.shape}, expected float64 {(count, 4, 4)}")
    if not np.isfinite(poses).all():
        raise InputError("camera_to_world: values that are not finite")
    rotations = poses[:, :3, :3]
    error = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    rigid = (error < RIGID_TOLERANCE) & (np.linalg.det(rotations) > 0) & (poses[:, 3] == (0, 0, 0, 1)).all(axis=1)
    if not rigid.all():
        raise InputError(f"camera_to_world of view {int(np.argmin(rigid))}: not a rotation with a translation")


def _check_intrinsics(intrinsics: NDArray, count: int) -> None:
    if intrinsics.dtype != np.float64 or intrinsics.shape != (count, 3, 3):
        raise InputError(f"intrinsics: {intrinsics.dtype} {intrinsics.shape}, expected float64 {(count, 3, 3)}")
    good = np.isfinite(intrinsics).all(axis=(1, 2)) & (intrinsics[:, 0, 0] > 0) & (intrinsics[:, 1, 1] > 0)
    if not good.all():
        raise InputError(
            f"intrinsics of view {int(np.argmin(good))}: expected finite values and positive focal lengths"
        )
