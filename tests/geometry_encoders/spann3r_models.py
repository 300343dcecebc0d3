"""A small Spann3R for tests."""

from __future__ import annotations

from typing import Any

import torch

from geometry_encoders.reconstruction.spann3r import Spann3rConfig, Spann3rModel

SMALL: dict[str, Any] = {
    "image_size": (32, 48),
    "enc_embed_dim": 32,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 24,
    "dec_depth": 2,
    "dec_num_heads": 2,
    "head_type": "linear",
    "value_encoder_depth": 1,
    "value_encoder_heads": 2,
}


def small_spann3r(**changes: Any) -> Spann3rModel:
    """A network in evaluation mode, with the same weights every time; none of them is zero or a copy."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Spann3rModel(Spann3rConfig(**(SMALL | changes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def frames(count: int, height: int = 32, width: int = 48, seed: int = 1) -> torch.Tensor:
    """(count, 3, height, width) noise in -1..1."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
