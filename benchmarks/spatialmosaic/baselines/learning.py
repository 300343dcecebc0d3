"""From which questions a baseline may learn: the train split, or the test questions of other scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from qa_generation.blind.folds import even_folds
from qa_generation.seeding import stable_int
from qa_generation.splits import place_of

FOLDS = 5
FROM_TRAIN, CROSS_FITTED = "learnt on train", "cross-fitted"

Record = Mapping[str, Any]
Learner = Callable[[Sequence[Record], Sequence[Record]], list[str]]


def answer_by_type(train: Sequence[Record], test: Sequence[Record], learn: Learner, seed: int) -> list[str]:
    """The answers of ``learn(known, asked)`` to every test question, one question type at a time.

    ``known`` are the train questions of the type. A type that train lacks (all of them without a train split) is
    cross-fitted: the test questions are dealt into folds by scene and each fold is answered from the others, so that
    nothing is ever learnt from the scene that is asked.
    """
    answers = [""] * len(test)
    for kind in sorted({str(record["question_type"]) for record in test}):
        rows = [index for index, record in enumerate(test) if record["question_type"] == kind]
        asked = [test[index] for index in rows]
        known = [record for record in train if record["question_type"] == kind]
        found = learn(known, asked) if known else _cross_fitted(asked, learn, seed)
        for index, answer in zip(rows, found, strict=True):
            answers[index] = answer
    return answers


def _cross_fitted(records: Sequence[Record], learn: Learner, seed: int) -> list[str]:
    fold = cross_folds(records, seed)
    answers = [""] * len(records)
    for number in np.unique(fold):
        inside = np.flatnonzero(fold == number).tolist()
        known = [records[index] for index in np.flatnonzero(fold != number).tolist()]
        for index, answer in zip(inside, learn(known, [records[i] for i in inside]), strict=True):
            answers[index] = answer
    return answers


def cross_folds(records: Sequence[Record], seed: int) -> Int[np.ndarray, " records"]:
    """The fold of every record: by scene where there are at least as many scenes as folds, else by question."""
    scenes = [str(record.get("scene_name") or "") for record in records]
    if len({place_of(scene) for scene in scenes}) >= FOLDS:
        return even_folds(scenes, seed, FOLDS)
    ids = [str(record["id"]) for record in records]
    rank = {key: place for place, key in enumerate(sorted(ids, key=lambda key: stable_int(seed, "fold", key)))}
    return np.array([rank[key] % FOLDS for key in ids], dtype=np.int64)
