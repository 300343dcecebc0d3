"""Models small enough for tests, with every part real: SigLIP or CLIP, DUSt3R or none, Llama or Qwen3."""

from __future__ import annotations

import functools
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from geometry_encoders.reconstruction.dust3r import Dust3rConfig
from qa_generation.prompts import question_prompt
from spatialvlm.conversation import build_messages
from spatialvlm.models import SpatialMosaicConfig, SpatialMosaicForConditionalGeneration, SpatialMosaicProcessor
from spatialvlm.presets import build_processor
from spatialvlm.tokenizer import train_tokenizer

CATEGORIES = ("chair", "table", "sofa", "bed", "bookshelf", "armchair", "lamp", "potted plant")
FUSIONS = ("cross_attention", "add", "concat_mlp", "gated", "none")


def question_texts(count: int = 200) -> list[str]:
    """Benchmark prompts about pieces of furniture."""
    rng = random.Random(0)
    texts = []
    for _ in range(count):
        words = rng.sample(CATEGORIES, 4)
        question = f"Seen from Frame {rng.randint(1, 5)}, which object is above the {rng.choice(CATEGORIES)}?"
        options = [f"{letter}. {word}" for letter, word in zip("ABCD", words, strict=True)]
        texts.append(question_prompt("obj_attribute_occ_ab", question, options))
    return texts


@functools.cache
def small_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer trained on `question_texts`."""
    with tempfile.TemporaryDirectory() as folder:
        return train_tokenizer(question_texts(), 600, Path(folder))


def small_config(fusion: str = "add", text: str = "llama", vision: str = "siglip_vision_model", **fields: Any) -> Any:
    """A configuration of about 100 k parameters: 32 x 32 pixels, 16 tokens per view, two layers everywhere."""
    tokenizer = small_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    tied = fields.pop("tied", True)
    return SpatialMosaicConfig(
        vision_config={"model_type": vision, **sizes, "image_size": 32, "patch_size": 8}
        | ({"vision_use_head": False} if vision == "siglip_vision_model" else {}),
        geometry_config=None
        if fusion == "none"
        else Dust3rConfig(
            image_size=(32, 32),
            patch_size=8,
            enc_embed_dim=32,
            enc_depth=1,
            enc_num_heads=2,
            dec_embed_dim=24,
            dec_depth=2,
            dec_num_heads=2,
        ),
        text_config={
            "model_type": text,
            **sizes,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": len(tokenizer),
            "tie_word_embeddings": tied,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
        },
        fusion=fusion,
        fusion_dropout=fields.pop("fusion_dropout", 0.0),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        **fields,
    )


def small_model(fusion: str = "add", seed: int = 0, **options: Any) -> SpatialMosaicForConditionalGeneration:
    """A model with random weights large enough that every input changes the answer."""
    torch.manual_seed(seed)
    model = SpatialMosaicForConditionalGeneration(small_config(fusion, **options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "language_model" in name:
                parameter.mul_(4)
            if name.endswith("fusion.gate"):
                parameter.fill_(0.7)
    model.generation_config.pad_token_id = small_tokenizer().pad_token_id
    model.generation_config.eos_token_id = small_tokenizer().eos_token_id
    return model


def small_processor(config: SpatialMosaicConfig | None = None) -> SpatialMosaicProcessor:
    """The processor of `small_model`."""
    return build_processor(config or small_config(), small_tokenizer())


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Different pictures of smooth colours, 40 x 30 pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (count, 4, 5, 3), dtype=np.uint8)
    return [Image.fromarray(image).resize((40, 30), Image.Resampling.BICUBIC) for image in coarse]


def chats(views: list[int], seed: int = 0) -> list[list[dict[str, Any]]]:
    """One chat per entry of ``views``, with that many different pictures and a question of its own."""
    texts = question_texts(len(views))
    return [
        build_messages(pictures(count, seed=seed + 10 * index), text)
        for index, (count, text) in enumerate(zip(views, texts, strict=True))
    ]


def encode(processor: SpatialMosaicProcessor, conversations: Any, **options: Any) -> Any:
    """Model inputs for chats that wait for an answer, padded on the left."""
    return processor.apply_chat_template(
        conversations,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True},
        **options,
    )
