"""A small question set on disk, and tiny models for it, as training reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from transformers import PreTrainedTokenizerFast

from qa_generation.records import QARecord, to_table
from spatialvlm.tokenizer import train_tokenizer
from spatialvlm.training.answer_format import prompt_texts

WORDS = ("chair", "table", "lamp", "sofa", "floor lamp")


def make_record(index: int, question_type: str = "obj_attribute_occ_lr", views: int = 2, view_set: int = 0) -> QARecord:
    """A record whose true option is number ``index % 4``; numeric types have the number ``index``."""
    numeric = question_type.endswith("_na")
    words = [WORDS[(index + i) % len(WORDS)] for i in range(4)]
    return QARecord(
        id=f"q{view_set}-{index}",
        dataset="synthetic",
        scene_name="room",
        question_type=question_type,
        frames=tuple(f"frame_{view:06d}" for view in range(views)),
        question=f"Seen from Frame 1, which object is to the right of the {WORDS[index % 5]}({index},{index * 7})?",
        options=() if numeric else tuple(f"{letter}. {word}" for letter, word in zip("ABCD", words, strict=True)),
        mc_answer="" if numeric else "ABCD"[index % 4],
        ground_truth=str(index) if numeric else words[index % 4],
        overlap_avg=0.0,
        occlusion_avg=0.0,
        occ_level="low",
        overlap_level="high",
        vis_level="Fully Visible",
        gt_scenario="Full Coverage",
        images=tuple(f"images/room/frame_{view:06d}.png" for view in range(views)),
        view_set_id=f"room.{view_set:03d}",
        frame_naming="index",
        target_category=WORDS[index % 5],
    )


def small_records() -> list[QARecord]:
    """Four view sets of 2, 3, 5 and 4 views with 5, 3, 6 and 2 questions; one question is numeric."""
    sizes = ((2, 5), (3, 3), (5, 6), (4, 2))
    records = [make_record(i, views=v, view_set=s) for s, (v, n) in enumerate(sizes) for i in range(n)]
    return [*records, make_record(9, "obj_count_occ_na", views=3, view_set=1)]


def write_question_set(root: Path, records: list[QARecord] | None = None) -> Path:
    """The records as split ``train`` (and the same as ``test``), with five pictures."""
    records = small_records() if records is None else records
    rng = np.random.default_rng(0)
    (root / "images" / "room").mkdir(parents=True)
    for view in range(5):
        noise = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "images" / "room" / f"frame_{view:06d}.png")
    for split in ("train", "test"):
        (root / "data" / split).mkdir(parents=True)
        pq.write_table(to_table(records), root / "data" / split / "room.parquet")
    return root


def small_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer trained on these records."""
    return train_tokenizer(prompt_texts(small_records()), 512, folder)
