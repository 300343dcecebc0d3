"""Checkpoints in the form of the published program: what is read, and what is refused."""

from __future__ import annotations

import os
import pathlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.encoders import ChunkEncoder, ChunkEncoderConfig
from geometry_encoders.retrieval.official import load_official_checkpoint
from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.refinement.official_names import own_name
from geometry_encoders.retrieval.scale import PRESETS

SETTINGS = {
    "K": 3,
    "attn_retrieval_mode": True,
    "dataset_val": {
        "num_points": 0,
        "input_chunk_size": 8,
        "target_chunk_size": 64,
        "voxel_size_input": 0.43334,
        "voxel_size_target": 0.054167,
        "input_mean": 0.8112343966484424,
        "input_std": 0.5094238937427482,
        "target_mean": 0.15015658121788053,
        "target_std": 0.03573221820637578,
    },
}


def small_model(points: bool = False) -> RetrievalFuseModel:
    torch.manual_seed(0)
    scale = PRESETS["3dfront-points" if points else "3dfront"]
    return RetrievalFuseModel(
        RetrievalFuseConfig(channels=2, retrieval_channels=4, unet_levels=4, retrieval_levels=3, scale=vars(scale))
    )


def official_names(points: bool) -> dict[str, str]:
    """Official name of every parameter of `small_model`, written out by hand, by ours."""
    unet = "unet_backbone.network" if points else "unet_backbone.network.0"
    names = [
        f"{unet}.{side}.{level}.basic_module.{conv}"
        for side in ("encoders", "decoders")
        for level in range(4)
        for conv in conv_names()
    ]
    names += [f"unet_backbone.network.{tail}.basic_module.{conv}" for tail in (1, 2) for conv in conv_names()]
    names += [
        f"retrieval_backbone.network.{side}.{level}.basic_module.{conv}"
        for side in ("encoders", "decoders")
        for level in range(3)
        for conv in conv_names()
    ]
    names += [f"decoder.network.0.basic_module.{conv}" for conv in conv_names()]
    names += [f"decoder.network.1.{kind}" for kind in ("weight", "bias")]
    block = "patched_attention_block.attention_blocks_layer"
    names += [
        f"{block}.{part}.encoder.{layer}.{kind}"
        for part in ("theta", "phi")
        for layer in (0, 2, 4, 6)
        for kind in ("weight", "bias")
    ]
    return {own_name(name): name for name in [*names, f"{block}.sig_scale", f"{block}.sig_shift"]}


def conv_names() -> list[str]:
    kinds = ("groupnorm.weight", "groupnorm.bias", "conv.weight")
    return [f"SingleConv{number}.{kind}" for number in (1, 2) for kind in kinds]


def official_state(model: RetrievalFuseModel, points: bool = False) -> dict[str, Tensor]:
    names = official_names(points)
    return {names[name]: value for name, value in model.state_dict().items()}


@contextmanager
def lightning() -> Iterator[tuple[type, type]]:
    """Classes that pickle as Lightning's do, gone again when the file is read."""
    parts = ("pytorch_lightning.callbacks.model_checkpoint", "pytorch_lightning.utilities.parsing")
    made = []
    for name, kind, base in zip(parts, ("ModelCheckpoint", "AttributeDict"), (object, dict), strict=True):
        for length in (1, 2, 3):
            sys.modules[".".join(name.split(".")[:length])] = types.ModuleType(name)
        made.append(type(kind, (base,), {"__module__": name}))
        setattr(sys.modules[name], kind, made[-1])
    try:
        yield made[0], made[1]
    finally:
        for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
            del sys.modules[name]


def write(path: Path, state: dict[str, Tensor], settings: dict[str, Any] | None = None) -> Path:
    """A file as Lightning 1.4 writes it: a callback's class as a key, settings in its own dictionary."""
    with lightning() as (callback, dictionary):
        content = {
            "epoch": 3,
            "pytorch-lightning_version": "1.4.9",
            "state_dict": state,
            "callbacks": {callback: {"monitor": None, "best_model_path": ""}},
            "optimizer_states": [],
            "hyper_parameters": dictionary(settings or {}),
        }
        torch.save(content, path)
    return path


