"""The functions that the task files name: documents, prompts, pictures, scores and their mean."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.neighbours.catalogue import WEIGHTS
from benchmarks.neighbours.dataset import NeighbourData, load
from benchmarks.neighbours.pictures import PUBLISHED_FRAMES
from benchmarks.neighbours.records import score, user_text
from benchmarks.spatialmosaic.tasks import utils as ours
from qa_generation.errors import InputError

DATA_VARIABLE, IMAGES_VARIABLE, FRAMES_VARIABLE = "NEIGHBOUR_DATA", "NEIGHBOUR_IMAGES", "NEIGHBOUR_FRAMES"

doc_to_image = ours.doc_to_image


def load_documents(
    benchmark: str,
    data: str | None = None,
    images: str | None = None,
    frames: int | None = None,
    limit: int | None = None,
    **_: Any,
) -> dict[str, ours.Documents]:
    """``{"test": documents}``: the questions of one benchmark, with ``image_root`` added to every row.

    Raises:
        InputError: when no questions are named, they cannot be used, or are those of another benchmark.
    """
    source = data or os.environ.get(DATA_VARIABLE)
    if not source:
        raise InputError(f"no questions given, expected the environment variable {DATA_VARIABLE} to name their file")
    root = images or os.environ.get(IMAGES_VARIABLE)
    count = frames or _frames_wanted()
    loaded = load_once(Path(source), Path(root) if root else None, count, limit)
    if loaded.benchmark != benchmark:
        raise InputError(f"{source}: questions of {loaded.benchmark}, expected those of {benchmark}")
    table = loaded.data.table
    table = table.append_column("image_root", [[str(loaded.data.image_root)] * table.num_rows])
    return {"test": ours.Documents(table)}


def _frames_wanted() -> int:
    text = os.environ.get(FRAMES_VARIABLE, str(PUBLISHED_FRAMES))
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"environment variable {FRAMES_VARIABLE} is {text!r}, expected a number of frames")
    return int(text)


@lru_cache(maxsize=1)
def load_once(source: Path, images: Path | None, frames: int, limit: int | None) -> NeighbourData:
    """`load`, kept for the task that follows the check before the model."""
    return load(source, images, frames, limit=limit)


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The user turn with one literal ``<image>`` per view."""
    return user_text(doc)


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """The true letter, number or motions."""
    return str(doc["mc_answer"] or doc["ground_truth"])


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Both scores with the question's type, and whether an answer could be read."""
    answer = score(doc, results[0], results[0])
    kind = answer.question_type
    return {
        "score": (kind, answer.score),
        "score_repaired": (kind, answer.score_repaired),
        "parsed": float(answer.parsed),
        "parsed_repaired": float(answer.parsed_repaired),
    }


def mean_of_tasks(items: Sequence[tuple[str, float]]) -> float:
    """The benchmark's overall score, 0-1: the mean over its published tasks, each the mean of its types."""
    scores: dict[str, list[float]] = defaultdict(list)
    for kind, value in items:
        scores[kind].append(value)
    weights = {kind: WEIGHTS.get(kind, 1.0) for kind in scores}
    means = {kind: sum(values) / len(values) for kind, values in scores.items()}
    return sum(weights[kind] * means[kind] for kind in means) / sum(weights.values())
