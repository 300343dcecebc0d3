"""A contact sheet of generated questions: one HTML file with the views, the marked objects and the answers."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from qa_generation.errors import InputError
from qa_generation.prompts import FAMILIES
from qa_generation.records import QARecord
from qa_generation.seeding import generator
from qa_generation.shards import read_shard

THUMBNAIL_WIDTH = 360
JPEG_QUALITY = 78
MAX_SCENES = 24
_POINT = re.compile(r"\((\d+), ?(\d+)\)")


@dataclass(frozen=True)
class Marker:
    """A box on a frame, in pixels of the record's canvas."""

    role: str
    label: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """One picture of a card; ``points`` are the lettered points among the options, (letter, x, y)."""

    title: str
    asked: bool
    image: int
    markers: Sequence[Marker]
    points: Sequence[tuple[str, int, int]]


@dataclass(frozen=True)
class Card:
    """One question of the sheet."""

    family: str
    record: QARecord
    frames: Sequence[Frame]


def write_preview(out: Path, *, seed: int = 0, number: int = 60) -> Path:
    """Writes ``out/preview.html`` with about ``number`` questions spread over types and scenes; gives its path.

    Raises:
        InputError: ``out`` holds no questions or a picture is missing.
    """
    records = pick_records(out, seed, number)
    if not records:
        raise InputError(f"{out}: no questions found, expected data/<split>/*.parquet as `spatialvlm generate` writes")
    pictures: dict[str, int] = {}
    cards = [_card(record, pictures) for record in records]
    images = [_thumbnail(out / path) for path in pictures]
    environment = Environment(loader=PackageLoader("qa_generation"), undefined=StrictUndefined, autoescape=True)
    page = environment.get_template("preview.html.jinja").render(
        cards=cards,
        images=images,
        families=list(dict.fromkeys(card.family for card in cards)),
        scenes=len({record.scene_name for record in records}),
        name=out.resolve().name,
    )
    path = out / "preview.html"
    path.write_text(page, encoding="utf-8")
    return path


def pick_records(out: Path, seed: int, number: int) -> list[QARecord]:
    """Up to ``number`` records from at most ``MAX_SCENES`` scenes, every type equally often, ordered by type."""
    rng = generator(seed, "preview")
    shards = sorted((out / "data").glob("*/*.parquet"))
    chosen = sorted(rng.permutation(len(shards))[:MAX_SCENES])
    by_type: dict[str, list[QARecord]] = defaultdict(list)
    for index in chosen:
        for record in read_shard(shards[int(index)]):
            by_type[record.question_type].append(record)
    order = [t for types in FAMILIES.values() for t in types]
    types = sorted(by_type, key=lambda t: (order.index(t) if t in order else len(order), t))
    for question_type in types:
        records = by_type[question_type]
        by_type[question_type] = _spread([records[i] for i in rng.permutation(len(records))])
    share = max(1, number // max(len(types), 1))
    return [record for question_type in types for record in by_type[question_type][:share]]


def _spread(records: Iterable[QARecord]) -> list[QARecord]:
    """The same records, scenes taking turns."""
    turns: dict[str, int] = defaultdict(int)
    ranked = []
    for record in records:
        turns[record.scene_name] += 1
        ranked.append((turns[record.scene_name], record))
    return [record for _, record in sorted(ranked, key=lambda pair: pair[0])]


def _card(record: QARecord, pictures: dict[str, int]) -> Card:
    family = next((f for f, types in FAMILIES.items() if record.question_type in types), "Warm-up")
    evidence = json.loads(record.evidence)
    frames = []
    for position, (view_id, path) in enumerate(zip(record.frames, record.images, strict=True)):
        asked = view_id == record.query_frame
        title = f"Frame {position + 1}" if record.frame_naming == "index" else view_id
        markers = [_marker(entry, record) for entry in evidence if entry["frame"] == view_id]
        image = pictures.setdefault(path, len(pictures))
        frames.append(Frame(title, asked, image, markers, _points(record) if asked else []))
    return Card(family, record, frames)


def _marker(entry: dict[str, Any], record: QARecord) -> Marker:
    x0, y0, x1, y1 = entry["box"]
    label = {"reference": record.reference_category, "distractor": ""}.get(entry["role"], record.target_category)
    if len(record.target_ids) > 1 and entry["instance_id"] in record.target_ids:
        # the same number in every frame, so that one sees which objects are counted once
        label = f"{label} {record.target_ids.index(entry['instance_id']) + 1}"
    return Marker(entry["role"], label, x0, y0, x1 - x0, y1 - y0)


def _points(record: QARecord) -> list[tuple[str, int, int]]:
    found = [(option[0], _POINT.search(option)) for option in record.options if option[3:].startswith("Yes;")]
    return [(letter, int(match[1]), int(match[2])) for letter, match in found if match]


def _thumbnail(path: Path) -> dict[str, Any]:
    """Data URI and shape of a downscaled picture."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * THUMBNAIL_WIDTH, 2 * THUMBNAIL_WIDTH))
            small = image.convert("RGB")
            ratio = small.width / small.height
            small = small.resize((THUMBNAIL_WIDTH, max(1, round(THUMBNAIL_WIDTH / ratio))), Image.Resampling.LANCZOS)
    except OSError as error:
        raise InputError(f"{path}: picture cannot be read for the preview ({error})") from error
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return {"uri": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(), "ratio": round(ratio, 4)}
