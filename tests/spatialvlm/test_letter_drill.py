"""The drill that teaches which letter stands before given words, without views."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from spatialvlm.loading import load_model
from spatialvlm.presets import build_processor, tiny_config
from spatialvlm.training.collator import PackedCollator
from spatialvlm.training.letter_drill import DrillRecipe, letter_batch, run
from spatialvlm.training.recipe import load_recipe
from tests.spatialvlm.small_models import small_tokenizer
from tests.spatialvlm.small_questions import small_records, write_question_set

RECIPES = Path(__file__).parents[2] / "recipes"


def collator(tokenizer: PreTrainedTokenizerFast) -> PackedCollator:
    return PackedCollator(build_processor(tiny_config(tokenizer), tokenizer))


def test_only_the_letter_of_every_option_is_learned() -> None:
    tokenizer = small_tokenizer()
    record = small_records()[0]
    batch = letter_batch(collator(tokenizer), [record])
    learned = batch["shift_labels"][batch["shift_labels"] >= 0]
    assert tokenizer.convert_ids_to_tokens(learned.tolist()) == ["A", "B", "C", "D"]
    text = tokenizer.decode(batch["input_ids"][0, batch["prefix_mask"].shape[1] :])
    for option in record.options:
        letter, _, words = option.partition(". ")
        assert f"{words}</think>{letter}" in text


def test_the_drill_moves_only_the_language_model_and_keeps_its_words(tmp_path: Path) -> None:
    questions = write_question_set(tmp_path / "questions")
    recipe = tmp_path / "letters.yaml"
    recipe.write_text(
        f"""
        model: {{preset: tiny, fusion: gated, vocab_size: 512}}
        source: {{path: {questions}}}
        folder: {tmp_path / "out"}
        optimisation: {{max_steps: 30, batch_size: 8, precision: float32}}
        """
    )
    short = load_recipe(DrillRecipe, recipe, ["optimisation.max_steps=1", f"folder={tmp_path / 'short'}"])
    before = run(short)
    figures = run(load_recipe(DrillRecipe, recipe))
    assert figures["train_loss"] < before["train_loss"]
    assert 0 <= figures["held_out_right"] <= 1
    start, end = (load_model(tmp_path / name, dtype=torch.float32)[0].state_dict() for name in ("short", "out"))
    moved = {name for name, value in start.items() if not torch.equal(value, end[name])}
    assert moved
    assert all(".language_model." in name and "embed_tokens" not in name for name in moved), sorted(moved)[:3]


@pytest.mark.parametrize("name", ["letters_tiny.yaml"])
def test_packaged_recipe_has_no_unknown_key(name: str) -> None:
    assert load_recipe(DrillRecipe, RECIPES / name).model.fusion == "gated"
