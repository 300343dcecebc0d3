"""Runs the lm-eval task group over a dataset and returns every scored answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from lm_eval import evaluator, simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from benchmarks.spatialmosaic.dataset import BenchData
from benchmarks.spatialmosaic.results import Run, ScoredAnswer, score_answer
from benchmarks.spatialmosaic.taskfiles import GROUP, write_tasks
from benchmarks.spatialmosaic.tasks import utils


def evaluate(
    model: LM,
    data: BenchData,
    name: str = "model",
    limit: int | None = None,
    max_new_tokens: int = 24,
    apply_chat_template: bool = False,
) -> tuple[Run, dict[str, Any]] | None:
    """The run of a model over a dataset, and lm-eval's own results (without samples); None on ranks other than 0.

    Args:
        model: any lm-eval model with ``MULTIMODAL = True``.
        data: checked questions.
        name: how the run is called in reports.
        limit: at most so many questions per question type, the first in file order.
        max_new_tokens: length limit of an answer, reasoning included.
        apply_chat_template: whether the prompt goes through the model's chat template.
    """
    data = data.limited(limit)
    with tempfile.TemporaryDirectory() as folder, without_extras(), utils.in_memory(data) as source:
        write_tasks(Path(folder), data, source)
        results = ask_tasks(model, Path(folder), [GROUP], max_new_tokens, apply_chat_template)
    if results is None:
        return None
    samples = results.pop("samples")
    order = {key: index for index, key in enumerate(data.table["id"].to_pylist())}
    answers = sorted(map(_scored, chain.from_iterable(samples.values())), key=lambda answer: order[answer.id])
    return Run(name=name, answers=tuple(answers)), dict(results)


def ask_tasks(
    model: LM, folder: Path, tasks: list[str], max_new_tokens: int, apply_chat_template: bool
) -> dict[str, Any] | None:
    """lm-eval's results, samples among them, over the task files of a folder; None on processes but the first."""
    results = simple_evaluate(
        model=model,
        tasks=tasks,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        limit=None,
        gen_kwargs={"max_gen_toks": max_new_tokens},
        apply_chat_template=apply_chat_template,
        bootstrap_iters=0,
        log_samples=True,
    )
    return None if results is None or getattr(model, "process", 0) > 0 else dict(results)


@contextmanager
def without_extras() -> Iterator[None]:
    """Keeps lm-eval from decoding every picture again for a hash, listing all packages, and asking git who it is."""
    replaced = {"LMEVAL_HASHMM": False, "add_env_info": lambda storage: None, "get_git_commit_hash": lambda: None}
    before = {name: getattr(evaluator, name) for name in replaced}
    try:
        for name, value in replaced.items():
            setattr(evaluator, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(evaluator, name, value)


def _scored(sample: Mapping[str, Any]) -> ScoredAnswer:
    response = sample["resps"][0][0]
    return score_answer(sample["doc"], sample["filtered_resps"][0], response if isinstance(response, str) else "")
