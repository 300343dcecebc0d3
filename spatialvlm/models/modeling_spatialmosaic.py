"""SpatialMosaicVLM: several views of a place and a question in, an answer out.

Two towers read the views: the vision tower each view alone, the geometry tower all views of a sample together. A
fusion block writes geometry into the visual tokens, a projector brings them into the language model's space, where they
replace the image placeholders of the prompt. Source: SpatialMosaic (specs 6.1-6.6), with geometry per sample.

Views come packed, ``pixel_values (total_views, 3, height, width)`` and ``num_views (batch,)``; towers see them padded,
``(samples, views, ...)`` with a mask, which is also the layout that exports.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils import ModelOutput, can_return_tuple, torch_compilable_check

from .configuration_spatialmosaic import SpatialMosaicConfig
from .fusion import FUSION_BLOCKS, GatedFusion, resize_token_grid


@dataclass
class ViewFeatures(ModelOutput):
    """Features of some views, in the shape that `generate` knows.

    Attributes:
        last_hidden_state: patch tokens of the vision tower.
        pooler_output: visual tokens of each view in the language model's space, in prompt order.
    """

    last_hidden_state: Float[Tensor, "views patches visual_size"] | None = None
    pooler_output: list[Float[Tensor, "tokens text_size"]] | None = None


@dataclass
class SpatialMosaicModelOutputWithPast(BaseModelOutputWithPast):
    """Output of the body; ``image_hidden_states`` are the visual tokens of every view, in prompt order."""

    image_hidden_states: tuple[Float[Tensor, "tokens text_size"], ...] | None = None


@dataclass
class SpatialMosaicCausalLMOutputWithPast(ModelOutput):
    """Output of the whole model: loss (with labels), logits and what the body says."""

    loss: Float[Tensor, ""] | None = None
    logits: Float[Tensor, "batch kept vocabulary"] | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    image_hidden_states: tuple[Float[Tensor, "tokens text_size"], ...] | None = None


class SpatialMosaicProjector(nn.Module):
    """``mlp2x_gelu``: linear, GELU, linear, from the vision tower's width to the language model's."""

    def __init__(self, config: SpatialMosaicConfig) -> None:
        super().__init__()
        text_size = config.text_config.hidden_size
        self.linear_1 = nn.Linear(config.vision_config.hidden_size, text_size)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(text_size, text_size)

    def forward(self, visual: Float[Tensor, "views tokens visual_size"]) -> Float[Tensor, "views tokens text_size"]:
        """The visual tokens in the language model's space."""
        return self.linear_2(self.act(self.linear_1(visual)))


