"""One door to the checkpoints that other programs published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoModel, PreTrainedModel

from geometry_encoders.errors import InputError
from geometry_encoders.official_files import read_pickled_checkpoint
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.reconstruction import Dust3rConfig, Spann3rConfig
from geometry_encoders.reconstruction.dust3r.checkpoint import dust3r_from_content, load_dust3r_folder
from geometry_encoders.reconstruction.spann3r.checkpoint import spann3r_from_content
from geometry_encoders.state_dicts import is_spann3r

# takes the class from the folder; no PreTrainedModel itself, as far as types go
_ANY: Any = AutoModel
OWN_TYPES = (Dust3rConfig.model_type, Spann3rConfig.model_type)


def load_official_checkpoint(path: str | Path, for_training: bool = False, **changes: Any) -> PreTrainedModel:
    """The model in a published checkpoint, or in a folder that ``save_pretrained`` wrote.

    Example: ``load_official_checkpoint("DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth")``. Nothing in the file is run.

    Args:
        path: a ``.pth`` file of DUSt3R, Spann3R or CroCo v2, or a hub folder (config.json and model.safetensors) of
            DUSt3R. Which it is, and the sizes of a Spann3R network, are found out from the content.
        for_training: keep the treatment of portrait pictures that the weights of DUSt3R were trained with.
        changes: settings that replace what was found, e.g. ``enc_num_heads`` of a Spann3R whose attention heads do
            not have the usual 64 channels.

    Raises:
        InputError: one sentence that names the file, what was found and what was expected: no checkpoint, objects
            that would have to be run, tensors that are missing, unknown or of wrong shapes.
    """
    path = Path(path)
    if _is_own_folder(path):
        if changes:
            raise InputError(
                f"{path}: {sorted(changes)[0]} given, expected no changes for a folder with its own settings"
            )
        found: PreTrainedModel = load_own_folder(path, _ANY)
        return found
    if path.is_dir():
        return load_dust3r_folder(path, for_training, changes)
    content = read_pickled_checkpoint(path)
    if is_spann3r(content):
        return spann3r_from_content(content, path, changes)
    return dust3r_from_content(content, path, for_training, changes)


def _is_own_folder(path: Path) -> bool:
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") in OWN_TYPES
