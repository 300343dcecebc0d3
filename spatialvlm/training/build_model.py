"""The model a recipe asks for: a preset, a folder to go on from, or towers and a language model put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from geometry_encoders.errors import InputError
from spatialvlm.loading import load_model
from spatialvlm.models import SpatialMosaicConfig, SpatialMosaicForConditionalGeneration
from spatialvlm.presets import build_processor, build_tiny
from spatialvlm.tokenizer import IMAGE, TURN_END

PARTS = ("vision_tower", "geometry_tower", "fusion", "projector", "language_model")


@dataclass(frozen=True)
class ModelRecipe:
    """Which model is trained: exactly one of ``preset``, ``init_from`` and ``language_model``.

    Attributes:
        preset: ``tiny``, untrained; its tokenizer is trained on the questions.
        init_from: folder of a whole model with its processor to go on from.
        language_model: folder or hub name of a causal language model to put behind the towers.
        vision_tower: folder or hub name of a vision transformer; in a preset or a whole model it replaces the weights.
        geometry_tower: folder of a geometry encoder; likewise.
        fusion: how geometry enters the visual tokens; left out, the preset's own or cross_attention; ``none`` for none.
        frozen: parts that do not learn, of vision_tower, geometry_tower, fusion, projector and language_model.
        vocab_size: upper bound for the tokenizer of a preset.
        vision_feature_layer: with ``language_model``: hidden state to take, e.g. -2; left out, the last after its norm.
        visual_token_layout: with ``language_model``: ``plain`` or ``pooled_newline``.
        geometry_image_size: with ``language_model``: side of the geometry tower's picture, pixels.
        activation_checkpointing: forgets activations and computes them again, to save memory.
    """

    preset: Literal["tiny"] | None = None
    init_from: str | None = None
    language_model: str | None = None
    vision_tower: str | None = None
    geometry_tower: str | None = None
    fusion: Literal["cross_attention", "add", "concat_mlp", "gated", "none"] | None = None
    frozen: tuple[Literal["vision_tower", "geometry_tower", "fusion", "projector", "language_model"], ...] = ()
    vocab_size: int = 1024
    vision_feature_layer: int | None = None
    visual_token_layout: Literal["plain", "pooled_newline"] = "plain"
    geometry_image_size: int | None = None
    activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        given = [name for name in ("preset", "init_from", "language_model") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(f"model.{name}" for name in given) or "none"
            raise ValueError(f"{found} is given, expected exactly one of preset, init_from and language_model in model")
        if self.init_from is not None and self.fusion:
            raise ValueError("model.init_from is a whole model, expected no fusion")


def build_model(
    recipe: ModelRecipe, tokenizer: Callable[[], PreTrainedTokenizerFast], seed: int
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The model in training mode with its frozen parts frozen, and its processor.

    Args:
        recipe: what to build.
        tokenizer: called for a preset only; whole models and language models bring their own.
        seed: of the initial weights.

    Raises:
        InputError: a folder that is no model, or towers that do not fit.
    """
    if recipe.init_from is not None:
        model, processor = load_model(recipe.init_from, dtype=torch.float32, device="cpu")
        _replace_towers(model, recipe)
    elif recipe.preset is not None:
        fusion = recipe.fusion or "add"
        if fusion == "none" and recipe.geometry_tower is not None:
            raise InputError("model.geometry_tower is given but model.fusion is 'none', expected no geometry tower")
        model, processor = build_tiny(tokenizer(), fusion, seed)
        _replace_towers(model, recipe)
    else:
        model, processor = _compose(recipe, seed)
    if recipe.activation_checkpointing:
        model.gradient_checkpointing_enable()
    freeze(model, recipe.frozen)
    return model.train(), processor


def _replace_towers(model: PreTrainedModel, recipe: ModelRecipe) -> None:
    for name in ("vision_tower", "geometry_tower"):
        folder = getattr(recipe, name)
        if folder is None:
            continue
        tower = getattr(model.base_model, name, None)
        if tower is None:
            raise InputError(f"model.{name} is {folder}, expected none: the model has no such tower")
        load_tower(tower, folder, f"model.{name}")


