"""A vision tower with a head that predicts the category and the log depth of every label cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipVisionModel


@dataclass(frozen=True)
class DenseLoss:
    """Terms of the dense loss and the counts that held-out figures are made of; all scalars.

    Attributes:
        total: what is minimised.
        category: weighted cross entropy; log_depth: mean absolute error of the natural logarithm of the depth.
        correct, foreground: correctly labelled foreground cells, and all of them.
        depth_cells: cells with a depth.
    """

    total: Float[Tensor, ""]
    category: Float[Tensor, ""]
    log_depth: Float[Tensor, ""]
    correct: Int[Tensor, ""]
    foreground: Int[Tensor, ""]
    depth_cells: Int[Tensor, ""]


class DenseLabelModel(nn.Module):
    """A SigLIP vision tower and one linear head; each patch token predicts its square of label cells."""

    def __init__(self, tower: SiglipVisionModel, classes: int, cells_per_token: int = 2) -> None:
        super().__init__()
        self.tower = tower
        self.classes = classes
        self.cells_per_token = cells_per_token
        self.head = nn.Linear(tower.config.hidden_size, cells_per_token**2 * (classes + 1))

    def forward(
        self, pixel_values: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch classes rows columns"], Float[Tensor, "batch rows columns"]]:
        """Category logits and log depth (metres) of every cell."""
        tokens = self.tower(pixel_values=pixel_values).last_hidden_state
        side = math.isqrt(tokens.shape[1])
        predicted = self.head(tokens).transpose(1, 2).unflatten(2, (side, side))
        cells = F.pixel_shuffle(predicted, self.cells_per_token)
        return cells[:, : self.classes], cells[:, self.classes]


def dense_loss(
    logits: Float[Tensor, "batch classes rows columns"],
    log_depth: Float[Tensor, "batch rows columns"],
    categories: Int[Tensor, "batch rows columns"],
    true_log_depth: Float[Tensor, "batch rows columns"],
    background_weight: float,
) -> DenseLoss:
    """Cross entropy with a smaller weight on background (class 0) plus L1 on log depth where it is known."""
    weight = torch.ones(logits.shape[1], device=logits.device)
    weight[0] = background_weight
    category = F.cross_entropy(logits.float(), categories, weight=weight)
    known = ~torch.isnan(true_log_depth)
    error = torch.where(known, (log_depth.float() - true_log_depth.nan_to_num()).abs(), 0.0)
    depth_cells = known.sum()
    depth = error.sum() / depth_cells.clamp(min=1)
    foreground = categories > 0
    correct = ((logits.argmax(1) == categories) & foreground).sum()
    return DenseLoss(category + depth, category, depth, correct, foreground.sum(), depth_cells)


def jitter_colours(
    images: Float[Tensor, "batch 3 height width"], strength: float, generator: torch.Generator
) -> Float[Tensor, "batch 3 height width"]:
    """The pictures (0-1) with random brightness, contrast and channel gains of up to ``strength`` each, clamped."""
    if strength <= 0:
        return images
    draws = 1 + strength * (2 * torch.rand(images.shape[0], 5, generator=generator) - 1)
    draws = draws.to(images.device)[:, :, None, None]
    brightness, contrast, gains = draws[:, :1], draws[:, 1:2], 1 + (draws[:, 2:] - 1) / 2
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (((images - mean) * contrast + mean) * brightness * gains).clamp(0, 1)
