"""SpatialMosaicVLM: several views of a place and a question in, an answer out.

Two towers read the views: the vision tower each view alone, the geometry tower all views of a sample together. A
fusion block writes geometry into the visual tokens, a projector brings them into the language model's space, where they
replace the image placeholders of the prompt. Source: SpatialMosaic (specs 6.1-6.6), with geometry per sample. How views
become tokens is in `view_encoding`, how they are fused in `fusion`; here is the model that transformers knows.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModel, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils import ModelOutput, can_return_tuple, torch_compilable_check

from .configuration_spatialmosaic import SpatialMosaicConfig
from .fusion import FUSION_BLOCKS, GatedFusion
from .view_encoding import SpatialMosaicProjector, ViewEncodingMixin, ViewFeatures, is_frozen


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


class SpatialMosaicModel(ViewEncodingMixin, SpatialMosaicPreTrainedModel):
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

    def freeze_towers(self, vision: bool = True, geometry: bool = True) -> None:
        """The chosen towers stop learning: no gradients, no autograd graph, evaluation mode even while training."""
        for tower, chosen in ((self.vision_tower, vision), (self.geometry_tower, geometry)):
            if tower is not None and chosen:
                tower.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> SpatialMosaicModel:
        """Training mode for everything but the towers without a trainable parameter."""
        super().train(mode)
        for tower in (self.vision_tower, self.geometry_tower):
            if tower is not None and is_frozen(tower):
                tower.eval()
        return self

    def _checked_view_counts(
        self, input_ids: Int[Tensor, "batch length"], num_views: Int[Tensor, "batch"] | None
    ) -> Int[Tensor, "batch"]:
        """The views of each prompt, read from its placeholders; raises ValueError where ``num_views`` differs."""
        placeholders = (input_ids == self.config.image_token_id).sum(1)
        counts = placeholders // self.config.tokens_per_image
        wanted = counts if num_views is None else num_views.to(counts.device)
        if wanted.shape != counts.shape or bool((wanted * self.config.tokens_per_image != placeholders).any()):
            raise ValueError(
                f"the prompts have {placeholders.tolist()} image placeholders, expected "
                f"{self.config.tokens_per_image} for each of {wanted.tolist()} views"
            )
        return counts

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
            if input_ids is not None:
                num_views = self._checked_view_counts(input_ids, num_views)
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


__all__ = ["SpatialMosaicForConditionalGeneration", "SpatialMosaicModel", "SpatialMosaicPreTrainedModel"]
