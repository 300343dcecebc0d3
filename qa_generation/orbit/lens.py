"""`Lens`: a pinhole camera with radial and tangential distortion, as COLMAP and OpenCV define it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float64

# fixed-point steps that invert the distortion; each shrinks the error by about |k| r^2
INVERSION_STEPS = 30
# directions this much farther out than the farthest corner are not projected: the polynomial may fold them back in
FIELD_MARGIN = 1.1
# largest coordinate on the plane z = 1 that is looked for, 84 degrees off the axis
WIDEST = 10.0


@dataclass(frozen=True, eq=False)
class Lens:
    """How directions become pixels of the stored picture.

    Attributes:
        intrinsics: pinhole matrix, pixels, pixel centres at integers.
        size: (width, height) of the picture, pixels.
        distortion: (k1, k2, p1, p2); all 0 for an ideal lens.
    """

    intrinsics: Float64[np.ndarray, "3 3"]
    size: tuple[int, int]
    distortion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def project(
        self, points: Float[np.ndarray, "*shape 3"]
    ) -> tuple[Float64[np.ndarray, "*shape 2"], Bool[np.ndarray, "*shape"]]:
        """Pixels of points in the camera frame, and which of them lie in the picture and in front of the camera."""
        depth = points[..., 2]
        front = depth > 1e-9
        plane = points[..., :2] / np.where(front, depth, 1.0)[..., None]
        front &= (plane**2).sum(axis=-1) <= self._largest_radius**2
        plane = np.where(front[..., None], plane, 0.0)
        pixels = self._distorted(plane) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]
        upper = np.array(self.size) - 0.5
        return pixels, front & (pixels >= -0.5).all(axis=-1) & (pixels < upper).all(axis=-1)

    def directions(self, pixels: Float[np.ndarray, "*shape 2"]) -> Float64[np.ndarray, "*shape 3"]:
        """Directions in the camera frame, z component 1, that the lens shows at these pixels."""
        target = (pixels - self.intrinsics[:2, 2]) @ np.linalg.inv(self.intrinsics[:2, :2]).T
        plane = target.copy()
        if any(self.distortion):
            for _ in range(INVERSION_STEPS):
                # bounded, since a lens that does not cover its picture has no answer at the corners
                plane = np.clip(plane - (self._distorted(plane) - target), -WIDEST, WIDEST)
        return np.concatenate([plane, np.ones((*plane.shape[:-1], 1))], axis=-1)

    def _distorted(self, plane: Float64[np.ndarray, "*shape 2"]) -> Float64[np.ndarray, "*shape 2"]:
        """Points of the plane z = 1 after distortion (Brown's model with two radial terms)."""
        k1, k2, p1, p2 = self.distortion
        if not any(self.distortion):
            return plane
        u, v = plane[..., 0], plane[..., 1]
        square = u * u + v * v
        radial = 1 + square * (k1 + square * k2)
        return np.stack(
            [
                u * radial + 2 * p1 * u * v + p2 * (square + 2 * u * u),
                v * radial + 2 * p2 * u * v + p1 * (square + 2 * v * v),
            ],
            axis=-1,
        )

    @cached_property
    def covers_picture(self) -> bool:
        """Whether every corner of the picture has a direction; with a wrong distortion the formula folds back."""
        corners = self._corners
        back = self._distorted(self.directions(corners)[:, :2]) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]
        return bool(np.abs(back - corners).max() < 0.01)

    @property
    def _corners(self) -> Float64[np.ndarray, "4 2"]:
        width, height = self.size
        return np.array([[x, y] for x in (0.0, width - 1.0) for y in (0.0, height - 1.0)])

    @cached_property
    def _largest_radius(self) -> float:
        """Distance from the axis, on the plane z = 1, of the farthest corner of the picture, with a margin."""
        radii = np.linalg.norm(self.directions(self._corners)[:, :2], axis=-1)
        return FIELD_MARGIN * float(radii.max())
