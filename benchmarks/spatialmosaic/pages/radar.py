"""Radar charts as numbers for inline SVG: one axis per group of questions, one outline per run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.spatialmosaic.report import Table

RADIUS = 100.0
RINGS = (0.25, 0.5, 0.75, 1.0)
_LABEL_WIDTH = 15


@dataclass(frozen=True)
class Axis:
    """An axis: where it ends, and its label in lines with where they stand."""

    end: tuple[float, float]
    label_at: tuple[float, float]
    anchor: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Outline:
    """One run: the path through its values, broken where it has none, and the values as dots with their texts."""

    name: str
    path: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Radar:
    """A chart; lengths are in SVG units, the middle is at 0, 0."""

    title: str
    axes: tuple[Axis, ...]
    outlines: tuple[Outline, ...]
    rings: tuple[tuple[float, str], ...]


def radar(title: str, table: Table, labels: Sequence[str], shown: Sequence[str]) -> Radar | None:
    """The chart of some rows of a table for some of its runs; None for fewer than three rows."""
    rows = [row for row in table.rows if row.label in labels and any(row.cells)]
    if len(rows) < 3:
        return None
    angles = [2 * math.pi * index / len(rows) - math.pi / 2 for index in range(len(rows))]
    outlines = []
    for name in shown:
        column = table.columns.index(name)
        values = [None if (cell := row.cells[column]) is None else cell.mean for row in rows]
        texts = [row.label for row in rows]
        outlines.append(_outline(name, values, angles, texts))
    rings = tuple((RADIUS * share, f"{100 * share:.0f}") for share in RINGS)
    axes = tuple(_axis(row.label, angle) for row, angle in zip(rows, angles, strict=True))
    return Radar(title, axes, tuple(outlines), rings)


def _axis(label: str, angle: float) -> Axis:
    cos = math.cos(angle)
    anchor = "middle" if abs(cos) < 0.2 else ("start" if cos > 0 else "end")
    lines = tuple(textwrap.wrap(label, _LABEL_WIDTH) or [label])
    x, y = _at(angle, RADIUS + 12)
    # lines below one another: those above the middle grow upwards
    y += -12 * (len(lines) - 1) * (0.5 - 0.5 * math.sin(angle)) + 4
    return Axis(_at(angle, RADIUS), (x, round(y, 1)), anchor, lines)


def _outline(name: str, values: Sequence[float | None], angles: Sequence[float], labels: Sequence[str]) -> Outline:
    points = [
        None if value is None else _at(angle, RADIUS * min(1.0, max(0.0, value)))
        for value, angle in zip(values, angles, strict=True)
    ]
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    path = " ".join(f"M{a[0]} {a[1]}L{b[0]} {b[1]}" for a, b in pairs if a is not None and b is not None)
    dots = tuple(
        (*point, f"{name}: {label} {100 * value:.1f}")
        for point, value, label in zip(points, values, labels, strict=True)
        if point is not None and value is not None
    )
    return Outline(name, path, dots)


def _at(angle: float, length: float) -> tuple[float, float]:
    return round(length * math.cos(angle), 1), round(length * math.sin(angle), 1)
