"""Made-up questions with pictures, and a model that answers from a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from lm_eval.api.model import LM
from PIL import Image

from qa_generation.prompts import CHOICE_TYPES, NUMERIC_TYPES
from qa_generation.records import QARecord, to_table

LEVELS = ("low", "medium", "high")


def make_record(kind: str, index: int, scene: str = "room_0") -> QARecord:
    """A record whose fields vary with ``index``: letter, number of views, levels."""
    views = 2 + index % 4
    frames = tuple(f"frame_{10 * view:06d}" for view in range(views))
    letter = "ABCD"[index % 4]
    truth = {"obj_localization_occ_na": f"({40 + index},90)"}.get(kind, str(1 + index))
    is_choice = kind in CHOICE_TYPES
    return QARecord(
        id=f"{scene}/{kind}/{index}",
        dataset="synthetic",
        scene_name=scene,
        question_type=kind,
        frames=frames,
        question=f"{kind}: how many chairs like number {index} can be seen?",
        options=tuple(f"{name}. {5 + position}" for position, name in enumerate("ABCD")) if is_choice else (),
        mc_answer=letter if is_choice else "",
        ground_truth=str(5 + index % 4) if is_choice else truth,
        overlap_avg=12.0,
        occlusion_avg=0.3,
        occ_level=LEVELS[index % 3],
        overlap_level=LEVELS[(index + 1) % 3],
        vis_level="Partially Visible",
        gt_scenario="Full Coverage",
        bbox_2d=() if kind in CHOICE_TYPES + NUMERIC_TYPES else (30, 80, 50, 100),
        bbox_2d_diag=0.0 if kind in CHOICE_TYPES + NUMERIC_TYPES else 28.3,
        images=tuple(f"images/{scene}/{frame}.jpg" for frame in frames),
        view_set_id=f"{scene}/{views}",
        target_category="chair",
    )


def write_split(root: Path, split: str, records: list[QARecord], shards: int = 1) -> None:
    folder = root / "data" / split
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        pq.write_table(to_table(records[shard::shards]), folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet")


def write_images(root: Path, records: list[QARecord], seed: int = 0) -> None:
    """A picture of smooth random colours for every frame."""
    rng = np.random.default_rng(seed)
    for name in sorted({name for record in records for name in record.images}):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 255, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC).save(path)


class AnsweringModel(LM):
    """Answers every request by a function of the document; remembers what it was asked."""

    MULTIMODAL = True

    def __init__(self, answer: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[tuple[str, list[Image.Image]]] = []

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        self.seen += [(request.args[0], request.args[2]["visual"]) for request in requests]
        return [self.answer(request.doc) for request in requests]

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError
