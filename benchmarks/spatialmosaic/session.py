"""One loaded model that answers question sets, and what is written down about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.spatialmosaic.backends import Backend
from benchmarks.spatialmosaic.dataset import BenchData
from benchmarks.spatialmosaic.facts import dataset_digest
from benchmarks.spatialmosaic.harness import evaluate
from benchmarks.spatialmosaic.journal import Journal, journal_path
from benchmarks.spatialmosaic.model import SpatialVLM
from benchmarks.spatialmosaic.results import Run
from qa_generation.errors import InputError

Change = Callable[[Any], AbstractContextManager[None]]
Evaluate = Callable[..., tuple[Run, dict[str, Any]] | None]


@dataclass(frozen=True)
class Settings:
    """How questions are asked.

    Attributes:
        batch_size: questions answered at once.
        max_new_tokens: length limit of an answer, reasoning included.
        dtype: number type of the weights; empty for float32 on the CPU and as stored elsewhere.
        device: e.g. ``cuda:1``; empty for the first GPU, else the CPU.
        backend: lm-eval's name of a model class; empty for Hugging Face models on this machine.
        model_args: arguments of that class, ``name=value`` separated by commas.
    """

    batch_size: int = 32
    max_new_tokens: int = 24
    dtype: str = ""
    device: str = ""
    backend: str = ""
    model_args: str = ""


class Session:
    """A model that stays loaded while it is asked several sets of questions.

    Args:
        model: folder or packaged name.
        folder: where journals of answers are kept until the run is stored.
        settings: how questions are asked.
        max_views: the most views of a question; only asked for by a backend.
    """

    def __init__(self, model: str, folder: Path, settings: Settings, max_views: int = 999) -> None:
        self._model, self._folder, self._settings = model, folder, settings
        self._journals: list[Journal] = []
        start = time.perf_counter()
        self.lm: SpatialVLM | Backend
        if settings.backend:
            self.lm = Backend(settings.backend, model, settings.model_args, max_views, settings.batch_size)
        else:
            dtype, device = settings.dtype or None, settings.device or None
            self.lm = SpatialVLM(model, dtype=dtype, device=device, batch_size=settings.batch_size)
        self.seconds_to_load = time.perf_counter() - start

    def ask(
        self, data: BenchData, name: str, change: Change = nullcontext, evaluate: Evaluate = evaluate
    ) -> Run | None:
        """The model's answers to all questions of ``data``; None on processes other than the first.

        An interrupted call goes on where it was when it is repeated.

        Args:
            data: the questions.
            name: how the run is called; answers of different names are kept apart.
            change: entered with the torch model around all its answers.
            evaluate: runs the tasks, as `harness.evaluate` does those of SpatialMosaic-Bench.
        """
        lm = self.lm
        if isinstance(lm, Backend):
            path = journal_path(
                self._folder, None, f"{self._settings.backend} {self._model} {self._settings.model_args}"
            )
        else:
            salt = f"{lm.model.dtype} {name if change is not nullcontext else ''}"
            path = journal_path(self._folder, self._model, salt)
        lm.journal = Journal(path, lm.process)
        self._journals.append(lm.journal)
        known = len(lm.journal.read())
        chat = isinstance(lm, Backend) or bool(getattr(lm.processor, "chat_template", None))
        started, before = time.perf_counter(), lm.seconds_in_model
        if isinstance(lm, Backend) and change is not nullcontext:
            raise InputError(f"{name}: a model behind --backend {self._settings.backend} cannot be changed")
        with change(getattr(lm, "model", None)):
            found = evaluate(lm, data, name, None, self._settings.max_new_tokens, apply_chat_template=chat)
        if found is None:
            return None
        facts = {
            "questions": len(found[0].answers),
            "answers_of_an_earlier_call": min(known, len(found[0].answers)),
            "seconds_total": round(time.perf_counter() - started, 3),
            "seconds_in_model": round(lm.seconds_in_model - before, 3),
            "seconds_to_load": round(self.seconds_to_load, 3),
            "dataset_digest": dataset_digest(data),
        }
        return replace(found[0], facts=facts | self.facts())

    def facts(self) -> dict[str, Any]:
        """What holds for all runs of this model."""
        lm, settings = self.lm, self._settings
        if isinstance(lm, Backend):
            place: dict[str, Any] = {"backend": settings.backend, "model_args": settings.model_args}
        else:
            place = {
                "dtype": str(lm.model.dtype).removeprefix("torch."),
                "device": str(lm.model.device),
                "parameters": lm.model.num_parameters(),
            }
        return place | {
            "batch_size": settings.batch_size,
            "max_new_tokens": settings.max_new_tokens,
            "processes": lm.processes,
        }

    def forget_answers(self) -> None:
        """Deletes the journals, once the runs are stored."""
        for journal in self._journals:
            journal.remove()