class SpatialMosaicPreTrainedModel(PreTrainedModel):
    """What the body and the whole model share: class flags and the initial values of our own parameters."""

    config: SpatialMosaicConfig
    config_class = SpatialMosaicConfig  # the annotation is a string here, transformers would not read it
    base_model_prefix = "model"
    input_modalities = ("image", "text")  # type: ignore[assignment]
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Ours only: each tower initialises itself.

        Fusion and projector start as torch starts them (specs 6.2), the gate of `GatedFusion` at 0, the newline vector
        as N(0, 1 / text width).
        """
        super()._init_weights(module)
        if isinstance(module, (SpatialMosaicProjector, *FUSION_BLOCKS.values())):
            for part in module.modules():
                if isinstance(part, nn.Linear):
                    part.reset_parameters()
            for part in module.modules():
                if isinstance(part, nn.MultiheadAttention):
                    part._reset_parameters()
        if isinstance(module, GatedFusion):
            init.zeros_(module.gate)
        elif isinstance(module, SpatialMosaicModel) and module.image_newline is not None:
            init.normal_(module.image_newline, mean=0.0, std=1 / math.sqrt(self.config.text_config.hidden_size))


class SpatialMosaicModel(SpatialMosaicPreTrainedModel):
    """The body without the language head: towers, fusion, projector and language model."""

    def __init__(self, config: SpatialMosaicConfig) -> None:
        super().__init__(config)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.geometry_tower: Any = None  # a GeometryEncoder
        self.fusion: Any = None
        if config.fusion != "none":
            self.geometry_tower = AutoModel.from_config(config.geometry_config)
            self._check_geometry_size()
            visual_size = config.vision_config.hidden_size
            num_heads = config.fusion_num_heads or max(1, visual_size // 64)
            block = FUSION_BLOCKS[config.fusion]
            self.fusion = block(visual_size, self.geometry_tower.token_size, num_heads, config.fusion_dropout)
        self.projector = SpatialMosaicProjector(config)
        self.image_newline: Any = None
        if config.visual_token_layout == "pooled_newline":
            self.image_newline = nn.Parameter(torch.zeros(config.text_config.hidden_size))
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def _check_geometry_size(self) -> None:
        size = self.config.geometry_image_size
        patch = self.geometry_tower.patch_size
        if size is not None and size % patch:
            raise ValueError(
                f"geometry_image_size is {size}, expected a multiple of the geometry tower's patch {patch}"
            )

    # ----------------------------------------------------------------------------------------------- frozen towers

    def freeze_towers(self, vision: bool = True, geometry: bool = True) -> None:
        """The chosen towers stop learning: no gradients, no autograd graph, evaluation mode even while training."""
        for tower, chosen in ((self.vision_tower, vision), (self.geometry_tower, geometry)):
            if tower is not None and chosen:
                tower.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> SpatialMosaicModel:
        """Training mode for everything but the towers without a trainable parameter."""
        super().train(mode)
        for tower in (self.vision_tower, self.geometry_tower):
            if tower is not None and _is_frozen(tower):
                tower.eval()
        return self

    # ------------------------------------------------------------------------------------------ from views to tokens

    def vision_tokens(
        self, pixel_values: Float[Tensor, "views 3 height width"]
    ) -> Float[Tensor, "views tokens visual_size"]:
        """Patch tokens of each view, without class or register tokens, which stand in front."""
        layer = self.config.vision_feature_layer
        with torch.set_grad_enabled(torch.is_grad_enabled() and not _is_frozen(self.vision_tower)):
            output = self.vision_tower(
                pixel_values.to(self.vision_tower.dtype), output_hidden_states=layer is not None, return_dict=True
            )
            hidden = output.last_hidden_state if layer is None else output.hidden_states[layer]
        rows, columns = self.config.visual_grid
        if hidden.shape[1] < rows * columns:
            raise ValueError(f"vision tower gives {hidden.shape[1]} tokens per view, expected {rows}x{columns} patches")
        return hidden[:, hidden.shape[1] - rows * columns :]

    def geometry_tokens(
        self,
        pixel_values: Float[Tensor, "samples views 3 height width"],
        view_mask: Bool[Tensor, "samples views"],
    ) -> Float[Tensor, "samples views tokens geometry_size"]:
        """Geometry tokens of each view as the fusion block wants them; every sample on its own.

        Aligned blocks get the patch grid resampled to the visual grid; the others get the camera token, where the
        encoder has one, followed by the patch tokens (specs 6.1).
        """
        tower = self.geometry_tower
        samples, views = pixel_values.shape[:2]
        images = self._geometry_images(pixel_values.flatten(0, 1)).unflatten(0, (samples, views))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not _is_frozen(tower)):
            output = tower.encode_views(images.to(tower.dtype), view_mask, with_pointmaps=False)
        tokens = output.patch_tokens
        if self.fusion.aligned:
            tokens = resize_token_grid(tokens.flatten(0, 1), output.grid, self.config.visual_grid)
            return tokens.unflatten(0, (samples, views))
        return tokens if output.camera_tokens is None else torch.cat([output.camera_tokens, tokens], dim=2)

    def _geometry_images(self, pixel_values: Tensor) -> Float[Tensor, "views 3 geometry_height geometry_width"]:
        """The same pictures as the geometry tower wants them: scaled to -1..1, bilinear to its size (specs 6.1)."""
        mean, std = self.config.image_mean, self.config.image_std
        if any(value != 0.5 for value in (*mean, *std)):
            shape = (1, 3, 1, 1)
            pixel_values = (pixel_values * pixel_values.new_tensor(std).view(shape)) * 2
            pixel_values = pixel_values + (pixel_values.new_tensor(mean).view(shape) * 2 - 1)
        size = self.config.geometry_image_size
        if size is None or tuple(pixel_values.shape[-2:]) == (size, size):
            return pixel_values
        return F.interpolate(pixel_values.float(), size=(size, size), mode="bilinear", align_corners=False)

    def language_tokens(
        self, visual: Float[Tensor, "views tokens visual_size"], geometry: Any
    ) -> Float[Tensor, "views kept_tokens text_size"]:
        """Fused and projected tokens of each view in the configured layout."""
        if self.fusion is not None:
            visual = self.fusion(visual, geometry.to(visual.dtype))
        tokens = self.projector(visual)
        return tokens if self.image_newline is None else self._pool_and_end_rows(tokens)

    def _pool_and_end_rows(self, tokens: Float[Tensor, "views tokens text_size"]) -> Tensor:
        """Half the grid, bilinearly, sides rounded up, and the newline vector after each row (specs 6.5)."""
        rows, columns = self.config.visual_grid
        half = (math.ceil(rows / 2), math.ceil(columns / 2))
        grid = resize_token_grid(tokens, (rows, columns), half).unflatten(1, half)
        newline = self.image_newline.to(grid.dtype).expand(*grid.shape[:2], 1, -1)
        return torch.cat([grid, newline], dim=2).flatten(1, 2)

    def encode_padded_views(
        self,
        pixel_values: Float[Tensor, "samples views 3 height width"],
        view_mask: Bool[Tensor, "samples views"],
    ) -> Float[Tensor, "samples views kept_tokens text_size"]:
        """Visual tokens of every view in the padded layout, zero on padded views; this is what exports."""
        samples, views = pixel_values.shape[:2]
        visual = self.vision_tokens(pixel_values.flatten(0, 1))
        geometry = None if self.fusion is None else self.geometry_tokens(pixel_values, view_mask).flatten(0, 1)
        tokens = self.language_tokens(visual, geometry).unflatten(0, (samples, views))
        return torch.where(view_mask[:, :, None, None], tokens, torch.zeros_like(tokens))

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Float[Tensor, "total_views 3 height width"],
        num_views: Int[Tensor, "samples"] | None = None,
        **kwargs: Any,
    ) -> ViewFeatures:
        """Visual tokens of every view: ``pooler_output`` is a list of (tokens, text_size), in prompt order.

        `generate` calls this once, before prefill, and passes only what is named here. ``num_views`` may be left out
        for a single view or without a geometry tower.

        Raises:
            ValueError: when ``num_views`` is missing, or does not add up to the number of pictures.
        """
        visual = self.vision_tokens(pixel_values)
        geometry = None
        if self.fusion is not None:
            view_mask = _view_mask(num_views, pixel_values)
            padded = pixel_values.new_zeros(*view_mask.shape, *pixel_values.shape[1:])
            padded[view_mask] = pixel_values
            geometry = self.geometry_tokens(padded, view_mask)[view_mask]
        tokens = self.language_tokens(visual, geometry)
        return ViewFeatures(last_hidden_state=visual, pooler_output=list(tokens.unbind(0)))

    def encode_views(
        self, pixel_values: Float[Tensor, "total_views 3 height width"], num_views: Int[Tensor, "samples"] | None = None
    ) -> dict[str, ViewFeatures]:
        """The features of some views, to ask many questions about them: pass it on as ``mm_encoder_outputs``.

        Both `forward` and `generate` take it in place of ``pixel_values`` and ``num_views`` and leave it unchanged.
        """
        return {"image": self.get_image_features(pixel_values, num_views, return_dict=True)}

    # -------------------------------------------------------------------------------------------------------- forward

    def get_placeholder_mask(
        self,
        input_ids: Int[Tensor, "batch length"] | None,
        inputs_embeds: Float[Tensor, "batch length text_size"],
        image_features: Float[Tensor, "visual_tokens text_size"],
    ) -> Bool[Tensor, "batch length 1"]:
        """True on image placeholders; raises ValueError unless there are as many as visual tokens."""
        if input_ids is None:
            token = torch.tensor(self.config.image_token_id, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(token)).all(-1)
        else:
            mask = input_ids == self.config.image_token_id
        count = mask.sum()
        torch_compilable_check(
            count == image_features.shape[0],
            lambda: f"the prompts have {count} image placeholders, expected {image_features.shape[0]} (visual tokens)",
        )
        return mask[..., None].to(inputs_embeds.device)

    @can_return_tuple
    def forward(
        self,
        input_ids: Int[Tensor, "batch length"] | None = None,
        pixel_values: Float[Tensor, "total_views 3 height width"] | None = None,
        num_views: Int[Tensor, "batch"] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "batch length"] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Float[Tensor, "batch length text_size"] | None = None,
        use_cache: bool | None = None,
        mm_encoder_outputs: dict[str, ViewFeatures] | None = None,
        **kwargs: Any,
    ) -> SpatialMosaicModelOutputWithPast:
        """Hidden states of the prompt with visual tokens in the place of the image placeholders.

        ``attention_mask`` is (batch, length), or (batch, 1, length, length) to pack many questions behind one set of
        views, then with ``position_ids``. ``mm_encoder_outputs`` (see `encode_views`) stands in for the pictures.

        Raises:
            ValueError: for both or none of ids and embeddings, pictures and their features together, or placeholders
                that do not match the pictures.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("expected exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        features = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            if features is not None:
                raise ValueError("expected pixel_values or mm_encoder_outputs, found both")
            if num_views is None and input_ids is not None:
                num_views = (input_ids == self.config.image_token_id).sum(1) // self.config.tokens_per_image
            features = self.get_image_features(pixel_values, num_views, return_dict=True)
        image_tokens = None
        if features is not None:
            image_tokens = tuple(features.pooler_output or ())
            flat = torch.cat(image_tokens).to(inputs_embeds.device, inputs_embeds.dtype)
            mask = self.get_placeholder_mask(input_ids, inputs_embeds, flat)
            inputs_embeds = inputs_embeds.masked_scatter(mask, flat)

        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        return SpatialMosaicModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=image_tokens,
        )


