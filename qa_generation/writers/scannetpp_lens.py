"""Pictures as a distorted lens takes them, from pinhole pictures of the same camera centre and axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import map_coordinates

Grid = Float64[np.ndarray, "height width"]


@dataclass(frozen=True)
class FisheyeLens:
    """COLMAP's OPENCV_FISHEYE with equal focal lengths: theta_d = theta (1 + k1 theta^2 + ... + k4 theta^8)."""

    focal: float
    coefficients: tuple[float, float, float, float] = (0.03, -0.012, 0.004, -0.0008)

    def distorted_angle(self, theta: float | Grid) -> float | Grid:
        """theta_d of an angle to the optical axis, radians."""
        return theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(self.coefficients)))

    def pinhole_coordinates(self, x: Grid, y: Grid) -> tuple[Grid, Grid]:
        """Pinhole coordinates (at depth 1) of where pixels look, given as offsets from the centre in pixels."""
        wanted = np.hypot(x, y) / self.focal
        theta = wanted.copy()
        for _ in range(30):  # Newton; the polynomial is nearly the identity
            slope = 1 + sum((2 * i + 3) * k * theta ** (2 * i + 2) for i, k in enumerate(self.coefficients))
            theta -= (self.distorted_angle(theta) - wanted) / slope
        scale = np.where(wanted > 0, np.tan(theta) / np.maximum(wanted, 1e-12), 1.0) / self.focal
        return x * scale, y * scale


@dataclass(frozen=True)
class RadialTangentialLens:
    """COLMAP's OPENCV with equal focal lengths."""

    focal: float
    coefficients: tuple[float, float, float, float]

    def pinhole_coordinates(self, x: Grid, y: Grid) -> tuple[Grid, Grid]:
        """As of the fisheye."""
        k1, k2, p1, p2 = self.coefficients
        wanted_x, wanted_y = x / self.focal, y / self.focal
        u, v = wanted_x, wanted_y
        for _ in range(50):  # fixed point, contracting for weak distortion
            square = u * u + v * v
            radial = 1 + k1 * square + k2 * square * square
            u, v = (
                (wanted_x - 2 * p1 * u * v - p2 * (square + 2 * u * u)) / radial,
                (wanted_y - p1 * (square + 2 * v * v) - 2 * p2 * u * v) / radial,
            )
        return u, v


def fitting_fisheye(intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int]) -> FisheyeLens:
    """The fisheye whose picture of that size has its corners where the pinhole picture has them."""
    corner = math.hypot(*size) / 2
    angle = math.atan(corner / intrinsics[0, 0])
    return FisheyeLens(corner / float(FisheyeLens(1.0).distorted_angle(angle)))


def take(
    lens: FisheyeLens | RadialTangentialLens,
    picture: np.ndarray,
    intrinsics: Float64[np.ndarray, "3 3"],
    order: int = 1,
) -> np.ndarray:
    """What ``lens`` sees of a pinhole ``picture`` (h, w) or (h, w, 3), in a picture of the same size.

    The lens looks along the middle of its picture. 0 where the pinhole picture has nothing. ``order`` 1 interpolates
    for colours, 0 takes the nearest pixel for depth.
    """
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    u, v = lens.pinhole_coordinates(x, y)
    places = [intrinsics[1, 1] * v + intrinsics[1, 2], intrinsics[0, 0] * u + intrinsics[0, 2]]
    layers = picture[..., None] if picture.ndim == 2 else picture
    # an edge pixel reaches half a pixel beyond its centre
    seen = [
        map_coordinates(np.pad(layer, 1, mode="edge"), [p + 1 for p in places], order=order, mode="constant")
        for layer in np.moveaxis(layers, -1, 0)
    ]
    return np.stack(seen, axis=-1).reshape(picture.shape)
