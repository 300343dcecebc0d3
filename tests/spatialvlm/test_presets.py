"""The tiny preset: its size, its initial weights, its reproducibility."""

from __future__ import annotations

import pytest
import torch

from spatialvlm.presets import build_tiny
from tests.spatialvlm.small_models import FUSIONS, chats, encode, small_tokenizer


@pytest.mark.parametrize("fusion", FUSIONS)
def test_tiny_fits_its_budget_and_answers(fusion, tmp_path):
    model, processor = build_tiny(small_tokenizer(), fusion)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    words_of_a_full_vocabulary = 3000 * 192
    assert 4e6 < parameters < 9.9e6 - words_of_a_full_vocabulary
    assert (model.model.geometry_tower is None) is (fusion == "none")
    inputs = encode(processor, chats([2]))
    assert (inputs["input_ids"] == model.config.image_token_id).sum() == 2 * 64
    assert inputs["pixel_values"].shape[1:] == (3, 128, 128)
    assert model.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]
    if fusion == "cross_attention":
        model.half().save_pretrained(tmp_path)
        assert (tmp_path / "model.safetensors").stat().st_size < 20_000_000


def test_the_seed_decides_the_weights():
    state = torch.random.get_rng_state()
    first, again = (build_tiny(small_tokenizer(), "add", seed=3)[0] for _ in range(2))
    other = build_tiny(small_tokenizer(), "add", seed=4)[0]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert torch.equal(state, torch.random.get_rng_state())


def test_attention_starts_by_content():
    model = build_tiny(small_tokenizer())[0]
    spread = model.config.text_config.initializer_range
    for layer in model.model.language_model.layers:
        assert torch.equal(layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight)
        assert abs(layer.self_attn.q_proj.weight.std() / spread - 1.5) < 0.05
    assert abs(model.get_input_embeddings().weight.std() / spread - 3.0) < 0.05
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_end_of_turn_is_the_end_everywhere():
    model, processor = build_tiny(small_tokenizer())
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert processor.tokenizer.eos_token_id == end
    assert model.generation_config.eos_token_id == end == model.config.text_config.eos_token_id
    assert model.generation_config.pad_token_id == processor.tokenizer.pad_token_id
