"""RetrievalFuse's second stage as a transformers model: input and retrieved candidates in, a distance field out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.patches import fold, unfold
from geometry_encoders.retrieval.refinement.attention import Fused, GridAttention
from geometry_encoders.retrieval.refinement.configuration import RetrievalFuseConfig
from geometry_encoders.retrieval.refinement.unet import ConvPair, DistanceDecoder, FeatureUNet
from geometry_encoders.retrieval.scale import CHUNK, WINDOW

FEATURE_SIDE = WINDOW // 2


@dataclass
class RefinementOutput(ModelOutput):
    """What the network makes of a batch of windows.

    Attributes:
        distance: unsigned truncated distances in the unit of the scale.
        network: the same between -1 (surface) and 1 (truncated), where losses are taken.
        features: fused features on the 32^3 grid.
        input_features: features of the input alone.
        candidate_features: of the k candidates of each window, windows slowest.
        scores, weights: similarity and weight of every candidate per attention patch (`patches.unfold` order).
        beta: how much the candidates count per attention patch.
    """

    distance: Float[Tensor, "batch 64 64 64"] | None = None
    network: Float[Tensor, "batch 64 64 64"] | None = None
    features: Tensor | None = None
    input_features: Tensor | None = None
    candidate_features: Tensor | None = None
    scores: Float[Tensor, "patches k"] | None = None
    weights: Float[Tensor, "patches k"] | None = None
    beta: Float[Tensor, "patches"] | None = None


class RetrievalFuseModel(PreTrainedModel):
    """U-Net features of the input, features of retrieved chunks, patch attention between them, distance decoder.

    Example::

        output = model(scale.normalise_input(low_resolution), scale.normalise_target(retrieved))
        output.distance  # (batch, 64, 64, 64), metres

    Source: RetrievalFuse (Siddiqui et al., ICCV 2021).
    """

    config: RetrievalFuseConfig
    config_class = RetrievalFuseConfig
    base_model_prefix = "retrieval_fuse"
    main_input_name = "inputs"

    def __init__(self, config: RetrievalFuseConfig) -> None:
        super().__init__(config)
        self.scale = config.grid_scale
        width, groups = config.channels, config.channels // 2
        sizes = (width, config.unet_levels, width, groups)
        retrieval_sizes = (config.retrieval_channels, config.retrieval_levels, width, groups)
        try:
            if config.fusion != "nearest":
                self.input_unet = FeatureUNet(self.scale.input_side, FEATURE_SIDE, *sizes)
                self.decoder = DistanceDecoder(width, groups)
            if config.fusion in ("attention", "concatenation"):
                self.retrieval_unet = FeatureUNet(CHUNK, CHUNK // 2, *retrieval_sizes)
            if config.fusion == "attention":
                self.attention = GridAttention(width, config.attention_extent // 2, config.attention_settings)
            if config.fusion == "concatenation":
                self.mix = ConvPair(width * (1 + config.candidates), width, width, groups)
        except ValueError as error:  # group norms and levels that do not divide
            raise InputError(f"sizes that do not fit each other: {error}") from error
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Layers keep torch's own start, as in the published program; value mappings start near the identity."""
        if isinstance(module, GridAttention):
            for mapping in (module.patch.value_mapping, module.patch.output_mapping):
                if mapping is not None:
                    nn.init.dirac_(mapping.weight)
                    mapping.weight.data.add_(0.01 * torch.randn_like(mapping.weight))
                    nn.init.zeros_(mapping.bias)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for ``fusion="nearest"``, which has none."""
        return next((weight.device for weight in self.parameters()), torch.device("cpu"))

    # ---- parts -----------------------------------------------------------------------------------------------------

    def encode_chunks(self, windows: Float[Tensor, "windows 64 64 64"]) -> Float[Tensor, "chunks channels 8 8 8"]:
        """Features of every 16^3 chunk by itself, in the order of `patches.unfold`; distances normalised.

        Chunks of one constant value, most of a room being empty, pass the network once.
        """
        chunks = unfold(windows[:, None], CHUNK)
        flat = chunks.flatten(1)
        constant = (flat == flat[:, :1]).all(dim=1)
        values, which = flat[constant, 0].unique(return_inverse=True)
        kept = torch.cat((chunks[~constant], values[:, None, None, None, None].expand(-1, *chunks.shape[1:])))
        rows = torch.empty(len(chunks), dtype=torch.long, device=chunks.device)
        varied = len(chunks) - int(constant.sum())
        rows[~constant] = torch.arange(varied, device=chunks.device)
        rows[constant] = varied + which
        return self.retrieval_unet(kept)[rows]

    def encode_windows(self, windows: Float[Tensor, "windows 64 64 64"]) -> Float[Tensor, "windows channels 32 32 32"]:
        """`encode_chunks`, put together to whole windows."""
        return fold(self.encode_chunks(windows), windows.shape[-1] // CHUNK)

    def decode(self, features: Float[Tensor, "batch channels 32 32 32"]) -> Float[Tensor, "batch 64 64 64"]:
        """Distances in network space."""
        return self.decoder(features)[:, 0]

    def autoencode(
        self, windows: Float[Tensor, "windows 64 64 64"]
    ) -> tuple[Tensor, Float[Tensor, "windows 64 64 64"]]:
        """Features of known windows, and the distances decoded from them chunk by chunk."""
        chunks = self.encode_chunks(windows)
        per_axis = windows.shape[-1] // CHUNK
        decoded = fold(self.decoder(chunks), per_axis)[:, 0]
        return fold(chunks, per_axis), decoded

    # ---- the whole -------------------------------------------------------------------------------------------------

    def forward(
        self,
        inputs: Float[Tensor, "batch 1 input input input"],
        retrieved: Float[Tensor, "batch k 64 64 64"] | None = None,
        generator: torch.Generator | None = None,
        noise: Float[Tensor, "patches k"] | None = None,
    ) -> RefinementOutput:
        """Refined windows.

        Args:
            inputs: low-resolution distances (or occupancy of points), normalised by ``scale.normalise_input``.
            retrieved: the k nearest composed windows, best first, normalised by ``scale.normalise_target``.
                Attention takes any k and, with none, leaves the input's features as they are.
            generator: of the random picks where ``attention.selection`` is ``gumbel``.
            noise: Gumbel noise instead of fresh one.

        Raises:
            InputError: a number of candidates or sizes that the network cannot take.
        """
        self._check(inputs, retrieved)
        if self.config.fusion == "nearest":
            assert retrieved is not None
            distance = self.scale.denormalise_target(retrieved[:, 0]).clamp(0, self.scale.truncation)
            return RefinementOutput(distance=distance, network=self.scale.to_network(distance))
        features = self.input_unet(inputs)
        candidates = None
        if self.config.fusion != "none" and retrieved is not None and retrieved.shape[1] > 0:
            candidates = self.encode_windows(retrieved.flatten(0, 1))
        fused = self.fuse(features, candidates, generator, noise)
        network = self.decode(fused.features).float()
        return RefinementOutput(
            distance=self.scale.from_network(network),
            network=network,
            features=fused.features,
            input_features=features,
            candidate_features=candidates,
            scores=fused.scores,
            weights=fused.weights,
            beta=fused.beta,
        )

    def fuse(
        self,
        features: Float[Tensor, "batch channels 32 32 32"],
        candidates: Float[Tensor, "batch_times_k channels 32 32 32"] | None,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Fused:
        """Features of the input and of its candidates made one."""
        if candidates is None:
            return Fused(features, None, None, None)  # type: ignore[arg-type]
        if self.config.fusion == "attention":
            return self.attention(features, candidates, generator, noise)
        beside = candidates.reshape(features.shape[0], -1, *features.shape[2:])
        return Fused(self.mix(torch.cat((features, beside), dim=1)), None, None, None)  # type: ignore[arg-type]

    def _check(self, inputs: Tensor, retrieved: Tensor | None) -> None:
        side = self.scale.input_side
        if inputs.ndim != 5 or inputs.shape[1:] != (1, side, side, side):
            raise InputError(f"inputs of shape {tuple(inputs.shape)}, expected (batch, 1, {side}, {side}, {side})")
        if retrieved is not None and (
            retrieved.ndim != 5 or retrieved.shape[0] != len(inputs) or retrieved.shape[2:] != (WINDOW,) * 3
        ):
            expected = (len(inputs), "k", *(WINDOW,) * 3)
            raise InputError(f"retrieved of shape {tuple(retrieved.shape)}, expected {expected}".replace("'k'", "k"))
        given = 0 if retrieved is None else retrieved.shape[1]
        if self.config.fusion == "nearest" and not given:
            raise InputError("no retrieved candidates, expected at least one with fusion 'nearest'")
        if self.config.fusion == "concatenation" and given != self.config.candidates:
            raise InputError(
                f"{given} retrieved candidates, expected {self.config.candidates} as the network has weights for"
            )
