"""The report of a run as one HTML page that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.spatialmosaic.families import families_of
from benchmarks.spatialmosaic.pages.examples import Example
from benchmarks.spatialmosaic.pages.radar import Radar, radar
from benchmarks.spatialmosaic.pages.templates import render
from benchmarks.spatialmosaic.report import Report
from benchmarks.spatialmosaic.results import Run
from benchmarks.spatialmosaic.texts import NOTE, TITLE, flat_facts, warning_of

COLOURS = 7  # that the style sheet names
MOST_OUTLINES = 5  # more cannot be told apart in a chart


def to_html(
    report: Report,
    facts: Mapping[str, Any] | None = None,
    examples: Sequence[Example] = (),
    title: str = TITLE,
) -> str:
    """One page: overall scores, findings, radar charts, all tables, examples, and how the run was made."""
    flat = list(flat_facts(facts or {}))
    command = next((value for name, value in flat if name == "command"), "")
    return render(
        "report.html.jinja",
        title=title,
        report=report,
        subject=report.subject,
        overview=_overview(report),
        scoped=any(found.scope for found in report.comparisons),
        colours=_colours(report),
        roles={run.name: run.role for run in report.runs},
        radars=_radars(report),
        charted=shown_runs(report)[:MOST_OUTLINES],
        examples=examples,
        command=command,
        facts=[(name, value) for name, value in flat if name != "command"],
        note=NOTE,
        warning=warning_of(report.thin_types),
    )


def _overview(report: Report) -> list[dict[str, Any]]:
    """The widest row that every run has a score in, per run: all types, or the choices if chance is there."""
    families = report.of_kind("families")[0]
    rows = [row for row in families.rows if not row.indent][:3]
    full = next((row for row in rows if all(row.cells)), rows[0])
    lines = [{"label": full.label, "runs": list(zip(report.runs, full.cells, strict=True))}]
    if full is not rows[0]:
        lines.insert(0, {"label": rows[0].label, "runs": list(zip(report.runs, rows[0].cells, strict=True))})
    return lines


def shown_runs(report: Report) -> list[str]:
    """Names of the runs that have a colour: the subject, other models, chance, then baselines, the strongest first."""
    order = {"model": 1, "expected": 2, "baseline": 3}

    def place(run: Run) -> tuple[int, float]:
        return (0 if run is report.subject else order[run.role], -run.aggregate()["overall"])

    return [run.name for run in sorted(report.runs, key=place)[:COLOURS]]


def _colours(report: Report) -> dict[str, int]:
    """The number of the colour of every run; those that charts do not show have none of their own (0)."""
    shown = shown_runs(report)
    return {run.name: shown.index(run.name) + 1 if run.name in shown else 0 for run in report.runs}


def _radars(report: Report) -> list[Radar]:
    shown = shown_runs(report)[:MOST_OUTLINES]
    (families,) = report.of_kind("families")
    labels = list(families_of({answer.question_type for run in report.runs for answer in run.answers}))
    charts = [radar("By family", families, labels, shown)]
    for table in report.of_kind("level"):
        here = [name for name in shown if name in table.columns]
        charts.append(radar(f"By {table.name}", table, [row.label for row in table.rows], here))
    return [chart for chart in charts if chart is not None]
