"""Models put together from pretrained parts: every weight arrives, and the whole saves, loads and trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r import Dust3rConfig, Dust3rModel
from spatialvlm.loading import load_model
from spatialvlm.training.build_model import ModelRecipe, build_model
from spatialvlm.training.recipe import build
from spatialvlm.training.sft import run
from spatialvlm.training.sft_recipe import SftRecipe
from tests.spatialvlm.small_questions import small_tokenizer, write_question_set

VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, str]:
    """Folders of a Qwen3, a SigLIP of both towers and a DUSt3R, all tiny and random."""
    torch.manual_seed(0)
    tokenizer = small_tokenizer(tmp_path / "language")
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
    language = Qwen3Config(**size, num_key_value_heads=2, vocab_size=len(tokenizer), tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(language).save_pretrained(tmp_path / "language")
    vision = SiglipVisionConfig(**VISION, image_size=32, patch_size=8)
    text = SiglipTextConfig(**VISION, vocab_size=50, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    SiglipModel(SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())).save_pretrained(
        tmp_path / "siglip"
    )
    geometry = Dust3rConfig(
        image_size=(32, 32),
        enc_embed_dim=32,
        enc_depth=1,
        enc_num_heads=2,
        dec_embed_dim=32,
        dec_depth=1,
        dec_num_heads=2,
    )
    Dust3rModel(geometry).save_pretrained(tmp_path / "dust3r")
    return {
        "language_model": str(tmp_path / "language"),
        "vision_tower": str(tmp_path / "siglip"),
        "geometry_tower": str(tmp_path / "dust3r"),
    }


def no_tokenizer() -> PreTrainedTokenizerFast:
    raise AssertionError("only a preset trains a tokenizer")


def test_every_weight_arrives(parts: dict[str, str], tmp_path: Path) -> None:
    recipe = ModelRecipe(**parts, vision_feature_layer=-2, visual_token_layout="pooled_newline")  # type: ignore[arg-type]
    model, processor = build_model(recipe, no_tokenizer, seed=0)
    language = AutoModelForCausalLM.from_pretrained(parts["language_model"])
    vision = SiglipModel.from_pretrained(parts["vision_tower"]).vision_model
    geometry = Dust3rModel.from_pretrained(parts["geometry_tower"])
    for source, target in (
        (language.model, model.model.language_model),
        (vision, model.model.vision_tower),
        (geometry, model.model.geometry_tower),
    ):
        given = source.state_dict()
        assert all(torch.equal(value, given[name]) for name, value in target.state_dict().items())
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    assert processor.tokens_per_image == 2 * (2 + 1)  # 4 x 4 patches, halved, a newline after each row
    model.save_pretrained(tmp_path / "whole")
    processor.save_pretrained(tmp_path / "whole")
    again, _ = load_model(tmp_path / "whole")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("packing", ["none", "shared_prefix"])
def test_lora_on_composed_parts_runs(parts: dict[str, str], tmp_path: Path, packing: str) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    content = {
        "model": {**parts, "frozen": ["vision_tower", "geometry_tower"], "activation_checkpointing": True},
        "lora": {"rank": 2, "alpha": 4},
        "data": {"train": [{}], "root": str(write_question_set(tmp_path / "questions")), "packing": packing},
        "optimisation": {"max_steps": 2, "batch_size": 2},
        "output": {"folder": str(tmp_path / "out"), "log_steps": 1},
    }
    run(build(SftRecipe, content, "here"))
    model, processor = load_model(tmp_path / "out")
    assert processor.tokenizer.eos_token == "<|im_end|>"
    lora = [value for name, value in model.named_parameters() if "lora_B" in name]
    assert len(lora) == 2 * 7 and all(value.abs().sum() > 0 for value in lora)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"vision_tower": None}, "model.vision_tower is missing"),
        ({"geometry_tower": None}, "expected a model.geometry_tower unless fusion is 'none'"),
        ({"fusion": "none"}, "model.fusion is 'none'"),
        ({"language_model": "./gone"}, r"model\.language_model \./gone: no such folder"),
    ],
)
def test_parts_that_do_not_fit_are_named(parts: dict[str, str], change: dict[str, str | None], named: str) -> None:
    recipe = ModelRecipe(**{**parts, **change})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=named):
        build_model(recipe, no_tokenizer, seed=0)


def test_a_language_model_without_chatml_is_refused(parts: dict[str, str], tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    folder = tmp_path / "other"
    config = LlamaConfig(vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words = Tokenizer(WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    recipe = ModelRecipe(**{**parts, "language_model": str(folder)})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a ChatML model"):
        build_model(recipe, no_tokenizer, seed=0)


def test_a_bare_vision_tower_works_without_geometry(parts: dict[str, str], tmp_path: Path) -> None:
    SiglipVisionModel(SiglipVisionConfig(**VISION, image_size=32, patch_size=8)).save_pretrained(tmp_path / "bare")
    recipe = ModelRecipe(language_model=parts["language_model"], vision_tower=str(tmp_path / "bare"), fusion="none")
    model, _ = build_model(recipe, no_tokenizer, seed=0)
    assert model.model.geometry_tower is None and not model.config.vision_config.vision_use_head
