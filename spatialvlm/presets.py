"""Model sizes by name. ``tiny`` has about 9 M parameters and trains from scratch on two CPU cores."""

from __future__ import annotations

from typing import Literal

import torch
from transformers import LlamaConfig, PreTrainedTokenizerFast, SiglipImageProcessorPil, SiglipVisionConfig

from geometry_encoders.reconstruction.dust3r import dust3r_tiny_config
from geometry_encoders.reconstruction.spann3r import spann3r_tiny_config
from spatialvlm.models import SpatialMosaicConfig, SpatialMosaicForConditionalGeneration, SpatialMosaicProcessor

FusionName = Literal["cross_attention", "add", "concat_mlp", "gated", "none"]
GeometryName = Literal["spann3r", "dust3r"]

GEOMETRY_CONFIGS = {"spann3r": spann3r_tiny_config, "dust3r": dust3r_tiny_config}


def tiny_config(
    tokenizer: PreTrainedTokenizerFast, fusion: FusionName = "add", geometry: GeometryName = "dust3r"
) -> SpatialMosaicConfig:
    """The configuration of ``tiny``: 128 x 128 pixels, 64 tokens per view, six layers of width 192 twice.

    Its geometry tower is DUSt3R unless said otherwise, which the checkpoint in the package was trained with; the
    default of `SpatialMosaicConfig` is Spann3R.
    """
    return SpatialMosaicConfig(
        vision_config=SiglipVisionConfig(
            image_size=128,
            patch_size=16,
            hidden_size=192,
            num_hidden_layers=6,
            num_attention_heads=6,
            intermediate_size=576,
            vision_use_head=False,
        ),
        geometry_config=None if fusion == "none" else GEOMETRY_CONFIGS[geometry](),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=6,
            intermediate_size=512,
            max_position_embeddings=4096,
            initializer_range=0.03,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        ),
        fusion=fusion,
        fusion_dropout=0.0,
        fusion_num_heads=6,
        image_token_id=int(tokenizer.convert_tokens_to_ids("<image>")),  # type: ignore[arg-type]
    )


def build_tiny(
    tokenizer: PreTrainedTokenizerFast,
    fusion: FusionName = "add",
    seed: int = 0,
    geometry: GeometryName = "dust3r",
) -> tuple[SpatialMosaicForConditionalGeneration, SpatialMosaicProcessor]:
    """An untrained ``tiny`` model and its processor; the same seed gives the same weights.

    Args:
        tokenizer: see `spatialvlm.tokenizer.train_tokenizer`; its size decides the size of the word embeddings.
        fusion: ``cross_attention``, ``add``, ``concat_mlp``, ``gated`` or ``none`` (the geometry-free twin).
        seed: of the initial weights; torch's global generator is left as it was.
        geometry: the geometry tower, ``dust3r`` or ``spann3r``.
    """
    config = tiny_config(tokenizer, fusion, geometry)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SpatialMosaicForConditionalGeneration(config)
    initialise_from_scratch(model)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model.eval(), build_processor(config, tokenizer)


def build_processor(config: SpatialMosaicConfig, tokenizer: PreTrainedTokenizerFast) -> SpatialMosaicProcessor:
    """The processor that fits a model configuration: pictures scaled to the vision tower's size, aspect not kept."""
    side = config.vision_config.image_size
    height, width = (side, side) if isinstance(side, int) else side
    image_processor = SiglipImageProcessorPil(
        size={"height": height, "width": width}, image_mean=list(config.image_mean), image_std=list(config.image_std)
    )
    return SpatialMosaicProcessor(image_processor, tokenizer, tokens_per_image=config.tokens_per_image)


@torch.no_grad()
def initialise_from_scratch(
    model: SpatialMosaicForConditionalGeneration, query_key_scale: float = 1.5, embedding_scale: float = 3.0
) -> None:
    """Prepares an untrained language model to find things by content, in place.

    Query weights are scaled and copied to the key weights, so that at first a token attends to what resembles it; word
    embeddings are enlarged. Trials without it stayed at chance on the same data. Layers whose keys have another shape
    than their queries (grouped heads) are only scaled.
    """
    language_model = model.model.language_model
    for layer in language_model.layers:
        attention = layer.self_attn
        attention.q_proj.weight.mul_(query_key_scale)
        if attention.k_proj.weight.shape == attention.q_proj.weight.shape:
            attention.k_proj.weight.copy_(attention.q_proj.weight)
        else:
            attention.k_proj.weight.mul_(query_key_scale)
    language_model.get_input_embeddings().weight.mul_(embedding_scale)
