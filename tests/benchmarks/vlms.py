"""Vision-language models of other makers, tiny and with random weights, saved as their makers save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLProcessor,
)
from transformers.utils import is_torchvision_available

from tests.spatialvlm.small_models import small_tokenizer

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "tie_word_embeddings": False,
    "bos_token_id": None,
}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_with(**named: str) -> PreTrainedTokenizerFast:
    """Our small tokenizer with further control tokens, known by the names that a processor asks for."""
    base = small_tokenizer()
    kept = {"eos_token": base.eos_token, "pad_token": base.pad_token, "unk_token": base.unk_token}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=base.backend_tokenizer, extra_special_tokens=named, **kept)
    tokenizer.add_special_tokens({"extra_special_tokens": list(named.values())})
    return tokenizer


def text_config(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return TEXT | ends | {"vocab_size": len(tokenizer)}


def qwen3_vl() -> tuple[Any, ProcessorMixin]:
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    names |= {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
    tokenizer = tokenizer_with(**names)
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 10000.0}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 8}
    vision |= {"out_hidden_size": 32, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    config = Qwen3VLConfig(text_config=text_config(tokenizer) | {"rope_parameters": rope}, vision_config=vision, **ids)
    pictures = Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 256, "longest_edge": 1024}
    )
    chat = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    return config, Qwen3VLProcessor(pictures, tokenizer, None, chat_template=chat)


def llava_onevision() -> tuple[Any, ProcessorMixin]:
    tokenizer = tokenizer_with(image_token="<image>", video_token="<video>")
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "image_size": 32}
    vision |= {"num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8, "vision_use_head": False}
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config={"model_type": "qwen2"} | text_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[32, 32], [32, 64]],
        tie_word_embeddings=False,
    )
    pictures = LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32}, image_grid_pinpoints=[[32, 32], [32, 64]]
    )
    chat = CHAT.replace("IMAGE", "<image>\n")
    processor = LlavaOnevisionProcessor(
        pictures, tokenizer, None, num_image_tokens=16, vision_feature_select_strategy="full", chat_template=chat
    )
    return config, processor


def internvl() -> tuple[Any, ProcessorMixin]:
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = tokenizer_with(**names, video_token="<video>")
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = InternVLConfig(
        vision_config=vision | {"image_size": [32, 32], "patch_size": [8, 8]},
        text_config={"model_type": "qwen2"} | text_config(tokenizer),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    pictures = GotOcr2ImageProcessorPil(size={"height": 32, "width": 32})
    chat = CHAT.replace("IMAGE", "<IMG_CONTEXT>\n")
    return config, InternVLProcessor(pictures, tokenizer, None, image_seq_length=4, chat_template=chat)


MAKERS: dict[str, Callable[[], tuple[Any, ProcessorMixin]]] = {
    "qwen3_vl": qwen3_vl,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
}


def without_video(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the processors stand without their video part, which alone asks for torchvision, where that is missing."""
    if not is_torchvision_available():
        for kind in (Qwen3VLProcessor, LlavaOnevisionProcessor, InternVLProcessor):
            monkeypatch.setattr(kind, "get_attributes", classmethod(lambda cls: ["image_processor", "tokenizer"]))


def save(name: str, folder: Path) -> Path:
    """The model and its processor in a folder, with weights large enough that pictures and words change its answers."""
    config, processor = MAKERS[name]()
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=0.3)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
