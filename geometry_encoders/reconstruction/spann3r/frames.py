"""What is checked of frames before a network sees them."""

from __future__ import annotations

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
