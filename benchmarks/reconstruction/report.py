"""Averages over sequences, as JSON and as a table for people."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.reconstruction.journal import Line
from benchmarks.reconstruction.metrics import CloudMetrics

_LIBRARIES = ("spatialvlm", "torch", "transformers", "numpy", "scipy", "open3d", "pillow")
_NUMBERS = tuple(field.name for field in fields(CloudMetrics))
_COLUMNS = {
    "accuracy": "Acc mean",
    "accuracy_median": "Acc median",
    "completion": "Comp mean",
    "completion_median": "Comp median",
    "normal_consistency": "NC mean",
    "normal_consistency_median": "NC median",
    "chamfer": "Chamfer",
    "completion_ratio": "Comp ratio",
}
_DIGITS = {"m": 4, "mm": 3}


def summarise(lines: Iterable[Line], methods: Sequence[str]) -> dict[str, Any]:
    """Every number averaged over the sequences that succeeded, by method; and over the sequences of every scene."""
    found: dict[str, Any] = {}
    for method in methods:
        own = [line for line in lines if line.method == method]
        done = [line for line in own if line.result is not None]
        scenes = sorted({_scene(line) for line in done})
        found[method] = {
            "sequences": len(done),
            "failed": {line.capture_id: line.error for line in own if line.result is None},
            "frames": sum(line.result.frames for line in done if line.result),
            "mean": _mean(done),
            "scenes": {scene: _mean([line for line in done if _scene(line) == scene]) for scene in scenes},
            "seconds_per_frame": _seconds_per_frame(done),
        }
    return found


def _scene(line: Line) -> str:
    return line.capture_id.split("/")[0]


def _mean(lines: Sequence[Line]) -> dict[str, float] | None:
    if not lines:
        return None
    values = [line.result.metrics.to_json() for line in lines if line.result is not None]
    return {name: sum(value[name] for value in values) / len(values) for name in _NUMBERS}


def _seconds_per_frame(lines: Sequence[Line]) -> float | None:
    frames = sum(line.result.frames for line in lines if line.result)
    return sum(line.result.seconds for line in lines if line.result) / frames if frames else None


def versions() -> dict[str, str]:
    """Of Python and the libraries that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def to_markdown(summary: Mapping[str, Any]) -> str:
    """The summary as tables; accuracy and completion are distances, smaller is better, NC is larger for better."""
    settings, digits = summary["settings"], _DIGITS[summary["unit"]]
    shown = f"{settings['views']} views, step {settings['step']}, {settings['image_px']} px"
    parts = [
        f"# Reconstruction: {settings['protocol']}\n",
        f"{shown}; lengths in {summary['unit']}; Acc, Comp and Chamfer smaller, NC and ratio larger is better.\n",
        _table(
            "Method", [(name, found["sequences"], found["mean"]) for name, found in summary["methods"].items()], digits
        ),
    ]
    for name, found in summary["methods"].items():
        if len(found["scenes"]) > 1:
            rows = [(scene, None, mean) for scene, mean in found["scenes"].items()]
            parts.append(f"\n## {name}\n\n" + _table("Scene", rows, digits))
        for capture_id, reason in found["failed"].items():
            parts.append(f"\nWithout result: {name}, {capture_id}: {reason}\n")
    parts.append("\nVersions: " + ", ".join(f"{name} {number}" for name, number in summary["versions"].items()))
    parts.append(f"\n\nCommand: `{summary['command']}`\n")
    return "\n".join(parts[:3]) + "\n" + "".join(parts[3:])


def _table(label: str, rows: Sequence[tuple[str, int | None, Mapping[str, float] | None]], digits: int) -> str:
    counted = any(count is not None for _, count, _ in rows)
    head = [label, *(["Sequences"] if counted else []), *_COLUMNS.values()]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name, count, mean in rows:
        cells = [_cell(mean, column, digits) for column in _COLUMNS]
        lines.append("| " + " | ".join([name, *([str(count)] if counted else []), *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cell(mean: Mapping[str, float] | None, column: str, digits: int) -> str:
    if mean is None:
        return "-"
    of_one = column.startswith("normal") or column == "completion_ratio"
    return f"{mean[column]:.{3 if of_one else digits}f}"
