"""Instruction tuning from a recipe: exact continuation, LoRA, what is saved, budgets, and recipes that are wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, GenerationConfig

from geometry_encoders.errors import InputError
from spatialvlm.loading import load_model
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.lora import merge_adapter
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.schedule import learning_rate_factor, progress
from spatialvlm.training.sft import build_trainer, run
from spatialvlm.training.sft_recipe import SftRecipe
from tests.spatialvlm.small_questions import write_question_set


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)  # one process runs several recipes here


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_question_set(tmp_path_factory.mktemp("data") / "questions")


def write_recipe(folder: Path, questions: Path) -> Path:
    """A recipe for four steps of the tiny model without geometry."""
    content = {
        "seed": 3,
        "model": {"preset": "tiny", "fusion": "none", "frozen": ["vision_tower"], "vocab_size": 512},
        "data": {
            "train": [{"path": str(questions)}],
            "eval": {"path": str(questions), "split": "test"},
            "questions_per_view_set": 3,
            "answer_style": {"letter": 0.5, "words": 0.5},
            "eval_view_sets": 4,
        },
        "optimisation": {"max_steps": 4, "batch_size": 1},
        "output": {"folder": str(folder / "out"), "save_steps": 2, "eval_steps": 100, "log_steps": 1},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def recipe(folder: Path, questions: Path, overrides: Sequence[str] = ()) -> SftRecipe:
    folder.mkdir(parents=True, exist_ok=True)
    return load_recipe(SftRecipe, write_recipe(folder, questions), overrides)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_run_leaves_a_model_that_answers(questions: Path, tmp_path: Path) -> None:
    figures = run(recipe(tmp_path, questions))
    assert 0 <= figures["eval_accuracy"] <= 1 and figures["eval_questions"] == 17
    assert figures["eval_chance"] == pytest.approx(16 * 0.25 / 17)  # four options each, and one number
    out = tmp_path / "out"
    model, processor = load_model(out)
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert processor.tokenizer.eos_token == "<|im_end|>"
    assert model.config.get_text_config().eos_token_id == end
    assert GenerationConfig.from_pretrained(out).eos_token_id in (end, [end])
    assert (out / "tokenizer.model").is_file() and (out / "recipe.yaml").is_file()
    assert list(out.rglob("events.out.tfevents*"))
    # the saved recipe is a recipe again
    assert load_recipe(SftRecipe, out / "recipe.yaml").optimisation.max_steps == 4


def test_continuation_is_bit_equal(questions: Path, tmp_path: Path) -> None:
    run(recipe(tmp_path / "whole", questions))
    AcceleratorState._reset_state(reset_partial_state=True)
    trainer = build_trainer(recipe(tmp_path / "parts", questions))
    trainer.args.save_steps = trainer.state.save_steps = 2

    class Interrupt(Exception):
        pass

    original, steps = trainer.training_step, iter(range(99))

    def stop_at_the_fourth(*args: object, **kwargs: object) -> torch.Tensor:
        if next(steps) == 3:
            raise Interrupt
        return original(*args, **kwargs)

    trainer.training_step = stop_at_the_fourth  # type: ignore[method-assign]
    with pytest.raises(Interrupt):
        trainer.train()
    AcceleratorState._reset_state(reset_partial_state=True)
    run(recipe(tmp_path / "parts", questions))
    whole, parts = weights(tmp_path / "whole" / "out"), weights(tmp_path / "parts" / "out")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_frozen_parts_do_not_move(questions: Path, tmp_path: Path) -> None:
    trainer = build_trainer(recipe(tmp_path, questions, ["model.frozen=[vision_tower, projector]"]))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    moved = {n.split(".")[1] for n, v in trainer.model.state_dict().items() if not torch.equal(v, before[n])}
    assert moved == {"language_model", "weight"}  # lm_head.weight is tied to the word embeddings


def test_packed_and_plain_training_agree(questions: Path, tmp_path: Path) -> None:
    shared = ["data.questions_per_view_set=1", "optimisation.max_steps=3"]
    run(recipe(tmp_path / "packed", questions, shared))
    AcceleratorState._reset_state(reset_partial_state=True)
    run(recipe(tmp_path / "plain", questions, [*shared, "data.packing=none"]))
    packed, plain = weights(tmp_path / "packed" / "out"), weights(tmp_path / "plain" / "out")
    for name in packed:
        torch.testing.assert_close(packed[name], plain[name], atol=2e-4, rtol=1e-3)


def test_lora_touches_only_the_language_tower(questions: Path, tmp_path: Path) -> None:
    base = recipe(tmp_path, questions, ["lora={rank: 4, alpha: 8}", "model.fusion=add", "model.frozen=[]"])
    run(base)
    out = tmp_path / "out"
    names = load_file(out / "adapter_model.safetensors").keys()
    wrapped = {name for name in names if "lora_" in name}
    assert len(wrapped) == 6 * 7 * 2 and all(".language_model.layers." in name for name in wrapped)
    assert {name.split(".")[3] for name in names - wrapped} == {"fusion", "projector"}

    merge_adapter(out, tmp_path / "merged")
    base_weights = weights(out / "base")
    merged = weights(tmp_path / "merged")
    assert base_weights.keys() == merged.keys()
    moved = {name for name in merged if not torch.equal(merged[name], base_weights[name])}
    assert {name.split(".")[1] for name in moved} == {"language_model", "fusion", "projector"}
    assert not any("embed_tokens" in name or "norm" in name.split(".")[-2] for name in moved if "language" in name)

    with_adapter = AutoModelForImageTextToText.from_pretrained(out).eval()
    whole, processor = load_model(tmp_path / "merged")
    ids = torch.tensor([processor.tokenizer("Where is the lamp?")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(with_adapter(ids).logits, whole(ids).logits, atol=1e-5, rtol=1e-4)


def test_going_on_from_another_model_keeps_its_tokenizer(questions: Path, tmp_path: Path) -> None:
    run(recipe(tmp_path / "one", questions))
    AcceleratorState._reset_state(reset_partial_state=True)
    first = tmp_path / "one" / "out"
    change = ["model={init_from: " + str(first) + ", frozen: [vision_tower]}", "optimisation.learning_rate=0.0"]
    run(recipe(tmp_path / "two", questions, change))
    second = tmp_path / "two" / "out"
    assert (first / "tokenizer.model").read_bytes() == (second / "tokenizer.model").read_bytes()
    one, two = weights(first), weights(second)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_minutes_end_a_run_and_shape_its_schedule(questions: Path, tmp_path: Path) -> None:
    limits = ["optimisation.max_steps=100000", "optimisation.max_minutes=0.02", "output.save_steps=100000"]
    trainer = build_trainer(recipe(tmp_path, questions, limits))
    trainer.train()
    assert 1 <= trainer.state.global_step < 1000
    assert trainer.factor.elapsed_min >= 0.02
    checkpoint = tmp_path / "out" / f"checkpoint-{trainer.state.global_step}"
    state = torch.load(checkpoint / "scheduler.pt", weights_only=True)
    assert state["lr_lambdas"][0]["elapsed_min"] == trainer.factor.elapsed_min


def test_schedule_by_hand() -> None:
    assert progress(5, 10) == 0.5
    assert progress(5, 10, elapsed_min=9, max_minutes=10) == 0.9
    assert progress(50, 10) == 1.0
    assert learning_rate_factor("cosine", 0.05, warmup=0.1) == 0.5
    assert learning_rate_factor("cosine", 0.55, warmup=0.1) == pytest.approx(0.5)
    assert learning_rate_factor("cosine", 1.0, warmup=0.1, floor=0.1) == pytest.approx(0.1)
    assert learning_rate_factor("linear", 0.55, warmup=0.1, floor=0.2) == pytest.approx(0.6)
    assert learning_rate_factor("constant", 0.99, warmup=0.1) == 1.0
    assert math.isclose(learning_rate_factor("cosine", 0.0, warmup=0.0), 1.0)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model.presett=tiny"], "unknown key 'model.presett'"),
        (["model.init_from=somewhere"], "expected exactly one of preset, init_from and language_model"),
        (["model={preset: null}"], "none is given"),
        (["data.answer_style={letters: 1}"], "data.answer_style holds ['letters']"),
        (["data.train=[]"], "data.train is empty"),
        (["model.frozen=[head]"], "model.frozen[0] is 'head'"),
        (["trainer={learning_rat: 1}"], "learning_rat"),
        (["model.vision_tower=no/such/tower"], "model.vision_tower no/such/tower: no such folder"),
        (["model={init_from: nowhere}"], "nowhere: no such model"),
        (["data.train=[{path: nowhere}]"], "nowhere/data/train: no .parquet file"),
    ],
)
def test_wrong_recipes_are_one_sentence(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], named: str
) -> None:
    path = write_recipe(tmp_path, questions)
    with pytest.raises(SystemExit) as caught:
        run_recipe_command(SftRecipe, run, "spatialvlm.training.sft", [str(path), *overrides])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert caught.value.code == 2
    assert message.startswith("spatialvlm: ") and named in message


def test_a_tower_of_another_size_is_refused(questions: Path, tmp_path: Path) -> None:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    config = SiglipVisionConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    SiglipVisionModel(config).save_pretrained(tmp_path / "tower")
    with pytest.raises(InputError, match=r"model\.vision_tower .*: has .* of size .*, expected"):
        build_trainer(recipe(tmp_path, questions, [f"model.vision_tower={tmp_path / 'tower'}"]))


def test_a_damaged_picture_is_named_during_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_question_set(tmp_path / "questions")
    (root / "images" / "room" / "frame_000001.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    path = write_recipe(tmp_path, root)
    with pytest.raises(SystemExit):
        run_recipe_command(SftRecipe, run, "spatialvlm.training.sft", [str(path), "data.workers=1"])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("spatialvlm: ") and "frame_000001.png" in message
