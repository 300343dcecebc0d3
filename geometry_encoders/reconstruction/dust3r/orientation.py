"""Runs a head on batches that mix landscape and portrait pictures, all stored landscape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.patch_embed import is_landscape

Pointmap = tuple[Float[Tensor, "batch height width 3"], Float[Tensor, "batch height width"]]
Layers = Sequence[Float[Tensor, "batch tokens channels"]]
Head = Callable[[Layers, tuple[int, int]], Pointmap]


def _portrait(head: Head, layers: Layers, height: int, width: int) -> Pointmap:
    points, confidence = head(layers, (width, height))
    return points.transpose(1, 2), confidence.transpose(1, 2)


def run_landscape(head: Head, layers: Layers, true_shape: Int[Tensor, "batch 2"]) -> Pointmap:
    """Pointmaps stored landscape; portrait samples are decoded on their own grid and transposed.

    ``head`` takes the layers and the (height, width) of the picture; ``true_shape`` holds (height, width) of each
    sample, which may differ only by a swap.
    """
    height, width = int(true_shape.min()), int(true_shape.max())
    landscape = is_landscape(true_shape).to(layers[0].device)
    if bool(landscape.all()):
        return head(layers, (height, width))
    if not bool(landscape.any()):
        return _portrait(head, layers, height, width)
    upright, turned = landscape.nonzero().flatten(), (~landscape).nonzero().flatten()
    first = head([layer[upright] for layer in layers], (height, width))
    second = _portrait(head, [layer[turned] for layer in layers], height, width)
    order = torch.cat([upright, turned]).argsort()
    points, confidence = (torch.cat(both)[order] for both in zip(first, second, strict=True))
    return points, confidence


def run_as_stored(head: Head, layers: Layers, true_shape: Int[Tensor, "batch 2"]) -> Pointmap:
    """Pointmaps in the shape of the pictures, which must be the same for the whole batch."""
    if bool((true_shape != true_shape[:1]).any()):
        raise InputError(f"pictures of shapes {true_shape.tolist()} in one batch: expected one (height, width)")
    height, width = (int(side) for side in true_shape[0])
    return head(layers, (height, width))
