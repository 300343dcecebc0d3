"""Spann3R as a transformers model and a geometry encoder: files, sizes, contract, gradients, 16-bit inference."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from geometry_encoders import Spann3R, load_official_checkpoint
from geometry_encoders.errors import InputError
from geometry_encoders.interface import GeometryEncoder
from geometry_encoders.reconstruction.low_precision import LowPrecisionLinear, best_dtype
from geometry_encoders.reconstruction.spann3r import (
    Spann3rConfig,
    Spann3rModel,
    spann3r_tiny_config,
    spann3r_vitl_config,
)
from tests.geometry_encoders.spann3r_models import SMALL, frames, small_spann3r

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
OUTPUTS = ("pointmaps", "confidence", "patch_tokens", "camera_tokens")


@pytest.fixture
def views() -> torch.Tensor:
    """Two samples of four views."""
    return frames(8).unflatten(0, (2, 4))


# ---- files -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_round_trip_by_the_auto_classes(views, tmp_path) -> None:
    model = small_spann3r(memory={"long_mem_tokens": 100, "compat": True})
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    for loaded in (AutoModel.from_pretrained(tmp_path), load_official_checkpoint(tmp_path)):
        assert isinstance(loaded, Spann3R)
        assert isinstance(loaded, GeometryEncoder)
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
        assert torch.equal(loaded(views).pointmaps, model(views).pointmaps)
    assert AutoConfig.from_pretrained(tmp_path).memory_config == model.config.memory_config
    assert model.config.memory_config.long_mem_tokens == 100


def test_published_size() -> None:
    with torch.device("meta"):
        state = Spann3rModel(spann3r_vitl_config()).state_dict()
    assert len(state) == 1101 - 8  # the DPT heads' four aliases each are not written
    assert sum(tensor.numel() for tensor in state.values()) == 658_691_976


def test_tiny_size() -> None:
    with torch.device("meta"):
        model = Spann3rModel(spann3r_tiny_config())
    assert 4.0e6 < sum(parameter.numel() for parameter in model.parameters()) < 4.5e6


def test_pointmaps_are_embedded_like_pictures_at_first() -> None:
    model = Spann3rModel(Spann3rConfig(**SMALL))
    assert torch.equal(model.pos_patch_embed.proj.weight, model.dust3r.patch_embed.proj.weight)
    assert model.pos_patch_embed.proj.weight.data_ptr() != model.dust3r.patch_embed.proj.weight.data_ptr()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory": {"size": 3}}, "'size' does not exist"),
        ({"memory_dropout": 1.0}, "memory_dropout is 1.0"),
        ({"landscape_only": True}, "portrait pictures are taken as they are"),
    ],
)
def test_impossible_configurations(changes, words) -> None:
    with pytest.raises(InputError, match=words):
        Spann3rConfig(**(SMALL | changes))


# ---- the contract of geometry encoders -------------------------------------------------------------------------------


@pytest.mark.parametrize("real", [1, 2, 3])
@torch.no_grad()
def test_padding_changes_nothing_and_stays_zero(views, real) -> None:
    model = small_spann3r()
    padded = views.clone()
    padded[1, real:] = torch.nan  # the worst that padding may hold
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1, real:] = False
    output = model.encode_views(padded, mask)
    full, alone = model.encode_views(views[:1]), model.encode_views(views[1:, :real])
    for name in OUTPUTS:
        torch.testing.assert_close(output[name][0], full[name][0], **CLOSE)
        torch.testing.assert_close(output[name][1, :real], alone[name][0], **CLOSE)
        assert torch.count_nonzero(output[name][1, real:]) == 0


@torch.no_grad()
def test_compat_mixes_no_samples(views) -> None:
    """The published program decides on similarity for the whole batch; a geometry encoder never does."""
    model = small_spann3r(memory={"compat": True, "similarity_threshold": 0.9})
    views[0] = views[0, :1]  # all frames of one sample the same
    together, alone = model.encode_views(views), model.encode_views(views[1:])
    torch.testing.assert_close(together.pointmaps[1], alone.pointmaps[0], **CLOSE)


def test_gradients_do_not_cross_samples(views) -> None:
    views.requires_grad_()
    small_spann3r()(views).pointmaps[0].sum().backward()
    assert torch.count_nonzero(views.grad[0]) > 0
    assert torch.count_nonzero(views.grad[1]) == 0


@torch.no_grad()
def test_shapes_and_selected_pixels(views) -> None:
    model = small_spann3r()
    rows, columns = slice(1, None, 4), slice(3, None, 4)
    whole, part = model(views), model(views, pixels=(rows, columns))
    torch.testing.assert_close(part.pointmaps, whole.pointmaps[:, :, rows, columns])
    assert whole.patch_tokens.shape == (2, 4, 6, model.token_size)
    assert whole.camera_tokens.shape == (2, 4, 1, model.token_size)
    tokens_only = model.encode_views(views, with_pointmaps=False)
    assert tokens_only.pointmaps is None
    torch.testing.assert_close(tokens_only.patch_tokens, whole.patch_tokens)
    torch.testing.assert_close(tokens_only.camera_tokens, whole.camera_tokens)


@torch.no_grad()
def test_later_views_see_all_earlier_ones(views) -> None:
    model = small_spann3r()
    changed = views.clone()
    changed[:, 0] += 0.5
    before, after = model.encode_views(views), model.encode_views(changed)
    difference = (before.patch_tokens - after.patch_tokens).abs().amax(dim=(0, 2, 3))
    assert bool((difference > 1e-4).all())
    changed = views.clone()
    changed[:, 3] += 0.5
    after = model.encode_views(changed)
    torch.testing.assert_close(after.patch_tokens[:, :2], before.patch_tokens[:, :2], **CLOSE)


def test_bad_views(views) -> None:
    model = small_spann3r()
    with pytest.raises(InputError, match="30 x 48 pixels"):
        model(torch.zeros(1, 2, 3, 30, 48))
    views[0, 1, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="1 values that are not finite"):
        model(views)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_parameter_learns(views, checkpointing) -> None:
    model = small_spann3r().train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    prediction = model.forward_sequence(views)
    assert prediction.left_points.shape == (2, 3, 32, 48, 3)
    loss = sum(part.square().mean() for part in vars(prediction).values())
    loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_dropout_acts_in_training_only(views) -> None:
    model = small_spann3r(memory_dropout=0.5)
    with torch.no_grad():
        evaluated = [model.forward_sequence(views).left_points for _ in range(2)]
        trained = [model.train().forward_sequence(views).left_points for _ in range(2)]
    assert torch.equal(*evaluated)
    assert not torch.equal(*trained)
    model.reconstruct(views[0])
    assert model.training, "a reconstruction leaves the mode of the model alone"


def test_one_frame_is_no_sequence_to_train_on(views) -> None:
    with pytest.raises(InputError, match="sequence of 1 frame, expected at least 2"):
        small_spann3r().forward_sequence(views[:, :1])


class _ViewsOnly(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor, view_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.model.encode_views(pixel_values, view_mask)
        return output.pointmaps, output.patch_tokens, output.camera_tokens


@pytest.mark.slow
@torch.no_grad()
def test_exported_program_takes_any_number_of_samples(views) -> None:
    model = small_spann3r()
    mask = torch.ones(2, 4, dtype=torch.bool)
    batch = torch.export.Dim("batch", max=8)
    shapes = {"pixel_values": {0: batch}, "view_mask": {0: batch}}
    program = torch.export.export(
        _ViewsOnly(model), (), {"pixel_values": views, "view_mask": mask}, dynamic_shapes=shapes
    )
    more = frames(12, seed=5).unflatten(0, (3, 4))
    more[1] = more[1, :1]  # similar frames, which stay out of the memory
    other_mask = torch.ones(3, 4, dtype=torch.bool)
    other_mask[0, 2:] = False
    outputs = program.module()(pixel_values=more, view_mask=other_mask)
    expected = model.encode_views(more, other_mask)
    for name, value in zip(("pointmaps", "patch_tokens", "camera_tokens"), outputs, strict=True):
        torch.testing.assert_close(value, expected[name], **CLOSE)


# ---- 16 bits ---------------------------------------------------------------------------------------------------------


def test_small_networks_stay_in_float32() -> None:
    model = small_spann3r()
    assert model.for_inference() is model
    assert best_dtype(torch.device("cpu"), 64) == torch.float32


def test_low_precision_copies_share_what_keeps_its_precision() -> None:
    model = small_spann3r()
    fast = model.for_inference("bfloat16")
    assert fast is model.for_inference(torch.bfloat16), "kept"
    assert isinstance(fast.dust3r.enc_blocks[0].attn.qkv, LowPrecisionLinear)
    assert fast.norm_q.weight is model.norm_q.weight
    exact, quick = model.reconstruct(frames(4)), model.reconstruct(frames(4), dtype="bfloat16")
    difference = np.abs(exact.pointmaps - quick.pointmaps).max()
    assert 0 < difference < 0.05 * np.abs(exact.pointmaps).max()
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    with torch.no_grad():
        model.value_out.weight.add_(1)
    assert fast is not model.for_inference("bfloat16"), "weights have changed"


@torch.no_grad()
def test_a_model_stored_in_bfloat16(views) -> None:
    model = small_spann3r()
    expected = model(views).pointmaps
    output = model.to(torch.bfloat16)(views)
    assert output.pointmaps.dtype == torch.float32
    assert (output.pointmaps - expected).abs().max() < 0.1 * expected.abs().max()


def test_config_is_plain_json(tmp_path) -> None:
    spann3r_vitl_config().save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["model_type"] == "spann3r"
    assert stored["value_encoder_depth"] == 6
