"""Spann3R as a transformers model: DUSt3R with a spatial memory, frame after frame into one common frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import initialization as init

from geometry_encoders.errors import InputError
from geometry_encoders.interface import GeometryOutput
from geometry_encoders.reconstruction.dust3r.blocks import EncoderBlock
from geometry_encoders.reconstruction.dust3r.modeling_dust3r import Dust3rModel, zero_padding
from geometry_encoders.reconstruction.dust3r.patch_embed import PatchEmbedDust3R
from geometry_encoders.reconstruction.low_precision import low_precision_copy, resolve_dtype, shared_copy
from geometry_encoders.reconstruction.pointmap_model import EVERY_PIXEL, PixelGrid, PointmapModel
from geometry_encoders.reconstruction.spann3r.configuration_spann3r import Spann3rConfig
from geometry_encoders.reconstruction.spann3r.fragments import reconstruct_in_fragments
from geometry_encoders.reconstruction.spann3r.frames import as_frames, check_frames
from geometry_encoders.reconstruction.spann3r.last_steps import LastSteps
from geometry_encoders.reconstruction.spann3r.memory import SpatialMemory
from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig
from geometry_encoders.reconstruction.spann3r.offline import reconstruct_offline
from geometry_encoders.reconstruction.spann3r.online import SequenceReconstruction, reconstruct_online
from geometry_encoders.reconstruction.spann3r.sequence import SequencePass, Tokens
from geometry_encoders.reconstruction.spann3r.stream import Spann3rStream


@dataclass(frozen=True)
class SequencePrediction:
    """Both predictions of every step of a sequence, all in the frame of its first camera.

    ``left`` is what a step says about its reference (frames 0 to views - 2), ``right`` what it says about its target
    (frames 1 to views - 1).
    """

    left_points: Float[Tensor, "batch views-1 height width 3"]
    left_confidence: Float[Tensor, "batch views-1 height width"]
    right_points: Float[Tensor, "batch views-1 height width 3"]
    right_confidence: Float[Tensor, "batch views-1 height width"]


class Spann3rModel(PointmapModel):
    """DUSt3R that takes a sequence: each step fuses its reference frame with a memory of all earlier ones.

    Parameter names are those of the published checkpoints. ``forward`` is `encode_views`; `stream` and `reconstruct`
    run sequences of any length, `forward_sequence` gives what the training losses need.
    """

    config: Spann3rConfig
    config_class = Spann3rConfig
    base_model_prefix = "spann3r"
    any_views_in_export = False

    def __init__(self, config: Spann3rConfig) -> None:
        super().__init__(config)
        self.patch_size = config.patch_size
        dim, joint = config.enc_embed_dim, config.enc_embed_dim + config.dec_embed_dim
        block = (config, dim, config.value_encoder_heads, config.mlp_ratio, config.layer_norm_eps)
        self.dust3r = Dust3rModel(config)
        self.attn_head_1 = nn.Sequential(nn.Linear(joint, joint), nn.GELU(), nn.Linear(joint, dim))
        self.attn_head_2 = nn.Sequential(nn.Linear(joint, joint), nn.GELU(), nn.Linear(joint, dim))
        self.norm_q = nn.LayerNorm(dim, eps=config.memory_norm_eps)
        self.norm_k = nn.LayerNorm(dim, eps=config.memory_norm_eps)
        self.norm_v = nn.LayerNorm(dim, eps=config.memory_norm_eps)
        self.pos_patch_embed = PatchEmbedDust3R(config.patch_size, dim)
        self.value_encoder = nn.ModuleList(EncoderBlock(*block) for _ in range(config.value_encoder_depth))
        self.value_norm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.value_out = nn.Linear(dim, dim)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Xavier for linear layers; the patch embedding of pointmaps starts as a copy of that of pictures."""
        super()._init_weights(module)
        if module is self.pos_patch_embed.proj:
            for target, source in zip(module.parameters(), self.dust3r.patch_embed.proj.parameters(), strict=True):
                init.copy_(target, source)

    # ---- what comes on top of DUSt3R ---------------------------------------------------------------------------------

    def memory_keys(self, tokens: Tokens, decoded: Tokens) -> Tokens:
        """Keys of a reference frame from its encoder tokens and its last decoder layer."""
        return self.attn_head_1(torch.cat([tokens, decoded], dim=-1))

    def memory_queries(self, tokens: Tokens, decoded: Tokens) -> Tokens:
        """Queries of a target frame, read with when it is the reference of the next step."""
        return self.attn_head_2(torch.cat([tokens, decoded], dim=-1))

    def memory_values(self, points: Float[Tensor, "batch height width 3"]) -> Tokens:
        """What a pointmap says, patch by patch; the memory stores it with the keys added."""
        tokens, _ = self.pos_patch_embed(points.movedim(-1, 1))
        for block in self.value_encoder:
            tokens = block(tokens, None)
        return self.value_out(self.value_norm(tokens))

    def new_memory(self, options: MemoryConfig | None = None) -> SpatialMemory:
        """An empty memory; in training mode one that stores everything and reads with dropout."""
        options = options or self.config.memory_config
        norms = (self.norm_q, self.norm_k, self.norm_v)
        if self.training:
            return SpatialMemory(options.for_training(), *norms, dropout=float(self.config.memory_dropout))
        return SpatialMemory(options, *norms)

    def new_pass(self, shape: tuple[int, int], options: MemoryConfig | None = None) -> SequencePass:
        """A pass over frames of ``shape`` = (height, width), with an empty memory."""
        return SequencePass(self, self.new_memory(options), shape)

    def memory_options(self, changes: Mapping[str, Any]) -> MemoryConfig:
        """The memory settings of the configuration with some changed; raises `InputError` for unknown names."""
        return self.config.memory_config.changed(changes)

    def stream(self, dtype: torch.dtype | str = "auto", **memory: Any) -> Spann3rStream:
        """A reconstruction that takes frames one at a time; ``memory`` changes single settings of the memory.

        Example: ``stream = model.stream(long_mem_tokens=2000); output = stream.push(frame)``. See `for_inference` for
        ``dtype``.
        """
        return Spann3rStream(self.for_inference(dtype), self.memory_options(memory))

    def reconstruct(
        self,
        images: Sequence[Any] | Tensor,
        order: str = "online",
        *,
        restart_every: int | None = None,
        overlap: int = 3,
        dtype: torch.dtype | str = "auto",
        chunk_frames: int = 4,
        progress: bool = False,
        **memory: Any,
    ) -> SequenceReconstruction:
        """Pointmaps of all images in one common frame.

        Args:
            images: (views, 3, height, width) in -1..1, or a sequence as `as_frames` takes it; sides multiples of 16.
            order: ``online`` takes the images as they come; ``offline`` starts with the pair the network is surest of
                and goes on with the image that fits best, for unordered photos (time grows with their square).
            restart_every: frames after which the memory starts anew, fragments being joined by a similarity; None =
                one pass. Only online.
            overlap: frames that neighbouring fragments share.
            dtype: see `for_inference`.
            chunk_frames: frames that are encoded, or pairs that are decoded, at a time.
            progress: show a bar when stderr is a terminal.
            memory: changes single settings of the memory, see `MemoryConfig`.

        Raises:
            InputError: images that cannot be used, or options that do not exist.
        """
        frames, options = as_frames(images, self.patch_size), self.memory_options(memory)
        if order not in ("online", "offline"):
            raise InputError(f"order {order!r}: expected 'online' or 'offline'")
        if chunk_frames < 1:
            raise InputError(f"chunk_frames is {chunk_frames}, expected at least 1")
        model = self.for_inference(dtype)
        if order == "offline":
            if restart_every is not None:
                raise InputError("restart_every with order 'offline': expected it with 'online' only")
            return reconstruct_offline(model, frames, options, chunk_frames, progress)
        if restart_every is None:
            return reconstruct_online(model, frames, options, chunk_frames, progress)
        return reconstruct_in_fragments(model, frames, options, chunk_frames, progress, restart_every, overlap)

    def for_inference(self, dtype: torch.dtype | str = "auto") -> Spann3rModel:
        """The model that `stream` and `reconstruct` run: in evaluation mode, where it pays with 16-bit matrices.

        Args:
            dtype: ``auto`` = bfloat16 where the device is faster with it and the network wide (the published size
                is), else float32; or ``float32``, ``bfloat16``, ``float16``. The copy shares all other tensors with
                this model and is kept until a weight changes.
        """
        wanted = resolve_dtype(dtype, self.device, self.config.enc_embed_dim)
        if self.dtype != torch.float32 or wanted == torch.float32:
            return shared_copy(self).eval() if self.training else self
        return low_precision_copy(self, wanted, ("dust3r.downstream_head1", "dust3r.downstream_head2"))

    # ---- whole sequences ---------------------------------------------------------------------------------------------

    def forward_sequence(self, pixel_values: Float[Tensor, "batch views 3 height width"]) -> SequencePrediction:
        """Both predictions of every step over at least two frames, in their order; gradients flow through all steps."""
        batch, views, _, height, width = pixel_values.shape
        if views < 2:
            raise InputError(f"sequence of {views} frame, expected at least 2")
        tokens, positions = self.dust3r.encode(pixel_values.flatten(0, 1))
        tokens = tokens.unflatten(0, (batch, views))
        run = self.new_pass((height, width))
        run.start(tokens[:, 0])
        left, right = [], []
        for k in range(views - 1):
            step = run.decode(run.fuse(), tokens[:, k + 1], positions[:1])
            left.append(run.reference_pointmap(step))
            right.append(run.target_pointmap(step))
            if k < views - 2:
                run.remember(step, left[-1][0])
                run.advance(step, tokens[:, k + 1])
        return SequencePrediction(
            *(torch.stack(parts, dim=1) for side in (left, right) for parts in zip(*side, strict=True))
        )

    def encode_views(
        self,
        pixel_values: Float[Tensor, "batch views 3 height width"],
        view_mask: Bool[Tensor, "batch views"] | None = None,
        with_pointmaps: bool = True,
        pixels: PixelGrid = EVERY_PIXEL,
    ) -> GeometryOutput:
        """Geometry of every sample in the frame of its first view, by one pass over its views in their order.

        A view's outputs come from the step in which it is the reference, those of a sample's last view from the step
        in which it is the target; a view that is alone is paired with itself. ``patch_tokens`` are the last decoder
        layer after ``dec_norm`` of that step. ``camera_tokens`` are the mean over patches of the last decoder layer of
        the step in which the view is the target, where its place among the earlier views is found (the network has no
        learned camera token); the first view's is the mean of its patch tokens. Real views must come first in
        ``view_mask``. ``pixels`` selects rows and columns of the pointmaps. Samples never mix: similarity is decided
        per sample even with ``compat``.

        Raises:
            InputError: sides that are no multiples of the patch size, or real views with values that are not finite.
        """
        mask = None if view_mask is None else view_mask.to(torch.bool)
        pixel_values = zero_padding(pixel_values, mask)
        check_frames(pixel_values, self.patch_size)
        batch, views, _, height, width = pixel_values.shape
        tokens, positions = self.dust3r.encode(pixel_values.flatten(0, 1))
        tokens = tokens.unflatten(0, (batch, views))
        run = self.new_pass((height, width), replace(self.config.memory_config, compat=False))
        ends = LastSteps(batch, views, mask, tokens.device)
        run.start(tokens[:, 0])
        left_tokens, right_tokens, left_maps = [], [], []
        for k in range(ends.steps):
            target = ends.target(k, tokens)
            step = run.decode(run.fuse(), target, positions[:1])
            is_last = k == ends.steps - 1
            ends.keep_right(k, step.layers2)
            left_tokens.append(step.layers1[-1])
            right_tokens.append(step.layers2[-1])
            if with_pointmaps or not is_last:
                left_maps.append(run.reference_pointmap(step))
            if not is_last:
                run.remember(step, left_maps[-1][0])
                run.advance(step, target)
        seen_as = [left_tokens[0], *right_tokens][:views]
        camera_tokens = torch.stack([tokens.mean(dim=1, keepdim=True) for tokens in seen_as], dim=1)
        output = GeometryOutput(
            patch_tokens=zero_padding(ends.join(left_tokens, ends.right_layers[-1]), mask),
            camera_tokens=zero_padding(camera_tokens, mask),
            grid=(height // self.patch_size, width // self.patch_size),
        )
        if with_pointmaps:
            right = self.dust3r.pointmap(2, ends.right_layers, (height, width)) if views > 1 else left_maps[0]
            left = zip(*left_maps, strict=True)
            points, confidence = (ends.join(parts, last) for parts, last in zip(left, right, strict=True))
            output.pointmaps = zero_padding(points[:, :, pixels[0], pixels[1]], mask)
            output.confidence = zero_padding(confidence[:, :, pixels[0], pixels[1]], mask)
        return output
