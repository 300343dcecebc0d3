"""The verb `bench`: a model, a dataset, and how well the one answers the other."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_generation.errors import InputError

if TYPE_CHECKING:
    from benchmarks.spatialmosaic.dataset import BenchData
    from benchmarks.spatialmosaic.report import Report
    from benchmarks.spatialmosaic.results import Run


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
    baselines: Annotated[bool, typer.Option(help="Add the question-only baseline, learnt on the train split.")] = False,
    against: Annotated[list[Path] | None, typer.Option(help="Folder of an earlier run to put beside this one.")] = None,
    name: Annotated[str, typer.Option(help="What the report calls the model; default: its folder name.")] = "",
    images: Annotated[Path | None, typer.Option(help="Folder the pictures are relative to; found by itself.")] = None,
    dtype: Annotated[str, typer.Option(help="Number type of the weights, e.g. bfloat16; default by device.")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...; default: the first GPU, else the CPU.")] = "",
    write_tasks: Annotated[
        Path | None, typer.Option(help="Only write lm-eval task files for DATASET there (MODEL is not needed).")
    ] = None,
) -> None:
    """Ask a model every question of SpatialMosaic-Bench and report its scores next to chance.

    Example: spatialvlm bench tiny data/rooms --baselines --out runs/tiny

    Example: spatialvlm bench --write-tasks tasks data/rooms, then lm_eval --model hf-multimodal --include_path tasks
    --tasks spatialmosaic_bench --apply_chat_template --model_args pretrained=MODEL,max_images=5
    """
    if write_tasks is not None:
        _write_tasks(write_tasks, dataset or (Path(model) if model else None), split, images)
        return
    if not model or dataset is None:
        raise InputError("bench: MODEL and DATASET are needed, e.g. spatialvlm bench tiny data/rooms")
    _be_quiet()
    from benchmarks.spatialmosaic.dataset import load
    from benchmarks.spatialmosaic.report import compare
    from benchmarks.spatialmosaic.results import Run
    from spatialvlm.loading import resolve

    earlier = [Run.read(path) for path in against or ()]
    data = load(dataset, split, images)
    resolve(model)  # so that a wrong name leaves no folder behind
    folder = out or Path("runs") / "bench" / (Path(model).resolve().name)
    folder.mkdir(parents=True, exist_ok=True)
    run = _ask(model, data, folder, name or Path(model).name, limit, batch_size, max_new_tokens, dtype, device)
    if run is None:  # another process reports
        return
    asked = {answer.id for answer in run.answers}
    report = compare([*earlier, run, *_baseline_runs(data, asked, baselines)])
    facts = {"model": model, "dataset": str(dataset), "split": split, "questions": len(run.answers)}
    _write(folder, run, report, facts)


def _ask(
    model: str,
    data: BenchData,
    folder: Path,
    name: str,
    limit: int | None,
    batch_size: int,
    max_new_tokens: int,
    dtype: str,
    device: str,
) -> Run | None:
    """The model's answers; None on processes other than the first. An interrupted call goes on where it was."""
    from benchmarks.spatialmosaic.harness import evaluate
    from benchmarks.spatialmosaic.model import SpatialVLM, journal_path

    journal = journal_path(folder, model)
    lm = SpatialVLM(model, dtype=dtype or None, device=device or None, journal=str(journal), batch_size=batch_size)
    chat = bool(getattr(lm.processor, "chat_template", None))
    found = evaluate(lm, data, name, limit, max_new_tokens, apply_chat_template=chat)
    for path in folder.glob(f"{journal.name}*") if found else ():
        path.unlink()
    return found[0] if found else None


def _baseline_runs(data: BenchData, asked: set[str], with_question_only: bool) -> list[Run]:
    from benchmarks.spatialmosaic.baselines import chance, question_only
    from benchmarks.spatialmosaic.dataset import load_train

    test = [record for record in data.table.to_pylist() if record["id"] in asked]
    runs = [chance(test)]
    if with_question_only:
        runs.append(question_only(load_train(data).to_pylist(), test))
    return runs


def _write(folder: Path, run: Run, report: Report, facts: dict[str, object]) -> None:
    import json

    from benchmarks.spatialmosaic.render import print_report, to_html, to_markdown
    from benchmarks.spatialmosaic.results import PREDICTIONS

    run.write(folder / PREDICTIONS)
    results = {"facts": facts} | report.to_json()
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(report, facts), encoding="utf-8")
    (folder / "report.html").write_text(to_html(report, facts), encoding="utf-8")
    print_report(report)
    for name in (PREDICTIONS, "results.json", "report.md", "report.html"):
        print(folder / name)


def _write_tasks(folder: Path, dataset: Path | None, split: str, images: Path | None) -> None:
    if dataset is None:
        raise InputError("bench --write-tasks: DATASET is needed, e.g. spatialvlm bench --write-tasks tasks data/rooms")
    from benchmarks.spatialmosaic.dataset import load
    from benchmarks.spatialmosaic.taskfiles import GROUP, write_tasks

    data = load(dataset, split, images)
    write_tasks(folder, data.question_types, data)
    print(f"{folder}: tasks for {len(data.question_types)} question types; run them as --tasks {GROUP}")


def _be_quiet() -> None:
    """Keeps lm-eval's notes and, without a terminal, progress bars out of the output; before they are imported."""
    import logging

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