class SpatialMosaicForConditionalGeneration(SpatialMosaicPreTrainedModel, GenerationMixin):
    """The whole model with its language head; answers questions about 1-5 views with `generate`."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: SpatialMosaicConfig) -> None:
        super().__init__(config)
        self.model = SpatialMosaicModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """The language head."""
        return self.lm_head

    def freeze_towers(self, vision: bool = True, geometry: bool = True) -> None:
        """See `SpatialMosaicModel.freeze_towers`."""
        self.model.freeze_towers(vision, geometry)

    def get_image_features(
        self,
        pixel_values: Float[Tensor, "total_views 3 height width"],
        num_views: Int[Tensor, "samples"] | None = None,
        **kwargs: Any,
    ) -> ViewFeatures:
        """See `SpatialMosaicModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, num_views, **kwargs)

    def encode_views(
        self, pixel_values: Float[Tensor, "total_views 3 height width"], num_views: Int[Tensor, "samples"] | None = None
    ) -> dict[str, ViewFeatures]:
        """See `SpatialMosaicModel.encode_views`."""
        return self.model.encode_views(pixel_values, num_views)

    def _expand_multimodal_outputs(
        self, input_ids: Any, mm_encoder_output: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        # generate() repeats the features for beams in place: work on a copy, the caller may ask again
        copies = {modality: copy.copy(features) for modality, features in mm_encoder_output.items()}
        return super()._expand_multimodal_outputs(input_ids, copies, *args, **kwargs)  # type: ignore[misc]

    @can_return_tuple
    def forward(
        self,
        input_ids: Int[Tensor, "batch length"] | None = None,
        pixel_values: Float[Tensor, "total_views 3 height width"] | None = None,
        num_views: Int[Tensor, "batch"] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Int[Tensor, "batch length"] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Float[Tensor, "batch length text_size"] | None = None,
        labels: Int[Tensor, "batch length"] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Int[Tensor, "kept"] = 0,
        mm_encoder_outputs: dict[str, ViewFeatures] | None = None,
        **kwargs: Any,
    ) -> SpatialMosaicCausalLMOutputWithPast:
        """Logits of the next token, and the loss where ``labels`` are given (-100 is not counted).

        ``logits_to_keep``: 0 for all positions, n for the last n, or the positions themselves. The other arguments are
        those of `SpatialMosaicModel.forward`.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            num_views=num_views,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            mm_encoder_outputs=mm_encoder_outputs,
            return_dict=True,
            **kwargs,
        )
        logits = self.lm_head(slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return SpatialMosaicCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )


def _is_frozen(module: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in module.parameters())


def _view_mask(
    num_views: Int[Tensor, "samples"] | None, pixel_values: Float[Tensor, "total_views 3 height width"]
) -> Bool[Tensor, "samples views"]:
    """True on the real views of the padded layout; raises ValueError when the counts do not fit the pictures."""
    total = pixel_values.shape[0]
    if num_views is None:
        if total > 1:
            raise ValueError(f"num_views is missing, expected the number of views of each sample for {total} pictures")
        num_views = torch.ones(1, dtype=torch.long)
    num_views = num_views.to(pixel_values.device)
    if int(num_views.sum()) != total:
        raise ValueError(f"num_views is {num_views.tolist()}, expected a sum of {total} (pictures given)")
    return torch.arange(int(num_views.max()), device=pixel_values.device)[None] < num_views[:, None]


__all__ = ["SpatialMosaicForConditionalGeneration", "SpatialMosaicModel", "SpatialMosaicPreTrainedModel"]
