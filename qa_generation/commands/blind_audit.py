"""The verb ``spatialvlm blind-audit``: how much of a dataset is answered without looking."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qa_generation.blind.report import BlindReport
    from qa_generation.records import QARecord


def blind_audit(
    dataset: Annotated[Path, typer.Argument(help="Folder of a generated dataset.")],
    split: Annotated[str, typer.Option(help="Split to audit, or 'all'.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Also write the report as JSON to this file.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same report.")] = 1,
    folds: Annotated[int, typer.Option(min=3, help="Groups of scenes.")] = 5,
    strict: Annotated[bool, typer.Option(help="Exit 1 where a type is above its limit.")] = False,
) -> None:
    """Tells how well models that read only the texts answer every question type, beside a guesser.

    Example: spatialvlm blind-audit dataset --split test --out blind.json
    """
    from qa_generation.blind.audit import audit_records

    report = audit_records(load_records(dataset, split), seed=seed, folds=folds)
    _print(report)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(report.to_json(with_bias=True), encoding="utf-8")
    if strict and not report.passed:
        sys.exit("spatialvlm blind-audit: a type is answered from its texts more often than its limit allows")


def load_records(dataset: Path, split: str) -> list[QARecord]:
    """The records of one split, or of all but the warm-up; raises ``InputError`` where there are none."""
    from qa_generation.errors import InputError
    from qa_generation.shards import read_shard
    from qa_generation.splits import WARMUP

    folder = dataset / "data"
    found = sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name != WARMUP)
    if split != "all" and split not in found:
        raise InputError(f"{folder}: there is no split {split!r}, expected 'all' or one of: {', '.join(found) or '-'}")
    names = found if split == "all" else [split]
    records = [r for name in names for path in sorted((folder / name).glob("*.parquet")) for r in read_shard(path)]
    if not records:
        raise InputError(f"{folder}: there are no records in split {split!r}, expected at least one")
    return records


def _print(report: BlindReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="answered without looking, percent")
    for name in ("type", "records", "guess", "blind", "+-", "lead", "reader", "limit"):
        table.add_column(name, justify="left" if name in ("type", "reader") else "right")
    for name, row in sorted(report.types.items()):
        by_form = f" ({100 * row.structural:.0f} by its form)" if row.structural > row.baseline + 1e-9 else ""
        numbers = (f"{100 * value:.1f}" for value in (row.best, row.stderr, row.excess))
        limit = "ok" if row.passed else "above"
        blind, error, lead = numbers
        guess = f"{100 * row.baseline:.1f}{by_form}"
        table.add_row(name, str(row.records), guess, blind, error, lead, row.best_reader, limit)
    console = Console()
    console.print(table)
    for name, why in sorted(report.skipped.items()):
        console.print(f"{name} not audited: {why}", style="yellow", markup=False)
