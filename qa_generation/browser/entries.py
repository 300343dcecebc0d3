"""A record as the plain object that the page draws: places in percent of the picture, labels and numbers set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from qa_generation.browser.pick import Shown
from qa_generation.prompts import POINT_TYPES, frame_name
from qa_generation.records import QARecord
from qa_generation.statistics import family_of

_POINT = re.compile(r"\((-?\d{1,6}), ?(-?\d{1,6})\)")
ROLES = ("target", "reference", "distractor", "elsewhere")


def entry(shown: Shown, pictures: Mapping[str, tuple[str, float]]) -> dict[str, Any]:
    """What the page needs of one record; ``pictures`` gives (thumbnail, width / height) of the images at hand."""
    record = shown.record
    marks = evidence_of(record)
    labels = {mark["id"]: {"role": mark["role"], "label": mark["label"]} for mark in marks}
    for role, ids in (("target", record.target_ids), ("reference", record.reference_ids)):
        labels |= {i: {"role": role, "label": label_of(record, role, i)} for i in ids if i not in labels}
    return {
        "id": record.id,
        "type": record.question_type,
        "family": family_of(record.question_type),
        "split": shown.split,
        "dataset": record.dataset,
        "scene": record.scene_name,
        "set": record.view_set_id,
        "question": record.question,
        "options": list(record.options),
        "letter": record.mc_answer,
        "answer": record.ground_truth,
        "value": record.answer_value,
        "unit": record.unit,
        "overlap": [round(record.overlap_avg, 2), round(record.overlap_max, 2)],
        "occlusion": round(record.occlusion_avg, 4),
        "truncation": round(record.truncation_avg, 4),
        "levels": [record.occ_level, record.trunc_level, record.overlap_level, record.vis_level, record.gt_scenario],
        "bias": None if record.bias_score is None else round(record.bias_score, 4),
        "target": record.target_category,
        "reference": record.reference_category,
        "canvas": list(record.coord_size),
        "box2d": list(record.bbox_2d),
        "instances": {str(i): label for i, label in labels.items()},
        "frames": [_frame(record, position, marks, pictures) for position in range(len(record.frames))],
    }


def _frame(
    record: QARecord, position: int, marks: list[dict[str, Any]], pictures: Mapping[str, tuple[str, float]]
) -> dict[str, Any]:
    view_id = record.frames[position]
    path = record.images[position] if position < len(record.images) else ""
    thumbnail, ratio = pictures.get(path, ("", 4 / 3))
    asked = view_id == record.query_frame
    return {
        "view": view_id,
        "title": frame_name(record.frame_naming, position, view_id),
        "asked": asked,
        "picture": thumbnail,
        "ratio": ratio,
        "boxes": [mark for mark in marks if mark["view"] == view_id],
        "points": points_of(record) if asked else [],
    }


def evidence_of(record: QARecord) -> list[dict[str, Any]]:
    """The record's evidence, boxes as [left, top, width, height] in percent; entries of another form are left out."""
    try:
        stored = json.loads(record.evidence)
    except ValueError:
        return []
    marks = []
    for item in stored if isinstance(stored, list) else []:
        box = item.get("box") if isinstance(item, dict) else None
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, int | float) for n in box):
            continue
        instance_id = item.get("instance_id")
        instance_id = instance_id if isinstance(instance_id, int) else 0
        role = item.get("role") if item.get("role") in ROLES else "distractor"
        across, down = 100 / max(record.coord_size[0], 1), 100 / max(record.coord_size[1], 1)
        x0, y0, x1, y1 = box
        sides = [x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down]
        mark = {"id": instance_id, "view": str(item.get("frame", "")), "role": role}
        marks.append({**mark, "label": label_of(record, role, instance_id), "box": [round(n, 2) for n in sides]})
    return marks


def label_of(record: QARecord, role: str, instance_id: int) -> str:
    """What a mark is called: its category, numbered alike in all frames where several of a kind are asked about."""
    if role in ("distractor", "elsewhere") and instance_id not in record.target_ids:
        return ""
    name, ids = record.target_category, record.target_ids
    if role == "reference":
        name, ids = record.reference_category, record.reference_ids
    return f"{name} {ids.index(instance_id) + 1}" if len(ids) > 1 and instance_id in ids else name


def points_of(record: QARecord) -> list[dict[str, Any]]:
    """Points that the options or the answer name, in percent: letter, place, whether it is the right one."""
    texts = [(option[:1], option, option[:1] == record.mc_answer) for option in record.options if "Yes;" in option]
    if record.question_type in POINT_TYPES:
        texts = [("+", record.ground_truth, True)]
    points = []
    for letter, text, right in texts:
        if match := _POINT.search(text):
            # a pixel's coordinates name its centre
            x, y = (
                (int(n) + 0.5) * 100 / max(side, 1) for n, side in zip(match.groups(), record.coord_size, strict=True)
            )
            points.append({"letter": letter, "x": round(x, 2), "y": round(y, 2), "right": right})
    return points
