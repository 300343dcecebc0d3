"""One door to the checkpoints that other programs published."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import PreTrainedModel

from geometry_encoders.reconstruction import Dust3rConfig, Dust3rModel
from geometry_encoders.reconstruction.dust3r.checkpoint import load_dust3r_checkpoint


def load_official_checkpoint(path: str | Path, for_training: bool = False) -> PreTrainedModel:
    """The model in a published checkpoint, or in a folder that ``save_pretrained`` wrote.

    Example: ``load_official_checkpoint("DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth")``. Nothing in the file is run.

    Args:
        path: a ``.pth`` file or a hub folder (config.json and model.safetensors) of DUSt3R.
        for_training: keep the treatment of portrait pictures that the weights were trained with.

    Raises:
        InputError: one sentence that names the file, what was found and what was expected.
    """
    path = Path(path)
    if _is_own_folder(path):
        return Dust3rModel.from_pretrained(path)
    return load_dust3r_checkpoint(path, for_training)


def _is_own_folder(path: Path) -> bool:
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == Dust3rConfig.model_type
