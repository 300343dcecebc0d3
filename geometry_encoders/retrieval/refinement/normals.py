"""Surface directions from distance fields."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5
TINY = 1e-16


def sobel_kernels(like: Tensor) -> Float[Tensor, "3 1 3 3 3"]:
    """Derivative kernels of the three axes; the last has the opposite sign, as in RetrievalFuse's program."""
    slope = torch.tensor([1.0, 0.0, -1.0]).to(like)
    smooth = torch.tensor([1.0, 2.0, 1.0]).to(like)
    axes = (
        torch.einsum("z,y,x->zyx", slope, smooth, smooth),
        torch.einsum("z,y,x->zyx", smooth, slope, smooth),
        torch.einsum("z,y,x->zyx", smooth, smooth, -slope),
    )
    return torch.stack(axes)[:, None]


def distance_normals(
    distance: Float[Tensor, "batch depth height width"], outside: float
) -> Float[Tensor, "batch 3 depth height width"]:
    """Directions in which a distance field changes, of length one, or zero where it is flat.

    Args:
        distance: any number of fields.
        outside: the distance assumed around each field, its truncation.
    """
    padded = F.pad(distance[:, None], (1,) * 6, value=outside)
    gradient = F.conv3d(padded, sobel_kernels(distance))
    return gradient / (gradient.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()


def normal_disagreement(
    normals: Float[Tensor, "batch 3 depth height width"], others: Float[Tensor, "batch 3 depth height width"]
) -> Float[Tensor, ""]:
    """One minus the mean cosine over voxels where both have a direction; one where there is no such voxel."""
    both = normals.abs().sum(dim=1).gt(0) & others.abs().sum(dim=1).gt(0)
    # several times faster than torch's cosine_similarity over three channels
    squares = [field.square().sum(dim=1).clamp_min(TINY) for field in (normals, others)]
    cosine = (normals * others).sum(dim=1) / (squares[0] * squares[1]).sqrt()
    return 1 - (cosine * both).sum() / both.sum().clamp_min(1)
