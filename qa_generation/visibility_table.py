"""What is seen of every instance in every view of one scene: pixel counts, occlusion ratios, boxes, overlaps."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

# specs: an instance counts as visible from this many pixels (or share of the frame) and this visible fraction on
MIN_VISIBLE_PIXELS = 64
MIN_VISIBLE_SHARE = 0.0005
MIN_VISIBLE_FRACTION = 0.05
# visible is what passes both by this much, so that a grid laid a little differently says the same
GUARD = 1.4


@dataclass(frozen=True, eq=False)
class VisibilityTable:
    """Visibility of ``instances`` columns in ``views`` rows, counted on the pixel grid of each view.

    With M the pixels an instance wins in the scene's z-buffer, A its silhouette inside the frame when rendered alone
    and A+ the same on a canvas three times as wide and high: r_obj = 1 - #M/#A, r_fov = 1 - #A/#A+,
    r_comb = 1 - #M/#A+ (SpatialMosaic, 2512.23365; ratios as pixel silhouettes are our reading).

    Attributes:
        view_ids: row names.
        instance_ids: column names.
        sizes: (width, height) of the grid that each view's counts were made on, pixels.
        visible_pixels, frame_pixels, canvas_pixels: #M, #A, #A+.
        boxes: [x0, y0, x1, y1] around M, grid pixels, x1 and y1 exclusive, -1 where M is empty.
        centroid_depth: mean z of M in metres, 0 where M is empty.
        median_depth: median z over all hit pixels of the view, metres, 0 where nothing was hit.
        overlap: IoU of the visible surface voxels of two views, percent.
        glimpsed: no pixel's ray meets the instance, but a sample of its surface shows between them.
    """

    scene_id: str
    view_ids: tuple[str, ...]
    instance_ids: tuple[int, ...]
    sizes: Int32[np.ndarray, "views 2"]
    visible_pixels: Int32[np.ndarray, "views instances"]
    frame_pixels: Int32[np.ndarray, "views instances"]
    canvas_pixels: Int32[np.ndarray, "views instances"]
    boxes: Int32[np.ndarray, "views instances 4"]
    centroid_depth: Float32[np.ndarray, "views instances"]
    median_depth: Float32[np.ndarray, " views"]
    overlap: Float64[np.ndarray, "views views"]
    glimpsed: Bool[np.ndarray, "views instances"]

    @cached_property
    def object_occlusion(self) -> Float64[np.ndarray, "views instances"]:
        """r_obj in 0..1, NaN where the silhouette is outside the frame."""
        return _missing_share(self.visible_pixels, self.frame_pixels)

    @cached_property
    def truncation(self) -> Float64[np.ndarray, "views instances"]:
        """r_fov in 0..1, NaN where the instance is not on the canvas."""
        return _missing_share(self.frame_pixels, self.canvas_pixels)

    @cached_property
    def occlusion(self) -> Float64[np.ndarray, "views instances"]:
        """r_comb in 0..1, NaN where the instance is not on the canvas."""
        return _missing_share(self.visible_pixels, self.canvas_pixels)

    @cached_property
    def visible(self) -> Bool[np.ndarray, "views instances"]:
        """Enough pixels and enough of the whole object to be called visible, whatever the grid."""
        return self._visible_from(GUARD)

    @cached_property
    def visible_by_definition(self) -> Bool[np.ndarray, "views instances"]:
        """The same without the guard, for labels, which say what is and not what is sure."""
        return self._visible_from(1.0)

    def _visible_from(self, factor: float) -> Bool[np.ndarray, "views instances"]:
        least = factor * np.maximum(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * self.sizes.prod(axis=1, dtype=np.int64))
        enough = self.visible_pixels >= least[:, None]
        return enough & (np.nan_to_num(1.0 - self.occlusion, nan=0.0) >= factor * MIN_VISIBLE_FRACTION)

    @cached_property
    def absent(self) -> Bool[np.ndarray, "views instances"]:
        """Nothing is seen, on the pixel grid or between."""
        return (self.visible_pixels == 0) & ~self.glimpsed

    @cached_property
    def ambiguous(self) -> Bool[np.ndarray, "views instances"]:
        """Neither visible nor absent; such a pair may never influence an answer."""
        return ~self.visible & ~self.absent

    def save(self, path: Path) -> None:
        """Writes one uncompressed ``.npz``; the name appears only when the file is complete."""
        content: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        # a name of its own, so that two processes that write the same table do not mix their bytes
        partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
        try:
            with partial.open("wb") as stream:
                np.savez(stream, **content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> VisibilityTable:
        """Reads what ``save`` wrote; pickled content is refused."""
        with np.load(path, allow_pickle=False) as data:
            content = {f.name: data[f.name] for f in fields(cls)}
        content["scene_id"] = str(content["scene_id"])
        content["view_ids"] = tuple(str(v) for v in content["view_ids"])
        content["instance_ids"] = tuple(int(i) for i in content["instance_ids"])
        return cls(**content)


def _missing_share(part: np.ndarray, whole: np.ndarray) -> Float64[np.ndarray, "views instances"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1.0 - part.astype(np.float64) / whole.astype(np.float64)
    share[whole == 0] = np.nan
    return share
