"""Turns the four raw channels of a head into 3D points and confidences (DUSt3R, arXiv:2312.14132, section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.errors import InputError

RawMap = Float[Tensor, "batch height width 3"]


def _along_direction(raw: RawMap, length: Callable[[Tensor], Tensor]) -> RawMap:
    distance = raw.norm(dim=-1, keepdim=True)
    return raw / distance.clamp(min=1e-8) * length(distance)


POINT_MODES: dict[str, Callable[[RawMap], RawMap]] = {
    "linear": lambda raw: raw,
    "square": lambda raw: _along_direction(raw, torch.square),
    "exp": lambda raw: _along_direction(raw, torch.expm1),
}
CONFIDENCE_MODES = ("exp", "sigmoid")


def points_from_raw(
    raw: Float[Tensor, "batch 4 height width"], mode: str = "exp"
) -> Float[Tensor, "batch height width 3"]:
    """Points: the raw vector gives the direction, its length n the distance e^n - 1 (``exp``) or n^2 (``square``)."""
    if mode not in POINT_MODES:
        raise InputError(f"depth mode {mode!r}: expected one of {', '.join(POINT_MODES)}")
    return POINT_MODES[mode](raw[:, :3].movedim(1, -1))


def raw_length(distance: float, mode: str = "exp") -> float:
    """The length of the raw vector that `points_from_raw` turns into a point at that distance."""
    lengths: dict[str, Callable[[float], float]] = {"linear": float, "square": math.sqrt, "exp": math.log1p}
    if mode not in lengths:
        raise InputError(f"depth mode {mode!r}: expected one of {', '.join(lengths)}")
    return lengths[mode](distance)


def confidence_from_raw(
    raw: Float[Tensor, "batch 4 height width"], mode: str = "exp", low: float = 1.0, high: float = math.inf
) -> Float[Tensor, "batch height width"]:
    """Confidence between ``low`` and ``high``: low + min(e^x, high - low), or a sigmoid stretched between the two."""
    if mode not in CONFIDENCE_MODES:
        raise InputError(f"confidence mode {mode!r}: expected one of {', '.join(CONFIDENCE_MODES)}")
    channel = raw[:, 3]
    if mode == "sigmoid":
        return (high - low) * channel.sigmoid() + low
    return low + channel.exp().clamp(max=high - low)
