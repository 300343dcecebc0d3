"""Cameras, pictures, points and tracks as a COLMAP model, text or binary."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from geometry_encoders.exports.originals import ExportedPictures
from geometry_encoders.exports.tracks import Tracks, find_tracks
from geometry_encoders.reconstruction.result import Reconstruction

PIXEL_CENTRE = 0.5  # COLMAP puts the corner of the first pixel at 0, we its centre


def write_colmap(
    result: Reconstruction,
    folder: Path,
    pictures: ExportedPictures | None = None,
    min_confidence: float = 0.0,
    layout: Literal["binary", "text"] = "binary",
    max_points: int = 100_000,
) -> None:
    """A model that COLMAP, pycolmap and Gaussian splatting programs read; world and unit of the reconstruction.

    Views of one size and intrinsics share a PINHOLE camera. Image k of COLMAP is view k - 1.

    Args:
        folder: made if needed; gets cameras, images, points3D, rigs and frames.
        pictures: the files that the cameras belong to; by default the pictures as the network saw them.
        min_confidence: points above it are written.
        layout: of the files.
        max_points: thins the points evenly down to so many.

    Raises:
        InputError: a reconstruction without cameras.
    """
    pictures = pictures or ExportedPictures.as_seen(result)
    model = build_model(result, pictures, find_tracks(result, min_confidence, max_points))
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "binary":
        model.write_binary(folder)
    else:
        model.write_text(folder)


def build_model(result: Reconstruction, pictures: ExportedPictures, tracks: Tracks) -> Any:
    """The ``pycolmap.Reconstruction``."""
    pycolmap = _pycolmap()
    model = pycolmap.Reconstruction()
    camera_ids = _add_cameras(pycolmap, model, pictures, pictures.intrinsics(result))
    poses = result.camera_to_world
    assert poses is not None
    # numbers of the observations among those of their view, which COLMAP calls point2D indices
    order = np.argsort(tracks.view, kind="stable")
    slot = np.empty(len(order), dtype=int)
    for view in range(len(result)):
        mine = order[tracks.view[order] == view]
        slot[mine] = np.arange(len(mine))
        homogeneous = np.column_stack([tracks.pixels[mine], np.ones(len(mine))])
        keypoints = (homogeneous @ pictures.pixel_from_view[view].T)[:, :2] + PIXEL_CENTRE
        image = pycolmap.Image(
            name=pictures.files[view], keypoints=keypoints, camera_id=camera_ids[view], image_id=view + 1
        )
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.linalg.inv(poses[view])[:3]))
    starts = np.searchsorted(tracks.point, np.arange(len(tracks.cloud) + 1))
    for number, (point, colour) in enumerate(zip(tracks.cloud.points, tracks.cloud.colours, strict=True)):
        span = slice(starts[number], starts[number + 1])
        track = pycolmap.Track()
        for view, index in zip(tracks.view[span].tolist(), slot[span].tolist(), strict=True):
            track.add_element(view + 1, index)
        model.add_point3D(point.astype(np.float64), track, colour)
    model.update_point_3d_errors()
    return model


def _add_cameras(pycolmap: ModuleType, model: Any, pictures: ExportedPictures, intrinsics: np.ndarray) -> list[int]:
    """The camera of every view; equal ones are added once."""
    known: dict[tuple[float, ...], int] = {}
    ids = []
    for (width, height), matrix in zip(pictures.sizes, intrinsics, strict=True):
        centre = matrix[:2, 2] + PIXEL_CENTRE
        params = [float(value) for value in (matrix[0, 0], matrix[1, 1], *centre)]
        key = (width, height, *params)
        if key not in known:
            known[key] = len(known) + 1
            model.add_camera_with_trivial_rig(
                pycolmap.Camera(model="PINHOLE", width=width, height=height, params=params, camera_id=known[key])
            )
        ids.append(known[key])
    return ids


def _pycolmap() -> ModuleType:
    try:
        import pycolmap
    except ImportError as error:
        raise ImportError(
            "COLMAP models are written by pycolmap; install it with: pip install 'spatialvlm[reconstruction]'"
        ) from error
    return pycolmap
