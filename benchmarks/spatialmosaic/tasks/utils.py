"""The functions that the task files name: documents, prompts, pictures, answers and scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

import spatialvlm.models  # noqa: F401  lm-eval's own command loads tasks before the model: ours is known by then
from benchmarks.spatialmosaic.answers import final_answer
from benchmarks.spatialmosaic.dataset import BenchData, load
from benchmarks.spatialmosaic.file_picture import FilePicture
from benchmarks.spatialmosaic.prompt import user_text
from benchmarks.spatialmosaic.repair import score_repaired
from benchmarks.spatialmosaic.scoring import is_parsed, score_prediction
from qa_generation.errors import InputError
from qa_generation.prompts import is_choice

DATA_VARIABLE = "SPATIALMOSAIC_BENCH_DATA"
# columns that no prompt and no score needs; lm-eval holds every document twice
_NOT_ASKED = ("evidence", "view_set_id", "target_ids", "reference_ids", "bias_score")
_IN_MEMORY: dict[str, BenchData] = {}


class Documents(list[dict[str, Any]]):
    """The rows of a table with what lm-eval asks of a dataset.

    A ``datasets.Dataset`` would make every row anew each of the three times that lm-eval walks over them.
    """

    def __init__(self, table: pa.Table) -> None:
        super().__init__(table.to_pylist())
        self.features = dict.fromkeys(table.column_names)


def load_documents(
    question_type: str,
    place: str | None = None,
    data: str | None = None,
    split: str = "test",
    images: str | None = None,
    **_: Any,
) -> dict[str, Documents]:
    """``{"test": documents}``: the questions of one type, with ``image_root`` added to every row.

    Args:
        question_type: the type.
        place: ``indoor`` or ``outdoor`` for the questions of such datasets only.
        data: folder, file or a name given by `in_memory`; left out, the environment variable says.
        split: of the folder.
        images: folder the pictures are relative to; found by itself when left out.

    Raises:
        InputError: when no dataset is named, it cannot be used, or it holds no question of this type and place.
    """
    source = data or os.environ.get(DATA_VARIABLE)
    if not source:
        raise InputError(f"no dataset given, expected the environment variable {DATA_VARIABLE} to name its folder")
    loaded = _IN_MEMORY.get(source) or _load(Path(source), split, Path(images) if images else None)
    table = loaded.of_type(question_type, place)
    if table.num_rows == 0:
        raise InputError(
            f"{source}: the {split} split has no {place + ' ' if place else ''}question of type {question_type}; "
            "`spatialvlm bench --write-tasks` writes tasks for the types that are there"
        )
    table = table.drop_columns(list(_NOT_ASKED)).append_column(
        "image_root", [[str(loaded.image_root)] * table.num_rows]
    )
    return {"test": Documents(table)}


@contextmanager
def in_memory(data: BenchData) -> Iterator[str]:
    """A name under which tasks find these questions as they are, without reading them from disk."""
    name = f"memory:{id(data)}"
    _IN_MEMORY[name] = data
    try:
        yield name
    finally:
        del _IN_MEMORY[name]
        forget()


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The user turn with one literal ``<image>`` per view."""
    return user_text(doc)


def doc_to_image(doc: Mapping[str, Any]) -> list[Image.Image]:
    """The pictures in the order shown, to be decoded on use."""
    return [_open(str(Path(doc["image_root"]) / name)) for name in doc["images"]]


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """The true answer: a letter for choice types, else the number or point as text; empty where none is known."""
    return (doc["mc_answer"] if is_choice(doc["question_type"]) else doc["ground_truth"]) or ""


def keep_final_answers(responses: Iterable[Sequence[str]], docs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Every response without its reasoning block and outer white space; one that is no text becomes empty."""
    return [[final_answer(text) if isinstance(text, str) else "" for text in texts] for texts in responses]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Scores and whether an answer could be read, by the published rules and by the lenient reading; all 0-1."""
    answer = results[0]
    repaired, readable = score_repaired(doc, answer)
    return {
        "score": score_prediction(doc, answer, mode="safe")[1],
        "parsed": float(is_parsed(doc, answer)),
        "score_repaired": repaired,
        "parsed_repaired": float(readable),
    }


def forget() -> None:
    """Drops what is kept between the tasks of one run: the questions and the pictures."""
    _load.cache_clear()
    _open.cache_clear()


_load = lru_cache(maxsize=1)(load)


_open = lru_cache(maxsize=65_536)(FilePicture)
