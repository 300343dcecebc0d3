"""A hand-written set of questions with pictures on disk, for tests of what reads finished sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qa_generation.records import QARecord
from qa_generation.shards import shard_path, write_shard

SIZE = (64, 48)


def record(number: int = 0, scene: str = "room_0", **changes: Any) -> QARecord:
    """A yes/no question about a chair and a table in two views; ``changes`` replace its fields."""
    frames = changes.pop("frames", ("v0", "v1"))
    kind = changes.get("question_type", "obj_existence_occ_lr")
    evidence = [
        {"frame": frames[0], "instance_id": 4, "role": "target", "box": [128, 64, 256, 192]},
        {"frame": frames[-1], "instance_id": 7, "role": "reference", "box": [0, 0, 512, 128]},
    ]
    values: dict[str, Any] = {
        "id": f"synthetic.{scene}.{kind}.{number:03d}",
        "dataset": "synthetic",
        "scene_name": scene,
        "question_type": kind,
        "frames": frames,
        "question": f"Seen from Frame 2, is the chair to the left of the table? ({number})",
        "options": ("A. Yes", "B. No"),
        "mc_answer": "A",
        "ground_truth": "Yes",
        "overlap_avg": 12.5,
        "occlusion_avg": 0.3,
        "occ_level": "medium",
        "overlap_level": "medium",
        "vis_level": "Partially Visible",
        "gt_scenario": "Partial Coverage",
        "images": tuple(f"images/synthetic/{scene}/images/{frame}.jpg" for frame in frames),
        "view_set_id": f"synthetic.{scene}.{'-'.join(frames)}",
        "frame_naming": "index",
        "query_frame": frames[-1],
        "target_category": "chair",
        "reference_category": "table",
        "target_ids": (4,),
        "reference_ids": (7,),
        "truncation_avg": 0.1,
        "trunc_level": "cut",
        "evidence": json.dumps(evidence),
    }
    return QARecord(**{**values, **changes})


def write_pictures(out: Path, records: list[QARecord]) -> None:
    """A JPEG of noise for every image named, different from all others and the same every time."""
    for number, name in enumerate(sorted({name for each in records for name in each.images})):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, quality=90)


def write_set(out: Path, scenes: dict[str, list[QARecord]]) -> Path:
    """The set of these records; keys are ``split/scene``."""
    for place, records in scenes.items():
        split, scene = place.split("/")
        write_shard(shard_path(out, split, scene), records, "made-by-hand")
    write_pictures(out, [each for records in scenes.values() for each in records])
    return out


def many_scenes(scenes: int = 5, sets: int = 4, questions: int = 6) -> Iterator[tuple[str, list[QARecord]]]:
    """Scenes with several view sets of 2-5 views, a few questions about each; the last scene is held out."""
    for scene in range(scenes):
        name = f"room_{scene}"
        records = []
        for view_set in range(sets):
            frames = tuple(f"v{(view_set + step) % 7}" for step in range(2 + view_set % 4))
            records += [record(view_set * questions + q, name, frames=frames) for q in range(questions)]
        yield f"{'test' if scene == scenes - 1 else 'train'}/{name}", records
