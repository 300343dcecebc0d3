"""What a set of questions is made of: counts by type, level, category and answer, gathered in one pass over its files.

Memory does not grow with the number of records: only counts are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_generation.levels import OCC_LEVELS, OVERLAP_LEVELS, TRUNC_LEVELS
from qa_generation.prompts import ALL_FAMILIES, ALL_TYPES, WARMUP_TYPES
from qa_generation.question_files import QuestionFile, batches, question_files

LEVELS: dict[str, tuple[str, ...]] = {
    "occ_level": OCC_LEVELS,
    "trunc_level": TRUNC_LEVELS,
    "overlap_level": OVERLAP_LEVELS[::-1],
    "vis_level": ("Fully Visible", "Partially Visible"),
    "gt_scenario": ("Full Coverage", "Partial Coverage"),
}
LEVEL_TITLES = {
    "occ_level": "Occlusion",
    "trunc_level": "Truncation",
    "overlap_level": "Overlap (high = little overlap, hard)",
    "vis_level": "Visibility",
    "gt_scenario": "Coverage",
}
BIAS_BINS = 20
_COLUMNS = (
    "dataset", "scene_name", "question_type", "frames", "mc_answer", "ground_truth", "target_category", "answer_value",
    "bias_score", *LEVELS,
)  # fmt: skip
# types whose answers are few enough texts to be counted one by one
_COUNTED = (
    "obj_count_occ",
    "bestview_count_occ",
    "obj_existence_occ_ab",
    "obj_existence_occ_fb",
    "obj_existence_occ_lr",
)


@dataclass(frozen=True)
class Statistics:
    """Numbers of records; every key begins with the question type unless it says otherwise.

    Attributes:
        questions: (split, type).
        scenes: split -> names of its scenes; sources: dataset name.
        levels: (type, column, label); labels that a record lacks are left out.
        views: (type, number of frames).
        categories: (type, target category).
        letters: (type, letter) of multiple-choice types.
        answers: (type, text) for yes/no and counts; of best-view answers the number alone.
        values: (type, number) of numeric answers, rounded to one decimal.
        bias: (type, bin) of the bias score in ``BIAS_BINS`` equal bins of 0..1.
    """

    questions: Counter[tuple[str, str]] = field(default_factory=Counter)
    scenes: dict[str, set[str]] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    levels: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    views: Counter[tuple[str, int]] = field(default_factory=Counter)
    categories: Counter[tuple[str, str]] = field(default_factory=Counter)
    letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    values: Counter[tuple[str, float]] = field(default_factory=Counter)
    bias: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """Records of all splits."""
        return self.questions.total()

    @property
    def splits(self) -> list[str]:
        """Splits with records, train first, warm-up last."""
        return sorted({split for split, _ in self.questions}, key=lambda s: (s == "warmup", s != "train", s))

    @property
    def types(self) -> list[str]:
        """Question types with records, in the order of their families."""
        return sorted({question_type for _, question_type in self.questions}, key=type_rank)

    def per_type(self) -> Counter[str]:
        """Records of each type over all splits."""
        total: Counter[str] = Counter()
        for (_, question_type), count in self.questions.items():
            total[question_type] += count
        return total


def type_rank(question_type: str) -> tuple[int, str]:
    """Sort key that follows the families, warm-up and unknown types last."""
    order = [t for types in ALL_FAMILIES.values() for t in types] + list(WARMUP_TYPES)
    return (order.index(question_type) if question_type in order else len(order), question_type)


def family_of(question_type: str) -> str:
    """The family's name; ``Warm-up`` or ``Other`` for types that have none."""
    if question_type not in ALL_TYPES:
        return "Warm-up" if question_type in WARMUP_TYPES else "Other"
    return next(family for family, types in ALL_FAMILIES.items() if question_type in types)


def gather(dataset: Path) -> Statistics:
    """The statistics of a generated or packed set; raises ``InputError`` where it has no readable questions."""
    return gather_files(question_files(dataset))


def gather_files(files: Sequence[QuestionFile]) -> Statistics:
    """The statistics of these files, which must stand split by split."""
    found = Statistics()
    for split, table in batches(files, _COLUMNS):
        _add(found, split, table)
    return found


def _add(found: Statistics, split: str, table: pa.Table) -> None:
    kind = table["question_type"]
    for (question_type,), count in _counts(kind):
        found.questions[(split, question_type)] += count
    found.scenes.setdefault(split, set()).update(pc.unique(table["scene_name"]).to_pylist())
    found.sources.update({name: count for (name,), count in _counts(table["dataset"])})
    for column in LEVELS:
        for (question_type, label), count in _counts(kind, table[column]):
            if label:
                found.levels[(question_type, column, label)] += count
    found.views.update(dict(_counts(kind, pc.list_value_length(table["frames"]))))
    found.categories.update(dict(_counts(kind, table["target_category"])))
    found.letters.update({key: count for key, count in _counts(kind, table["mc_answer"]) if key[1]})
    few = table.filter(pc.is_in(kind, pa.array(_COUNTED)))
    text = pc.replace_substring_regex(few["ground_truth"], r"^(\d+) .*$", r"\1")  # "3 chair(s); Frame 2" counts as 3
    found.answers.update(dict(_counts(few["question_type"], text)))
    numeric = table.filter(pc.is_valid(table["answer_value"]))
    found.values.update(dict(_counts(numeric["question_type"], pc.round(numeric["answer_value"], 1))))
    scored = table.filter(pc.is_valid(table["bias_score"]))
    score = np.clip(scored["bias_score"].to_numpy(), 0, 1)
    bins = pa.array(np.minimum((score * BIAS_BINS).astype(np.int64), BIAS_BINS - 1))
    found.bias.update(dict(_counts(scored["question_type"], bins)))


def _counts(*columns: pa.ChunkedArray | pa.Array) -> list[tuple[tuple, int]]:
    """(values, how many rows hold them) for every combination of values in the columns."""
    names = [f"c{index}" for index in range(len(columns))]
    table = pa.table(list(columns), names=names).group_by(names, use_threads=False).aggregate([([], "count_all")])
    counts = table["count_all"].to_pylist()
    return list(zip(zip(*(table[name].to_pylist() for name in names), strict=True), counts, strict=True))
