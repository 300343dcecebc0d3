"""The verb `bench`: a model, a dataset, and how well the one answers the other."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_generation.errors import InputError

if TYPE_CHECKING:
    from benchmarks.spatialmosaic.dataset import BenchData
    from benchmarks.spatialmosaic.results import Run
    from benchmarks.spatialmosaic.session import Session


def bench(
    model: Annotated[str, typer.Argument(help="Model folder (ours or any image-text-to-text model), or 'tiny'.")] = "",
    dataset: Annotated[
        Path | None, typer.Argument(help="Folder with data/SPLIT/*.parquet, or an official test JSON.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to ask.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many questions per question type.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; default: runs/bench/MODEL.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions answered at once.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length limit of an answer, reasoning included.")] = 24,
    baselines: Annotated[bool, typer.Option(help="Add the baselines that see no picture; chance always is.")] = False,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="Add one: constant, question_only, best_view, other_views, shuffled_views, no_geometry, all."
        ),
    ] = None,
    against: Annotated[list[Path] | None, typer.Option(help="Folder of an earlier run to put beside this one.")] = None,
    name: Annotated[str, typer.Option(help="What the report calls the model; default: its folder name.")] = "",
    images: Annotated[Path | None, typer.Option(help="Folder the pictures are relative to; found by itself.")] = None,
    dtype: Annotated[str, typer.Option(help="Number type of the weights, e.g. bfloat16; default by device.")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...; default: the first GPU, else the CPU.")] = "",
    backend: Annotated[str, typer.Option(help="lm-eval's name of a model class, e.g. local-chat-completions.")] = "",
    model_args: Annotated[str, typer.Option(help="Its arguments, e.g. base_url=http://...,num_concurrent=8.")] = "",
    write_tasks: Annotated[
        Path | None, typer.Option(help="Only write lm-eval task files for DATASET there (MODEL is not needed).")
    ] = None,
) -> None:
    """Ask a model every question of SpatialMosaic-Bench and report its scores next to chance.

    Example: spatialvlm bench tiny data/rooms --baselines --out runs/tiny

    Example: spatialvlm bench gpt-x data/rooms --backend openai-chat-completions --model-args num_concurrent=8

    Example: spatialvlm bench --write-tasks tasks data/rooms, then lm_eval --model hf-multimodal --include_path tasks
    --tasks spatialmosaic_bench --apply_chat_template --model_args pretrained=MODEL,max_images=5
    """
    if write_tasks is not None:
        _write_tasks(write_tasks, dataset or (Path(model) if model else None), split, images)
        return
    if not model or dataset is None:
        raise InputError("bench: MODEL and DATASET are needed, e.g. spatialvlm bench tiny data/rooms")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from benchmarks.spatialmosaic.baselines import BLIND, check_names
    from benchmarks.spatialmosaic.dataset import load
    from benchmarks.spatialmosaic.results import Run
    from benchmarks.spatialmosaic.session import Session, Settings
    from spatialvlm.loading import resolve

    names = check_names([*(BLIND if baselines else ("chance",)), *(baseline or ())])
    earlier = [Run.read(path) for path in against or ()]
    data = load(dataset, split, images).limited(limit)
    _warn_of_missing_answers(data)
    if not backend:
        resolve(model)  # so that a wrong name leaves no folder behind
    folder = out or Path("runs") / "bench" / (Path(model).resolve().name)
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(batch_size, max_new_tokens, dtype, device, backend, model_args)
    session = Session(model, folder, settings, data.max_views)
    run = session.ask(data, name or Path(model).name)
    others = _baseline_runs(names, data, session)
    if run is None:  # another process reports
        return
    run = replace(run, facts=_facts(model, backend, data, limit) | dict(run.facts))
    _write(folder, [*earlier, run, *others], run, data)
    session.forget_answers()


def _baseline_runs(names: Sequence[str], data: BenchData, session: Session) -> list[Run]:
    """The named baselines; processes other than the first only take part where the model is asked again."""
    from benchmarks.spatialmosaic.baselines import WITH_MODEL, run_baselines

    if session.lm.process:
        names = [name for name in names if name in WITH_MODEL]
    return run_baselines(names, data, data.table["id"].to_pylist(), session.ask)


def _facts(model: str, backend: str, data: BenchData, limit: int | None) -> dict[str, object]:
    """What is known about the run beside its times."""
    from benchmarks.spatialmosaic.facts import command_line, machine, model_digest, now, versions

    return {
        "command": command_line(),
        "finished": now(),
        "model": model,
        "model_digest": None if backend else model_digest(model),
        "dataset": str(data.source),
        "split": data.split,
        "limit_per_type": limit,
        "without_truth": len(data.without_truth()),
        "versions": versions(),
        "machine": machine(),
    }


def _write(folder: Path, runs: Sequence[Run], run: Run, data: BenchData) -> None:
    from benchmarks.spatialmosaic.publish import write_report
    from benchmarks.spatialmosaic.render import print_report
    from benchmarks.spatialmosaic.results import PREDICTIONS, RUN_FACTS

    run.write(folder / PREDICTIONS)
    report, files = write_report(folder, runs, data)
    print_report(report)
    for path in (folder / PREDICTIONS, folder / RUN_FACTS, *files):
        print(path)


def _warn_of_missing_answers(data: BenchData) -> None:
    """Lists questions that score 0 whatever is answered; the published scorer counts them all the same."""
    from benchmarks.spatialmosaic.listed import listed

    missing = data.without_truth()
    if missing:
        print(
            f"{data.source}: {len(missing)} questions have no readable answer and score 0, ids {listed(missing)}",
            file=sys.stderr,
        )


def _write_tasks(folder: Path, dataset: Path | None, split: str, images: Path | None) -> None:
    if dataset is None:
        raise InputError("bench --write-tasks: DATASET is needed, e.g. spatialvlm bench --write-tasks tasks data/rooms")
    from benchmarks.spatialmosaic.dataset import load
    from benchmarks.spatialmosaic.taskfiles import GROUP, write_tasks

    data = load(dataset, split, images)
    write_tasks(folder, data)
    print(f"{folder}: tasks for {len(data.question_types)} question types; run them as --tasks {GROUP}")
