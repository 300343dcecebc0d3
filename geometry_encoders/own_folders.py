"""Networks from the folders that ``save_pretrained`` wrote, complete or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from geometry_encoders.errors import InputError
from geometry_encoders.state_dicts import is_unused, refuse_tensors

ModelT = TypeVar("ModelT", bound=PreTrainedModel)


def load_own_folder(path: str | Path, model_class: type[ModelT]) -> ModelT:
    """The network that ``save_pretrained`` wrote to a folder, complete, in evaluation mode.

    ``from_pretrained`` alone fills gaps with random numbers. ``model_class`` may be ``AutoModel``.

    Raises:
        InputError: no such folder, another kind of network, or tensors that are missing, unknown or of wrong shapes.
    """
    path = Path(path)
    if not (path / "config.json").is_file():
        raise InputError(f"{path}: no config.json, expected a folder that save_pretrained wrote")
    try:
        with _quiet_transformers():
            loaded: Any = model_class.from_pretrained(
                path, output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True
            )
    except InputError as error:
        raise InputError(f"{path / 'config.json'}: {error}") from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: damaged ({reason}), expected a folder that save_pretrained wrote") from error
    model, found = loaded
    for names, kind in (
        ([str(entry[0]) for entry in found["mismatched_keys"]], "of wrong shapes"),
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
