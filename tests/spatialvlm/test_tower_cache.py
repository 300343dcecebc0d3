"""Features of frozen towers that are kept: the same training as without, and refused where they would go stale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from geometry_encoders.errors import InputError
from spatialvlm.presets import build_tiny
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.sft import run
from spatialvlm.training.sft_recipe import SftRecipe
from spatialvlm.training.tower_cache import TowerCache
from tests.spatialvlm.small_models import small_tokenizer
from tests.spatialvlm.small_questions import write_question_set


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_question_set(tmp_path_factory.mktemp("data") / "questions")


def trained(folder: Path, questions: Path, *overrides: str) -> dict[str, torch.Tensor]:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(
        f"""
        model: {{preset: tiny, fusion: gated, frozen: [vision_tower, geometry_tower], vocab_size: 512}}
        data: {{train: [{{path: {questions}}}], questions_per_view_set: 2}}
        optimisation: {{max_steps: 6, batch_size: 2}}
        output: {{folder: {folder / "out"}, save_steps: 100}}
        """
    )
    run(load_recipe(SftRecipe, folder / "recipe.yaml", overrides))
    return load_file(folder / "out" / "model.safetensors")


@pytest.mark.slow
def test_training_with_kept_features_gives_the_same_weights(questions: Path, tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", questions)
    kept = trained(tmp_path / "kept", questions, "data.tower_cache_gb=1")
    no_room = trained(tmp_path / "no_room", questions, "data.tower_cache_gb=1.0e-9")
    for name, value in plain.items():
        # a sample alone and a padded batch of samples differ in rounding
        torch.testing.assert_close(kept[name], value, atol=1e-4, rtol=1e-3, msg=name)
        assert torch.equal(kept[name], no_room[name]), name


def test_towers_run_once_per_set_of_views() -> None:
    model, _ = build_tiny(small_tokenizer(), "gated")
    body = model.model
    body.freeze_towers()
    cache = TowerCache(body, 1.0)
    calls: list[int] = []
    body.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    views = torch.rand(3, 3, 128, 128)
    counts = torch.tensor([2, 1])
    keys = [("a", "b"), ("c",)]
    first = cache.view_features(keys, views, counts)
    again = cache.view_features(keys[::-1], views[[2, 0, 1]], counts.flip(0))
    assert len(calls) == 2
    expected = body.get_image_features(views, counts, return_dict=True)
    torch.testing.assert_close(first.pooler_output, expected.pooler_output, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(again.pooler_output[1:], expected.pooler_output[:2], atol=1e-5, rtol=1e-4)
    torch.cat(first.pooler_output).sum().backward()
    assert body.projector.linear_1.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in body.vision_tower.parameters())


def test_a_tower_that_learns_is_refused() -> None:
    model, _ = build_tiny(small_tokenizer(), "gated")
    model.model.freeze_towers(geometry=False)
    with pytest.raises(InputError, match=r"tower_cache_gb is 1\.0 but geometry_tower learns"):
        TowerCache(model.model, 1.0)


def test_kept_features_need_the_packed_layout(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 0 unless packing is shared_prefix"):
        trained(tmp_path / "plain", questions, "data.tower_cache_gb=1", "data.packing=none")
