"""Which pictures the exported cameras belong to: those the network saw, or the full-size ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.result import Reconstruction


@dataclass(frozen=True)
class ExportedPictures:
    """The picture files beside an export, and how pixels of the reconstruction become pixels of them.

    Attributes:
        files: path of every view's picture, relative to the folder of the export, with forward slashes.
        sizes: (width, height) of every file.
        pixel_from_view: homogeneous 2D transforms, pixel centres at integers; identity for the pictures as the network
            saw them.
    """

    files: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    pixel_from_view: Float64[ndarray, "views 3 3"]

    @staticmethod
    def as_seen(result: Reconstruction, files: tuple[str, ...] | None = None) -> ExportedPictures:
        """The pictures at the size of the network, called ``files`` or else by the names of the views."""
        sizes = tuple((width, height) for height, width in result.sizes)
        return ExportedPictures(files or result.names, sizes, np.stack([np.eye(3)] * len(result)))

    def intrinsics(self, result: Reconstruction) -> Float64[ndarray, "views 3 3"]:
        """Pinhole matrices in pixels of the files, pixel centres at integers."""
        if result.intrinsics is None or result.camera_to_world is None:
            raise InputError("the reconstruction has no cameras, expected poses and intrinsics (cameras.with_cameras)")
        return self.pixel_from_view @ result.intrinsics
