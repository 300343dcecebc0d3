"""The networks that training begins with: untrained ones, saved ones, official checkpoints, Spann3R around DUSt3R."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig

from geometry_encoders import load_official_checkpoint
from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction import Dust3rModel
from geometry_encoders.reconstruction.dust3r.linear_head import RAW_CHANNELS, LinearHead
from geometry_encoders.reconstruction.dust3r.postprocess import raw_length
from geometry_encoders.reconstruction.dust3r.presets import PRESETS as DUST3R_PRESETS
from geometry_encoders.reconstruction.spann3r import Spann3rConfig, Spann3rModel
from geometry_encoders.reconstruction.spann3r.presets import PRESETS as SPANN3R_PRESETS

# of a Dust3rConfig: what says how the file was stored and not what the network is
NOT_INHERITED = {"model_type", "architectures", "transformers_version", "dtype", "patch_embed_cls", "landscape_only"}

SMALL = 0.02  # scale of the inputs of a GELU that is to be linear
MEMORY_AT_FIRST = 0.1  # weight of what the memory says, beside features of size 1


def new_dust3r(preset: str, image_px: int, initial_depth: float, seed: int) -> Dust3rModel:
    """An untrained DUSt3R whose weights depend on ``seed`` only and whose every point lies about that far ahead."""
    config = DUST3R_PRESETS[preset]()
    config.image_size = (image_px, image_px)
    torch.manual_seed(seed)
    model = Dust3rModel(config)
    start_at_depth(model, initial_depth)
    return model


@torch.no_grad()
def start_at_depth(model: Dust3rModel, depth: float) -> None:
    """Sets the heads' biases to points at that depth straight ahead, which spares training the way there."""
    for head in (model.downstream_head1, model.downstream_head2):
        bias = head.proj.bias if isinstance(head, LinearHead) else head.dpt.raw_bias
        bias.view(RAW_CHANNELS, -1)[2] = raw_length(depth, model.config.depth_mode)


def load_encoder(source: str) -> Dust3rModel | Spann3rModel:
    """The network in a folder written by ``save_pretrained`` or in an official checkpoint file, in float32.

    Raises:
        InputError: neither of the two, or a folder that holds another model.
    """
    path = Path(source)
    if path.is_file():
        model = load_official_checkpoint(path)
    elif (path / "config.json").is_file():
        kind = AutoConfig.from_pretrained(path).model_type
        known: dict[str, type[Dust3rModel] | type[Spann3rModel]] = {"dust3r": Dust3rModel, "spann3r": Spann3rModel}
        if kind not in known:
            raise InputError(f"{source}: holds a {kind} model, expected dust3r or spann3r")
        model = known[kind].from_pretrained(path)
    else:
        raise InputError(f"{source}: no config.json inside, expected a folder written by save_pretrained or a file")
    if not isinstance(model, Dust3rModel | Spann3rModel):
        raise InputError(f"{source}: holds a {type(model).__name__}, expected DUSt3R or Spann3R")
    return model.float()


def dust3r_to_train(start: str | None, preset: str, image_px: int, initial_depth: float, seed: int) -> Dust3rModel:
    """The DUSt3R at ``start``, or an untrained one."""
    if start is None:
        return new_dust3r(preset, image_px, initial_depth, seed)
    model = load_encoder(start)
    if not isinstance(model, Dust3rModel):
        raise InputError(f"{start}: holds a Spann3R, expected a DUSt3R")
    return model


def spann3r_to_train(
    start: str | None, preset: str, image_px: int, initial_depth: float, seed: int, pass_through: bool = False
) -> Spann3rModel:
    """The Spann3R at ``start``, one built around the DUSt3R at ``start``, or an untrained one.

    ``pass_through`` applies `pass_features_through` to the last two.
    """
    if start is None:
        config = SPANN3R_PRESETS[preset]()
        config.image_size = (image_px, image_px)
        torch.manual_seed(seed)
        model = Spann3rModel(config)
        start_at_depth(model.dust3r, initial_depth)
    else:
        loaded = load_encoder(start)
        if isinstance(loaded, Spann3rModel):
            return loaded
        model = spann3r_around(loaded, preset, seed)
    if pass_through:
        pass_features_through(model)
    return model


def spann3r_around(dust3r: Dust3rModel, preset: str, seed: int) -> Spann3rModel:
    """A Spann3R with the weights of that DUSt3R; what comes on top is new and depends on ``seed`` only.

    Sizes of DUSt3R's part and the heads of the value encoder come from ``dust3r``, everything else from the preset. The
    patch embedding of pointmaps starts as a copy of that of pictures, as in the original.
    """
    settings = SPANN3R_PRESETS[preset]().to_dict() | dust3r.config.to_dict()
    settings |= {"value_encoder_heads": dust3r.config.enc_num_heads}
    settings = {name: value for name, value in settings.items() if name not in NOT_INHERITED}
    torch.manual_seed(seed)
    model = Spann3rModel(Spann3rConfig(**settings))
    model.dust3r.load_state_dict(dust3r.state_dict())
    model.pos_patch_embed.load_state_dict(dust3r.patch_embed.state_dict())
    return model


@torch.no_grad()
def pass_features_through(model: Spann3rModel) -> None:
    """Sets the query head so that a frame's query is its own features, and lets the memory speak softly at first.

    As published, every step after the first gets features from an untrained head, and training has to find its way
    back to what DUSt3R can do with a pair. With this start it begins there. The head's GELU is all but linear for
    small inputs, where it halves them.
    """
    first, last = model.attn_head_2[0], model.attn_head_2[2]
    assert isinstance(first, torch.nn.Linear) and isinstance(last, torch.nn.Linear)
    width = last.out_features
    first.weight[:width] = 0
    first.weight[:width, :width] = SMALL * torch.eye(width)
    last.weight.zero_()
    last.weight[:, :width] = 2 / SMALL * torch.eye(width)
    model.norm_v.weight.fill_(MEMORY_AT_FIRST)
