"""Training in several processes on a CPU, by the commands the recipes name; every test asserts that there are two."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForImageTextToText

import spatialvlm.models  # noqa: F401  registers the model
from tests.spatialvlm.small_questions import write_question_set

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

# what the launched processes run: the module, and a note from each of how many there are and what they run on
PROBE = """
import json, sys
from pathlib import Path
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.sft import build_trainer, run
from spatialvlm.training.sft_recipe import SftRecipe
import spatialvlm.training.sft as sft

def build(recipe):
    trainer = build_trainer(recipe)
    state = trainer.accelerator.state
    note = {"processes": trainer.accelerator.num_processes, "kind": str(state.distributed_type)}
    if state.deepspeed_plugin is not None:
        note["stage"] = state.deepspeed_plugin.zero_stage
    Path(sys.argv[2], f"note_{state.process_index}.json").write_text(json.dumps(note))
    return trainer

sft.build_trainer = build
run(load_recipe(SftRecipe, Path(sys.argv[1]), sys.argv[3:]))
"""


def write_recipe(folder: Path, questions: Path, **trainer: object) -> Path:
    content = {
        "model": {"preset": "tiny", "fusion": "none", "frozen": ["vision_tower"], "vocab_size": 512},
        "data": {"train": [{"path": str(questions)}], "questions_per_view_set": 2, "shuffle_options": False},
        "optimisation": {"max_steps": 3, "batch_size": 1},
        "output": {"folder": str(folder / "out"), "save_steps": 2, "log_steps": 1},
        "trainer": trainer,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def launch(config: str, folder: Path, recipe: Path, *overrides: str) -> list[dict[str, object]]:
    """Runs the recipe under ``accelerate launch`` and returns what each process noted."""
    probe = folder / "probe.py"
    probe.write_text(PROBE)
    environment = {
        **os.environ,
        **({"DS_ACCELERATOR": "cpu"} if config.startswith("zero") else {"ACCELERATE_USE_CPU": "true"}),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"recipes/accelerate/{config}.yaml"]
    command += ["--main_process_port", "0", str(probe), str(recipe), str(folder), *overrides]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(path.read_text()) for path in sorted(folder.glob("note_*.json"))]


def losses(folder: Path) -> list[float]:
    state = json.loads((folder / "out" / "checkpoint-3" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_question_set(tmp_path_factory.mktemp("data") / "questions")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory, questions: Path) -> Path:
    folder = tmp_path_factory.mktemp("two")
    notes = launch("two_processes_cpu", folder, write_recipe(folder, questions))
    assert [note["processes"] for note in notes] == [2, 2]
    assert all("MULTI_CPU" in str(note["kind"]) for note in notes)
    return folder


def test_two_processes_equal_one_with_twice_the_batch(two_processes: Path, questions: Path, tmp_path: Path) -> None:
    from spatialvlm.training.recipe import load_recipe
    from spatialvlm.training.sft import run
    from spatialvlm.training.sft_recipe import SftRecipe

    path = write_recipe(tmp_path, questions)
    run(load_recipe(SftRecipe, path, ["optimisation.batch_size=2"]))
    assert losses(two_processes) == pytest.approx(losses(tmp_path), abs=1e-4)


def test_two_processes_go_on_bit_equal(two_processes: Path, questions: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, questions)
    launch("two_processes_cpu", tmp_path, recipe, "optimisation.schedule=cosine")
    import shutil

    shutil.rmtree(tmp_path / "out" / "checkpoint-3")
    notes = launch("two_processes_cpu", tmp_path, recipe)
    assert len(notes) == 2
    whole = AutoModelForImageTextToText.from_pretrained(two_processes / "out").state_dict()
    parts = AutoModelForImageTextToText.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="needs the extra: pip install spatialvlm[deepspeed]"
)
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_equals_plain_data_parallelism(
    two_processes: Path, questions: Path, tmp_path: Path, stage: int
) -> None:
    notes = launch(f"zero{stage}_cpu", tmp_path, write_recipe(tmp_path, questions))
    assert [(note["processes"], note["stage"]) for note in notes] == [(2, stage), (2, stage)]
    assert losses(tmp_path) == pytest.approx(losses(two_processes), abs=1e-3)
    reloaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not reloaded[1]["missing_keys"]
