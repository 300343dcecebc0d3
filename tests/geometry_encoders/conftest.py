"""Small networks shared by the tests of geometry encoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from geometry_encoders.reconstruction.dust3r import Dust3rConfig, Dust3rModel

SMALL: dict[str, Any] = {
    "image_size": (32, 48),
    "enc_embed_dim": 32,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 24,
    "dec_depth": 2,
    "dec_num_heads": 2,
}
SMALL_DPT: dict[str, Any] = SMALL | {
    "dec_depth": 10,
    "head_type": "dpt",
    "dpt_feature_dim": 8,
    "dpt_last_dim": 8,
    "dpt_layer_dims": (4, 6, 8, 10),
}


@pytest.fixture
def make_model() -> Callable[..., Dust3rModel]:
    """Builds a small model in evaluation mode: ``make_model(head_type="dpt")``; same weights every time."""
    torch.set_num_threads(1)

    def build(head_type: str = "linear", **changes: Any) -> Dust3rModel:
        torch.manual_seed(0)
        sizes = SMALL if head_type == "linear" else SMALL_DPT
        model = Dust3rModel(Dust3rConfig(**(sizes | changes))).eval()
        with torch.no_grad():  # fresh decoders are copies of each other and biases are zero, which would hide mistakes
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return model

    return build


@pytest.fixture
def pictures() -> torch.Tensor:
    """Two samples of four views, 32 x 48 pixels, in -1..1."""
    return torch.rand(2, 4, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
