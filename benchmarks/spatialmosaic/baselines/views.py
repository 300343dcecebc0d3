"""The same questions about changed views: one view only, another scene's views, the right views under wrong names."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from benchmarks.spatialmosaic.dataset import BenchData
from qa_generation.errors import InputError
from qa_generation.prompts import frame_name
from qa_generation.records import SCHEMA
from qa_generation.seeding import generator

Record = Mapping[str, Any]


def best_view(data: BenchData) -> BenchData:
    """The questions with only the view that shows most of the asked object, under the name it had.

    Most is the largest area of visible 2D boxes of the target in `evidence`; where the evidence names no target, all
    its boxes count, and without any the frame that the question is asked from, else the first.

    Raises:
        InputError: when no question has evidence, as in third-party sets.
    """
    return _changed(data, [_one_view(data, row) for row in _with_evidence(data)])


def other_views(data: BenchData, seed: int = 0) -> BenchData:
    """The questions with as many views of another scene under the names of the right ones.

    All questions about the same views get the same ones in their place. They come from the test questions of another
    scene, of the same dataset where it has one; frames are cut or repeated where no set has as many.

    Raises:
        InputError: when there is only one scene.
    """
    rows = data.table.to_pylist()
    by_count: dict[int, dict[tuple[str, ...], Record]] = defaultdict(dict)
    for row in rows:
        by_count[len(row["images"])].setdefault(tuple(row["images"]), row)
    if len({row["scene_name"] for row in rows}) < 2:
        raise InputError(f"{data.source}: one scene only, expected two or more to show the views of another")
    donors: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        key = tuple(row["images"])
        if key not in donors:
            donors[key] = _donor(row, by_count, seed)
    return _changed(data, [{**row, "images": donors[tuple(row["images"])]} for row in rows])


def shuffled_views(data: BenchData, seed: int = 0) -> BenchData:
    """The questions with their own views in another order, none in its place, while the names stay.

    The question may speak of Frame 2: it is now another view. Questions about the same views are changed alike.
    """
    return _changed(data, [{**row, "images": _deranged(row["images"], seed)} for row in data.table.to_pylist()])


VIEW_CHANGES: dict[str, Callable[[BenchData], BenchData]] = {
    "best_view": best_view,
    "other_views": other_views,
    "shuffled_views": shuffled_views,
}


def _changed(data: BenchData, rows: Sequence[Record]) -> BenchData:
    return replace(data, table=pa.Table.from_pylist(list(rows), schema=data.table.schema or SCHEMA))


def _with_evidence(data: BenchData) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = data.table.to_pylist()
    if not any(_boxes(row) for row in rows):
        raise InputError(f"{data.source}: no question says where its objects are seen (evidence), best_view needs it")
    return rows


def _boxes(row: Record) -> list[Mapping[str, Any]]:
    try:
        entries = json.loads(row.get("evidence") or "[]")
    except ValueError:
        return []
    return [entry for entry in entries if entry.get("frame") in row["frames"] and len(entry.get("box") or ()) == 4]


def _one_view(data: BenchData, row: Record) -> dict[str, Any]:
    boxes = _boxes(row)
    chosen = [box for box in boxes if box.get("role") == "target"] or boxes
    area: dict[str, float] = defaultdict(float)
    for entry in chosen:
        left, top, right, bottom = entry["box"]
        area[entry["frame"]] += max(0, right - left) * max(0, bottom - top)
    frames = list(row["frames"])
    if area:
        place = max(range(len(frames)), key=lambda index: (area.get(frames[index], -1.0), -index))
    else:
        place = frames.index(row["query_frame"]) if row.get("query_frame") in frames else 0
    name = frame_name(row.get("frame_naming") or "stem", place, frames[place])
    return {**row, "frames": [name], "images": [row["images"][place]], "frame_naming": "stem"}


def _donor(row: Record, by_count: Mapping[int, Mapping[tuple[str, ...], Record]], seed: int) -> list[str]:
    """Pictures of a view set of another scene, chosen by the row's own views alone."""
    count = len(row["images"])
    rng = generator(seed, "other views", *row["images"])
    for size in sorted(by_count, key=lambda size: (abs(size - count), -size)):
        others = sorted(key for key, other in by_count[size].items() if other["scene_name"] != row["scene_name"])
        alike = [key for key in others if by_count[size][key]["dataset"] == row["dataset"]]
        if pool := alike or others:
            images = list(pool[int(rng.integers(len(pool)))])
            return [images[index % len(images)] for index in range(count)]
    return list(row["images"])


def _deranged(images: Sequence[str], seed: int) -> list[str]:
    """A permutation without fixed points: a random cyclic shift of a random order, mapped back."""
    if len(images) < 2:
        return list(images)
    rng = generator(seed, "shuffled views", *images)
    order = rng.permutation(len(images))
    shift = int(rng.integers(1, len(images)))
    result = list(images)
    for place, source in zip(order, [order[(i + shift) % len(order)] for i in range(len(order))], strict=True):
        result[int(place)] = images[int(source)]
    return result
