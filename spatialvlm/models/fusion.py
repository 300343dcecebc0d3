"""Fusion blocks: a frame's visual tokens and geometry tokens go in, visual tokens that know of geometry come out.

The batch axis is the frame: a frame's visual tokens see the geometry tokens of that frame only. Views have met before,
in the geometry encoder, and meet again in the language model. Every block has the same two-tensor interface; one whose
``aligned`` is true wants one geometry token per visual token (see `resize_token_grid`), the others take any number.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class CrossAttentionFusion(nn.Module):
    """Visual tokens ask geometry tokens, as in SpatialMosaic and VLM-3R (same file in both; specs 6.2).

    LN, q/k/v projections, multi-head attention with in-projections of its own, linear, LN, residual, dropout: the
    residual is the un-normalised visual input and dropout acts on the sum. The attention weights, which the published
    block computes and drops, are not asked for, so that a fused kernel can run.
    """

    aligned = False

    def __init__(self, visual_size: int, geometry_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_visual = nn.LayerNorm(visual_size)
        self.norm_geometry = nn.LayerNorm(geometry_size)
        self.query = nn.Linear(visual_size, visual_size)
        self.key = nn.Linear(geometry_size, visual_size)
        self.value = nn.Linear(geometry_size, visual_size)
        self.attention = nn.MultiheadAttention(visual_size, num_heads, batch_first=True)
        self.output = nn.Linear(visual_size, visual_size)
        self.norm_output = nn.LayerNorm(visual_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        visual: Float[Tensor, "frames visual_tokens visual_size"],
        geometry: Float[Tensor, "frames geometry_tokens geometry_size"],
    ) -> Float[Tensor, "frames visual_tokens visual_size"]:
        """The visual tokens plus what they read from the geometry tokens of their own frame."""
        geometry = self.norm_geometry(geometry)
        query, key, value = self.query(self.norm_visual(visual)), self.key(geometry), self.value(geometry)
        read, _ = self.attention(query, key, value, need_weights=False)
        return self.dropout(visual + self.norm_output(self.output(read)))


class AddFusion(nn.Module):
    """``visual + linear(LN(geometry))``, token by token."""

    aligned = True

    def __init__(self, visual_size: int, geometry_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_geometry = nn.LayerNorm(geometry_size)
        self.projection = nn.Linear(geometry_size, visual_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        visual: Float[Tensor, "frames tokens visual_size"],
        geometry: Float[Tensor, "frames tokens geometry_size"],
    ) -> Float[Tensor, "frames tokens visual_size"]:
        """The visual tokens plus the projected geometry token at the same place of the picture."""
        return self.dropout(visual + self.projection(self.norm_geometry(geometry)))


class ConcatMlpFusion(nn.Module):
    """``visual + MLP([LN(visual), LN(geometry)])``, token by token."""

    aligned = True

    def __init__(self, visual_size: int, geometry_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_visual = nn.LayerNorm(visual_size)
        self.norm_geometry = nn.LayerNorm(geometry_size)
        self.expand = nn.Linear(visual_size + geometry_size, visual_size)
        self.output = nn.Linear(visual_size, visual_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        visual: Float[Tensor, "frames tokens visual_size"],
        geometry: Float[Tensor, "frames tokens geometry_size"],
    ) -> Float[Tensor, "frames tokens visual_size"]:
        """The visual tokens plus what a two-layer network makes of both tokens at the same place."""
        both = torch.cat([self.norm_visual(visual), self.norm_geometry(geometry)], dim=-1)
        return self.dropout(visual + self.output(F.gelu(self.expand(both))))


class GatedFusion(nn.Module):
    """``visual + tanh(gate) * linear(LN(geometry))``; the gate starts at zero (Flamingo, arXiv:2204.14198, 2.2).

    At the start the block is the identity, so a pretrained vision tower and projector are not disturbed.
    """

    aligned = True

    def __init__(self, visual_size: int, geometry_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_geometry = nn.LayerNorm(geometry_size)
        self.projection = nn.Linear(geometry_size, visual_size)
        self.gate = nn.Parameter(torch.zeros(visual_size))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        visual: Float[Tensor, "frames tokens visual_size"],
        geometry: Float[Tensor, "frames tokens geometry_size"],
    ) -> Float[Tensor, "frames tokens visual_size"]:
        """The visual tokens plus the gated geometry token at the same place."""
        return self.dropout(visual + torch.tanh(self.gate) * self.projection(self.norm_geometry(geometry)))


FusionBlock = CrossAttentionFusion | AddFusion | ConcatMlpFusion | GatedFusion

FUSION_BLOCKS: dict[str, type[FusionBlock]] = {
    "cross_attention": CrossAttentionFusion,
    "add": AddFusion,
    "concat_mlp": ConcatMlpFusion,
    "gated": GatedFusion,
}


def resize_token_grid(
    tokens: Float[Tensor, "frames tokens channels"], from_grid: tuple[int, int], to_grid: tuple[int, int]
) -> Float[Tensor, "frames new_tokens channels"]:
    """The row-major token grid, bilinearly resampled to other (rows, columns); untouched where they agree."""
    if tuple(from_grid) == tuple(to_grid):
        return tokens
    image = tokens.transpose(1, 2).unflatten(2, tuple(from_grid))
    image = F.interpolate(image, size=tuple(to_grid), mode="bilinear", align_corners=False)
    return image.flatten(2).transpose(1, 2)
