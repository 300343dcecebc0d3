"""DUSt3R as a transformers model: files, initialisation, attention implementations, gradients, bad input."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from geometry_encoders.errors import InputError
from geometry_encoders.interface import GeometryEncoder
from geometry_encoders.reconstruction.dust3r import (
    Dust3rConfig,
    Dust3rModel,
    dust3r_tiny_config,
    dust3r_vitl_512_dpt_config,
    dust3r_vitl_512_linear_config,
)


@pytest.mark.parametrize("head_type", ["linear", "dpt"])
@torch.no_grad()
def test_round_trip_by_the_auto_classes(make_model, pictures, tmp_path, head_type) -> None:
    model = make_model(head_type)
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert isinstance(loaded, Dust3rModel)
    assert isinstance(loaded, GeometryEncoder)
    assert AutoConfig.from_pretrained(tmp_path).to_dict() == loaded.config.to_dict()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert torch.equal(loaded(pictures).pointmaps, model(pictures).pointmaps)


@pytest.mark.parametrize(
    ("config", "names", "numbers"),
    [
        (dust3r_vitl_512_dpt_config(), 873 + 2 * 64, 571_171_208),
        (dust3r_vitl_512_linear_config(), 873 + 4, 532_342_784),
    ],
)
def test_published_sizes(config, names, numbers) -> None:
    with torch.device("meta"):
        state = Dust3rModel(config).state_dict()
    assert len(state) == names  # the DPT heads' four aliases each are not written
    assert sum(tensor.numel() for tensor in state.values()) == numbers


def test_tiny_has_three_million_parameters() -> None:
    with torch.device("meta"):
        model = Dust3rModel(dust3r_tiny_config())
    assert 3.0e6 < sum(parameter.numel() for parameter in model.parameters()) < 3.5e6


def test_fresh_weights() -> None:
    torch.manual_seed(0)
    model = Dust3rModel(dust3r_tiny_config())
    for first, second in zip(model.dec_blocks.parameters(), model.dec_blocks2.parameters(), strict=True):
        assert torch.equal(first.detach(), second.detach())
        assert first.data_ptr() != second.data_ptr()
    weight = model.enc_blocks[0].attn.qkv.weight.detach()
    fan = sum(weight.shape)
    assert weight.abs().max() <= (6 / fan) ** 0.5
    assert weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.05)
    assert model.mask_token.std().item() == pytest.approx(0.02, rel=0.3)
    assert torch.count_nonzero(model.enc_norm.bias) == 0


@pytest.mark.parametrize(
    "lost", ["mask_token", "enc_norm.weight", "patch_embed.proj.weight", "dec_blocks2.1.mlp.fc1.bias"]
)
def test_tensors_missing_from_a_file_are_initialised(make_model, tmp_path, lost) -> None:
    make_model().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    reference = state.pop(lost)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = Dust3rModel.from_pretrained(tmp_path).state_dict()
    assert torch.isfinite(loaded[lost]).all()
    assert loaded[lost].abs().max() < 2
    assert not torch.equal(loaded[lost], reference)
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


@pytest.mark.parametrize("names", ["alias", "both"])
def test_dpt_layers_load_under_either_published_name(make_model, names) -> None:
    model, other = make_model("dpt"), make_model("dpt")
    state = {name: value + 1 for name, value in model.state_dict().items()}
    for name in [name for name in state if "_rn.weight" in name]:
        head, stage = name.split(".layer")
        state[f"{head}.layer_rn.{int(stage[0]) - 1}.weight"] = state[name]
        if names == "alias":
            del state[name]
    other.load_state_dict(state, strict=True)
    for name, value in other.state_dict().items():
        assert torch.equal(value, model.state_dict()[name] + 1), name


@torch.no_grad()
def test_attention_implementations_agree(make_model, pictures) -> None:
    model = make_model()
    assert model.config._attn_implementation == "sdpa"
    fast = model(pictures).pointmaps
    model.set_attn_implementation("eager")
    torch.testing.assert_close(model(pictures).pointmaps, fast, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head_type", ["linear", "dpt"])
def test_every_parameter_learns_and_checkpointing_changes_nothing(make_model, pictures, head_type) -> None:
    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        model = make_model(head_type).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        output = model(pictures)
        (output.pointmaps.square().mean() + output.confidence.mean()).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    plain, checkpointed = gradients(False), gradients(True)
    assert [name for name, gradient in plain.items() if gradient is None] == []
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=lambda text, name=name: f"{name}: {text}")


def test_gradients_do_not_cross_samples(make_model, pictures) -> None:
    pictures.requires_grad_()
    make_model()(pictures).pointmaps[0].sum().backward()
    assert torch.count_nonzero(pictures.grad[0]) > 0
    assert torch.count_nonzero(pictures.grad[1]) == 0


@torch.no_grad()
def test_bfloat16_weights(make_model, pictures) -> None:
    model = make_model()
    expected = model(pictures).pointmaps
    output = model.to(torch.bfloat16)(pictures)
    assert output.pointmaps.dtype == torch.float32
    assert (output.pointmaps - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"head_type": "mlp"}, "'linear' or 'dpt'"),
        ({"head_type": "dpt", "dec_depth": 3}, "at least 10"),
        ({"patch_embed_cls": "Other"}, "ManyAR_PatchEmbed"),
        ({"enc_num_heads": 5}, "multiple of 4"),
    ],
)
def test_impossible_configurations(changes, expected) -> None:
    with pytest.raises(InputError, match=expected):
        Dust3rModel(Dust3rConfig(enc_embed_dim=32, enc_depth=1, dec_embed_dim=24, dec_num_heads=2, **changes))


def test_pictures_that_do_not_fit(make_model) -> None:
    model = make_model()
    with pytest.raises(InputError, match="30 x 48 pixels: expected both sides to be multiples of 16"):
        model(torch.zeros(1, 2, 3, 30, 48))
    shapes = {"true_shape": torch.tensor([[32, 48], [48, 32]])}
    with pytest.raises(InputError, match="expected one"):
        model.forward_pair({"img": torch.zeros(2, 3, 32, 48), **shapes}, {"img": torch.zeros(2, 3, 32, 48), **shapes})
    oriented = make_model(patch_embed_cls="ManyAR_PatchEmbed", landscape_only=True)
    portrait = {"img": torch.zeros(1, 3, 48, 32), "true_shape": torch.tensor([[48, 32]])}
    with pytest.raises(InputError, match="landscape"):
        oriented.forward_pair(portrait, portrait)
