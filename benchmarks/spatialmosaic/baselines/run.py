"""Runs baselines by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.spatialmosaic.baselines.chance import chance
from benchmarks.spatialmosaic.baselines.constant import constant
from benchmarks.spatialmosaic.baselines.geometry import without_geometry
from benchmarks.spatialmosaic.baselines.question_only import question_only
from benchmarks.spatialmosaic.baselines.views import VIEW_CHANGES
from benchmarks.spatialmosaic.dataset import BenchData, load_train, shards
from benchmarks.spatialmosaic.results import Run
from qa_generation.errors import InputError

BLIND = ("chance", "constant", "question_only")
WITH_MODEL = ("best_view", "other_views", "shuffled_views", "no_geometry")
NAMES = BLIND + WITH_MODEL

Change = Callable[[Any], AbstractContextManager[None]]


class Ask(Protocol):
    """Asks the model of this run every question of ``data``; None on processes other than the first."""

    def __call__(self, data: BenchData, name: str, change: Change = nullcontext) -> Run | None:
        """The run, called ``name``.

        Args:
            data: the questions, views already changed.
            name: how the run is called; a journal of answers must not be shared between names.
            change: to be entered with the torch model around all its answers.
        """
        ...


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of `NAMES`, ``all`` spelt out; raises ``InputError`` for one that is unknown."""
    unknown = [name for name in names if name not in (*NAMES, "all")]
    if unknown:
        raise InputError(f"baseline {unknown[0]!r} is unknown, expected all or some of {', '.join(NAMES)}")
    return NAMES if "all" in names else tuple(name for name in NAMES if name in names)


def run_baselines(
    names: Sequence[str], data: BenchData, asked: Collection[str], ask: Ask | None = None, seed: int = 0
) -> list[Run]:
    """The runs of the named baselines over the questions whose ids are in ``asked``.

    Args:
        names: some of `NAMES`, or ``all``.
        data: the dataset of the run.
        asked: ids of the questions that the model was asked.
        ask: asks the model again; needed for those of `WITH_MODEL`.
        seed: of folds, forests and shuffles.

    Raises:
        InputError: for an unknown name, or when a baseline cannot be had from this dataset or model.
    """
    chosen = check_names(names)
    part = replace(data, table=data.table.filter(pc.is_in(data.table["id"], value_set=_ids(data, asked))))
    test = part.table.to_pylist()
    learns = {"constant": constant, "question_only": question_only}
    train = _train(data) if any(name in learns for name in chosen) else []
    runs: list[Run] = []
    for name in chosen:
        if name == "chance":
            runs.append(chance(test))
        elif name in learns:
            runs.append(learns[name](train, test, seed))
        elif (run := _with_model(name, part, ask)) is not None:
            runs.append(replace(run, role="baseline"))
    return runs


def _ids(data: BenchData, asked: Collection[str]) -> Any:
    return pa.array(sorted(asked), type=data.table.schema.field("id").type)


def _train(data: BenchData) -> list[dict[str, Any]]:
    """The train questions beside the dataset; none where it has no train split."""
    return load_train(data).to_pylist() if data.source.is_dir() and shards(data.source, "train") else []


def _with_model(name: str, data: BenchData, ask: Ask | None) -> Run | None:
    if ask is None:
        raise InputError(f"baseline {name} asks the model again, but none was given")
    if name == "no_geometry":
        return ask(data, "geometry bypassed", without_geometry)
    return ask(VIEW_CHANGES[name](data), name.replace("_", " "))
