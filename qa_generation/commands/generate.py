"""The verb ``spatialvlm generate``: questions with checked answers from posed captures."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from qa_generation.generate import Report
    from qa_generation.generation_config import GenerationConfig
    from qa_generation.rounds import Backend


def generate(
    scenes: Annotated[Path, typer.Argument(help="Folder of the captures.")],
    reader: Annotated[str, typer.Option(help="Layout: synthetic, scannet, scannetpp, arkitscenes, waymo, mvimgnet.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset to make.")],
    reader_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Option of the reader, e.g. frame_stride=5; its page in docs/ lists them. Repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 works in this one.")] = 1,
    split: Annotated[list[str] | None, typer.Option(help="NAME=SHARE of scenes held out.  [default: test=0.2]")] = None,
    quotas: Annotated[Path | None, typer.Option(help="YAML with settings; see recipes/generation.yaml.")] = None,
    per_type: Annotated[int | None, typer.Option(min=0, help="Most questions per type and scene.")] = None,
    view_sets: Annotated[int | None, typer.Option(min=1, help="View sets per scene.")] = None,
    frame_naming: Annotated[str | None, typer.Option(help="index ('Frame 2') or stem (file stem).")] = None,
    warmup: Annotated[int | None, typer.Option(min=0, help="Auxiliary questions per type and training scene.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many scenes.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of visibility tables.  [default: OUT/.cache]")] = None,
    max_failed: Annotated[float, typer.Option(min=0, max=1, help="Share of failed scenes from which to exit 1.")] = 0.5,
    blind: Annotated[bool, typer.Option(help="Leave out questions that give their answer away.")] = True,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Work on the I-th of N parts, for array jobs.")] = "1/1",
    backend: Annotated[str, typer.Option(help="processes, or ray (extra 'ray').")] = "processes",
    ray_address: Annotated[str | None, typer.Option(help="Running Ray cluster, e.g. auto.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Make everything anew.")] = False,
    preview: Annotated[bool, typer.Option(help="Also write OUT/preview.html to check by eye.")] = False,
    pack: Annotated[Path | None, typer.Option(help="Also pack records with pictures for object storage here.")] = None,
) -> None:
    """Makes questions with checked answers from posed captures.

    Example: spatialvlm generate rooms --reader synthetic --out dataset --workers 2 --split test=0.2 --preview

    As an array job, every job of which is run again until it says that all is done (at most four times):
    spatialvlm generate SCANNET --reader scannet --out dataset --shard $JOB/64

    With options of the reader: spatialvlm generate SCANNET --reader scannet --reader-option frame_stride=5
    --reader-option label_column=nyu40class --out dataset
    """
    from qa_generation.generate import DEFAULT_SPLITS, generate_dataset
    from qa_generation.readers.base import open_reader, parse_options
    from qa_generation.splits import parse_splits

    source = open_reader(reader, scenes, parse_options(reader_option or []))
    report = generate_dataset(
        source,
        out,
        _config(quotas, per_type, view_sets, frame_naming, warmup, blind),
        seed=seed,
        workers=workers,
        splits=parse_splits(split) if split else DEFAULT_SPLITS,
        cache_dir=cache,
        limit=limit,
        overwrite=overwrite,
        progress=True,
        shard=_parse_shard(shard),
        backend=_backend(backend, workers, ray_address),
    )
    if report.waiting:
        typer.echo(f"this part is done as far as it can be; waiting for {report.waiting}: run it again afterwards")
        return
    if preview and report.records:
        from qa_generation.browser.site import write_preview

        write_preview(out, seed=seed, reader=source)
    if pack and report.records:
        from qa_generation.pack import pack_dataset

        pack_dataset(out, pack, progress=True)
    _print_report(report, out, preview and report.records > 0)
    if not report.records:
        sys.exit("spatialvlm generate: no question was made")
    if report.failed_share > max_failed:
        sys.exit(f"spatialvlm generate: {report.failed_share:.0%} of the scenes failed, more than --max-failed allows")


def _parse_shard(text: str) -> tuple[int, int]:
    """(i, n) from ``i/n``."""
    from qa_generation.errors import InputError

    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal()):
        raise InputError(f"--shard is {text!r}, expected I/N such as 3/64")
    return int(number), int(of)


def _backend(name: str, workers: int, ray_address: str | None) -> Backend | None:
    """What runs the scenes; None for worker processes."""
    from qa_generation.errors import InputError

    if name not in ("processes", "ray"):
        raise InputError(f"--backend is {name!r}, expected processes or ray")
    if name == "processes":
        return None
    from functools import partial

    from qa_generation.ray_backend import run_all

    return partial(run_all, workers=workers, address=ray_address)


def _config(
    quotas: Path | None,
    per_type: int | None,
    view_sets: int | None,
    frame_naming: str | None,
    warmup: int | None,
    blind: bool,
) -> GenerationConfig:
    """The settings of the file with those of the command line on top."""
    from qa_generation.generation_config import GenerationConfig, load_config

    config = load_config(quotas) if quotas else GenerationConfig()
    given: dict[str, Any] = {"per_type": per_type, "frame_naming": frame_naming, "warmup": warmup}
    config = replace(config, **{key: value for key, value in given.items() if value is not None})
    if not blind:
        config = replace(config, blind=None)
    if view_sets is not None:
        config = replace(config, sampling=replace(config.sampling, view_sets=view_sets))
    return config


def _print_report(report: Report, out: Path, preview: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from qa_generation.dataset_card import type_rows

    splits = [split for split in report.questions if split != "warmup"]
    table = Table(title=f"{report.records} questions in {out}")
    table.add_column("type")
    for split in splits:
        table.add_column(f"{split}\n{len(report.scenes[split])} scenes", justify="right")
    for _, question_type, numbers in type_rows(report.questions):
        table.add_row(question_type, *map(str, numbers))
    for question_type, number in sorted(report.questions.get("warmup", {}).items()):
        table.add_row(question_type, str(number))
    console = Console()
    console.print(table)
    for scene, reason in sorted(report.failures.items()):
        console.print(f"skipped {scene}: {reason}", style="yellow", markup=False)
    if preview:
        console.print(f"look at {out / 'preview.html'}", markup=False)
