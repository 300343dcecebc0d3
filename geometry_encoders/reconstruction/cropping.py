"""Posed pictures with depth at the size a network is trained and measured at: crop, rescale, crop.

The rule of DUSt3R's and Spann3R's data sets, which their published evaluation uses too. The principal point ends in the
middle of the picture, the focal length changes by one factor for both axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from geometry_encoders.errors import InputError

Enlarging = Literal["lanczos", "bicubic"]
# a picture about as high as wide may be cut either way
_SQUARE_RATIOS = (0.9, 1.1)


@dataclass(frozen=True, eq=False)
class CameraImage:
    """A picture, the depth of its pixels and its pinhole camera.

    Attributes:
        image: RGB.
        depth: along z, 0 where missing, any unit.
        intrinsics: 3x3 in pixels, pixel centres at integers.
    """

    image: UInt8[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"]
    intrinsics: Float[np.ndarray, "3 3"]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]


def crop_and_resize(
    view: CameraImage,
    resolution: tuple[int, int],
    rng: np.random.Generator | None = None,
    aug_crop: int = 0,
    enlarging: Enlarging = "lanczos",
) -> CameraImage:
    """The view at ``resolution``, or at the swapped one where it is higher than wide.

    Args:
        view: picture, depth and camera.
        resolution: (width, height) with width >= height.
        rng: chooses the side on which a nearly square view is cut (a landscape cut without it), and the extra size.
        aug_crop: up to so many pixels more before the last crop, as augmentation; needs ``rng``.
        enlarging: filter for pictures smaller than the resolution: ``lanczos`` as Spann3R, ``bicubic`` as DUSt3R.

    Raises:
        InputError: picture and depth differ in size, the principal point is at or beyond the border, or the arguments
            contradict each other.

    Example: ``crop_and_resize(CameraImage(image, depth, intrinsics), (224, 224))``
    """
    _check(view, resolution, aug_crop, rng)
    view = centre_on_principal_point(view)
    target = np.array(_orient(resolution, view.size, rng))
    enough = target + (int(rng.integers(0, aug_crop)) if rng is not None and aug_crop > 1 else 0)
    view = _rescale(view, enough, enlarging)
    return _crop_centre(view, target)


def centre_on_principal_point(view: CameraImage) -> CameraImage:
    """The largest part of the view with its principal point, rounded to a pixel, in the middle."""
    (width, height), (x, y) = view.size, _principal_pixel(view)
    half_width, half_height = min(x, width - x), min(y, height - y)
    return _cut(view, x - half_width, y - half_height, 2 * half_width, 2 * half_height)


def _principal_pixel(view: CameraImage) -> tuple[int, int]:
    x, y = view.intrinsics[:2, 2].round().astype(int)
    return int(x), int(y)


def _check(view: CameraImage, resolution: tuple[int, int], aug_crop: int, rng: np.random.Generator | None) -> None:
    if view.image.shape[:2] != view.depth.shape:
        raise InputError(f"picture is {view.image.shape[:2]}, depth {view.depth.shape}, expected one height and width")
    if min(resolution) < 1 or resolution[0] < resolution[1]:
        raise InputError(f"resolution is {resolution}, expected (width, height) with width >= height")
    if aug_crop > 1 and rng is None:
        raise InputError(f"aug_crop is {aug_crop}, expected a generator with it")
    (width, height), (x, y) = view.size, _principal_pixel(view)
    if not (0 < x < width and 0 < y < height):
        raise InputError(f"principal point is ({x}, {y}), expected one inside the {width}x{height} picture")


def _orient(resolution: tuple[int, int], size: tuple[int, int], rng: np.random.Generator | None) -> tuple[int, int]:
    ratio = size[1] / size[0]
    low, high = _SQUARE_RATIOS
    swapped = resolution[1], resolution[0]
    if ratio > high:
        return swapped
    if low < ratio < high and resolution[0] != resolution[1] and rng is not None and rng.integers(2):
        return swapped
    return resolution


def _rescale(view: CameraImage, target: np.ndarray, enlarging: Enlarging) -> CameraImage:
    """The view enlarged or reduced by one factor until it just covers ``target``."""
    size = np.array(view.size)
    scale = float(max(target / size)) + 1e-8  # so that rounding down does not lose a pixel
    new = np.floor(size * scale).astype(int)
    cubic = enlarging == "bicubic" and scale >= 1
    method = Image.Resampling.BICUBIC if cubic else Image.Resampling.LANCZOS
    image = np.asarray(Image.fromarray(view.image).resize((int(new[0]), int(new[1])), method))
    intrinsics = _scaled(view.intrinsics, scale, (size * scale - new) / 2)
    return CameraImage(image, resize_nearest(view.depth, (int(new[0]), int(new[1]))), intrinsics)


def resize_nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map of numbers at (width, height), values of the pixels that OpenCV's INTER_NEAREST takes."""
    rows, columns = (_nearest(new, old) for new, old in zip(size[::-1], values.shape, strict=True))
    return values[rows[:, None], columns]


def _nearest(new: int, old: int) -> np.ndarray:
    """The row of the old array for every row of the new one, rounded as OpenCV does."""
    return np.minimum(np.floor(np.arange(new) * (1 / (new / old))).astype(int), old - 1)


def _scaled(intrinsics: Float[np.ndarray, "3 3"], scale: float, margin: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """The camera of a picture scaled from its corner (not from the centre of its first pixel), less a margin."""
    scaled = intrinsics.copy()
    scaled[:2, 2] += 0.5
    scaled[:2] *= scale
    scaled[:2, 2] -= margin
    scaled[:2, 2] -= 0.5
    return scaled


def _crop_centre(view: CameraImage, target: np.ndarray) -> CameraImage:
    wanted = _scaled(view.intrinsics, 1.0, (np.array(view.size) - target) / 2)
    left, top = (view.intrinsics[:2, 2] - wanted[:2, 2]).round().astype(int)
    return _cut(view, int(left), int(top), int(target[0]), int(target[1]))


def _cut(view: CameraImage, left: int, top: int, width: int, height: int) -> CameraImage:
    rows, columns = slice(top, top + height), slice(left, left + width)
    intrinsics = view.intrinsics.copy()
    intrinsics[0, 2] -= left
    intrinsics[1, 2] -= top
    return replace(view, image=view.image[rows, columns], depth=view.depth[rows, columns], intrinsics=intrinsics)


def squeeze(view: CameraImage, resolution: tuple[int, int]) -> CameraImage:
    """All of the view at ``resolution`` (width, height), its shape changed where it has to be.

    Not part of any published protocol; for networks that were trained on pictures made square this way. Depth is taken
    from the nearest pixel.
    """
    if view.image.shape[:2] != view.depth.shape:
        raise InputError(f"picture is {view.image.shape[:2]}, depth {view.depth.shape}, expected one height and width")
    image = np.asarray(Image.fromarray(view.image).resize(resolution, Image.Resampling.BICUBIC))
    columns, rows = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(resolution, view.size, strict=True)
    )
    factors = np.array(resolution) / np.array(view.size)
    intrinsics = view.intrinsics.copy()
    intrinsics[:2, 2] += 0.5
    intrinsics[:2] *= factors[:, None].astype(intrinsics.dtype)
    intrinsics[:2, 2] -= 0.5
    return CameraImage(image, view.depth[rows[:, None], columns], intrinsics)
