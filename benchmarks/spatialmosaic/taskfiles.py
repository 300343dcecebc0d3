"""Writes the lm-eval task files: a task per question type, groups per family and over all; the same for each place."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.spatialmosaic.dataset import BenchData
from qa_generation.prompts import ALL_FAMILIES, INDOOR_TYPES, QUESTION_TYPES

GROUP = "spatialmosaic_bench"
BASE = "_spatialmosaic"
PACKAGED = Path(__file__).parent / "tasks"
METRICS = ("score", "parsed", "score_repaired", "parsed_repaired")

# the types that each place has in the published sets
PUBLISHED: dict[str, tuple[str, ...]] = {
    "indoor": QUESTION_TYPES,
    "outdoor": tuple(kind for kind in QUESTION_TYPES if kind not in INDOOR_TYPES),
}


def task_name(question_type: str, place: str | None = None) -> str:
    """The lm-eval task of one question type, in one place only if it is given."""
    return "_".join(["spatialmosaic", *([place] if place else []), question_type])


def group_name(family: str | None = None, place: str | None = None) -> str:
    """The lm-eval group of a family, of a place, of a family in a place, or of everything."""
    parts = [place or "", re.sub(r"[^a-z]+", "_", (family or "").lower()).strip("_")]
    return "_".join(["spatialmosaic", *filter(None, parts)]) if any(parts) else GROUP


def write_tasks(folder: Path, data: BenchData | None = None, source: str | None = None) -> list[Path]:
    """The files written, tasks and groups; those of earlier calls are replaced.

    `spatialmosaic_bench` is a group of families of types. ``spatialmosaic_indoor`` and ``spatialmosaic_outdoor`` are
    made alike from the questions of such datasets only; they are groups of their own, since lm-eval asks a question as
    often as tasks hold it.

    Args:
        folder: made if absent.
        data: dataset whose types get tasks, with its absolute paths; without it all published types, and the tasks ask
            the environment. A type without documents would stop lm-eval.
        source: name given by ``tasks.utils.in_memory`` instead of the paths; places get no groups then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() != PACKAGED:
        shutil.copyfile(PACKAGED / BASE, folder / BASE)
    by_place = data.types_by_place if data else PUBLISHED
    location = {"data": source} if source else _location(data) if data else {}
    everywhere: Sequence[str] = data.question_types if data else QUESTION_TYPES
    types: list[tuple[str | None, Sequence[str]]] = [(None, everywhere), *(() if source else by_place.items())]
    configs = [config for place, kinds in types for config in (*_tasks(place, kinds, location), *_groups(place, kinds))]
    written = [_dump(folder, config.get("group") or config["task"], config) for config in configs]
    for path in set(folder.glob("spatialmosaic_*.yaml")) - set(written):
        path.unlink()
    return written


def _tasks(place: str | None, kinds: Sequence[str], location: dict[str, str]) -> Iterator[dict[str, Any]]:
    for kind in kinds:
        yield {
            "include": BASE,
            "task": task_name(kind, place),
            "task_alias": f"{kind} ({place})" if place else kind,
            "dataset_kwargs": {"question_type": kind, **({"place": place} if place else {}), **location},
        }


def _groups(place: str | None, kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A group per family of several types, and the one over all, in which every type weighs the same as published."""
    members = []
    for family, all_kinds in ALL_FAMILIES.items():
        present = [task_name(kind, place) for kind in all_kinds if kind in kinds]
        if len(all_kinds) > 1 and present:
            members.append(group_name(family, place))
            yield _group(members[-1], f"{family} ({place})" if place else family, present)
        else:
            members += present
    yield _group(group_name(place=place), f"SpatialMosaic-Bench ({place})" if place else "SpatialMosaic-Bench", members)


def _group(name: str, alias: str, members: list[str]) -> dict[str, Any]:
    means = [
        {"metric": metric, "aggregation": "mean", "weight_by_size": False, "filter_list": ["answer"]}
        for metric in METRICS
    ]
    return {"group": name, "group_alias": alias, "task": members, "aggregate_metric_list": means}


def _location(data: BenchData) -> dict[str, str]:
    return {
        "data": str(data.source.resolve()),
        "split": data.split,
        "images": str(data.image_root.resolve()),
    }


def _dump(folder: Path, name: str, config: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.dump(config, Dumper=_Plain, sort_keys=False), encoding="utf-8")
    return path


class _Plain(yaml.SafeDumper):
    """Writes repeated lists in full instead of as anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
