"""Whole commands: several processes under a launcher, killed ones, and that the bytes come out the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.spatialmosaic.dataset import load
from benchmarks.spatialmosaic.results import PREDICTIONS, Run
from benchmarks.spatialmosaic.scoring import aggregate
from benchmarks.spatialmosaic.taskfiles import GROUP, write_tasks
from spatialvlm.loading import load_model
from spatialvlm.remote_code import export_with_code

ROOT = Path(__file__).resolve().parents[2]
TWO = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "recipes/accelerate/two_processes_cpu.yaml")]
pytestmark = pytest.mark.slow


def start(model: Path, dataset: Path, out: Path, processes: int = 1) -> subprocess.Popen[str]:
    launcher = [*TWO, "--main_process_port", "0"] if processes == 2 else []
    command = [sys.executable, *launcher, "-m", "spatialvlm.cli", "bench", str(model), str(dataset), "--out", str(out)]
    command += ["--batch-size", "3", "--max-new-tokens", "16", "--name", "model"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(model: Path, dataset: Path, out: Path, processes: int = 1) -> bytes:
    """The bytes of the predictions after a complete run."""
    running = start(model, dataset, out, processes)
    output, _ = running.communicate(timeout=500)
    assert running.returncode == 0, output[-3000:]
    assert not list(out.glob(".answers*"))
    return (out / PREDICTIONS).read_bytes()


def kill(model: Path, dataset: Path, out: Path, processes: int = 1) -> int:
    """How many answers there were when all processes of a run were killed on the spot."""
    running = start(model, dataset, out, processes)
    try:
        while not (count := sum(len(path.read_text().splitlines()) for path in out.glob(".answers*"))):
            assert running.poll() is None, running.communicate()[0][-3000:]
            time.sleep(0.01)
    finally:
        # the launcher gives its processes sessions of their own
        for process in [*psutil.Process(running.pid).children(recursive=True), running]:
            process.kill()
        running.communicate()
    assert not (out / PREDICTIONS).exists()
    return count


@pytest.fixture(scope="module")
def alone(model_dir: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return finish(model_dir, dataset, tmp_path_factory.mktemp("alone"))


def test_two_processes_write_the_bytes_of_one(model_dir: Path, dataset: Path, alone: bytes, tmp_path: Path) -> None:
    assert finish(model_dir, dataset, tmp_path, processes=2) == alone
    assert len({json.loads(line)["response"] for line in alone.splitlines()}) > 3
    assert Run.read(tmp_path).facts["processes"] == 2


def test_killed_and_gone_on_with(model_dir: Path, dataset: Path, alone: bytes, tmp_path: Path) -> None:
    assert 0 < kill(model_dir, dataset, tmp_path) < 68
    assert finish(model_dir, dataset, tmp_path) == alone
    facts = Run.read(tmp_path).facts
    assert 0 < facts["answers_of_an_earlier_call"] < 68


def test_two_processes_killed_and_one_goes_on(model_dir: Path, dataset: Path, alone: bytes, tmp_path: Path) -> None:
    assert 0 < kill(model_dir, dataset, tmp_path, processes=2) < 68
    assert finish(model_dir, dataset, tmp_path) == alone


@pytest.mark.parametrize("processes", [1, 2])
def test_the_command_of_lm_eval_with_our_class(
    model_dir: Path, dataset: Path, alone: bytes, tmp_path: Path, processes: int
) -> None:
    write_tasks(tmp_path / "tasks", load(dataset))
    launcher = [*TWO, "--main_process_port", "0"] if processes == 2 else []
    command = [sys.executable, *launcher, "-m", "benchmarks.lm_eval", "run", "--model", "spatialvlm"]
    command += ["--model_args", f"pretrained={model_dir}", "--batch_size", "3", "--apply_chat_template"]
    command += ["--include_path", str(tmp_path / "tasks"), "--tasks", GROUP, "--gen_kwargs", "max_gen_toks=16"]
    command += ["--output_path", str(tmp_path / "out"), "--log_samples"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (tmp_path / "out").rglob("results_*.json")
    logs = list((tmp_path / "out").rglob("samples_*.jsonl"))
    samples = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in alone.splitlines()]
    assert len(logs) == 17 and len(samples) == 68
    assert {s["doc"]["id"]: s["resps"][0][0] for s in samples} == {row["id"]: row["response"] for row in rows}
    overall = json.loads(results.read_text())["groups"][GROUP]["score,answer"]
    assert overall == pytest.approx(aggregate(rows)["overall"] / 100, abs=1e-12)


def test_the_stock_command_of_lm_eval_with_our_model(
    model_dir: Path, dataset: Path, alone: bytes, tmp_path: Path
) -> None:
    """Weights with their code beside them need nothing of ours in lm-eval but the tasks."""
    model, processor = load_model(model_dir, device="cpu")
    export_with_code(model, processor, tmp_path / "coded")
    write_tasks(tmp_path / "tasks", load(dataset))
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf-multimodal", "--device", "cpu"]
    arguments = f"pretrained={tmp_path / 'coded'},trust_remote_code=True,max_images=5,dtype=float32"
    command += ["--model_args", arguments, "--batch_size", "3", "--apply_chat_template"]
    command += ["--include_path", str(tmp_path / "tasks"), "--tasks", "spatialmosaic_indoor"]
    command += ["--gen_kwargs", "max_gen_toks=16", "--output_path", str(tmp_path / "out"), "--log_samples"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = (tmp_path / "out").rglob("samples_*.jsonl")
    samples = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in alone.splitlines()]
    assert {s["doc"]["id"]: s["resps"][0][0] for s in samples} == {row["id"]: row["response"] for row in rows}


def test_an_error_in_one_process_ends_all(model_dir: Path, dataset: Path, tmp_path: Path) -> None:
    """A picture that turns out to be cut off in the middle stops the run with its name, and nobody waits for ever."""
    broken = tmp_path / "data"
    (broken / "data").mkdir(parents=True)
    (broken / "data" / "test").symlink_to(dataset / "data" / "test")
    for path in sorted((dataset / "images").rglob("*.jpg")):
        copy = broken / path.relative_to(dataset)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    victim = sorted((broken / "images").rglob("*.jpg"))[-1]
    victim.write_bytes(victim.read_bytes()[:-200])
    running = start(model_dir, broken, tmp_path / "out", processes=2)
    output, _ = running.communicate(timeout=500)
    assert running.returncode != 0
    assert f"{victim.name}: the picture is truncated or damaged" in output
