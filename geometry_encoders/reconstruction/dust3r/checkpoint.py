"""Loads the published DUSt3R checkpoints: pickled ``.pth`` files and hub folders."""

from __future__ import annotations

import json
import logging
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.official_files import parse_constructor_call, read_pickled_checkpoint
from geometry_encoders.reconstruction.dust3r.configuration_dust3r import Dust3rConfig
from geometry_encoders.reconstruction.dust3r.modeling_dust3r import Dust3rModel

logger = logging.getLogger(__name__)

CONSTRUCTOR = "AsymmetricCroCo3DStereo"
_UNUSED = re.compile(r"mask_token|.*\.refinenet4\.resConfUnit1\..*")  # in published files, read by nothing
_HEADS = re.compile(r"downstream_head[12]\..*")


def load_dust3r_checkpoint(path: Path, for_training: bool = False) -> Dust3rModel:
    """The model in a published ``.pth`` file or hub folder, ready for inference.

    Args:
        path: a file with ``model`` and ``args``, or with ``model`` and ``croco_kwargs`` (CroCo v2 pretraining, whose
            decoder fills both decoders and which leaves the heads untrained), or a folder with ``config.json`` and
            ``model.safetensors``.
        for_training: keep the portrait-aware patch embedding and the landscape storage that the 512 models were
            trained with; otherwise pictures are taken as they come.

    Raises:
        InputError: not such a file, modes that do not exist here, missing tensors, or tensors of wrong shapes.
    """
    heads_may_be_missing = False
    if path.is_dir():
        arguments, state = _read_folder(path)
    else:
        content = read_pickled_checkpoint(path)
        state = _state_of(content, path)
        if "croco_kwargs" in content:
            arguments, heads_may_be_missing = dict(content["croco_kwargs"]), True
        else:
            arguments = _arguments_of(content, path)
    if not for_training:
        arguments |= {"patch_embed_cls": "PatchEmbedDust3R", "landscape_only": False}
    model = Dust3rModel(Dust3rConfig.from_official_arguments(arguments))
    _fill(model, state, path, heads_may_be_missing)
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


def _state_of(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    state = content.get("model")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: no dictionary of tensors under 'model', expected a DUSt3R checkpoint")
    if any(name.startswith("dust3r.") for name in state):
        raise InputError(f"{path}: holds a Spann3R model, expected DUSt3R")
    return dict(state)


def _arguments_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    text = getattr(content.get("args"), "model", None)
    if not isinstance(content.get("args"), Namespace) or not isinstance(text, str):
        raise InputError(f"{path}: no constructor call under args.model, expected a DUSt3R checkpoint")
    name, arguments = parse_constructor_call(text, f"{path}, args.model")
    if name != CONSTRUCTOR:
        raise InputError(f"{path}: args.model builds {name}, expected {CONSTRUCTOR}")
    return arguments


def _fill(model: Dust3rModel, state: dict[str, Tensor], path: Path, heads_may_be_missing: bool) -> None:
    """Copies the tensors into the model; logs what is not needed, raises for what is missing or misshapen."""
    if not any(name.startswith("dec_blocks2.") for name in state):
        state |= {
            name.replace("dec_blocks.", "dec_blocks2.", 1): v for name, v in state.items() if "dec_blocks." in name
        }
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: tensors do not fit the configuration ({reason[:300]})") from error
    missing = [name for name in result.missing_keys if not _UNUSED.fullmatch(name)]
    if heads_may_be_missing and any(_HEADS.fullmatch(name) for name in missing):
        logger.warning("%s has no heads; they are left untrained", path)
        missing = [name for name in missing if not _HEADS.fullmatch(name)]
    if missing:
        raise InputError(f"{path}: {len(missing)} tensors are missing, the first is {missing[0]!r}")
    if result.unexpected_keys:
        names = sorted({name.split(".")[0] for name in result.unexpected_keys})
        logger.warning("%s: ignoring %d unknown tensors under %s", path, len(result.unexpected_keys), ", ".join(names))
