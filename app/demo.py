"""The whole chain on embedded rooms, as the commands a person would type: `make demo`.

Rooms, questions, a benchmark of the packaged `tiny` model, a short fine-tune, the benchmark again, and an answer about
photos. Every stage is a command, printed before it runs. A stage whose result is there already is skipped, so that an
interrupted demo goes on where it stopped.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
PHOTO_FOLDERS = ("shared/data/icl_living/color", "shared/data/open3d_rgbd/color")
QUESTION = "Counting each physical object once, how many chair(s) can be seen in these frames?"


@dataclass(frozen=True)
class Stage:
    """One command of the chain; the file ``done`` exists once it has succeeded."""

    title: str
    command: Sequence[str]
    done: Path


def spatialvlm(*arguments: str | Path) -> list[str]:
    """The `spatialvlm` command of this very environment."""
    return [sys.executable, "-m", "spatialvlm.cli", *map(str, arguments)]


def launch(module: str, *arguments: str) -> list[str]:
    """A training module under `accelerate launch`, one process, every choice said so that it asks and warns nothing."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
    return [*launcher, "--mixed_precision", "no", "--dynamo_backend", "no", "-m", module, *arguments]


def plan(out: Path, model: str, scenes: int, minutes: float) -> list[Stage]:
    """The stages from an empty folder to a benchmarked fine-tune."""
    rooms, data, tuned = out / "rooms", out / "questions", out / "model"
    synth: list[str | Path] = [
        "synth",
        rooms,
        "--scenes",
        str(scenes),
        "--seed",
        "2026",
        "--views",
        "20",
        "--size",
        "320x240",
        "--loose",
        "0",  # the tidy rooms that the packaged model was trained in
    ]
    generate: list[str | Path] = [
        "generate",
        rooms,
        "--reader",
        "synthetic",
        "--out",
        data,
        "--seed",
        "2026",
        "--workers",
        "2",
    ]
    generate += ["--quotas", ROOT / "recipes/generation_demo.yaml", "--split", "test=0.4", "--preview"]
    recipe = [str(ROOT / "recipes/tiny_demo.yaml"), f"data.root={data}", f"output.folder={tuned}"]
    recipe += [f"model.init_from={model}", f"optimisation.max_minutes={minutes}"]
    before, after = out / "before", out / "after"
    return [
        Stage("Build and render rooms", spatialvlm(*synth, "--workers", "2"), rooms / ".done"),
        Stage("Measure visibility and write questions", spatialvlm(*generate), data / "README.md"),
        Stage(
            "Benchmark before fine-tuning",
            spatialvlm("bench", model, data, "--name", "before", "--out", before),
            before / "results.json",
        ),
        Stage("Fine-tune", launch("spatialvlm.training.sft", *recipe), tuned / "config.json"),
        Stage(
            "Benchmark after fine-tuning",
            spatialvlm("bench", tuned, data, "--name", "after", "--out", after, "--against", before, "--baselines"),
            after / "results.json",
        ),
    ]


def photos(out: Path) -> list[Path]:
    """Three real photos of one place where they lie beside the repository, else three rendered views."""
    for folder in PHOTO_FOLDERS:
        found = sorted((ROOT.parent / folder).glob("*.[jp][pn]g"))
        if len(found) >= 2:
            return found[:3]
    return sorted((out / "rooms").glob("*/images/*.jpg"))[:3]


def shown(command: Sequence[str]) -> str:
    """The command as a person would type it in the repository with the environment active."""
    text = shlex.join(command).replace(f"{sys.executable} -m spatialvlm.cli", "spatialvlm")
    text = text.replace(f"{sys.executable} -m accelerate.commands.launch", "accelerate launch")
    return text.replace(f"{ROOT}/", "")


def run(stage: Stage, console: Console) -> float:
    """Runs one stage and returns its wall-clock seconds; ends the demo with the stage's status when it fails."""
    console.print(Rule(stage.title))
    if stage.done.exists():
        console.print(f"already there: {stage.done}")
        return 0.0
    console.print("$ " + shown(stage.command), style="cyan", soft_wrap=True, highlight=False)
    start = time.perf_counter()
    status = subprocess.run(list(stage.command)).returncode
    if status:
        console.print(f"'{stage.title}' ended with status {status}", style="red")
        raise typer.Exit(status)
    if not stage.done.exists():
        stage.done.touch()
    return time.perf_counter() - start


def summary(seconds: dict[str, float]) -> Table:
    """Where the time went."""
    table = Table("stage", "seconds", title="Where the time went")
    for title, value in seconds.items():
        table.add_row(title, f"{value:.0f}" if value else "already there")
    table.add_row("all", f"{sum(seconds.values()):.0f}", style="bold")
    return table


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo_output"),
    model: Annotated[str, typer.Option(help="Model to start from.")] = "tiny",
    scenes: Annotated[int, typer.Option(min=5, help="Rooms to build; two fifths are for the benchmark.")] = 15,
    minutes: Annotated[float, typer.Option(min=0.1, help="Budget of the fine-tune.")] = 2.0,
) -> None:
    """Run the whole chain, from rooms to an answer about photos."""
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    seconds = {stage.title: run(stage, console) for stage in plan(out, model, scenes, minutes)}
    pictures = photos(out)
    command = spatialvlm("ask", out / "model", *pictures, "--question", QUESTION, "--show-thought")
    asked = Stage("Ask about photos", command, out / ".never")
    console.print(Rule(asked.title))
    console.print("$ " + shown(asked.command), style="cyan", soft_wrap=True, highlight=False)
    start = time.perf_counter()
    status = subprocess.run(asked.command).returncode
    seconds[asked.title] = time.perf_counter() - start
    console.print(Rule())
    console.print(summary(seconds))
    for what, path in {
        "rooms": out / "rooms",
        "questions": out / "questions/preview.html",
        "fine-tuned model": out / "model",
        "report": out / "after/report.html",
    }.items():
        console.print(f"{what:17} {path}", soft_wrap=True, highlight=False)
    raise typer.Exit(status)


if __name__ == "__main__":
    typer.run(demo)
