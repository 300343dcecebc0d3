"""One door to the checkpoints that other programs published."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging as transformers_logging

from geometry_encoders.errors import InputError
from geometry_encoders.official_files import read_pickled_checkpoint
from geometry_encoders.reconstruction import Dust3rConfig, Spann3rConfig
from geometry_encoders.reconstruction.dust3r.checkpoint import dust3r_from_content, load_dust3r_folder
from geometry_encoders.reconstruction.spann3r.checkpoint import spann3r_from_content
from geometry_encoders.state_dicts import is_spann3r, is_unused, refuse_tensors

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
        return _load_own_folder(path)
    if path.is_dir():
        return load_dust3r_folder(path, for_training, changes)
    content = read_pickled_checkpoint(path)
    if is_spann3r(content):
        return spann3r_from_content(content, path, changes)
    return dust3r_from_content(content, path, for_training, changes)


def _load_own_folder(path: Path) -> PreTrainedModel:
    """What ``save_pretrained`` wrote, complete; `AutoModel.from_pretrained` alone fills gaps with random numbers."""
    try:
        with _quiet_transformers():
            model, found = AutoModel.from_pretrained(path, output_loading_info=True, ignore_mismatched_sizes=True)
    except InputError as error:
        raise InputError(f"{path / 'config.json'}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: damaged ({reason}), expected a folder that save_pretrained wrote") from error
    misshapen = [str(entry[0]) for entry in found["mismatched_keys"]]
    for names, kind in (
        (misshapen, "of wrong shapes"),
        (found["missing_keys"], "missing"),
        (found["unexpected_keys"], "unknown to the model"),
    ):
        refuse_tensors(path, [name for name in names if not is_unused(name)], kind)
    return model.eval()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No report of missing tensors, which become an error; no progress bar where nobody sees it move."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _is_own_folder(path: Path) -> bool:
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") in OWN_TYPES
