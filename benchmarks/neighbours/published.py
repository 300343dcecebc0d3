"""From a published row of a neighbour to a record of ours, views aside."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from benchmarks.neighbours.catalogue import VSI
from benchmarks.neighbours.records import offered_letters
from qa_generation.records import QARecord


def from_video_benchmark(benchmark: str, row: Mapping[str, Any]) -> QARecord:
    """A row of VSI-Bench, which keeps the letter in ``ground_truth``, or VSTI-Bench, which has ``mc_answer``."""
    options = tuple(str(option) for option in row.get("options") or ())
    answer = row.get("ground_truth") if benchmark == VSI else row.get("mc_answer")
    truth = row.get("ground_truth")
    return _record(
        row,
        dataset=str(row.get("dataset") or ""),
        scene_name=str(row["scene_name"]),
        question_type=str(row["question_type"]),
        options=options,
        mc_answer=str(answer or "").strip() if options else "",
        ground_truth="" if truth is None else str(truth).strip(),
    )


def from_spar(row: Mapping[str, Any]) -> QARecord:
    """A row of SPAR-Bench: options stand in the question, and a single letter is the answer to a choice.

    Scenes are not named: questions whose first picture is the same are taken for one scene.
    """
    answer, question = str(row["answer"]).strip(), str(row["question"])
    is_letter = len(answer) == 1 and answer.upper() in string.ascii_uppercase
    first = (row.get("image") or [None])[0]
    content = first.get("bytes") if isinstance(first, Mapping) else None
    return _record(
        row,
        dataset=str(row.get("source") or ""),
        scene_name=sha256(bytes(content or b"")).hexdigest()[:16],
        question_type=str(row["task"]),
        options=tuple(_option(question, letter) for letter in offered_letters(question)) if is_letter else (),
        mc_answer=answer.upper() if is_letter else "",
        ground_truth=answer,
    )


def _record(row: Mapping[str, Any], **found: Any) -> QARecord:
    levels = dict.fromkeys(("occ_level", "overlap_level", "vis_level", "gt_scenario"), "")
    numbers = {"overlap_avg": 0.0, "occlusion_avg": 0.0}
    known = {"id": str(row["id"]), "question": str(row["question"]), "frames": ()}
    return QARecord.from_row({**levels, **numbers, **known, **found})


def _option(question: str, letter: str) -> str:
    """``A. text``, the text from the letter to the next one or the end of the line."""
    match = re.search(rf"(?:^|[\s;,(]){letter}[.):]\s*(.+?)(?=[;,]?\s+\(?[A-F][.):]\s|\n|$)", question)
    return f"{letter}. {match[1].strip() if match else ''}"
