"""Small files in the public layouts of VSI-Bench, VSTI-Bench and SPAR-Bench."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SCENES = ("scene0000_00", "scene0001_00", "scene0002_00")
VSI_TYPES = {
    "object_counting": "4",
    "object_rel_direction_easy": "A",
    "object_rel_direction_medium": "B",
    "object_rel_direction_hard": "C",
    "route_planning": "A",
}
VSTI_TYPES = {
    "camera_displacement": "1.5",
    "camera_movement_direction": "B",
    "obj_obj_relative_pos_lr": "A",
}
SPAR_TYPES = {
    "depth_prediction_oo": ("How far apart in depth are they, in metres?", "2.3"),
    "position_matching": ("Which one?\nA. red dot\nB. blue dot\nC. green dot\nD. none of them", "C"),
    "view_change_infer": ("How did the camera move?", "move_right:0.3,rotate_up:20"),
}


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((64, 48))


def write_frames(root: Path, count: int = 7, dataset: str = "scannet") -> None:
    for number, scene in enumerate(SCENES):
        folder = root / dataset / scene
        folder.mkdir(parents=True)
        for frame in range(count):
            picture(100 * number + frame).save(folder / f"{frame:06d}.jpg")


def vsi_rows() -> list[dict[str, Any]]:
    rows = []
    for kind, truth in VSI_TYPES.items():
        for scene in SCENES:
            options = None if truth.isdigit() else ["A. left", "B. right", "C. back"]
            rows.append(
                {
                    "id": len(rows),
                    "dataset": "scannet",
                    "scene_name": scene,
                    "question_type": kind,
                    "question": f"About the {kind}?",
                    "ground_truth": truth,
                    "options": options,
                }
            )
    return rows


def write_vsi(root: Path) -> Path:
    file = root / "test-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(vsi_rows()), file)
    return file


def write_vsti(root: Path) -> Path:
    rows = []
    for kind, truth in VSTI_TYPES.items():
        is_choice = truth.isalpha()
        rows.append(
            {
                "id": len(rows),
                "dataset": "scannet",
                "scene_name": SCENES[0],
                "question_type": kind,
                "question": "What happened?",
                "options": ["A. left", "B. right"] if is_choice else [],
                "ground_truth": "left" if is_choice else truth,
                "mc_answer": truth if is_choice else None,
            }
        )
    file = root / "test.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def write_spar(root: Path) -> Path:
    rows = []
    for kind, (question, answer) in SPAR_TYPES.items():
        for scene in range(2):
            pictures = [_bytes(10 * scene + view) for view in range(2)]
            rows.append(
                {
                    "id": len(rows),
                    "img_type": "multi_view",
                    "format_type": "select" if len(answer) == 1 else "fill",
                    "task": kind,
                    "source": "scannet",
                    "image": pictures,
                    "question": question,
                    "answer": answer,
                }
            )
    (root / "data").mkdir()
    file = root / "data" / "test-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def _bytes(seed: int) -> dict[str, Any]:
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}