def freeze(model: PreTrainedModel, parts: tuple[str, ...]) -> None:
    """The named parts stop learning; a frozen tower also stays in evaluation mode.

    Raises:
        InputError: when the model has no such part.
    """
    for part in parts:
        module = getattr(model.base_model, part, None)
        if not isinstance(module, nn.Module):
            raise InputError(f"model.frozen names {part!r}, expected a part of {type(model).__name__}")
        module.requires_grad_(False)


def load_tower(tower: nn.Module, folder: str, key: str) -> None:
    """Fills the tower with the weights of a folder; their sizes must agree."""
    source = _from_pretrained(AutoModel, folder, key)
    wanted = {name: tuple(value.shape) for name, value in tower.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in source.state_dict().items()}
    if wanted != found:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        name = differing[0]
        sizes = f"has {name} of size {found.get(name, 'nothing')}, expected {wanted.get(name, 'nothing')}"
        raise InputError(f"{key} {folder}: {sizes} ({len(differing)} tensors differ)")
    tower.load_state_dict(source.state_dict())


def _from_pretrained(loader: type, name: str, key: str) -> PreTrainedModel:
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1):
        raise InputError(
            f"{key} {name}: no such folder, expected one written by save_pretrained, or owner/name of a hub"
        )
    try:
        return loader.from_pretrained(name, dtype=torch.float32)  # type: ignore[attr-defined]
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{key} {name}: cannot be loaded ({reason})") from error


def _compose(recipe: ModelRecipe, seed: int) -> tuple[SpatialMosaicForConditionalGeneration, ProcessorMixin]:
    """Pretrained parts with a new fusion block and projector between them."""
    if recipe.vision_tower is None:
        raise InputError("model.vision_tower is missing, expected a vision transformer for model.language_model")
    fusion = recipe.fusion or "cross_attention"
    if (fusion == "none") != (recipe.geometry_tower is None):
        raise InputError(f"model.fusion is {fusion!r}, expected a model.geometry_tower unless fusion is 'none'")
    language = _from_pretrained(AutoModelForCausalLM, str(recipe.language_model), "model.language_model")
    vision = _vision_body(_from_pretrained(AutoModel, recipe.vision_tower, "model.vision_tower"))
    geometry = recipe.geometry_tower and _from_pretrained(AutoModel, recipe.geometry_tower, "model.geometry_tower")
    tokenizer: Any = AutoTokenizer.from_pretrained(recipe.language_model, padding_side="left")
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    if tokenizer.convert_tokens_to_ids(TURN_END) in (None, tokenizer.unk_token_id):
        raise InputError(
            f"model.language_model {recipe.language_model}: has no token {TURN_END}, expected a ChatML model"
        )
    tokenizer.eos_token = TURN_END
    if len(tokenizer) > language.config.vocab_size:
        language.resize_token_embeddings(len(tokenizer))
    config = SpatialMosaicConfig(
        text_config=language.config,
        vision_config=vision.config,
        geometry_config=geometry.config if geometry else None,
        fusion=fusion,
        vision_feature_layer=recipe.vision_feature_layer,
        visual_token_layout=recipe.visual_token_layout,
        geometry_image_size=recipe.geometry_image_size,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SpatialMosaicForConditionalGeneration(config)
    left_out = model.model.vision_tower.load_state_dict(vision.state_dict(), strict=False)
    if left_out.missing_keys:  # unexpected ones are the pooling head
        name = left_out.missing_keys[0]
        raise InputError(f"model.vision_tower {recipe.vision_tower}: {name} is missing, expected a vision transformer")
    if geometry:
        model.model.geometry_tower.load_state_dict(geometry.state_dict())
    model.model.language_model.load_state_dict(language.base_model.state_dict())
    model.lm_head.load_state_dict(language.get_output_embeddings().state_dict())
    model.generation_config = language.generation_config
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, build_processor(config, tokenizer)


def _vision_body(model: PreTrainedModel) -> PreTrainedModel:
    """The vision half of a two-tower model such as SigLIP, without its pooling head; else the model itself."""
    body = getattr(model, "vision_model", model)
    if getattr(body.config, "vision_use_head", False):
        body.config.vision_use_head = False
    return body
