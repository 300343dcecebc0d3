"""A vision tower with a head that predicts the category and the log depth of every label cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipVisionModel


@dataclass(frozen=True)
class DenseLoss:
    """Terms of the dense loss and the counts that held-out figures are made of.

    Attributes:
        total: what is minimised.
        category: weighted cross entropy; log_depth: mean absolute error of the natural logarithm of the depth.
        correct, cells: correctly labelled cells and all cells, by true class; class 0 is background.
        depth_cells: cells with a depth.
    """

    total: Float[Tensor, ""]
    category: Float[Tensor, ""]
    log_depth: Float[Tensor, ""]
    correct: Int[Tensor, " classes"]
    cells: Int[Tensor, " classes"]
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
    class_weights: Float[Tensor, " classes"],
) -> DenseLoss:
    """Weighted cross entropy on the category plus L1 on log depth where it is known."""
    category = F.cross_entropy(logits.float(), categories, weight=class_weights)
    known = ~torch.isnan(true_log_depth)
    error = torch.where(known, (log_depth.float() - true_log_depth.nan_to_num()).abs(), 0.0)
    depth_cells = known.sum()
    depth = error.sum() / depth_cells.clamp(min=1)
    classes = logits.shape[1]
    correct = torch.bincount(categories[logits.argmax(1) == categories], minlength=classes)
    cells = torch.bincount(categories.flatten(), minlength=classes)
    return DenseLoss(category + depth, category, depth, correct, cells, depth_cells)


def class_weights(
    cells: Int[np.ndarray, " classes"], balance: float, background_weight: float
) -> Float[Tensor, " classes"]:
    """Weights of the cross entropy: ``frequency ** -balance`` for the categories, 1 on average over their cells.

    Args:
        cells: number of training cells of each class, class 0 is background.
        balance: 0 weighs all categories alike, 1 makes rare ones count in all as much as common ones.
        background_weight: weight of class 0.
    """
    counts = np.maximum(cells[1:], 1).astype(np.float64)
    weights = counts**-balance
    weights *= counts.sum() / (counts * weights).sum()
    return torch.tensor([background_weight, *weights], dtype=torch.float32)


def zoom_in(
    images: Float[Tensor, "batch 3 height width"],
    categories: Int[Tensor, "batch rows columns"],
    log_depth: Float[Tensor, "batch rows columns"],
    max_zoom: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random windows of the pictures blown up to full size, with the labels of the same places.

    What is shown ``zoom`` times larger counts as that much nearer: a network cannot tell a longer lens from a step
    forward. Nothing is mirrored, for left and right must keep their meaning.
    """
    if max_zoom <= 1:
        return images, categories, log_depth
    batch = images.shape[0]
    draws = torch.rand(batch, 3, generator=generator).to(images.device)
    zoom = 1 + (max_zoom - 1) * draws[:, 0]
    shift = (2 * draws[:, 1:] - 1) * (1 - 1 / zoom)[:, None]
    theta = torch.zeros(batch, 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = shift
    pixels = F.affine_grid(theta, list(images.shape), align_corners=False)
    cells = F.affine_grid(theta, [batch, 1, *categories.shape[1:]], align_corners=False)
    images = F.grid_sample(images, pixels, padding_mode="border", align_corners=False)
    labels = torch.stack([categories.float(), log_depth], dim=1)
    labels = F.grid_sample(labels, cells, mode="nearest", padding_mode="border", align_corners=False)
    return images, labels[:, 0].long(), labels[:, 1] - zoom.log()[:, None, None]


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
