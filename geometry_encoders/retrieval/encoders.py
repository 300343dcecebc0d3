"""The two networks that embed an input chunk and a target chunk into one space of unit vectors (section 6)."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.scale import PRESETS, GridScale

Chunks = Float[Tensor, "chunks 1 side side side"]


@dataclass(frozen=True)
class ConvolutionStack:
    """Convolutions without padding: (kernel, width in units of nf, stride) each."""

    layers: tuple[tuple[int, int, int], ...]
    batch_norm: bool = False


@dataclass(frozen=True)
class LinearStack:
    """Hidden widths in units of nf over the flattened chunk."""

    widths: tuple[int, ...]


def _stack(*layers: tuple[int, ...], batch_norm: bool = False) -> ConvolutionStack:
    return ConvolutionStack(tuple((k, w, s[0] if s else 1) for k, w, *s in layers), batch_norm)


_PATCH08 = ((3, 1), (3, 4), (3, 4), (2, 8))
_PATCH32 = ((5, 1), (3, 2), (3, 4, 2), (3, 8), (3, 8, 2), (4, 8))
# the number before + is the side of the chunk, the one behind it the context on every side
NETWORKS: dict[str, ConvolutionStack | LinearStack] = {
    "2+1": LinearStack((4, 8, 16, 8)),
    "2+1V2": LinearStack((4, 8, 16, 16, 8)),
    "4+2": _stack(*_PATCH08),
    "8+2": _stack((3, 1), (3, 2), (3, 4), (3, 4), (3, 8), (2, 8)),
    "8+4": _stack((3, 1), (3, 2), (3, 2), (3, 4), (3, 4), (3, 8), (4, 8)),
    "16+4": _stack((5, 1), (3, 2), (3, 2, 2), (3, 4), (3, 8), (3, 8), (2, 8)),
    "16+4V2": _stack((3, 1), (3, 2), (3, 2, 2), (3, 4), (3, 8), (3, 8), (3, 8)),
    "16+8": _stack(*_PATCH32),
    "pc_16+8": _stack((3, 1), (3, 2), (3, 4, 2), (3, 4), (3, 8, 2), (3, 8), (3, 8)),
    "pc_32+8": _stack((5, 1), (3, 2), (3, 4, 2), (3, 4, 2), (3, 8, 2), (3, 8), (2, 8)),
    "pc_32+16": _stack((5, 1), (3, 2), (3, 4, 2), (3, 4, 2), (3, 8, 2), (3, 8), (4, 8)),
    "4+2N": _stack(*_PATCH08, batch_norm=True),
    "16+8N": _stack(*_PATCH32, batch_norm=True),
}


def chunk_and_context(network: str) -> tuple[int, int]:
    """(side of the chunk, context on every side) of a network id, e.g. ``16+8`` -> (16, 8).

    Raises:
        InputError: no such network.
    """
    match = re.fullmatch(r"(?:pc_)?(\d+)\+(\d+)(?:V2|N)?", network)
    if network not in NETWORKS or match is None:
        raise InputError(f"chunk encoder {network!r} is unknown, expected one of {', '.join(NETWORKS)}")
    return int(match[1]), int(match[2])


@strict
class ChunkEncoderConfig(PreTrainedConfig):
    """Which networks, how wide, and the grids they are for; the defaults are the published ones for 3DFront.

    Attributes:
        network_input, network_target: ids of `NETWORKS`.
        nf_input, nf_target: width of the first layers.
        latent_dim: length of an embedding.
        scale: fields of the `GridScale` whose normalisation the networks were trained with.
    """

    model_type = "retrieval_chunk_encoder"

    network_input: str = "2+1"
    network_target: str = "16+8"
    nf_input: int = 32
    nf_target: int = 8
    latent_dim: int = 64
    scale: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        for network in (self.network_input, self.network_target):
            chunk_and_context(network)
        for name in ("nf_input", "nf_target", "latent_dim"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least 1")

    @property
    def grid_scale(self) -> GridScale:
        """The scale of the networks; 3DFront where the configuration names none."""
        if self.scale is None:
            return PRESETS["3dfront"]
        try:
            return GridScale(**self.scale)
        except TypeError as error:
            raise InputError(f"scale of the chunk encoder cannot be read ({error})") from error


@dataclass
class ChunkEncoderOutput(ModelOutput):
    """Unit embeddings of the chunks that were given."""

    input_embeddings: Float[Tensor, "chunks latent"] | None = None
    target_embeddings: Float[Tensor, "chunks latent"] | None = None


class _ConvolutionEncoder(nn.Module):
    """Convolutions with LeakyReLU(0.2), then a linear layer."""

    def __init__(self, stack: ConvolutionStack, nf: int, latent_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for kernel, width, stride in stack.layers:
            layers.append(nn.Conv3d(channels, width * nf, kernel, stride))
            channels = width * nf
            if stack.batch_norm:
                layers.append(nn.BatchNorm3d(channels))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.final_layer = nn.Linear(channels, latent_dim)

    def forward(self, chunks: Chunks) -> Float[Tensor, "chunks latent"]:
        return self.final_layer(self.layers(chunks).flatten(1))


class _LinearEncoder(nn.Module):
    """Linear layers with ReLU between them over the flattened chunk."""

    def __init__(self, stack: LinearStack, side: int, nf: int, latent_dim: int) -> None:
        super().__init__()
        widths = [side**3, *(width * nf for width in stack.widths)]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], latent_dim))

    def forward(self, chunks: Chunks) -> Float[Tensor, "chunks latent"]:
        return self.layers(chunks.flatten(1))


def build_network(network: str, nf: int, latent_dim: int) -> nn.Module:
    """The untrained network of that id; parameters are named as in published checkpoints."""
    side, context = chunk_and_context(network)
    stack = NETWORKS[network]
    if isinstance(stack, LinearStack):
        return _LinearEncoder(stack, side + 2 * context, nf, latent_dim)
    return _ConvolutionEncoder(stack, nf, latent_dim)


class ChunkEncoder(PreTrainedModel):
    """``fenc_input`` and ``fenc_target``; `forward` embeds what it is given, as unit vectors."""

    config: ChunkEncoderConfig
    config_class = ChunkEncoderConfig
    base_model_prefix = ""
    main_input_name = "input_chunks"

    def __init__(self, config: ChunkEncoderConfig) -> None:
        super().__init__(config)
        self.fenc_input = build_network(config.network_input, config.nf_input, config.latent_dim)
        self.fenc_target = build_network(config.network_target, config.nf_target, config.latent_dim)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv3d):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = 1 / math.sqrt(module.weight[0].numel())
            assert module.bias is not None
            init.uniform_(module.bias, -bound, bound)
        else:
            super()._init_weights(module)

    def raw_input(self, chunks: Chunks) -> Float[Tensor, "chunks latent"]:
        """Embeddings of normalised input chunks with their context, of any length."""
        return self.fenc_input(_checked(chunks, self.config.network_input))

    def raw_target(self, chunks: Chunks) -> Float[Tensor, "chunks latent"]:
        """Embeddings of normalised target chunks with their context, of any length."""
        return self.fenc_target(_checked(chunks, self.config.network_target))

    def forward(self, input_chunks: Chunks | None = None, target_chunks: Chunks | None = None) -> ChunkEncoderOutput:
        """Unit embeddings of normalised chunks with their context.

        Raises:
            InputError: chunks of another side than the networks'.
        """
        return ChunkEncoderOutput(
            None if input_chunks is None else functional.normalize(self.raw_input(input_chunks), dim=1),
            None if target_chunks is None else functional.normalize(self.raw_target(target_chunks), dim=1),
        )

    def digest(self) -> str:
        """A name for this encoder that changes with its weights and its scale; databases remember it."""
        names = ("network_input", "network_target", "nf_input", "nf_target", "latent_dim")
        settings = {name: getattr(self.config, name) for name in names} | {"scale": asdict(self.config.grid_scale)}
        summed = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            summed.update(name.encode())
            summed.update(value.detach().cpu().contiguous().numpy().tobytes())
        return summed.hexdigest()[:16]


def _checked(chunks: Tensor, network: str) -> Tensor:
    side, context = chunk_and_context(network)
    expected = (1, *(side + 2 * context,) * 3)
    if chunks.ndim != 5 or tuple(chunks.shape[1:]) != expected:
        raise InputError(
            f"chunks have the shape {tuple(chunks.shape)}, expected (count, {', '.join(map(str, expected))})"
        )
    return chunks


AutoConfig.register(ChunkEncoderConfig.model_type, ChunkEncoderConfig, exist_ok=True)
AutoModel.register(ChunkEncoderConfig, ChunkEncoder, exist_ok=True)
