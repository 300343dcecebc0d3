"""Spann3R's published file layout: sizes from shapes, strict names, nothing in a file is run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from geometry_encoders import load_official_checkpoint
from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction import Spann3rModel
from tests.geometry_encoders.spann3r_models import frames, small_spann3r

CALL = "Spann3R(dus3r_name='./checkpoints/DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth', use_feat=False, mem_pos_enc=False)"
SIZES = {"enc_embed_dim": 128, "enc_num_heads": 2, "dec_embed_dim": 64, "dec_num_heads": 1, "value_encoder_heads": 2}


def model_with_usual_heads() -> Spann3rModel:
    """A network with 64 channels per head, as all published ones."""
    return small_spann3r(**SIZES)


def write(path: Path, state: dict, call: str = CALL, **extra: object) -> Path:
    torch.save({"model": state, "args": argparse.Namespace(model=call, lr=5e-5), "epoch": 119, **extra}, path)
    return path


@torch.no_grad()
def test_training_checkpoint(tmp_path) -> None:
    model = model_with_usual_heads()
    path = write(tmp_path / "spann3r.pth", model.state_dict(), optimizer={"state": {}}, scaler={}, best_so_far=0.1)
    loaded = load_official_checkpoint(path)
    assert isinstance(loaded, Spann3rModel)
    assert not loaded.training
    pictures = frames(3)
    assert (loaded.reconstruct(pictures).pointmaps == model.reconstruct(pictures).pointmaps).all()


def test_a_file_without_arguments_is_enough(tmp_path) -> None:
    torch.save({"model": model_with_usual_heads().state_dict()}, tmp_path / "bare.pth")
    assert load_official_checkpoint(tmp_path / "bare.pth").config.value_encoder_depth == 1


def test_dpt_heads_under_their_aliases(tmp_path) -> None:
    dpt = {
        "head_type": "dpt",
        "dec_depth": 10,
        "dpt_feature_dim": 8,
        "dpt_last_dim": 6,
        "dpt_layer_dims": (4, 6, 8, 10),
    }
    model = small_spann3r(**(SIZES | dpt))
    state = model.state_dict()
    for name in [name for name in state if "_rn.weight" in name]:
        head, stage = name.split(".layer")
        state[f"{head}.layer_rn.{int(stage[0]) - 1}.weight"] = state.pop(name)
    loaded = load_official_checkpoint(write(tmp_path / "dpt.pth", state))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    for name, value in dpt.items():
        assert getattr(loaded.config, name) == value


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("place", ["model", "args", "optimizer"])
def test_hostile_pickles_are_not_run(tmp_path, place) -> None:
    marker = tmp_path / "was_here"
    content = {"model": model_with_usual_heads().state_dict(), "args": argparse.Namespace(model=CALL)}
    torch.save(content | {place: _Hostile(marker)}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"bad\.pth: holds \S+mkdir, which is not loaded for safety"):
        load_official_checkpoint(tmp_path / "bad.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("attn_head_1.0.weight", r"1 tensor is missing, the first is 'attn_head_1\.0\.weight'"),
        ("dust3r.enc_blocks.1.mlp.fc2.bias", "1 tensor is missing"),
        ("dust3r.decoder_embed.weight", r"1 tensor is missing, the first is 'dust3r\.decoder_embed\.weight'"),
        ("norm_q.bias", "1 tensor is missing"),
    ],
)
def test_missing_tensors(tmp_path, name, words) -> None:
    state = model_with_usual_heads().state_dict()
    del state[name]
    with pytest.raises(InputError, match=words):
        load_official_checkpoint(write(tmp_path / "less.pth", state))


def test_unknown_and_misshapen_tensors(tmp_path) -> None:
    state = model_with_usual_heads().state_dict()
    with pytest.raises(InputError, match=r"1 tensor is unknown to the model, the first is 'attn_head_3\.weight'"):
        load_official_checkpoint(write(tmp_path / "more.pth", state | {"attn_head_3.weight": torch.zeros(2)}))
    with pytest.raises(InputError, match="do not fit the configuration"):
        load_official_checkpoint(write(tmp_path / "odd.pth", state | {"value_out.weight": torch.zeros(3, 3)}))
    flat = state | {"dust3r.patch_embed.proj.weight": torch.zeros(128, 768)}
    with pytest.raises(InputError, match=r"patch embedding of shape \(128, 768\), expected 4 axes"):
        load_official_checkpoint(write(tmp_path / "flat.pth", flat))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (CALL.replace("use_feat=False", "use_feat=True"), "use_feat=True, expected it off"),
        (CALL.replace("Spann3R(", "Fast3R("), "builds Fast3R, expected Spann3R"),
        ("Spann3R(__import__('os').mkdir('x'))", "literal values"),
    ],
)
def test_other_variants(tmp_path, call, words) -> None:
    with pytest.raises(InputError, match=words):
        load_official_checkpoint(write(tmp_path / "other.pth", model_with_usual_heads().state_dict(), call))


def test_unusual_heads_are_given(tmp_path) -> None:
    model = small_spann3r()
    path = write(tmp_path / "small.pth", model.state_dict())
    heads = {"enc_num_heads": 2, "dec_num_heads": 2, "value_encoder_heads": 2}
    assert load_official_checkpoint(path, **heads).config.dec_num_heads == 2
    with pytest.raises(InputError, match="no setting 'heads'"):
        load_official_checkpoint(path, heads=2)


def test_widths_that_64_does_not_divide(tmp_path) -> None:
    """The usual number of heads is lowered until the channels can be shared out; nothing has to be given."""
    sizes = {
        "enc_embed_dim": 200,
        "enc_num_heads": 2,
        "value_encoder_heads": 2,
        "dec_embed_dim": 64,
        "dec_num_heads": 1,
    }
    path = write(tmp_path / "wide.pth", small_spann3r(**sizes).state_dict())
    assert load_official_checkpoint(path).config.enc_num_heads == 2


def test_a_state_dict_of_a_distributed_program(tmp_path) -> None:
    state = model_with_usual_heads().state_dict()
    loaded = load_official_checkpoint(
        write(tmp_path / "ddp.pth", {f"module.{name}": value for name, value in state.items()})
    )
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in state.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm_q.bias": None}, "1 tensor is missing, the first is 'norm_q.bias'"),
        ({"norm_q.extra": torch.zeros(2)}, "1 tensor is unknown to the model, the first is 'norm_q.extra'"),
        ({"norm_q.bias": torch.zeros(3)}, "1 tensor is of wrong shapes, the first is 'norm_q.bias'"),
    ],
)
def test_incomplete_folders_are_refused(tmp_path, change, words) -> None:
    """transformers alone would fill the gap with random numbers and go on."""
    small_spann3r().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors") | change
    save_file({name: value for name, value in state.items() if value is not None}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=words):
        load_official_checkpoint(tmp_path)


def test_truncated_folder(tmp_path) -> None:
    small_spann3r().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged"):
        load_official_checkpoint(tmp_path)


def test_truncated_file(tmp_path) -> None:
    path = write(tmp_path / "whole.pth", model_with_usual_heads().state_dict())
    (tmp_path / "cut.pth").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.pth"):
        load_official_checkpoint(tmp_path / "cut.pth")
