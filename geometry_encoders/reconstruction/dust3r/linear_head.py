"""The linear head: one matrix from a token to the raw channels of all its pixels."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

RAW_CHANNELS = 4  # x, y, z, confidence


class LinearHead(nn.Module):
    """Raw channels of every pixel from the last decoder layer; works for any token grid."""

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(dim, RAW_CHANNELS * patch_size**2)

    def forward(
        self, layers: Sequence[Float[Tensor, "batch tokens channels"]], grid: tuple[int, int]
    ) -> Float[Tensor, "batch 4 height width"]:
        raw = self.proj(layers[-1]).transpose(1, 2).unflatten(-1, grid)
        return nn.functional.pixel_shuffle(raw, self.patch_size)
