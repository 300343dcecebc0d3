"""The verb `transfer`: a model on VSI-Bench, VSTI-Bench or SPAR-Bench, with the report of our own benchmark."""

from __future__ import annotations

import logging
import os
import sys
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
) -> None:
    """Ask a model the questions of a neighbouring benchmark; which one is told from the columns of the file.

    Example: spatialvlm transfer runs/sft/final VSI-Bench/test-00000-of-00001.parquet --images VSI-Bench/frames
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    from benchmarks.neighbours.tasks.utils import load_once
    from benchmarks.spatialmosaic.results import Run
    from benchmarks.spatialmosaic.session import Session, Settings
    from spatialvlm.loading import resolve

    earlier = [Run.read(path) for path in against or ()]
    asked = load_once(questions, images, frames, limit)
    resolve(model)  # so that a wrong name leaves no folder behind
    folder = out or Path("runs") / "transfer" / Path(model).resolve().name
    folder.mkdir(parents=True, exist_ok=True)
    session = Session(model, folder, Settings(batch_size, max_new_tokens, dtype, device))
    where = {"data": str(questions), "images": str(images) if images else None, "frames": frames, "limit": limit}
    run = _ask(session, asked, where, model, folder, name or Path(model).name, max_new_tokens)
    if run is None:  # another process reports
        return
    _write(folder, [*earlier, run], asked)
    if session.lm.journal is not None:
        session.lm.journal.remove()


def _ask(
    session: Any,
    asked: NeighbourData,
    where: dict[str, Any],
    model: str,
    folder: Path,
    name: str,
    max_new_tokens: int,
) -> Run | None:
    """The answers with what is known about them; an interrupted call goes on where it was."""
    from benchmarks.neighbours.evaluate import evaluate
    from benchmarks.spatialmosaic.facts import command_line, dataset_digest, model_digest, now, versions
    from benchmarks.spatialmosaic.journal import Journal, journal_path

    lm = session.lm
    lm.journal = Journal(journal_path(folder, model, f"{lm.model.dtype} {asked.benchmark}"), lm.process)
    chat = bool(getattr(lm.processor, "chat_template", None))
    run = evaluate(lm, asked, where, name, max_new_tokens, apply_chat_template=chat)
    if run is None:
        return None
    facts = {
        "command": command_line(),
        "benchmark": asked.benchmark,
        "finished": now(),
        "model": model,
        "model_digest": model_digest(model),
        "dataset": str(asked.data.source),
        "dataset_digest": dataset_digest(asked.data),
        "frames": where["frames"],
        "limit_per_type": where["limit"],
        "seconds_in_model": round(lm.seconds_in_model, 3),
        "versions": versions(),
    }
    return replace(run, facts=facts | session.facts())


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
