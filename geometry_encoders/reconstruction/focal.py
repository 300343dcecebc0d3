"""The focal length that explains a pointmap seen from its own camera."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.errors import InputError


def estimate_focal(
    points: Float[Tensor, "batch height width 3"],
    principal_point: Float[Tensor, "batch 2"] | None = None,
    method: Literal["weiszfeld", "median"] = "weiszfeld",
    min_focal: float = 0.0,
    max_focal: float = math.inf,
    iterations: int = 10,
) -> Float[Tensor, " batch"]:
    """Focal lengths in pixels (DUSt3R, arXiv:2312.14132, section 3.3).

    ``weiszfeld`` minimises the sum of distances between pixels and projected points by iteratively reweighted least
    squares; ``median`` takes the median of all per-pixel solutions.

    Args:
        points: in the camera frame of the picture, any unit.
        principal_point: (x, y) in pixels; the middle (width / 2, height / 2) by default.
        min_focal: lower limit, in units of the focal length that a 60 degree view of that size has.
        max_focal: upper limit, same units.
    """
    batch, height, width, _ = points.shape
    if principal_point is None:
        principal_point = points.new_tensor([width / 2, height / 2]).expand(batch, 2)
    columns = torch.arange(width, device=points.device, dtype=points.dtype)
    rows = torch.arange(height, device=points.device, dtype=points.dtype)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)
    pixels = grid - principal_point[:, None]
    flat = points.flatten(1, 2)
    if method == "median":
        ratio = pixels * flat[..., 2:] / flat[..., :2]
        focal = ratio.flatten(1).nanmedian(dim=1).values
    elif method == "weiszfeld":
        rays = torch.nan_to_num(flat[..., :2] / flat[..., 2:], posinf=0.0, neginf=0.0)
        focal = _weiszfeld(rays, pixels, iterations)
    else:
        raise InputError(f"method {method!r}: expected 'weiszfeld' or 'median'")
    unit = max(height, width) / (2 * math.tan(math.radians(60) / 2))
    return focal.clamp(min_focal * unit, max_focal * unit)


def _weiszfeld(
    rays: Float[Tensor, "batch pixels 2"], pixels: Float[Tensor, "batch pixels 2"], iterations: int
) -> Float[Tensor, " batch"]:
    """Minimiser f of the sum of |pixel - f ray|, started from least squares."""
    match, square = (rays * pixels).sum(-1), rays.square().sum(-1)
    focal = match.mean(1) / square.mean(1)
    for _ in range(iterations):
        distance = (pixels - focal[:, None, None] * rays).norm(dim=-1)
        weight = 1 / distance.clamp(min=1e-8)
        focal = (weight * match).mean(1) / (weight * square).mean(1)
    return focal
