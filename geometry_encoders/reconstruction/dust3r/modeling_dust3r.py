"""DUSt3R as a transformers model that is also a geometry encoder for any number of views."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import initialization as init

from geometry_encoders.interface import GeometryOutput
from geometry_encoders.reconstruction.dust3r.anchoring import AnchoredPairs
from geometry_encoders.reconstruction.dust3r.blocks import DecoderBlock, EncoderBlock
from geometry_encoders.reconstruction.dust3r.configuration_dust3r import Dust3rConfig
from geometry_encoders.reconstruction.dust3r.dpt_head import DPT, DPTHead
from geometry_encoders.reconstruction.dust3r.linear_head import LinearHead
from geometry_encoders.reconstruction.dust3r.orientation import Pointmap, run_as_stored, run_landscape
from geometry_encoders.reconstruction.dust3r.patch_embed import PATCH_EMBEDDINGS
from geometry_encoders.reconstruction.dust3r.postprocess import confidence_from_raw, points_from_raw
from geometry_encoders.reconstruction.dust3r.rope import RotaryTables, rotary_tables
from geometry_encoders.reconstruction.dust3r.symmetry import interleave, is_symmetrized
from geometry_encoders.reconstruction.pointmap_model import EVERY_PIXEL, PixelGrid, PointmapModel

Tokens = Float[Tensor, "batch tokens channels"]
Positions = Int[Tensor, "batch tokens 2"]
Layers = list[Tokens]


def build_head(config: Dust3rConfig) -> LinearHead | DPTHead:
    """The head that ``config.head_type`` names, untrained."""
    if config.head_type == "linear":
        return LinearHead(config.patch_size, config.dec_embed_dim)
    return DPTHead(
        DPT(
            hooks=config.hooks,
            enc_dim=config.enc_embed_dim,
            dec_dim=config.dec_embed_dim,
            layer_dims=config.dpt_layer_dims,
            feature_dim=config.dpt_feature_dim,
            last_dim=config.dpt_last_dim,
        )
    )


class Dust3rModel(PointmapModel):
    """Shared ViT encoder, two decoders that look at each other layer by layer, one head per decoder.

    Parameter names are those of the published checkpoints. ``forward`` is `encode_views`; `forward_pair` speaks the
    dictionaries of the original program.
    """

    config: Dust3rConfig
    mask_token: Tensor
    config_class = Dust3rConfig
    base_model_prefix = "dust3r"

    def __init__(self, config: Dust3rConfig) -> None:
        super().__init__(config)
        self.patch_size = config.patch_size
        enc = (config, config.enc_embed_dim, config.enc_num_heads, config.mlp_ratio, config.layer_norm_eps)
        dec = (config, config.dec_embed_dim, config.dec_num_heads, config.mlp_ratio, config.layer_norm_eps)
        self.patch_embed = PATCH_EMBEDDINGS[config.patch_embed_cls](config.patch_size, config.enc_embed_dim)
        self.register_buffer("mask_token", torch.zeros(1, 1, config.dec_embed_dim))  # of CroCo's pretraining, unused
        self.enc_blocks = nn.ModuleList(EncoderBlock(*enc) for _ in range(config.enc_depth))
        self.enc_norm = nn.LayerNorm(config.enc_embed_dim, eps=config.layer_norm_eps)
        self.decoder_embed = nn.Linear(config.enc_embed_dim, config.dec_embed_dim)
        self.dec_blocks = nn.ModuleList(DecoderBlock(*dec) for _ in range(config.dec_depth))
        self.dec_blocks2 = nn.ModuleList(DecoderBlock(*dec) for _ in range(config.dec_depth))
        self.dec_norm = nn.LayerNorm(config.dec_embed_dim, eps=config.layer_norm_eps)
        self.downstream_head1 = build_head(config)
        self.downstream_head2 = build_head(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Xavier for linear layers and the patch convolution; the second decoder starts as a copy of the first."""
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            fan_in = module.weight[0].numel()
            is_patch_embedding = isinstance(module, nn.Conv2d) and module is self.patch_embed.proj
            bound = math.sqrt(6 / (fan_in + module.weight.shape[0]) if is_patch_embedding else 1 / fan_in)
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif module is self:
            init.normal_(self.mask_token, std=0.02)
            for target, source in zip(self.dec_blocks2.parameters(), self.dec_blocks.parameters(), strict=True):
                init.copy_(target, source)

    # ---- the network, stage by stage -------------------------------------------------------------------------------

    def _rope(self, positions: Positions, dim: int, heads: int) -> RotaryTables | None:
        if self.config.rope_freq is None:
            return None
        return rotary_tables(positions, dim // heads, float(self.config.rope_freq))

    def encode(
        self, pixel_values: Float[Tensor, "batch 3 height width"], true_shape: Int[Tensor, "batch 2"] | None = None
    ) -> tuple[Tokens, Positions]:
        """Encoder tokens after ``enc_norm`` and their (row, column) positions; views do not see each other here."""
        tokens, positions = self.patch_embed(pixel_values, true_shape)
        rope = self._rope(positions, self.config.enc_embed_dim, self.config.enc_num_heads)
        for block in self.enc_blocks:
            tokens = block(tokens, rope)
        return self.enc_norm(tokens), positions

    def decode(
        self, tokens1: Tokens, positions1: Positions, tokens2: Tokens, positions2: Positions
    ) -> tuple[Layers, Layers]:
        """What the heads read, per view: the encoder tokens, then every decoder layer, the last one normalised."""
        dim, heads = self.config.dec_embed_dim, self.config.dec_num_heads
        rope1, rope2 = self._rope(positions1, dim, heads), self._rope(positions2, dim, heads)
        layers1, layers2 = [tokens1], [tokens2]
        own1, own2 = self.decoder_embed(tokens1), self.decoder_embed(tokens2)
        for block1, block2 in zip(self.dec_blocks, self.dec_blocks2, strict=True):
            # both read the other's previous layer, so neither may be replaced before the other is done
            own1, own2 = block1(own1, own2, rope1, rope2), block2(own2, own1, rope2, rope1)
            layers1.append(own1)
            layers2.append(own2)
        layers1[-1], layers2[-1] = self.dec_norm(own1), self.dec_norm(own2)
        return layers1, layers2

    def pointmap(
        self, head_number: int, layers: Sequence[Tokens], shape: tuple[int, int], pixels: PixelGrid = EVERY_PIXEL
    ) -> Pointmap:
        """Points and confidences of pictures of ``shape`` = (height, width) by head 1 or 2, always in float32."""
        head = self.downstream_head1 if head_number == 1 else self.downstream_head2
        grid = (shape[0] // self.patch_size, shape[1] // self.patch_size)
        dtype = next(head.parameters()).dtype
        with torch.autocast(layers[0].device.type, enabled=False):
            raw = head([layer.to(dtype) for layer in layers], grid).float()
        raw = raw[..., pixels[0], pixels[1]]
        high = math.inf if self.config.conf_max is None else float(self.config.conf_max)
        confidence = confidence_from_raw(raw, self.config.conf_mode, float(self.config.conf_min), high)
        return points_from_raw(raw, self.config.depth_mode), confidence

    # ---- two views, in the dictionaries of the original program ------------------------------------------------------

    def encode_pair(
        self, view1: Mapping[str, Any], view2: Mapping[str, Any]
    ) -> tuple[tuple[Tokens, Positions], tuple[Tokens, Positions]]:
        """Encoder tokens and positions of both views of `forward_pair`.

        Pictures of one size are encoded in one batch. Of a symmetrised batch (samples 2k and 2k+1 are the same pair
        swapped, seen by ``instance``) only the even samples are encoded.
        """
        image1, image2 = view1["img"], view2["img"]
        shape1, shape2 = true_shape_of(view1), true_shape_of(view2)
        symmetrized = is_symmetrized(view1.get("instance"), view2.get("instance"))
        if symmetrized:
            image1, image2, shape1, shape2 = image1[::2], image2[::2], shape1[::2], shape2[::2]
        if image1.shape[-2:] == image2.shape[-2:]:
            tokens, positions = self.encode(torch.cat([image1, image2]), torch.cat([shape1, shape2]))
            (tokens1, tokens2), (positions1, positions2) = tokens.chunk(2), positions.chunk(2)
        else:
            (tokens1, positions1), (tokens2, positions2) = self.encode(image1, shape1), self.encode(image2, shape2)
        if symmetrized:
            tokens1, tokens2 = interleave(tokens1, tokens2)
            positions1, positions2 = interleave(positions1, positions2)
        return (tokens1, positions1), (tokens2, positions2)

    def forward_pair(
        self, view1: Mapping[str, Any], view2: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """``{pts3d, conf}`` of view 1 and ``{pts3d_in_other_view, conf}`` of view 2, both in the frame of view 1.

        A view is a dictionary with ``img`` (batch, 3, height, width) in -1..1, and optionally ``true_shape``
        (batch, 2) and ``instance`` (one string per sample). With ``landscape_only`` outputs are stored landscape.
        Raises ``InputError`` for sides that are no multiples of the patch size or shapes that do not fit together.
        """
        (tokens1, positions1), (tokens2, positions2) = self.encode_pair(view1, view2)
        layers1, layers2 = self.decode(tokens1, positions1, tokens2, positions2)
        run = run_landscape if self.config.landscape_only else run_as_stored
        points1, confidence1 = run(lambda ls, shape: self.pointmap(1, ls, shape), layers1, true_shape_of(view1))
        points2, confidence2 = run(lambda ls, shape: self.pointmap(2, ls, shape), layers2, true_shape_of(view2))
        return (
            {"pts3d": points1, "conf": confidence1},
            {"pts3d_in_other_view": points2, "conf": confidence2},
        )

    # ---- any number of views -----------------------------------------------------------------------------------------

    def encode_views(
        self,
        pixel_values: Float[Tensor, "batch views 3 height width"],
        view_mask: Bool[Tensor, "batch views"] | None = None,
        with_pointmaps: bool = True,
        pixels: PixelGrid = EVERY_PIXEL,
    ) -> GeometryOutput:
        """Geometry of every sample in the frame of its first view, by pairing that view with each of the others.

        Every view is encoded once; the pairs (first view, view k) run as one batch. The first view's own outputs
        come from its pair with the next real view; a view that is alone is paired with itself. Real views must come
        first in ``view_mask``. ``patch_tokens`` are the last decoder layer after ``dec_norm``. ``pixels`` selects
        rows and columns of the pointmaps, so that training can pay for a part of them only.
        """
        mask = None if view_mask is None else view_mask.to(torch.bool)
        batch, views, _, height, width = pixel_values.shape
        pixel_values = zero_padding(pixel_values, mask)
        tokens, positions = self.encode(pixel_values.flatten(0, 1))
        pairs = AnchoredPairs(batch, views, mask, tokens.device)
        layers1, layers2 = self.decode(
            tokens.index_select(0, pairs.first), positions[:1], tokens.index_select(0, pairs.other), positions[:1]
        )
        own = [layer.index_select(0, pairs.own) for layer in layers1]
        patch_tokens = pairs.join(own[-1], layers2[-1])
        output = GeometryOutput(
            patch_tokens=zero_padding(patch_tokens, mask),
            grid=(height // self.patch_size, width // self.patch_size),
        )
        if with_pointmaps:
            points1, confidence1 = self.pointmap(1, own, (height, width), pixels)
            points2, confidence2 = self.pointmap(2, layers2, (height, width), pixels)
            output.pointmaps = zero_padding(pairs.join(points1, points2), mask)
            output.confidence = zero_padding(pairs.join(confidence1, confidence2), mask)
        return output


def true_shape_of(view: Mapping[str, Any]) -> Int[Tensor, "batch 2"]:
    """(height, width) of every sample of a view, from ``true_shape`` or else from the tensor."""
    image = view["img"]
    shape = view.get("true_shape")
    return torch.tensor(image.shape[-2:]).expand(len(image), 2) if shape is None else torch.as_tensor(shape)


def zero_padding(values: Tensor, mask: Bool[Tensor, "batch views"] | None) -> Float[Tensor, "batch views ..."]:
    """``values`` with zeros in padded views; unlike a product this also removes what is not finite."""
    return values if mask is None else torch.where(mask.view(*mask.shape, *[1] * (values.ndim - 2)), values, 0.0)
