"""From a name, a folder or a file to a geometry encoder, ready for inference."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModel, PreTrainedModel

from geometry_encoders.checkpoints import load_official_checkpoint
from geometry_encoders.errors import InputError

if TYPE_CHECKING:
    from geometry_encoders.reconstruction import Dust3rModel, Spann3rModel

TOWER = "geometry_tower."
HOST_PACKAGE = "spatialvlm"  # its packaged checkpoints hold towers; looked up as files, nothing of it is imported


def load_encoder(source: str | Path, device: torch.device | str | None = None) -> Dust3rModel | Spann3rModel:
    """A DUSt3R or Spann3R in evaluation mode.

    Args:
        source: a folder of ``save_pretrained`` (of the encoder itself, or of a composite model whose geometry tower is
            taken out), a published ``.pth`` file or hub folder, or the name of a packaged checkpoint (``tiny``). A
            file or folder of that name comes first.
        device: left out, the first CUDA device where there is one, else the CPU.

    Raises:
        InputError: one sentence that names the file, what was found and what was expected. Nothing is unpickled.
    """
    path = Path(source)
    if not path.exists():
        path = _packaged(str(source))
    model = _load_tower(path) if _holds_tower(path) else load_official_checkpoint(path)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    moved: Any = model.eval()
    return moved.to(device)


def _packaged(name: str) -> Path:
    spec = importlib.util.find_spec(HOST_PACKAGE)
    roots = list(spec.submodule_search_locations or []) if spec is not None else []
    found = {path.parent.name: path.parent for root in roots for path in Path(root).glob("checkpoints/*/config.json")}
    if name not in found:
        names = ", ".join(sorted(found)) or "none is packaged"
        raise InputError(f"{name}: no such encoder, expected a file, a folder or a packaged name ({names})")
    return found[name]


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _holds_tower(path: Path) -> bool:
    return path.is_dir() and isinstance(_read_config(path).get("geometry_config"), dict)


def _load_tower(folder: Path) -> PreTrainedModel:
    import geometry_encoders.reconstruction  # noqa: F401  registers the models with the Auto classes

    arguments = dict(_read_config(folder)["geometry_config"])
    kind = arguments.pop("model_type", None)
    try:
        model = AutoModel.from_config(AutoConfig.for_model(kind, **arguments))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'}: no usable geometry_config ({error})") from error
    state: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt") as weights:
                names = {name.split(TOWER, 1)[1]: name for name in weights.keys() if TOWER in name}  # noqa: SIM118
                state |= {short: weights.get_tensor(name).float() for short, name in names.items()}
        except SafetensorError as error:
            raise InputError(f"{file}: damaged ({error}), expected a safetensors file") from error
    try:
        missing = model.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:
        raise InputError(
            f"{folder}: tensors do not fit geometry_config ({' '.join(str(error).split())[:300]})"
        ) from error
    missing = [name for name in missing if "mask_token" not in name]
    if missing:
        raise InputError(f"{folder}: the geometry tower lacks {len(missing)} tensors, the first is {missing[0]!r}")
    return model
