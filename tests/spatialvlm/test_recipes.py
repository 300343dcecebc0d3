"""Recipes: what a person may write in one, and what they are told when it is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import yaml

from geometry_encoders.errors import InputError
from spatialvlm.training.recipe import load_recipe


@dataclass(frozen=True)
class Rates:
    peak: float = 1e-3
    shape: Literal["cosine", "linear"] = "cosine"
    minutes: float | None = None


@dataclass(frozen=True)
class Part:
    path: str
    weight: float = 1.0


@dataclass(frozen=True)
class Plan:
    steps: int
    parts: tuple[Part, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    frozen: tuple[str, ...] = ()
    resume: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return path


def test_reads_sections_lists_and_numbers(tmp_path: Path) -> None:
    text = "steps: 5\nparts:\n- {path: a}\n- {path: b, weight: 2}\nrates: {peak: 1e-4, minutes: 3}\nfrozen: [x, y]\n"
    plan = load_recipe(Plan, write(tmp_path, text))
    assert plan == Plan(5, (Part("a"), Part("b", 2.0)), {}, Rates(1e-4, "cosine", 3.0), ("x", "y"))
    assert isinstance(plan.parts[1].weight, float)


def test_overrides_replace_and_create(tmp_path: Path) -> None:
    path = write(tmp_path, "steps: 5\nrates: {peak: 0.1}\n")
    plan = load_recipe(Plan, path, ["rates.shape=linear", "steps=7", "shares.letter=0.5", "parts=[{path: c}]"])
    assert (plan.steps, plan.rates, plan.shares) == (7, Rates(0.1, "linear"), {"letter": 0.5})
    assert plan.parts == (Part("c"),)


@pytest.mark.parametrize(
    ("text", "overrides", "named"),
    [
        ("steps: 5\nstepz: 6\n", [], ["plan.yaml", "unknown key 'stepz'", "steps"]),
        ("steps: 5\nrates: {paek: 1}\n", [], ["plan.yaml", "unknown key 'rates.paek'", "peak"]),
        ("parts: []\n", [], ["plan.yaml", "'steps' is missing"]),
        ("steps: 5\nparts: [{weight: 1}]\n", [], ["'parts[0].path' is missing"]),
        ("steps: many\n", [], ["steps is 'many'", "a whole number"]),
        ("steps: true\n", [], ["steps is True", "a whole number"]),
        ("steps: 5\nrates: {shape: zigzag}\n", [], ["rates.shape is 'zigzag'", "cosine, linear"]),
        ("steps: 5\nfrozen: x\n", [], ["frozen is 'x'", "a list of text"]),
        ("steps: 0\n", [], ["plan.yaml", "steps is 0"]),
        ("- 1\n", [], ["plan.yaml", "expected a mapping"]),
        ("steps: [\n", [], ["plan.yaml", "not a YAML file"]),
        ("steps: 5\n", ["steps"], ["override 'steps'", "section.key=value"]),
        ("steps: 5\n", ["steps.deep=1"], ["override 'steps.deep=1'"]),
        ("steps: 5\n", ["rates.unknown=1"], ["unknown key 'rates.unknown'"]),
    ],
)
def test_bad_recipes_are_one_sentence(tmp_path: Path, text: str, overrides: list[str], named: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(Plan, write(tmp_path, text), overrides)
    assert "\n" not in str(caught.value)
    for part in named:
        assert part in str(caught.value)


def test_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_recipe(Plan, tmp_path / "nowhere.yaml")


RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_begins_with_the_command_that_runs_it(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert (
        first.startswith(("# accelerate launch ", "# python -m ", "# spatialvlm ")) and f"recipes/{path.name}" in first
    )


@pytest.mark.parametrize("name", ["tiny", "tiny_demo", "tiny_nogeometry", "lora_qwen3"])
def test_shipped_recipes_of_instruction_tuning_are_valid(name: str) -> None:
    from spatialvlm.training.sft_recipe import SftRecipe, training_arguments

    recipe = load_recipe(SftRecipe, RECIPES / f"{name}.yaml", ["optimisation.precision=float32"])
    assert training_arguments(recipe).max_grad_norm == recipe.optimisation.max_grad_norm


def test_the_vision_recipe_fits_the_preset() -> None:
    from spatialvlm.presets import tiny_config
    from spatialvlm.training.recipe import build
    from spatialvlm.training.vision_recipe import VisionRecipe

    recipe = load_recipe(VisionRecipe, RECIPES / "vision_tiny.yaml")
    assert recipe.optimisation.max_steps * recipe.optimisation.batch_size >= 64_000
    assert build(VisionRecipe, {"data": {"scenes": "x"}, "output": {"folder": "y"}}, "here").tower == recipe.tower
    assert tiny_config.__doc__ and "128 x 128" in tiny_config.__doc__ and recipe.tower.image_size == 128


def test_the_twin_differs_in_geometry_only() -> None:
    from spatialvlm.training.align_projector import AlignRecipe
    from spatialvlm.training.letter_drill import DrillRecipe
    from spatialvlm.training.sft_recipe import SftRecipe

    tiny, twin = (load_recipe(SftRecipe, RECIPES / f"{name}.yaml") for name in ("tiny", "tiny_nogeometry"))
    assert (tiny.data, tiny.optimisation, tiny.seed) == (twin.data, twin.optimisation, twin.seed)
    assert set(tiny.model.frozen) - set(twin.model.frozen) == {"geometry_tower"}
    commands = (RECIPES / "tiny_nogeometry.yaml").read_text().splitlines()[2:4]
    letters = load_recipe(DrillRecipe, RECIPES / "letters_tiny.yaml", commands[0].split()[2:])
    align = load_recipe(AlignRecipe, RECIPES / "align_tiny.yaml", commands[1].split()[2:])
    assert letters.model.fusion == "none" and align.model.geometry_tower is None
    assert (align.model.init_from, twin.model.init_from) == (letters.folder, align.folder)


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_settings_name_their_stage(stage: int) -> None:
    settings = json.loads((RECIPES / "deepspeed" / f"zero{stage}.json").read_text())
    assert settings["zero_optimization"]["stage"] == stage
    for name in (f"zero{stage}", f"zero{stage}_cpu"):
        launch = yaml.safe_load((RECIPES / "accelerate" / f"{name}.yaml").read_text())
        assert launch["deepspeed_config"]["deepspeed_config_file"] == f"recipes/deepspeed/zero{stage}.json"
        assert launch["use_cpu"] is name.endswith("_cpu")
