"""A report as tables for the terminal, as Markdown and as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import rich.table
from jinja2 import Environment, FileSystemLoader
from rich.console import Console

from benchmarks.spatialmosaic.report import Report, Table
from benchmarks.spatialmosaic.statistics import MIN_SCENES, Cell

NOTE = (
    "Scores in percent ± one standard error: clustered by scene from "
    f"{MIN_SCENES} scenes on, else that of independent questions. Overall and families are means of their question "
    "types; levels, numbers of views and gains are means over questions."
)


def cell_text(cell: Cell | None) -> str:
    """``41.2 ± 1.5`` in percent; a dash where there is nothing."""
    if cell is None:
        return "–"
    return f"{100 * cell.mean:.1f}" + ("" if cell.stderr is None else f" ± {100 * cell.stderr:.1f}")


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints every table to the terminal."""
    console = console or Console()
    for table in report.tables:
        console.print(_rich_table(table))
    console.print(NOTE, style="dim")


def to_markdown(report: Report, facts: Mapping[str, object] | None = None) -> str:
    """All tables as Markdown, under a list of facts about the run."""
    parts = ["# SpatialMosaic-Bench", "\n".join(f"- {name}: {value}" for name, value in (facts or {}).items())]
    for table in report.tables:
        head = ["", "n", *table.columns]
        lines = [f"## {table.title}", "", _markdown_line(head), _markdown_line(["---", *["---:"] * (len(head) - 1)])]
        for row in table.rows:
            label = "&nbsp;&nbsp;" * row.indent + (row.label if row.indent else f"**{row.label}**")
            lines.append(_markdown_line([label, str(row.n), *map(cell_text, row.cells)]))
        parts.append("\n".join(lines))
    return "\n\n".join(part for part in [*parts, NOTE] if part) + "\n"


def to_html(report: Report, facts: Mapping[str, object] | None = None) -> str:
    """One HTML page without outside resources: every table, with a bar behind each score."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    template = environment.get_template("report.html.jinja")
    return template.render(tables=report.tables, facts=facts or {}, note=NOTE, text=cell_text)


def _rich_table(table: Table) -> rich.table.Table:
    view = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
    view.add_column("", no_wrap=True)
    view.add_column("n", justify="right")
    for name in table.columns:
        view.add_column(name, justify="right")
    for row in table.rows:
        view.add_row("  " * row.indent + row.label, str(row.n), *map(cell_text, row.cells))
    return view


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
