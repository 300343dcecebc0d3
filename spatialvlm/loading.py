"""From a name or a folder to a model with its processor, ready to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

import spatialvlm.models  # noqa: F401  registers the model with the Auto classes
from geometry_encoders.errors import InputError

PACKAGED_CHECKPOINTS = Path(__file__).parent / "checkpoints"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
_ADAPTER_CONFIG = "adapter_config.json"


def packaged_names() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package."""
    return tuple(sorted(path.parent.name for path in PACKAGED_CHECKPOINTS.glob("*/config.json")))


def resolve(path_or_name: str | Path) -> Path:
    """The folder of a packaged checkpoint (``tiny``) or of the user's own; a folder of that name comes first.

    Raises:
        InputError: when there is neither.
    """
    folder = Path(path_or_name)
    if folder.is_dir():
        return folder
    packaged = PACKAGED_CHECKPOINTS / str(path_or_name)
    if str(path_or_name) in packaged_names():
        return packaged
    names = ", ".join(packaged_names()) or "none is packaged"
    raise InputError(f"{path_or_name}: no such model, expected a folder or a packaged name ({names})")


def load_model(
    path_or_name: str | Path, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model in evaluation mode and its processor, from a folder or a packaged name.

    Any image-text model of transformers loads, a folder with a LoRA adapter too. Code inside the folder is not run.

    Args:
        path_or_name: folder written by ``save_pretrained``, or e.g. ``tiny``.
        dtype: of the weights; left out, float32 on the CPU (float16 files included) and as stored elsewhere.
        device: where to put it; left out, the first CUDA device where there is one, else the CPU.

    Raises:
        InputError: one sentence naming what is missing or damaged in the folder.
    """
    folder = resolve(path_or_name)
    _check_folder(folder)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else "auto"
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # readers of half a dozen file formats, each with errors of its own
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: the model cannot be loaded ({type(error).__name__}: {reason})") from error
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing and not (folder / _ADAPTER_CONFIG).is_file():
        count = f"{len(missing)} tensors in all"
        raise InputError(f"{folder}: the weights lack {missing[0]} ({count}), expected all that config.json asks for")
    return model.to(device).eval(), processor


def _check_folder(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names and _ADAPTER_CONFIG not in names:
        raise InputError(f"{folder}: config.json is missing, expected a folder written by save_pretrained")
    if not names.intersection(_WEIGHTS):
        raise InputError(f"{folder}: the weights are missing, expected model.safetensors beside config.json")
    if not names.intersection({"processor_config.json", "preprocessor_config.json"}):
        raise InputError(f"{folder}: processor_config.json is missing, expected the processor beside the model")
    for name in names.intersection({"config.json", _ADAPTER_CONFIG}):
        try:
            json.loads((folder / name).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{folder / name}: not valid JSON ({error})") from error
