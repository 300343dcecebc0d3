"""Writes the lm-eval task files: one per question type, one per family of several types, and the group over all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.spatialmosaic.dataset import BenchData
from qa_generation.prompts import ALL_FAMILIES

GROUP = "spatialmosaic_bench"
BASE = "_spatialmosaic"
PACKAGED = Path(__file__).parent / "tasks"

# every type weighs the same, as in the published overall score
_MEAN_OF_TYPES = [
    {"metric": name, "aggregation": "mean", "weight_by_size": False, "filter_list": ["answer"]}
    for name in ("score", "parsed")
]


def task_name(question_type: str) -> str:
    """The lm-eval task of one question type."""
    return f"spatialmosaic_{question_type}"


def write_tasks(folder: Path, question_types: Sequence[str], data: BenchData | None = None) -> list[Path]:
    """The files written: a task per type, a group per family with several of them, and `spatialmosaic_bench`.

    Args:
        folder: made if absent; files of the same names are replaced.
        question_types: types that get a task; a type without documents would stop lm-eval.
        data: dataset whose absolute paths the tasks shall carry; without it the tasks ask the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() != PACKAGED:
        shutil.copyfile(PACKAGED / BASE, folder / BASE)
    written = []
    for kind in question_types:
        kwargs = {"question_type": kind} | (_location(data) if data else {})
        config = {"include": BASE, "task": task_name(kind), "task_alias": kind, "dataset_kwargs": kwargs}
        written.append(_dump(folder, task_name(kind), config))
    members = []
    for family, kinds in ALL_FAMILIES.items():
        present = [kind for kind in kinds if kind in question_types]
        if len(kinds) > 1 and present:
            members.append(_family_name(family))
            written.append(_dump(folder, members[-1], _group(members[-1], family, [task_name(k) for k in present])))
        else:
            members += [task_name(kind) for kind in present]
    written.append(_dump(folder, GROUP, _group(GROUP, "SpatialMosaic-Bench", members)))
    return written


def _location(data: BenchData) -> dict[str, str]:
    return {
        "data": str(data.source.resolve()),
        "split": data.split,
        "images": str(data.image_root.resolve()),
    }


def _family_name(family: str) -> str:
    return "spatialmosaic_" + re.sub(r"[^a-z]+", "_", family.lower()).strip("_")


def _group(name: str, alias: str, members: list[str]) -> dict[str, Any]:
    return {"group": name, "group_alias": alias, "task": members, "aggregate_metric_list": _MEAN_OF_TYPES}


def _dump(folder: Path, name: str, config: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.dump(config, Dumper=_Plain, sort_keys=False), encoding="utf-8")
    return path


class _Plain(yaml.SafeDumper):
    """Writes repeated lists in full instead of as anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
