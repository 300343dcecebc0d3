"""Cuts pictures into patches: tokens and the (row, column) position of each."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.rope import grid_positions

PatchTokens = tuple[Float[Tensor, "batch tokens channels"], Int[Tensor, "batch tokens 2"]]


def is_landscape(true_shape: Int[Tensor, "batch 2"]) -> Bool[Tensor, " batch"]:
    """Which samples are at least as wide as high; ``true_shape`` holds (height, width)."""
    return true_shape[:, 1] >= true_shape[:, 0]


class PatchEmbedDust3R(nn.Module):
    """Patches of the picture as stored, row-major; ``true_shape`` is ignored."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)

    def grid(self, pixel_values: Float[Tensor, "batch 3 height width"]) -> tuple[int, int]:
        """(rows, columns) of the patches; raises ``InputError`` where a side is no multiple of the patch size."""
        height, width = pixel_values.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise InputError(
                f"picture of {height} x {width} pixels: expected both sides to be multiples of {self.patch_size}"
            )
        return height // self.patch_size, width // self.patch_size

    def forward(
        self, pixel_values: Float[Tensor, "batch 3 height width"], true_shape: Int[Tensor, "batch 2"] | None = None
    ) -> PatchTokens:
        rows, columns = self.grid(pixel_values)
        tokens = self.proj(pixel_values.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)
        positions = grid_positions(rows, columns, pixel_values.device).expand(tokens.shape[0], -1, -1)
        return tokens, positions


class ManyARPatchEmbed(PatchEmbedDust3R):
    """Patches of a batch stored landscape in which portrait pictures were transposed; those are turned back first.

    Portrait samples get tokens that are row-major over their own portrait grid. The number of tokens is the same, so
    all samples share one tensor. Without ``true_shape`` every picture is taken as stored.
    """

    def forward(
        self, pixel_values: Float[Tensor, "batch 3 height width"], true_shape: Int[Tensor, "batch 2"] | None = None
    ) -> PatchTokens:
        tokens, positions = super().forward(pixel_values)
        if true_shape is None:
            return tokens.float(), positions
        height, width = pixel_values.shape[-2:]
        if width < height:
            raise InputError(f"batch of {height} x {width} pictures: expected them stored landscape, width >= height")
        landscape = is_landscape(true_shape).to(pixel_values.device)
        if bool(landscape.all()):
            return tokens.float(), positions
        portrait_tokens, portrait_positions = super().forward(pixel_values.transpose(-2, -1))
        choose = landscape.view(-1, 1, 1)
        return (
            torch.where(choose, tokens, portrait_tokens).float(),
            torch.where(choose, positions, portrait_positions),
        )


PATCH_EMBEDDINGS: dict[str, type[PatchEmbedDust3R]] = {
    "PatchEmbedDust3R": PatchEmbedDust3R,
    "ManyAR_PatchEmbed": ManyARPatchEmbed,
}
