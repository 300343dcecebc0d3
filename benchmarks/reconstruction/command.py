"""The verb `bench-reconstruction`: an encoder, a dataset with depth, and how near the one comes to the other."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qa_generation.errors import InputError

if TYPE_CHECKING:
    from benchmarks.reconstruction.journal import Line
    from benchmarks.reconstruction.methods import Methods
    from benchmarks.reconstruction.protocols import Protocol
    from benchmarks.reconstruction.run import Reading

SUMMARY, TABLE = "summary.json", "report.md"


class ProtocolName(StrEnum):
    SEVEN_SCENES = "7scenes"
    NRGBD = "nrgbd"
    DTU = "dtu"
    SYNTHETIC = "synthetic"


class ViewsName(StrEnum):
    FULL = "full"
    FEW = "few"


class OrderName(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


class FitName(StrEnum):
    CROP = "crop"
    SQUEEZE = "squeeze"


def bench_reconstruction(
    encoder: Annotated[
        str, typer.Argument(help="Encoder folder, .pth file, packaged name (tiny), constant-depth or ground-truth.")
    ],
    dataset: Annotated[Path, typer.Argument(help="Root folder of the dataset in its official layout.")],
    protocol: Annotated[ProtocolName, typer.Option(help="Which dataset it is, and so how it is measured.")],
    out: Annotated[Path, typer.Option(help="Folder for results; an interrupted run goes on there.")],
    views: Annotated[ViewsName, typer.Option(help="All frames of the protocol, or a handful.")] = ViewsName.FULL,
    order: Annotated[OrderName, typer.Option(help="Spann3R: frames as recorded, or as it likes.")] = OrderName.ONLINE,
    step: Annotated[int | None, typer.Option(min=1, help="Every so many frames instead of the protocol's.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many sequences.")] = None,
    long_memory: Annotated[bool, typer.Option(help="Spann3R: long-term memory.")] = True,
    clipping: Annotated[bool, typer.Option(help="Spann3R: drop small attention weights.")] = True,
    memory_tokens: Annotated[int | None, typer.Option(min=1, help="Spann3R: tokens kept in all (4000).")] = None,
    work_frames: Annotated[int | None, typer.Option(min=1, help="Spann3R: frames of the working memory (5).")] = None,
    ablations: Annotated[bool, typer.Option(help="Spann3R: all ablations in one table.")] = False,
    global_alignment: Annotated[bool, typer.Option(help="DUSt3R: all pairs, aligned globally.")] = False,
    scene_graph: Annotated[str, typer.Option(help="DUSt3R: pairs that are aligned, e.g. swin-5.")] = "complete",
    size: Annotated[int | None, typer.Option(min=16, help="Side of the pictures instead of the protocol's.")] = None,
    fit: Annotated[FitName, typer.Option(help="How pictures become square; crop is the published way.")] = FitName.CROP,
    baseline: Annotated[bool, typer.Option(help="Add a row for a flat wall at constant depth.")] = True,
    compat: Annotated[
        bool | None,
        typer.Option(help="Oddities of the published evaluation; default: yes for the three published datasets."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; default: the first GPU, else CPU.")] = None,
) -> None:
    """Measure a geometry encoder's pointmaps against depth: accuracy, completion, normal consistency.

    Example: spatialvlm bench-reconstruction tiny data/rooms --protocol synthetic --fit squeeze --out runs/rooms

    Example: spatialvlm bench-reconstruction spann3r.pth data/7scenes --protocol 7scenes --ablations --out runs/7scenes
    """
    from benchmarks.reconstruction.journal import Journal
    from benchmarks.reconstruction.methods import MethodOptions, build_methods
    from benchmarks.reconstruction.protocols import get_protocol
    from benchmarks.reconstruction.run import Reading, run

    _be_quiet()
    compat = protocol is not ProtocolName.SYNTHETIC if compat is None else compat
    rules = get_protocol(protocol.value, compat)
    captures = rules.captures(dataset)[:limit]
    memory = _memory_options(long_memory, clipping, memory_tokens, work_frames)
    options = MethodOptions(order.value, memory, ablations, global_alignment, scene_graph, baseline, compat)
    methods = build_methods(encoder, options, size or rules.image_px, device)
    reading = Reading(rules.frames(views.value, step), methods.image_px, fit.value)
    settings = _settings(rules, methods, reading, options, views.value)
    lines = run(methods.rows, captures, rules, reading, Journal(out, settings))
    _write(out, rules, methods, settings, lines)


def _memory_options(
    long_memory: bool, clipping: bool, memory_tokens: int | None, work_frames: int | None
) -> dict[str, Any]:
    """Changed settings of Spann3R's memory, by their names in `MemoryConfig`."""
    if not long_memory and memory_tokens is not None:
        raise InputError(f"--memory-tokens {memory_tokens} with --no-long-memory: expected one of them")
    memory: dict[str, Any] = {} if memory_tokens is None else {"long_mem_tokens": memory_tokens}
    memory |= {} if long_memory else {"long_mem_tokens": 0}
    memory |= {} if clipping else {"attention_threshold": 0.0}
    return memory | ({} if work_frames is None else {"work_mem_frames": work_frames})


def _settings(rules: Protocol, methods: Methods, reading: Reading, options: Any, views: str) -> dict[str, Any]:
    """All that the numbers depend on; the sequences are told by the lines."""
    return {
        "protocol": rules.name,
        "views": views,
        "step": reading.choice.step,
        "reverse": reading.choice.reverse,
        "image_px": reading.image_px,
        "fit": reading.fit,
        "order": options.order,
        "memory": dict(options.memory or {}),
        "compat": options.compat,
        **methods.facts,
    }


def _write(out: Path, rules: Protocol, methods: Methods, settings: dict[str, Any], lines: list[Line]) -> None:
    import json
    import shlex

    from benchmarks.reconstruction.journal import LINES
    from benchmarks.reconstruction.report import summarise, to_markdown, versions

    summary = {
        "settings": settings,
        "unit": rules.unit,
        "methods": summarise(lines, [method.name for method in methods.rows]),
        "versions": versions(),
        "command": shlex.join(["spatialvlm", *sys.argv[1:]]),
    }
    (out / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    table = to_markdown(summary)
    (out / TABLE).write_text(table, encoding="utf-8")
    print(table)
    for name in (LINES, SUMMARY, TABLE):
        print(out / name)
    if not any(line.result for line in lines):
        raise InputError(f"{out / LINES}: no sequence could be measured, the first says: {lines[0].error}")


def _be_quiet() -> None:
    """Transformers' bars of loading go to a terminal only."""
    if not sys.stderr.isatty():
        from transformers.utils import logging

        logging.disable_progress_bar()
