"""`ObjectCapture`: one object filmed from around, as a reader of object-centric datasets gives it.

World axes and scale are arbitrary there, so nothing metric can be said: only directions, angles and ratios.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from qa_generation.orbit.lens import Lens
from qa_generation.orbit.turn import Turn, turn_of
from qa_generation.scene import View

# the one object of a capture, as records and marks call it
OBJECT_ID = 1


@dataclass(frozen=True, eq=False)
class Mask:
    """Which pixels of one view show the object, packed eight to a byte and unpacked on demand.

    Attributes:
        packed: rows of bits.
        size: (width, height), pixels.
        box: [x0, y0, x1, y1) of the object, pixels.
        area: number of its pixels.
        edge_pixels: how many of them lie on an edge of the picture.
    """

    packed: UInt8[np.ndarray, "height bytes"]
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    area: int
    edge_pixels: int

    @classmethod
    def of(cls, pixels: Bool[np.ndarray, "height width"]) -> Self:
        """Raises ``ValueError`` where no pixel is set."""
        columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
        if not len(rows):
            raise ValueError("mask is empty")
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        height, width = pixels.shape
        edges = [pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]
        on_edge = sum(int(edge.sum()) for edge in edges)
        return cls(np.packbits(pixels, axis=1), (width, height), box, int(pixels.sum()), on_edge)

    def pixels(self) -> Bool[np.ndarray, "height width"]:
        """The mask itself."""
        return np.unpackbits(self.packed, axis=1, count=self.size[0]).astype(bool)

    @property
    def border_gap(self) -> int:
        """Pixels between the object and the nearest edge of the picture; 0 where it touches."""
        x0, y0, x1, y1 = self.box
        return min(x0, y0, self.size[0] - x1, self.size[1] - y1)


@dataclass(frozen=True, eq=False)
class ObjectCapture:
    """Posed views of one object with masks and sparse points; world scale and axes are arbitrary.

    Attributes:
        scene_id: class and instance, e.g. ``366-3707ded1``.
        dataset: reader's dataset name.
        category: what the object is called.
        views: pictures as stored; ``View.intrinsics`` is their pinhole part only, ``lenses`` the whole camera.
            Translations of ``world_to_camera`` are in the capture's own unit, not metres.
        lenses: camera of every view with its distortion; pictures are not undistorted.
        masks: where each view shows the object.
        points: sparse points of the reconstruction, world.
        seen: which view observed which point (tracks).
        skipped: what was left out of the capture and why, for the person who runs the job.
    """

    scene_id: str
    dataset: str
    category: str
    views: tuple[View, ...]
    lenses: tuple[Lens, ...]
    masks: tuple[Mask, ...]
    points: Float64[np.ndarray, "points 3"]
    seen: Bool[np.ndarray, "views points"]
    skipped: tuple[str, ...] = ()

    @cached_property
    def world_to_camera(self) -> Float64[np.ndarray, "views 4 4"]:
        """All poses."""
        return np.stack([view.world_to_camera for view in self.views])

    @cached_property
    def turn(self) -> Turn:
        """How the cameras stand round the object: its centre, up, azimuth, elevation, distance, coverage."""
        return turn_of(self.world_to_camera)

    def view(self, view_id: str) -> View:
        """The view of that id; raises ``KeyError`` when there is none."""
        return self.views[self.index(view_id)]

    def index(self, view_id: str) -> int:
        """Position of a view; raises ``KeyError`` when there is none."""
        for index, view in enumerate(self.views):
            if view.view_id == view_id:
                return index
        raise KeyError(f"capture {self.scene_id} has no view {view_id!r}")
