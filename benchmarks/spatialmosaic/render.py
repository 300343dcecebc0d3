"""A report as tables for the terminal and as Markdown; the HTML page is in `pages`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich.table
from rich.console import Console
from rich.markup import escape

from benchmarks.spatialmosaic.pages.report_page import to_html
from benchmarks.spatialmosaic.report import SUMMARIES, Report, Row, Table
from benchmarks.spatialmosaic.texts import NOTE, TITLE, cell_text, flat_facts, warning_of

__all__ = ["NOTE", "cell_text", "print_report", "to_html", "to_markdown"]


_LABEL_WIDTH, _CELL_WIDTH = 32, 12  # characters that the terminal gives to names of rows and to a run


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints runs, families and who is better; intervals of families, types and levels are left to the files."""
    console = console or Console()
    console.print(_runs_table(report))
    for table in report.of_kind("families"):
        rows = [row for row in table.rows if not row.indent and row.label not in SUMMARIES]
        console.print(_rich_table(table, rows, max(2, (console.width - _LABEL_WIDTH) // _CELL_WIDTH)))
    if report.comparisons:
        console.print(f"Gain of {escape(report.subject.name)}", style="bold")
    for comparison in report.comparisons:
        console.print(comparison.sentence(), markup=False, highlight=False, soft_wrap=True)
    for note in (warning_of(report.thin_types), NOTE):
        if note:
            console.print(note, style="dim")


def _runs_table(report: Report) -> rich.table.Table:
    """One line per run: the summary rows of the families table, and how many of its answers could not be read."""
    (families,) = report.of_kind("families")
    summaries = [row for row in families.rows if row.label in SUMMARIES]
    unread = {row.label: row.cells[-2] for table in report.of_kind("reading") for row in table.rows}
    view = rich.table.Table(title=f"{summaries[0].n} questions", title_justify="left", title_style="bold")
    view.add_column("", overflow="fold")
    for head in (*(row.label for row in summaries), "unreadable"):
        view.add_column(head, justify="right")
    for place, name in enumerate(families.columns):
        cells = [cell_text(row.cells[place]) for row in summaries]
        view.add_row(escape(name), *cells, cell_text(unread.get(name)))
    return view


def to_markdown(report: Report, facts: Mapping[str, Any] | None = None, title: str = TITLE) -> str:
    """All tables as Markdown, under a list of facts about the run."""
    parts = [f"# {title}", "\n".join(f"- {name}: {value}" for name, value in flat_facts(facts or {}))]
    if report.comparisons:
        parts.append("\n".join(["## Findings", "", *(f"- {found.sentence()}" for found in report.comparisons)]))
    for table in report.tables:
        head = ["", "n", *table.columns]
        lines = [f"## {table.title}", "", _markdown_line(head), _markdown_line(["---", *["---:"] * (len(head) - 1)])]
        for row in table.rows:
            label = "&nbsp;&nbsp;" * row.indent + (row.label if row.indent else f"**{row.label}**")
            lines.append(_markdown_line([label, str(row.n), *map(cell_text, row.cells)]))
        parts.append("\n".join(lines))
    return "\n\n".join(part for part in [*parts, warning_of(report.thin_types), NOTE] if part) + "\n"


def _rich_table(table: Table, rows: list[Row], most: int) -> rich.table.Table:
    """The first ``most`` columns; the files have them all."""
    left_out = len(table.columns) - most
    caption = f"and {left_out} more in the report" if left_out > 0 else None
    view = rich.table.Table(title=escape(table.title), title_justify="left", title_style="bold", caption=caption)
    view.add_column("", overflow="fold")
    view.add_column("n", justify="right")
    for name in table.columns[:most]:
        view.add_column(escape(name), justify="right", overflow="fold")
    for row in rows:
        means = ["–" if cell is None else f"{100 * cell.mean:.1f}" for cell in row.cells[:most]]
        view.add_row("  " * row.indent + row.label, str(row.n), *means)
    return view


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
