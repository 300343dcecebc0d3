"""Training of DUSt3R and Spann3R in two processes on a CPU, by the commands that their recipes name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from geometry_encoders.reconstruction import Dust3rConfig, Dust3rModel
from spatialvlm.training.reconstruction.starting_points import spann3r_to_train
from tests.spatialvlm.empty_rooms import write_rooms

ROOT = Path(__file__).parents[2]
PX = 32
pytestmark = pytest.mark.slow

# the command of the module with the reader of the tests, and a note of how many processes there are
PROBE = """
import sys
from pathlib import Path
from accelerate import Accelerator
from qa_generation.readers.base import READERS
from spatialvlm.training.command import run_recipe_command
import spatialvlm.training.reconstruction.train_{kind} as module

READERS["rooms"] = "tests.spatialvlm.empty_rooms:RoomReader"
run_recipe_command(module.{recipe}, module.train, "probe", sys.argv[2:])
state = Accelerator().state
Path(sys.argv[1], f"process_{{state.process_index}}_of_{{state.num_processes}}").touch()
"""


def write_recipe(folder: Path, kind: str) -> Path:
    """Four rooms and a small network without dropout, whose pictures keep their colours."""
    write_rooms(folder / "rooms", scenes=4)
    torch.manual_seed(0)
    sizes = {"enc_embed_dim": 32, "enc_depth": 1, "enc_num_heads": 2, "dec_embed_dim": 32, "dec_depth": 1}
    Dust3rModel(Dust3rConfig(image_size=(PX, PX), dec_num_heads=2, **sizes)).save_pretrained(folder / "start")
    if kind == "spann3r":
        model = spann3r_to_train(str(folder / "start"), "tiny", PX, 2.0, seed=0)
        model.config.memory_dropout = 0.0
        model.save_pretrained(folder / "start")
    settings = {"max_steps": 4, "batch_size": 4, "precision": "no", "colour_jitter": 0, "learning_rate": 2e-3}
    content = {
        "data": {"scenes": str(folder / "rooms"), "reader": "rooms", "held_out": 0.2, "eval_samples": 4},
        "encoder": {"start": str(folder / "start"), "image_px": PX},
        "optimisation": settings,
        "output": {"folder": str(folder / "out"), "cache": str(folder / "cache")},
        ("sequence" if kind == "spann3r" else "sampling"): {"frames" if kind == "spann3r" else "views": 3},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"


def launch(folder: Path, kind: str, recipe: Path, processes: int) -> dict[str, torch.Tensor]:
    """Runs the recipe in that many processes; returns the weights it wrote."""
    folder.mkdir()
    names = {"kind": kind, "recipe": f"{kind.capitalize()}Recipe"}
    (folder / "probe.py").write_text(PROBE.format(**names))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable]
    if processes > 1:
        config = f"{ROOT}/recipes/accelerate/two_processes_cpu.yaml"
        command += ["-m", "accelerate.commands.launch", "--config_file", config, "--main_process_port", "0"]
    command += [str(folder / "probe.py"), str(folder), str(recipe), f"output.folder={folder / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in folder.glob("process_*")) == [
        f"process_{number}_of_{processes}" for number in range(processes)
    ]
    return load_file(folder / "out" / "encoder" / "model.safetensors")


@pytest.mark.parametrize("kind", ["dust3r", "spann3r"])
def test_two_processes_equal_one(tmp_path: Path, kind: str) -> None:
    recipe = write_recipe(tmp_path, kind)
    one, two = (launch(tmp_path / f"run{count}", kind, recipe, count) for count in (1, 2))
    start = load_file(tmp_path / "start" / "model.safetensors")
    assert any(not torch.equal(value, start[name]) for name, value in one.items())
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-4, rtol=1e-3, msg=name)
