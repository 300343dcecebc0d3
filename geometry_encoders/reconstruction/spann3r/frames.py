"""What is checked of frames before a network sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.errors import InputError


def check_frames(frames: Float[Tensor, "... 3 height width"], patch_size: int) -> None:
    """Raises `InputError` for what is no picture: wrong axes, sides, number type, or values that are not finite."""
    if frames.ndim < 3 or frames.shape[-3] != 3 or not frames.numel():
        raise InputError(f"frames of shape {tuple(frames.shape)}, expected (..., 3, height, width) with RGB channels")
    if not frames.is_floating_point():
        raise InputError(f"frames of type {frames.dtype}, expected floating point numbers scaled to -1..1")
    height, width = frames.shape[-2:]
    if height % patch_size or width % patch_size:
        raise InputError(f"frames of {height} x {width} pixels, expected both sides to be multiples of {patch_size}")
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        return
    finite = frames.isfinite()
    if not bool(finite.all()):
        count = int((~finite).sum())
        raise InputError(f"frames with {count} values that are not finite, expected numbers from -1 to 1")


def as_frames(images: Sequence[Any] | Tensor | np.ndarray, patch_size: int) -> Float[Tensor, "views 3 height width"]:
    """One float tensor in -1..1 from what users have.

    Args:
        images: a tensor (views, 3, height, width) in -1..1, or a sequence of: such tensors of one view with or without
            a leading 1, uint8 RGB arrays (height, width, 3), or what `load_images` returns.

    Raises:
        InputError: no images, different shapes, or what `check_frames` refuses.
    """
    if isinstance(images, Tensor) and images.ndim == 4:
        frames = images
    else:
        singles = [_as_frame(image, number) for number, image in enumerate(images)]
        if not singles:
            raise InputError("no images, expected at least one")
        for number, single in enumerate(singles):
            if single.shape != singles[0].shape:
                raise InputError(
                    f"image {number} has {single.shape[-2]} x {single.shape[-1]} pixels and image 0 "
                    f"{singles[0].shape[-2]} x {singles[0].shape[-1]}, expected one size for the whole sequence"
                )
        frames = torch.stack(singles)
    if not len(frames):
        raise InputError("no images, expected at least one")
    check_frames(frames, patch_size)
    return frames.float()


def _as_frame(image: Any, number: int) -> Float[Tensor, "3 height width"]:
    if isinstance(image, Mapping):
        image = image["img"]
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3:
        return (torch.from_numpy(image).movedim(-1, 0).float() / 255 - 0.5) / 0.5
    if isinstance(image, Tensor) and image.ndim == 4 and len(image) == 1:
        image = image[0]
    if not isinstance(image, Tensor) or image.ndim != 3:
        found = f"{type(image).__name__} of shape {tuple(getattr(image, 'shape', ()))}"
        raise InputError(f"image {number} is a {found}, expected a tensor (3, height, width) or a uint8 RGB array")
    return image
