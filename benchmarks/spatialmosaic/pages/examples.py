"""Wrongly answered questions with their views, small enough to lie inside a page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw

from benchmarks.spatialmosaic.dataset import BenchData
from benchmarks.spatialmosaic.families import families_of
from benchmarks.spatialmosaic.report import Report
from benchmarks.spatialmosaic.results import ScoredAnswer
from qa_generation.prompts import frame_name
from spatialvlm.images import load_photo

MOST_EXAMPLES = 12
SIDE_PX, JPEG_QUALITY = 168, 60
MOST_CHARACTERS = 220
MOST_VIEWS = 8
_COLOURS = {"target": "#19c37d", "reference": "#ff9f1c"}


@dataclass(frozen=True)
class View:
    """A small picture as a ``data:`` address, and what the question calls it."""

    name: str
    source: str


@dataclass(frozen=True)
class Example:
    """A question that was answered wrongly.

    Attributes:
        family, question_type, about: what kind of question, and its levels in words.
        question, options, target: as in the dataset.
        response: what the model wrote, cut; score: 0-1.
        others: names of the other runs with their answers and scores.
        views: its pictures, the asked object framed in green and the reference in orange where that is known.
    """

    family: str
    question_type: str
    about: str
    question: str
    options: tuple[str, ...]
    target: str
    response: str
    score: float
    others: tuple[tuple[str, str, float], ...]
    views: tuple[View, ...]


def worst_examples(report: Report, data: BenchData, most: int = MOST_EXAMPLES) -> list[Example]:
    """Of every family in turn the worst-scored questions of the report's subject, those first that should be easy.

    Easy is what shows most of its object in the fewest views. The choice hangs on scores and ids alone.
    """
    chosen = _choose(report, most)
    ids = pa.array([answer.id for _, answer in chosen], type=data.table.schema.field("id").type)
    rows = {str(row["id"]): row for row in data.table.filter(pc.is_in(data.table["id"], value_set=ids)).to_pylist()}
    return [
        _example(report, family, answer, rows[answer.id], data.image_root)
        for family, answer in chosen
        if answer.id in rows
    ]


def _choose(report: Report, most: int) -> list[tuple[str, ScoredAnswer]]:
    answers = report.subject.answers
    families = families_of({answer.question_type for answer in answers})
    ranked = {
        family: sorted((a for a in answers if a.question_type in kinds and a.score < 0.5), key=_badness)
        for family, kinds in families.items()
    }
    turns = [(place, family) for place in range(most) for family in families]
    picked = [(family, ranked[family][place]) for place, family in turns if place < len(ranked[family])]
    return picked[:most]


def _badness(answer: ScoredAnswer) -> tuple[float, float, int, str]:
    return answer.score, -(answer.visibility or 0.0), answer.views, answer.id


def _example(report: Report, family: str, answer: ScoredAnswer, row: Mapping[str, Any], root: Path) -> Example:
    others = []
    for run in report.runs:
        if run is not report.subject and run.role != "expected":
            found = next((other for other in run.answers if other.id == answer.id), None)
            if found is not None:
                others.append((run.name, _cut(found.prediction), found.score))
    cut = {"whole": "not cut"}.get(answer.trunc_level, answer.trunc_level)
    levels = [f"occlusion {answer.occ_level}", f"{cut} by the frames", f"{answer.views} views"]
    return Example(
        family=family,
        question_type=answer.question_type,
        about=", ".join(level for level in levels if "unknown" not in level),
        question=_cut(row["question"], 4 * MOST_CHARACTERS),
        options=tuple(row["options"] or ()),
        target=answer.target,
        response=_cut(answer.response),
        score=answer.score,
        others=tuple(others),
        views=tuple(_views(row, root)),
    )


def _cut(text: str, most: int = MOST_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text)} characters)"


def _views(row: Mapping[str, Any], root: Path) -> Sequence[View]:
    boxes = _boxes(row)
    found = []
    for index, (frame, name) in enumerate(list(zip(row["frames"], row["images"], strict=True))[:MOST_VIEWS]):
        picture = _small(root / name, boxes.get(frame, []), row.get("coord_size") or (512, 512))
        found.append(View(frame_name(row.get("frame_naming") or "stem", index, frame), picture))
    return found


def _boxes(row: Mapping[str, Any]) -> dict[str, list[tuple[str, Sequence[float]]]]:
    """Role and box of what the evidence names, by frame; nothing where it cannot be read."""
    boxes: dict[str, list[tuple[str, Sequence[float]]]] = {}
    try:
        for entry in json.loads(row.get("evidence") or "[]"):
            if entry["role"] in _COLOURS and len(entry["box"]) == 4:
                boxes.setdefault(entry["frame"], []).append((entry["role"], entry["box"]))
    except (ValueError, KeyError, TypeError):
        return {}
    return boxes


def _small(path: Path, boxes: Sequence[tuple[str, Sequence[float]]], canvas: Sequence[int]) -> str:
    photo = load_photo(path)
    photo.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(photo)
    for role, (left, top, right, bottom) in boxes:
        x, y = photo.width / canvas[0], photo.height / canvas[1]
        corners = sorted((left * x, right * x)), sorted((top * y, bottom * y))
        (x0, x1), (y0, y1) = corners
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=_COLOURS[role], width=2)
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
