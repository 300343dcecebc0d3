"""Spann3R's published file layout."""

from __future__ import annotations

import re
from typing import Any

import torch

from geometry_encoders import load_official_checkpoint
from geometry_encoders.reconstruction import Spann3rModel


def heads(description: dict[str, Any]) -> dict[str, int]:
    """What shapes do not tell, from the description of the network beside the file."""
    encoder, decoder, value = re.search(r"enc \S+/(\d+), dec \S+/(\d+),.* heads (\d+)$", description["model"]).groups()  # type: ignore[union-attr]
    return {"enc_num_heads": int(encoder), "dec_num_heads": int(decoder), "value_encoder_heads": int(value)}


def test_training_checkpoint(golden: Any) -> None:
    """Every tensor arrives, by the sums that were taken of the file's state dict."""
    description = golden.json("official_style_spann3r")
    model = load_official_checkpoint(golden.path("official_style_spann3r.pth"), **heads(description))
    assert isinstance(model, Spann3rModel)
    assert not model.training
    state = model.state_dict()
    aliases = {f"scratch.layer_rn.{n}.": f"scratch.layer{n + 1}_rn." for n in range(4)}
    for name, (total, absolute, shape) in description["checksums"].items():
        for alias, kept in aliases.items():
            name = name.replace(alias, kept)
        tensor = state.pop(name, None)
        if tensor is None:
            assert "_rn." in name, name  # both names of one tensor are listed
            tensor = model.state_dict()[name]
        assert list(tensor.shape) == shape, name
        assert abs(float(tensor.double().sum()) - total) < 1e-6 * max(absolute, 1), name
        assert abs(float(tensor.double().abs().sum()) - absolute) < 1e-6 * max(absolute, 1), name
    assert not state, "every tensor of the model has a sum"


def test_sizes_are_read_off_the_shapes(golden: Any) -> None:
    """All but the numbers of attention heads, which have to be given where they are not the usual ones."""
    description = golden.json("official_style_spann3r")
    config = load_official_checkpoint(golden.path("official_style_spann3r.pth"), **heads(description)).config
    found = (
        f"enc {config.enc_embed_dim}/{config.enc_depth}/{config.enc_num_heads}, "
        f"dec {config.dec_embed_dim}/{config.dec_depth}/{config.dec_num_heads}, "
        f"dpt feature {config.dpt_feature_dim} last {config.dpt_last_dim} "
        f"layers {str(list(config.dpt_layer_dims)).replace(' ', '')}, "
        f"value encoder depth {config.value_encoder_depth} heads {config.value_encoder_heads}"
    )
    assert found == description["model"]


def test_the_loaded_model_runs(golden: Any) -> None:
    description = golden.json("official_style_spann3r")
    model = load_official_checkpoint(golden.path("official_style_spann3r.pth"), **heads(description))
    frames = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    result = model.reconstruct(frames)
    assert result.pointmaps.shape == (3, 32, 48, 3)
