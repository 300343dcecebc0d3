"""Spann3R as the geometry tower of the vision-language model: it trains, generates, comes back from disk, exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from geometry_encoders.reconstruction import Dust3rModel, Spann3rModel
from geometry_encoders.reconstruction.spann3r import Spann3rConfig
from spatialvlm.export import export_view_encoder
from spatialvlm.models import SpatialMosaicConfig, SpatialMosaicForConditionalGeneration
from spatialvlm.presets import build_tiny
from tests.spatialvlm.small_models import small_config, small_processor, small_tokenizer


def model_with_spann3r(fusion: str = "add", **fields: Any) -> SpatialMosaicForConditionalGeneration:
    """The small model of other tests with a small Spann3R in place of its DUSt3R."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = small_config(fusion, **fields)
    config.geometry_config = Spann3rConfig(
        image_size=(32, 32),
        patch_size=8,
        enc_embed_dim=32,
        enc_depth=1,
        enc_num_heads=2,
        dec_embed_dim=24,
        dec_depth=2,
        dec_num_heads=2,
        head_type="linear",
        value_encoder_depth=1,
        value_encoder_heads=2,
    )
    model = SpatialMosaicForConditionalGeneration(config).eval()
    model.generation_config.pad_token_id = small_tokenizer().pad_token_id
    model.generation_config.eos_token_id = small_tokenizer().eos_token_id
    return model


def prompt(views: int) -> dict[str, torch.Tensor]:
    """One question about some random pictures."""
    processor = small_processor()
    rng = torch.Generator().manual_seed(views)
    images = [torch.randint(0, 255, (3, 32, 32), generator=rng, dtype=torch.uint8) for _ in range(views)]
    content: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": "How many chairs are there?"}]}]
    return dict(
        processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
    )


def test_it_is_the_default() -> None:
    assert SpatialMosaicConfig().geometry_config.model_type == "spann3r"
    other = SpatialMosaicConfig(geometry_config={"model_type": "dust3r"})
    assert other.geometry_config.model_type == "dust3r"


def test_presets_have_either() -> None:
    for name, kind in (("spann3r", Spann3rModel), ("dust3r", Dust3rModel)):
        model, _ = build_tiny(small_tokenizer(), "add", geometry=name)  # type: ignore[arg-type]
        assert isinstance(model.model.geometry_tower, kind)


@pytest.mark.parametrize("fusion", ["add", "cross_attention", "gated"])
def test_a_training_step_reaches_the_tower(fusion) -> None:
    model = model_with_spann3r(fusion).train()
    if fusion == "gated":
        torch.nn.init.constant_(model.model.fusion.gate, 0.7)
    batch = prompt(4)
    before = model.model.geometry_tower.attn_head_2[0].weight.detach().clone()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    loss = model(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    optimiser.step()
    assert torch.isfinite(loss)
    assert not torch.equal(before, model.model.geometry_tower.attn_head_2[0].weight)
    unused = {name for name, p in model.model.geometry_tower.named_parameters() if p.grad is None}
    assert {name.split(".")[1] for name in unused} == {"downstream_head2"}, "the second head's points are not used"


@pytest.mark.parametrize("fusion", ["add", "cross_attention"])
@torch.no_grad()
def test_the_camera_token_is_fused(fusion) -> None:
    model, batch = model_with_spann3r(fusion), prompt(3)
    tower = model.model.geometry_tower
    before = model(**batch).logits
    encode = tower.encode_views

    def other_camera(*args: Any, **kwargs: Any) -> Any:
        output = encode(*args, **kwargs)
        output.camera_tokens = output.camera_tokens.flip(-1)
        return output

    tower.encode_views = other_camera
    assert (model(**batch).logits - before).abs().max() > 1e-4


@torch.no_grad()
def test_generation_and_round_trip(tmp_path: Path) -> None:
    model, batch = model_with_spann3r("cross_attention"), prompt(3)
    answer = model.generate(**batch, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] > batch["input_ids"].shape[1]
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert isinstance(loaded.model.geometry_tower, Spann3rModel)
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    assert torch.equal(loaded.generate(**batch, max_new_tokens=4, do_sample=False), answer)


@pytest.mark.slow
@torch.no_grad()
def test_export_with_a_fixed_number_of_views() -> None:
    model = model_with_spann3r("cross_attention")
    program = export_view_encoder(model, fixed_views=4)
    pictures = torch.rand(3, 4, 3, 32, 32) * 2 - 1
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    expected = model.model.encode_padded_views(pictures, mask)
    torch.testing.assert_close(program.module()(pictures, mask), expected, rtol=1e-4, atol=1e-5)
