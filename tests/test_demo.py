"""The plan of `make demo`: its commands are the documented ones and each stage says when it is done."""

import sys
from pathlib import Path

from app import demo
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.sft import SftRecipe


def test_stages_run_from_rooms_to_the_second_benchmark(tmp_path: Path) -> None:
    stages = demo.plan(tmp_path, "tiny", scenes=5, minutes=0.5)
    verbs = [demo.shown(stage.command).split()[:2] for stage in stages]
    assert verbs == [
        ["spatialvlm", "synth"],
        ["spatialvlm", "generate"],
        ["spatialvlm", "bench"],
        ["accelerate", "launch"],
        ["spatialvlm", "bench"],
    ]
    assert all(tmp_path in stage.done.parents for stage in stages)


def test_the_recipe_takes_the_overrides(tmp_path: Path) -> None:
    command = demo.plan(tmp_path, "tiny", scenes=5, minutes=0.5)[3].command
    start = next(i for i, word in enumerate(command) if word.endswith(".yaml"))
    recipe = load_recipe(SftRecipe, Path(command[start]), command[start + 1 :])
    assert recipe.model.init_from == "tiny"
    assert recipe.optimisation.max_minutes == 0.5
    assert Path(recipe.output.folder) == tmp_path / "model"


def test_a_finished_stage_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "result").touch()
    stage = demo.Stage("Never", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "result")
    assert demo.run(stage, demo.Console(quiet=True)) == 0.0


def test_photos_come_from_rooms_where_there_are_no_others(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(demo, "PHOTO_FOLDERS", ())
    for name in ("a", "b"):
        (tmp_path / "rooms" / "room" / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "rooms" / "room" / "images" / f"{name}.jpg").touch()
    assert [path.name for path in demo.photos(tmp_path)] == ["a.jpg", "b.jpg"]
