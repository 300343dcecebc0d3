"""Random colours, drawn for every picture on its own."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "batch 3 height width"]

LUMA = (0.299, 0.587, 0.114)
# columns: luma and the two chroma axes of YIQ, in which a turn of the hue is a rotation
TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def jitter_colours(images: Images, strength: float, hue: float, generator: torch.Generator) -> Images:
    """The pictures (0-1) with other brightness, contrast, saturation and hue, clamped to 0-1.

    Brightness, contrast and saturation are multiplied by factors drawn from 1 - ``strength`` to 1 + ``strength``, the
    hue is turned by up to ``hue`` of the full circle either way: with (0.5, 0.1) the ranges Spann3R was trained with.
    Always in that order; the hue turns in YIQ space, without the kinks of HSV.
    """
    if strength <= 0 and hue <= 0:
        return images
    draws = 2 * torch.rand(len(images), 4, generator=generator) - 1
    factors = (1 + strength * draws[:, :3]).to(images.device)[:, :, None, None, None]
    brightness, contrast, saturation = factors.unbind(1)
    images = (images * brightness).clamp(0, 1)
    images = (_blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), contrast)).clamp(0, 1)
    images = _blend(images, _grey(images), saturation).clamp(0, 1)
    if hue <= 0:
        return images
    return torch.einsum("bij,bjhw->bihw", _hue_turns(hue * draws[:, 3]).to(images), images).clamp(0, 1)


def _grey(images: Images) -> Float[Tensor, "batch 1 height width"]:
    return torch.einsum("c,bchw->bhw", images.new_tensor(LUMA), images)[:, None]


def _blend(images: Images, towards: Tensor, factor: Float[Tensor, "batch 1 1 1"]) -> Images:
    return towards + (images - towards) * factor


def _hue_turns(shares: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
    """Matrices on RGB that keep the luma and turn the chroma by those shares of a circle."""
    to_yiq = torch.tensor(TO_YIQ)
    angle_rad = 2 * math.pi * shares
    turn = torch.eye(3).repeat(len(shares), 1, 1)
    turn[:, 1, 1] = turn[:, 2, 2] = angle_rad.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle_rad.sin(), angle_rad.sin()
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq
