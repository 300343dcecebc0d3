"""The verb ``spatialvlm audit``: every answer of a dataset worked out a second time from the scenes."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qa_generation.audit import AuditReport

_SHOWN = 20


def audit(
    dataset: Annotated[Path, typer.Argument(help="Folder of a generated dataset, a Parquet shard, or a .json file.")],
    scenes: Annotated[Path, typer.Option(help="Folder of the captures that it was made from.")],
    reader: Annotated[
        str | None, typer.Option(help="Layout of the captures.  [default: what the records name]")
    ] = None,
    reader_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of the reader, as given to generate. Repeatable."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many scenes.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 works in this one.")] = 1,
    samples: Annotated[int, typer.Option(help="Rays per pixel along each side, 2 to 8.")] = 3,
    max_side: Annotated[int, typer.Option(help="Longer side of the grid that visibility was counted on.")] = 640,
    labels: Annotated[bool, typer.Option(help="Also recompute occlusion, truncation and coverage.")] = True,
    bar: Annotated[float, typer.Option(min=0, max=1, help="Least share of decided answers that must agree.")] = 0.999,
    max_borderline: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of answers that may hang on a threshold.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the jittered rays.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the whole report as JSON.")] = None,
) -> None:
    """Recomputes every answer from the scenes' geometry by a path apart from the generator's; exits 1 below the bar.

    Example: spatialvlm audit dataset --scenes rooms --workers 2 --out audit.json
    """
    from qa_generation.audit import AuditConfig, audit_dataset, write_report
    from qa_generation.readers.base import open_reader, parse_options

    options = parse_options(reader_option or [])
    report = audit_dataset(
        dataset,
        lambda name: open_reader(reader or name, scenes, options),
        AuditConfig(samples=samples, max_side=max_side, labels=labels, seed=seed),
        limit=limit,
        workers=workers,
        progress=True,
    )
    if out is not None:
        write_report(out, report)
    print_report(report)
    shortcomings = report.shortcomings(bar, max_borderline)
    if shortcomings:
        sys.exit("spatialvlm audit: " + "; ".join(shortcomings))


def print_report(report: AuditReport) -> None:
    """The table by type, then what is wrong, one line each."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.verdicts().total()} records of {report.scenes} scenes audited")
    table.add_column("type", no_wrap=True)
    for name in ("agree", "border\nline", "dis\nagree", "rules\nbroken"):
        table.add_column(name, justify="right")
    table.add_column("borderline because of")
    for question_type, tally in sorted(report.types.items()):
        table.add_row(
            question_type,
            *(str(tally.verdicts[verdict]) for verdict in ("agree", "borderline", "disagree")),
            str(tally.rules["disagree"]),
            ", ".join(f"{name} {number}" for name, number in tally.thresholds.most_common(2)),
        )
    console = Console()
    show = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    for kind in ("choice", "metric"):
        verdicts = report.verdicts(kind)
        if verdicts.total():
            show(
                f"{kind}: {report.agreement(kind):.3%} of the decided answers agree, "
                f"{verdicts['borderline'] / verdicts.total():.2%} of {verdicts.total()} are borderline"
            )
    for question_type, number in sorted(report.not_audited.items()):
        show(f"not audited: {number} of type {question_type}", style="yellow")
    for finding in report.disagreements[:_SHOWN]:
        why = [*finding.why, *finding.broken_rules] if finding.verdict == "disagree" else finding.broken_rules
        show(f"{finding.record_id}: claimed {finding.claimed}, found {finding.recomputed or '-'}: {'; '.join(why)}")
    if len(report.disagreements) > _SHOWN:
        show(f"... and {len(report.disagreements) - _SHOWN} more")
    for scene, reason in sorted(report.failures.items()):
        show(f"not looked at: {scene}: {reason}", style="yellow")
