"""How numbers and facts are written, the same in the terminal, in Markdown and on pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.spatialmosaic.statistics import MIN_SCENES, Cell

TITLE = "SpatialMosaic-Bench"
NOTE = (
    f"Percent with 95 % bootstrap intervals: scenes are drawn from {MIN_SCENES} scenes on, else questions. Overall and "
    "families are means of their question types; levels, numbers of views and gains are means over questions, whose "
    "mix of types may differ from group to group."
)


def cell_text(cell: Cell | None) -> str:
    """``41.2 [38.1, 44.3]`` in percent; a dash where there is nothing."""
    if cell is None:
        return "–"
    if cell.low is None or cell.high is None:
        return f"{100 * cell.mean:.1f}"
    return f"{100 * cell.mean:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]"


def flat_facts(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of nested facts as texts: ``versions: {torch: 2}`` is ``versions, torch`` and ``2``."""
    for name, value in facts.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from flat_facts(value, f"{label}, ")
        elif isinstance(value, list | tuple):
            yield label, " ".join(map(str, value))
        elif value is not None and value != "":
            yield label, f"{value:g}" if isinstance(value, float) else str(value)


def warning_of(thin_types: Mapping[str, int]) -> str:
    """A sentence that names types with few questions; empty without any."""
    if not thin_types:
        return ""
    named = ", ".join(f"{kind} ({count})" for kind, count in thin_types.items())
    return f"Few questions, but full weight in the overall score: {named}."