@pytest.mark.parametrize("points", [False, True])
def test_refinement(tmp_path: Path, points: bool) -> None:
    """Sizes, variants and every weight."""
    model = small_model(points)
    settings = SETTINGS | ({"dataset_val": SETTINGS["dataset_val"] | {"num_points": 500}} if points else {})  # type: ignore[operator]
    found = load_official_checkpoint(write(tmp_path / "a.ckpt", official_state(model, points), settings))
    assert isinstance(found, RetrievalFuseModel) and not found.training
    assert (found.config.channels, found.config.retrieval_channels, found.config.candidates) == (2, 4, 3)
    assert found.config.attention_settings.selection == "gumbel"
    assert found.scale.input_kind == ("points" if points else "distance") and found.scale.round_to_half
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_given_scale_and_attention(tmp_path: Path) -> None:
    """A file that says nothing needs a scale; what is given by hand wins."""
    path = write(tmp_path / "a.ckpt", official_state(small_model()))
    with pytest.raises(InputError, match=r"a\.ckpt: does not say which grids"):
        load_official_checkpoint(path)
    found = load_official_checkpoint(path, PRESETS["shapenet"], {"beta": "sigmoid"})
    assert isinstance(found, RetrievalFuseModel)
    assert found.scale == PRESETS["shapenet"] and found.config.attention_settings.beta == "sigmoid"


def test_chunk_encoders(tmp_path: Path) -> None:
    """Both encoders, recognised by their tensors."""
    torch.manual_seed(0)
    config = ChunkEncoderConfig(network_input="4+2", network_target="16+4", nf_input=2, nf_target=3, latent_dim=8)
    model = ChunkEncoder(config)
    path = write(tmp_path / "retrieval.ckpt", dict(model.state_dict()))
    found = load_official_checkpoint(path, PRESETS["matterport"])
    assert isinstance(found, ChunkEncoder)
    assert (found.config.network_input, found.config.network_target) == ("4+2", "16+4")
    assert (found.config.nf_input, found.config.nf_target, found.config.latent_dim) == (2, 3, 8)
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_incomplete_files(tmp_path: Path) -> None:
    state = official_state(small_model())
    lacking = dict(list(state.items())[1:])
    with pytest.raises(InputError, match="1 tensor is missing"):
        load_official_checkpoint(write(tmp_path / "a.ckpt", lacking, SETTINGS))
    with pytest.raises(InputError, match="unknown to the model, the first is 'surprise'"):
        load_official_checkpoint(write(tmp_path / "b.ckpt", state | {"surprise": torch.ones(1)}, SETTINGS))
    with pytest.raises(InputError, match="expected a checkpoint of RetrievalFuse's refinement"):
        load_official_checkpoint(write(tmp_path / "c.ckpt", {"x": torch.ones(1)}, SETTINGS))
    with pytest.raises(InputError, match="expected both chunk encoders"):
        only = {"fenc_input.layers.0.weight": torch.ones(4, 64), "fenc_input.final_layer.weight": torch.ones(2, 4)}
        load_official_checkpoint(write(tmp_path / "d.ckpt", only, SETTINGS))


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_nothing_is_run(tmp_path: Path) -> None:
    """A file that would run something is refused, and runs nothing."""
    mark = tmp_path / "harmed"
    torch.save({"state_dict": {}, "hyper_parameters": _Harm(mark)}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="not loaded for safety"):
        load_official_checkpoint(tmp_path / "a.ckpt")
    assert not mark.exists()
    torch.save({"state_dict": {}, "hyper_parameters": pathlib.PurePosixPath("x")}, tmp_path / "b.ckpt")
    with pytest.raises(InputError, match="not loaded for safety"):
        load_official_checkpoint(tmp_path / "b.ckpt")
