"""What DUSt3R and Spann3R share as models of transformers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from geometry_encoders.interface import GeometryEncoder, GeometryOutput

PixelGrid = tuple[slice, slice]
EVERY_PIXEL: PixelGrid = (slice(None), slice(None))


class PointmapModel(PreTrainedModel, GeometryEncoder):
    """Class flags, the width of the tokens, initial weights of common layers, and ``forward``."""

    main_input_name = "pixel_values"
    input_modalities = "image"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["DecoderBlock", "EncoderBlock"]  # noqa: RUF012 (the name and type transformers expects)

    @property
    def token_size(self) -> int:
        """Channels of ``patch_tokens``: the width of the decoder."""
        return self.config.dec_embed_dim

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Xavier for linear layers, the identity for norms."""
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)

    @abstractmethod
    def encode_views(
        self,
        pixel_values: Float[Tensor, "batch views 3 height width"],
        view_mask: Bool[Tensor, "batch views"] | None = None,
        with_pointmaps: bool = True,
        pixels: PixelGrid = EVERY_PIXEL,
    ) -> GeometryOutput:
        """As every geometry encoder; ``pixels`` selects rows and columns of the pointmaps."""

    def forward(
        self,
        pixel_values: Float[Tensor, "batch views 3 height width"],
        view_mask: Bool[Tensor, "batch views"] | None = None,
        with_pointmaps: bool = True,
        pixels: PixelGrid = EVERY_PIXEL,
        **kwargs: Any,
    ) -> GeometryOutput:
        """Same as `encode_views`; further keyword arguments of training loops are ignored."""
        return self.encode_views(pixel_values, view_mask, with_pointmaps, pixels)
