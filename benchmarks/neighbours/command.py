"""The verb `transfer`: a model on VSI-Bench, VSTI-Bench or SPAR-Bench, with the report of our own benchmark."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from benchmarks.neighbours.dataset import NeighbourData
    from benchmarks.spatialmosaic.results import Run


def transfer(
    model: Annotated[str, typer.Argument(help="Model folder (ours or any image-text-to-text model), or 'tiny'.")],
    questions: Annotated[Path, typer.Argument(help="Parquet, JSON or JSONL file as published, or its folder.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder with [DATASET/]SCENE/*.jpg, frames of the videos; default: beside.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a video that a question shows.")] = 32,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions per question type.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; default: runs/transfer/MODEL.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions answered at once.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length limit of an answer, reasoning included.")] = 24,
    against: Annotated[list[Path] | None, typer.Option(help="Folder of an earlier run to put beside this one.")] = None,
    name: Annotated[str, typer.Option(help="What the report calls the model; default: its folder name.")] = "",
    dtype: Annotated[str, typer.Option(help="Number type of the weights, e.g. bfloat16; default by device.")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...; default: the first GPU, else the CPU.")] = "",
    backend: Annotated[str, typer.Option(help="lm-eval's name of a model class, e.g. local-chat-completions.")] = "",
    model_args: Annotated[str, typer.Option(help="Its arguments, e.g. base_url=http://...,num_concurrent=8.")] = "",
) -> None:
    """Ask a model the questions of a neighbouring benchmark; which one is told from the columns of the file.

    Example: spatialvlm transfer runs/sft/final VSI-Bench/test-00000-of-00001.parquet --images VSI-Bench/frames
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from benchmarks.neighbours.evaluate import evaluate as evaluate_neighbour
    from benchmarks.neighbours.tasks.utils import load_once
    from benchmarks.spatialmosaic.facts import command_line, machine, model_digest, now, versions
    from benchmarks.spatialmosaic.results import Run
    from benchmarks.spatialmosaic.session import Session, Settings
    from spatialvlm.loading import resolve

    earlier = [Run.read(path) for path in against or ()]
    asked = load_once(questions, images, frames, limit)
    if not backend:
        resolve(model)  # so that a wrong name leaves no folder behind
    folder = out or Path("runs") / "transfer" / Path(model).resolve().name
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(batch_size, max_new_tokens, dtype, device, backend, model_args)
    session = Session(model, folder, settings, asked.data.max_views)
    where = {"data": str(questions), "images": str(images) if images else None, "frames": frames, "limit": limit}

    def evaluate(lm: Any, _: Any, called: str, __: None, most: int, apply_chat_template: bool) -> Any:
        return evaluate_neighbour(lm, asked, where, called, most, apply_chat_template)

    run = session.ask(asked.data, name or Path(model).name, evaluate=evaluate)
    if run is None:  # another process reports
        return
    about = {
        "command": command_line(),
        "finished": now(),
        "benchmark": asked.benchmark,
        "model": model,
        "model_digest": None if backend else model_digest(model),
        "dataset": str(questions),
        "frames": frames,
        "limit_per_type": limit,
        "versions": versions(),
        "machine": machine(),
    }
    _write(folder, [*earlier, replace(run, facts=about | dict(run.facts))], asked)
    session.forget_answers()


def _write(folder: Path, runs: list[Run], asked: NeighbourData) -> None:
    from benchmarks.neighbours.baselines import best_constant, chance
    from benchmarks.spatialmosaic.publish import write_report
    from benchmarks.spatialmosaic.render import print_report
    from benchmarks.spatialmosaic.results import PREDICTIONS, RUN_FACTS

    runs[-1].write(folder / PREDICTIONS)
    beside = [run for run in (chance(asked.rows), best_constant(asked.rows)) if run.answers]
    report, files = write_report(folder, [*runs, *beside], asked.data, title=asked.benchmark)
    print_report(report)
    for path in (folder / PREDICTIONS, folder / RUN_FACTS, *files):
        print(path)
