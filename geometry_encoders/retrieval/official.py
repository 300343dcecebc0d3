"""Published checkpoints of both stages of RetrievalFuse, read without running anything that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.official_files import read_pickled_checkpoint
from geometry_encoders.retrieval.encoders import (
    NETWORKS,
    ChunkEncoder,
    ChunkEncoderConfig,
    ConvolutionStack,
    build_network,
)
from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.refinement.attention import AttentionSettings
from geometry_encoders.retrieval.refinement.official_names import own_names
from geometry_encoders.retrieval.scale import GridScale
from geometry_encoders.state_dicts import fill


class _Callback:
    """Takes the place of Lightning's callbacks, whose classes are keys in the file."""


STAND_INS: dict[str, type] = {
    f"{package}.{name}": own
    for package in ("pytorch_lightning", "lightning.pytorch")
    for name, own in {
        "utilities.parsing.AttributeDict": dict,
        "callbacks.model_checkpoint.ModelCheckpoint": _Callback,
        "callbacks.lr_monitor.LearningRateMonitor": _Callback,
        "callbacks.early_stopping.EarlyStopping": _Callback,
    }.items()
}


def load_official_checkpoint(
    path: str | Path, scale: GridScale | None = None, attention: Mapping[str, Any] | None = None
) -> RetrievalFuseModel | ChunkEncoder:
    """The network in a Lightning checkpoint of either stage of the published program.

    Example: ``load_official_checkpoint("refinement.ckpt", preset_scale("shapenet"))``. Sizes come from the tensors;
    the settings in the file, where it has any, say the rest.

    Args:
        scale: the grids that the network was trained for; needed where the file does not say so.
        attention: fields of ``AttentionSettings`` that replace what the file says, e.g. ``{"beta": "sigmoid"}`` for
            weights of the paper's formula, which the file itself does not tell from the published program's.

    Raises:
        InputError: one sentence that names the file, what was found and what was expected: no checkpoint, objects that
            would have to be run, tensors that are missing, unknown or of wrong shapes, a scale that nobody gave.
    """
    path = Path(path)
    content = read_pickled_checkpoint(path, STAND_INS)
    state = content.get("state_dict")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: no dictionary of tensors under 'state_dict', expected a checkpoint of RetrievalFuse")
    settings = content.get("hyper_parameters")
    settings = settings if isinstance(settings, dict) else {}
    found = scale or _scale_in(settings, path)
    if any(name.startswith(("fenc_input.", "fenc_target.")) for name in state):
        if attention:
            raise InputError(f"{path}: holds chunk encoders, expected no settings of attention with them")
        return _chunk_encoder(state, settings, found, path)
    return _refinement(state, settings, found, dict(attention or {}), path)


# ---- what a file says about itself -----------------------------------------------------------------------------------


def _scale_in(settings: Mapping[str, Any], path: Path) -> GridScale:
    """The grids that the settings in a file describe."""
    data = settings.get("dataset_val") or settings.get("dataset")
    if not isinstance(data, dict):
        raise InputError(f"{path}: does not say which grids it was trained for, expected a scale to be given with it")
    try:
        points = int(data.get("num_points", 0)) > 0
        return GridScale(
            voxel=float(data["voxel_size_target"]),
            upsampling=8 if points else data["target_chunk_size"] // data["input_chunk_size"],
            input_kind="points" if points else "distance",
            input_mean=float(data["input_mean"]),
            input_std=float(data["input_std"]),
            target_mean=float(data["target_mean"]),
            target_std=float(data["target_std"]),
            round_to_half=True,
            input_voxel_size=float(data["voxel_size_input"]) or None,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path}: settings of the grids cannot be read ({error}), expected a scale with it") from error


def _refinement(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], scale: GridScale, attention: dict[str, Any], path: Path
) -> RetrievalFuseModel:
    own = own_names(state)
    try:
        channels = own["decoder.to_distance.weight"].shape[1]
        extent = round((own["attention.patch.input_encoder.0.weight"].shape[1] / channels) ** (1 / 3))
        retrieval_channels = own["retrieval_unet.encoders.0.second.conv.weight"].shape[0]
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"{path}: lacks {error}, expected a checkpoint of RetrievalFuse's refinement") from error
    scale = replace(scale, **_input_grid(own, scale))
    config = RetrievalFuseConfig(
        channels=channels,
        unet_levels=_levels(own, "input_unet"),
        retrieval_channels=retrieval_channels,
        retrieval_levels=_levels(own, "retrieval_unet"),
        candidates=int(settings.get("K", 4)),
        attention_extent=2 * extent,
        attention=asdict(
            AttentionSettings(
                normalise=bool(settings.get("attn_normalize", True)),
                selection="gumbel" if settings.get("attn_retrieval_mode", False) else "softmax",
                blend=bool(settings.get("attn_blend", True)),
                value_mappings="attention.patch.value_mapping.weight" in own,
            )
        )
        | attention,
        scale=asdict(scale),
        faithful_weights=True,
    )
    model = RetrievalFuseModel(config)
    fill(model, own, path)
    return model.eval()


def _levels(own: Mapping[str, Tensor], part: str) -> int:
    return len({name.split(".")[2] for name in own if name.startswith(f"{part}.encoders.")})


def _input_grid(own: Mapping[str, Tensor], scale: GridScale) -> dict[str, Any]:
    """The kind of input that the tensors want, which settles what a scale given by hand may have left wrong."""
    enlargements = len({name.split(".")[2] for name in own if name.startswith("input_unet.enlarge.")})
    if not enlargements:
        return {"input_kind": "points"}
    return {"input_kind": "distance", "upsampling": 2 ** (enlargements + 1)}


def _chunk_encoder(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], scale: GridScale, path: Path
) -> ChunkEncoder:
    named = settings.get("retrieval_model")
    named = named if isinstance(named, dict) else {}
    sizes: dict[str, Any] = {}
    parts = {side: _tensors_under(f"fenc_{side}.", state) for side in ("input", "target")}
    for side, part in parts.items():
        if not part:
            raise InputError(f"{path}: no tensors under 'fenc_{side}', expected both chunk encoders")
    for side, part in parts.items():
        name = named.get(f"network_{side}")
        sizes[f"network_{side}"], sizes[f"nf_{side}"], sizes["latent_dim"] = _network_of(part, name, path)
    model = ChunkEncoder(ChunkEncoderConfig(**sizes, scale=asdict(scale)))
    fill(model, {name: value for name, value in state.items() if name.startswith("fenc_")}, path)
    return model.eval()


def _tensors_under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _network_of(part: Mapping[str, Tensor], named: str | None, path: Path) -> tuple[str, int, int]:
    """(id, width, length of embeddings) of the encoder with those tensors."""
    fitting = []
    for network, stack in NETWORKS.items():
        first, last = part.get("layers.0.weight"), list(part.values())[-1]
        if first is None:
            break
        unit = stack.layers[0][1] if isinstance(stack, ConvolutionStack) else stack.widths[0]
        nf, latent = first.shape[0] // unit, last.shape[0] if last.ndim else 0
        if nf < 1:
            continue
        with torch.device("meta"):
            shapes = {name: value.shape for name, value in build_network(network, nf, latent).state_dict().items()}
        if shapes == {name: value.shape for name, value in part.items()}:
            fitting.append((network, nf, latent))
    if named is not None:
        fitting = [found for found in fitting if found[0] == named]
    if not fitting:
        raise InputError(
            f"{path}: tensors fit none of the known chunk encoders, expected a checkpoint of RetrievalFuse"
        )
    return fitting[0]
