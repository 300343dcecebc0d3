"""Visual tokens that learn the words of what their patch shows."""

import json
from pathlib import Path

import pytest
import torch

from geometry_encoders.errors import InputError
from spatialvlm.training import align_projector
from spatialvlm.training.align_projector import alignment_logits, alignment_loss, category_tokens
from spatialvlm.training.recipe import load_recipe
from tests.spatialvlm.small_models import small_tokenizer


def test_logits_are_scaled_components_along_unit_words_and_background_is_zero() -> None:
    words = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    visual = torch.tensor([[[1.0, -0.5]]])
    assert alignment_logits(visual, words, scale=4.0).tolist() == [[[0.0, 4.0, -2.0]]]


def test_every_token_answers_for_its_own_cells() -> None:
    categories = torch.zeros(1, 4, 4, dtype=torch.long)  # 2 x 2 tokens of 2 x 2 cells
    categories[0, :2, 2:] = 1  # the token on the upper right shows category 1
    logits = torch.zeros(1, 4, 2)
    logits[0, 1, 1] = 50.0
    logits[0, [0, 2, 3], 0] = 50.0
    loss, named = alignment_loss(logits, categories, background_weight=0.5)
    assert loss.item() < 1e-6
    assert named.item() == 1.0
    wrong_place = logits.roll(1, dims=1)
    loss, named = alignment_loss(wrong_place, categories, background_weight=0.5)
    assert loss.item() > 1.0
    assert named.item() == 0.0


def test_a_category_of_several_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="category 'grandfather clock' is"):
        category_tokens(small_tokenizer(), ("chair", "grandfather clock"))


def test_packaged_recipe_has_no_unknown_key() -> None:
    recipe = load_recipe(align_projector.AlignRecipe, Path(__file__).parents[2] / "recipes/align_tiny.yaml")
    assert recipe.model.init_from == "outputs/letters_tiny"


def test_missing_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    content = {"model": {"preset": "tiny"}, "data": {"scenes": "none"}, "folder": "out", "cache": "cache"}
    (tmp_path / "align.yaml").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tokenizer is None, expected a folder with tokenizer\.json"):
        align_projector.run(load_recipe(align_projector.AlignRecipe, tmp_path / "align.yaml"))
