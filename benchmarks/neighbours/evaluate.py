"""Asks an lm-eval model the questions of a neighbour."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lm_eval.api.model import LM

from benchmarks.neighbours.catalogue import TASK_NAMES
from benchmarks.neighbours.dataset import NeighbourData
from benchmarks.neighbours.records import score
from benchmarks.spatialmosaic.harness import ask_tasks, without_extras
from benchmarks.spatialmosaic.results import Run

PACKAGED = Path(__file__).parent / "tasks"


def evaluate(
    model: LM,
    asked: NeighbourData,
    where: Mapping[str, Any],
    name: str = "model",
    max_new_tokens: int = 24,
    apply_chat_template: bool = False,
) -> tuple[Run, dict[str, Any]] | None:
    """The run of a model over a neighbour's questions and lm-eval's own results (without samples).

    None on processes other than the first.

    Args:
        model: any lm-eval model with ``MULTIMODAL = True``.
        asked: the questions, as `load_once` read them.
        where: arguments of ``tasks.utils.load_documents`` by which the task finds the same questions.
        name: how the run is called.
        max_new_tokens: length limit of an answer, reasoning included.
        apply_chat_template: whether the prompt goes through the model's chat template.
    """
    task = TASK_NAMES[asked.benchmark]
    with tempfile.TemporaryDirectory() as folder, without_extras():
        write_task(Path(folder), asked.benchmark, where)
        results = ask_tasks(model, Path(folder), [task], max_new_tokens, apply_chat_template)
    if results is None:
        return None
    order = {row["id"]: place for place, row in enumerate(asked.rows)}
    answers = []
    for sample in results.pop("samples")[task]:
        response = sample["resps"][0][0]
        text = response if isinstance(response, str) else ""
        answers.append(score(sample["doc"], sample["filtered_resps"][0], text))
    return Run(name, tuple(sorted(answers, key=lambda answer: order[answer.id]))), dict(results)


def write_task(folder: Path, benchmark: str, where: Mapping[str, Any]) -> Path:
    """The task file of a benchmark with the place of its questions, beside the base that it includes."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PACKAGED / "_neighbour", folder / "_neighbour")
    config = yaml.safe_load((PACKAGED / f"{TASK_NAMES[benchmark]}.yaml").read_text(encoding="utf-8"))
    config["dataset_kwargs"] |= {key: value for key, value in where.items() if value is not None}
    path = folder / f"{TASK_NAMES[benchmark]}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path
