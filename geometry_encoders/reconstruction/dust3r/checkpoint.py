"""Loads the published DUSt3R checkpoints: pickled ``.pth`` files and hub folders."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.official_files import parse_constructor_call
from geometry_encoders.reconstruction.dust3r.configuration_dust3r import Dust3rConfig
from geometry_encoders.reconstruction.dust3r.modeling_dust3r import Dust3rModel
from geometry_encoders.state_dicts import fill, state_of

CONSTRUCTOR = "AsymmetricCroCo3DStereo"


def load_dust3r_folder(
    folder: Path, for_training: bool = False, changes: Mapping[str, Any] | None = None
) -> Dust3rModel:
    """The model in a published hub folder of config.json and model.safetensors; see `dust3r_from_content`."""
    arguments, state = _read_folder(folder)
    return _build(arguments, state, folder, for_training, changes)


def dust3r_from_content(
    content: Mapping[str, Any], path: Path, for_training: bool = False, changes: Mapping[str, Any] | None = None
) -> Dust3rModel:
    """The model in a published ``.pth`` file, ready for inference.

    Args:
        content: what the file holds: ``model`` and ``args``, or ``model`` and ``croco_kwargs`` (CroCo v2 pretraining,
            whose decoder fills both decoders and which leaves the heads untrained).
        path: the file, for messages.
        for_training: keep the portrait-aware patch embedding and the landscape storage that the 512 models were
            trained with; otherwise pictures are taken as they come.
        changes: constructor arguments that replace those of the file.

    Raises:
        InputError: modes that do not exist here, and tensors that are missing, unknown or of wrong shapes.
    """
    state = state_of(content, path)
    if "croco_kwargs" in content:
        return _build(dict(content["croco_kwargs"]), state, path, for_training, changes, pretraining=True)
    return _build(_arguments_of(content, path), state, path, for_training, changes)


def _build(
    arguments: dict[str, Any],
    state: dict[str, Tensor],
    path: Path,
    for_training: bool,
    changes: Mapping[str, Any] | None,
    pretraining: bool = False,
) -> Dust3rModel:
    if not for_training:
        arguments |= {"patch_embed_cls": "PatchEmbedDust3R", "landscape_only": False}
    model = Dust3rModel(Dust3rConfig.from_official_arguments(arguments | dict(changes or {})))
    if not any(name.startswith("dec_blocks2.") for name in state):
        state |= {
            name.replace("dec_blocks.", "dec_blocks2.", 1): v for name, v in state.items() if "dec_blocks." in name
        }
    if pretraining:
        fill(model, state, path, may_lack=r"downstream_head[12]\..*", may_hold=r"prediction_head\..*")
    else:
        fill(model, state, path)
    return model.eval()


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, weights = folder / "config.json", folder / "model.safetensors"
    for file in (config, weights):
        if not file.is_file():
            raise InputError(f"{file}: no such file, expected a hub folder with config.json and model.safetensors")
    try:
        arguments = json.loads(config.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{config}: not JSON ({error}), expected the constructor arguments of DUSt3R") from error
    if not isinstance(arguments, dict) or "enc_embed_dim" not in arguments:
        raise InputError(f"{config}: no enc_embed_dim inside, expected the constructor arguments of DUSt3R")
    try:
        return arguments, load_file(weights)
    except SafetensorError as error:
        raise InputError(f"{weights}: damaged ({error}), expected a safetensors file") from error


def _arguments_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    text = getattr(content.get("args"), "model", None)
    if not isinstance(content.get("args"), Namespace) or not isinstance(text, str):
        raise InputError(f"{path}: no constructor call under args.model, expected a DUSt3R checkpoint")
    name, arguments = parse_constructor_call(text, f"{path}, args.model")
    if name != CONSTRUCTOR:
        raise InputError(f"{path}: args.model builds {name}, expected {CONSTRUCTOR}")
    return arguments
