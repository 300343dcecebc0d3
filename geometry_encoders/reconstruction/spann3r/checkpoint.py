"""Loads the published Spann3R checkpoints; their configuration is read off the shapes of their tensors."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.official_files import parse_constructor_call
from geometry_encoders.reconstruction.spann3r.configuration_spann3r import Spann3rConfig
from geometry_encoders.reconstruction.spann3r.modeling_spann3r import Spann3rModel
from geometry_encoders.state_dicts import fill, state_of

HEAD_SIZE = 64  # channels per attention head of every published model; shapes do not tell it
_NEVER_PUBLISHED = ("use_feat", "mem_pos_enc")


def spann3r_from_content(
    content: Mapping[str, Any], path: Path, changes: Mapping[str, Any] | None = None
) -> Spann3rModel:
    """The model in a published or training checkpoint of Spann3R, ready for inference.

    Args:
        content: what the file holds; only ``model`` and the constructor call in ``args`` are looked at.
        path: the file, for messages.
        changes: configuration fields that shapes do not tell, e.g. ``enc_num_heads`` of a network whose heads have
            other than 64 channels.

    Raises:
        InputError: variants that were never published, and tensors that are missing, unknown or of wrong shapes.
    """
    _refuse_other_variants(content, path)
    state = state_of(content, path)
    arguments = config_from_shapes(state, path) | dict(changes or {})
    if unknown := sorted(set(arguments) - set(Spann3rConfig.__dataclass_fields__)):
        raise InputError(f"{path}: Spann3R has no setting {unknown[0]!r}")
    model = Spann3rModel(Spann3rConfig(**arguments))
    fill(model, state, path)
    return model.eval()


def _refuse_other_variants(content: Mapping[str, Any], path: Path) -> None:
    text = getattr(content.get("args"), "model", None)
    if not isinstance(content.get("args"), Namespace) or not isinstance(text, str):
        return  # the shapes say everything else
    name, arguments = parse_constructor_call(text, f"{path}, args.model")
    if name != "Spann3R":
        raise InputError(f"{path}: args.model builds {name}, expected Spann3R")
    for option in _NEVER_PUBLISHED:
        if arguments.get(option):
            raise InputError(f"{path}: args.model has {option}={arguments[option]!r}, expected it off")


def config_from_shapes(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Arguments of `Spann3rConfig` for a state dict with published names; head sizes are taken to be 64."""

    def shape(name: str, *aliases: str) -> tuple[int, ...]:
        for each in (name, *aliases):
            if each in state:
                return tuple(state[each].shape)
        raise InputError(f"{path}: 1 tensor is missing, the first is {name!r}")

    enc_dim, _, patch_size, _ = _ranked(shape("dust3r.patch_embed.proj.weight"), 4, path)
    dec_dim = shape("dust3r.decoder_embed.weight")[0]
    hidden = shape("dust3r.enc_blocks.0.mlp.fc1.weight")[0]
    arguments: dict[str, Any] = {
        "patch_size": patch_size,
        "enc_embed_dim": enc_dim,
        "enc_depth": _count(state, r"dust3r\.enc_blocks\.(\d+)\..*"),
        "enc_num_heads": usual_heads(enc_dim),
        "dec_embed_dim": dec_dim,
        "dec_depth": _count(state, r"dust3r\.dec_blocks\.(\d+)\..*"),
        "dec_num_heads": usual_heads(dec_dim),
        "mlp_ratio": hidden / enc_dim,
        "value_encoder_depth": _count(state, r"value_encoder\.(\d+)\..*"),
        "value_encoder_heads": usual_heads(enc_dim),
        "head_type": "linear",
    }
    dpt = "dust3r.downstream_head1.dpt"
    if any(name.startswith(dpt) for name in state):
        arguments |= {
            "head_type": "dpt",
            "dpt_layer_dims": tuple(shape(f"{dpt}.act_postprocess.{stage}.0.weight")[0] for stage in range(4)),
            "dpt_feature_dim": shape(f"{dpt}.scratch.layer1_rn.weight", f"{dpt}.scratch.layer_rn.0.weight")[0],
            "dpt_last_dim": shape(f"{dpt}.head.0.weight")[0],
        }
    return arguments


def usual_heads(channels: int) -> int:
    """Attention heads of 64 channels, or of the fewest above that which share the channels evenly."""
    return next(n for n in range(max(channels // HEAD_SIZE, 1), 0, -1) if channels % n == 0)


def _ranked(shape: tuple[int, ...], rank: int, path: Path) -> tuple[int, ...]:
    if len(shape) != rank:
        raise InputError(f"{path}: patch embedding of shape {shape}, expected {rank} axes")
    return shape


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    numbers = [int(match[1]) for name in state if (match := re.fullmatch(pattern, name))]
    return max(numbers, default=-1) + 1
