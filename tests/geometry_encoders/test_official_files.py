"""Published checkpoints: every layout that exists loads, and nothing inside a file is ever run."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from geometry_encoders import load_official_checkpoint
from geometry_encoders.errors import InputError
from geometry_encoders.official_files import parse_constructor_call

SIZES = {
    "enc_embed_dim": 32,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 24,
    "dec_depth": 2,
    "dec_num_heads": 2,
}
CALL = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='linear',output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    + ", ".join(f"{name}={value}" for name, value in SIZES.items())
    + ")"
)


def write(path: Path, state: dict, call: str = CALL, **extra: object) -> Path:
    torch.save({"model": state, "args": argparse.Namespace(model=call, lr=1e-4, amp=None), "epoch": 3, **extra}, path)
    return path


def same_weights(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_pickled_checkpoint_with_training_state(make_model, tmp_path) -> None:
    model = make_model()
    path = write(
        tmp_path / "last.pth", model.state_dict(), best_so_far=0.5, optimizer={"state": {}}, scaler={"scale": 2}
    )
    loaded = load_official_checkpoint(str(path))
    assert same_weights(model, loaded)
    assert not loaded.training
    assert loaded.config.image_size == (512, 512)
    assert loaded.config.patch_embed_cls == "PatchEmbedDust3R"  # pictures are taken as they come


def test_dpt_checkpoint_without_what_nothing_reads(make_model, tmp_path) -> None:
    model = make_model("dpt", dpt_feature_dim=256, dpt_last_dim=128, dpt_layer_dims=(96, 192, 384, 768))
    read = {n: v for n, v in model.state_dict().items() if n != "mask_token" and "refinenet4.resConfUnit1" not in n}
    call = CALL.replace("'linear'", "'dpt'").replace("dec_depth=2", "dec_depth=10")
    loaded = load_official_checkpoint(write(tmp_path / "dpt.pth", read, call)).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in read.items())
    del read["downstream_head1.dpt.scratch.layer1_rn.weight"]
    with pytest.raises(InputError, match=r"1 tensor is missing, the first is .*layer1_rn"):
        load_official_checkpoint(write(tmp_path / "dpt.pth", read, call))


def test_hub_folder(make_model, tmp_path) -> None:
    model = make_model()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = SIZES | {
        "pos_embed": "RoPE100",
        "img_size": [512, 512],
        "depth_mode": ["exp", -math.inf, math.inf],
        "conf_mode": ["exp", 1, math.inf],
        "freeze": "none",
        "landscape_only": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_official_checkpoint(tmp_path)
    assert same_weights(model, loaded)
    assert not loaded.config.landscape_only
    assert load_official_checkpoint(tmp_path, for_training=True).config.landscape_only


def test_own_folder(make_model, tmp_path) -> None:
    model = make_model()
    model.save_pretrained(tmp_path)
    assert same_weights(model, load_official_checkpoint(tmp_path))


def test_croco_pretraining_fills_both_decoders(make_model, tmp_path, caplog) -> None:
    model = make_model()
    skip = ("dec_blocks2.", "downstream_head")
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(skip)}
    state["prediction_head.weight"] = torch.zeros(3)
    arguments = SIZES | {"pos_embed": "RoPE100", "img_size": 224, "mask_ratio": 0.9}
    torch.save({"model": state, "croco_kwargs": arguments}, tmp_path / "croco.pth")
    with caplog.at_level(logging.WARNING):
        loaded = load_official_checkpoint(tmp_path / "croco.pth").state_dict()
    for name, value in state.items():
        if name.startswith("dec_blocks."):
            assert torch.equal(loaded[name], value)
            assert torch.equal(loaded[name.replace("dec_blocks.", "dec_blocks2.")], value)
    assert "under downstream_head1, downstream_head2 are missing" in caplog.text
    assert "prediction_head" in caplog.text


class _Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("place", ["args", "model", "extra"])
def test_hostile_pickles_are_not_run(make_model, tmp_path, place) -> None:
    marker = tmp_path / "was_here"
    content = {"model": make_model().state_dict(), "args": argparse.Namespace(model=CALL), "epoch": 0}
    torch.save(content | {place: _Hostile(marker)}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"bad\.pth: holds \S+mkdir, which is not loaded for safety"):
        load_official_checkpoint(tmp_path / "bad.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').mkdir('{marker}')",
        "AsymmetricCroCo3DStereo(enc_depth=__import__('os').mkdir('{marker}'))",
        "AsymmetricCroCo3DStereo(enc_depth=(lambda: 1)())",
        "AsymmetricCroCo3DStereo(**open('{marker}', 'w'))",
        "AsymmetricCroCo3DStereo(12)",
        "AsymmetricCroCo3DStereo(enc_depth=-'a')",
        "AsymmetricCroCo3DStereo(enc_depth=9**9**9)",
        "AsymmetricCroCo3DStereo(",
        "AsymmetricCroCo3DStereo(enc_depth=" + "(" * 3000 + "1" + ")" * 3000 + ")",
        "x" * 20_000,
        "",
    ],
)
def test_hostile_constructor_calls_are_not_run(make_model, tmp_path, text) -> None:
    marker = tmp_path / "was_here"
    path = write(tmp_path / "bad.pth", make_model().state_dict(), text.replace("{marker}", str(marker)))
    with pytest.raises(InputError, match="expected a call with keyword arguments and literal values"):
        load_official_checkpoint(path)
    assert not marker.exists()


def test_constructor_call_values() -> None:
    name, arguments = parse_constructor_call("Net(a=1, b=('exp', -inf,inf), c=[None, True], d=-2.5)", "file")
    assert name == "Net"
    assert arguments == {"a": 1, "b": ("exp", -math.inf, math.inf), "c": (None, True), "d": -2.5}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (CALL.replace("AsymmetricCroCo3DStereo", "AsymmetricMASt3R"), "expected AsymmetricCroCo3DStereo"),
        (CALL.replace("'pts3d'", "'pts3d+desc24'"), "output_mode"),
        (CALL.replace("-inf, inf", "0, 10"), "depth_mode"),
        (CALL.replace("('exp', 1, inf)", "'exp'"), "conf_mode"),
        (CALL.replace("RoPE100", "cosine"), "pos_embed"),
        (CALL.replace("enc_depth=2", "enc_depth='two'"), "wrong types"),
        (CALL.replace("enc_depth=2", "enc_depth=3"), "missing, the first is 'enc_blocks.2"),
        (CALL.replace("dec_embed_dim=24", "dec_embed_dim=48"), "do not fit the configuration"),
    ],
)
def test_files_that_do_not_fit(make_model, tmp_path, call, expected) -> None:
    path = write(tmp_path / "odd.pth", make_model().state_dict(), call)
    with pytest.raises(InputError, match=expected):
        load_official_checkpoint(path)


def test_unknown_tensors_are_an_error(make_model, tmp_path) -> None:
    path = write(tmp_path / "more.pth", {**make_model().state_dict(), "extra_head.weight": torch.zeros(2)})
    with pytest.raises(InputError, match=r"1 tensor is unknown to the model, the first is 'extra_head\.weight'"):
        load_official_checkpoint(path)


def test_damaged_and_foreign_files(make_model, tmp_path) -> None:
    good = write(tmp_path / "good.pth", make_model().state_dict()).read_bytes()
    files = {
        "truncated.pth": good[: len(good) // 2],
        "empty.pth": b"",
        "text.pth": b"hello",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            load_official_checkpoint(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": {"a": 1}}, tmp_path / "numbers.pth")
    torch.save({"model": {"dust3r.mask_token": torch.zeros(1)}}, tmp_path / "spann3r.pth")
    expected = {"list.pth": "a list", "numbers.pth": "dictionary of tensors", "spann3r.pth": "dust3r.patch_embed"}
    for name, words in (expected | {"absent.pth": "no such file"}).items():
        with pytest.raises(InputError, match=words):
            load_official_checkpoint(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        load_official_checkpoint(tmp_path / "folder")
