"""Fills networks from published state dicts: what is missing, misshapen or unknown is an error."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from geometry_encoders.errors import InputError

logger = logging.getLogger(__name__)

_UNUSED = r"(.*\.)?mask_token|.*\.refinenet4\.resConfUnit1\..*"  # in published files, read by nothing
_WRAPPER = "module."  # in files of programs that saved the model inside DistributedDataParallel


def state_of(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors under ``model``; raises `InputError` where there are none."""
    state = content.get("model")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: no dictionary of tensors under 'model', expected a checkpoint of DUSt3R or Spann3R")
    return {name.removeprefix(_WRAPPER): value for name, value in state.items()}


def is_unused(name: str) -> bool:
    """Whether no pass through a network reads the tensor, so that a file may lack it."""
    return re.fullmatch(_UNUSED, name) is not None


def refuse_tensors(path: Path, names: Sequence[str], kind: str) -> None:
    """Raises `InputError` where there are ``names``; ``kind`` says what is wrong with them."""
    if names:
        which = "1 tensor is" if len(names) == 1 else f"{len(names)} tensors are"
        raise InputError(f"{path}: {which} {kind}, the first is {sorted(names)[0]!r}")


def is_spann3r(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint holds a whole DUSt3R as a part, as Spann3R's do."""
    state = content.get("model")
    return isinstance(state, dict) and any(str(name).removeprefix(_WRAPPER).startswith("dust3r.") for name in state)


def fill(
    model: nn.Module, state: dict[str, Tensor], path: Path, may_lack: str | None = None, may_hold: str | None = None
) -> None:
    """Copies the tensors into the model.

    Args:
        may_lack: pattern of names that are left as they are, with a warning, where the file lacks them.
        may_hold: pattern of names that the model does not know and that are ignored, with a warning.

    Raises:
        InputError: tensors that are missing, unknown or of wrong shapes.
    """
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: tensors do not fit the configuration ({reason[:300]})") from error
    missing = [name for name in result.missing_keys if not is_unused(name)]
    unknown = list(result.unexpected_keys)
    for names, allowed, kind in ((missing, may_lack, "missing"), (unknown, may_hold, "unknown to the model")):
        let_pass = [name for name in names if allowed is not None and re.fullmatch(allowed, name)]
        if let_pass:
            parts = sorted({name.split(".")[0] for name in let_pass})
            logger.warning("%s: %d tensors under %s are %s", path, len(let_pass), ", ".join(parts), kind)
        refuse_tensors(path, [name for name in names if name not in let_pass], kind)
