"""One loaded model that answers question sets, and what is written down about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.spatialmosaic.dataset import BenchData
from benchmarks.spatialmosaic.facts import dataset_digest
from benchmarks.spatialmosaic.harness import evaluate
from benchmarks.spatialmosaic.journal import Journal, journal_path
from benchmarks.spatialmosaic.model import SpatialVLM
from benchmarks.spatialmosaic.results import Run

Change = Callable[[Any], AbstractContextManager[None]]


@dataclass(frozen=True)
class Settings:
    """How questions are asked.

    Attributes:
        batch_size: questions answered at once.
        max_new_tokens: length limit of an answer, reasoning included.
        dtype: number type of the weights; empty for float32 on the CPU and as stored elsewhere.
        device: e.g. ``cuda:1``; empty for the first GPU, else the CPU.
    """

    batch_size: int = 32
    max_new_tokens: int = 24
    dtype: str = ""
    device: str = ""


class Session:
    """A model that stays loaded while it is asked several sets of questions.

    Args:
        model: folder or packaged name.
        folder: where journals of answers are kept until the run is stored.
        settings: how questions are asked.
    """

    def __init__(self, model: str, folder: Path, settings: Settings) -> None:
        self._model, self._folder, self._settings = model, folder, settings
        self._journals: list[Journal] = []
        start = time.perf_counter()
        self.lm = SpatialVLM(
            model, dtype=settings.dtype or None, device=settings.device or None, batch_size=settings.batch_size
        )
        self.seconds_to_load = time.perf_counter() - start

    def ask(self, data: BenchData, name: str, change: Change = nullcontext) -> Run | None:
        """The model's answers to all questions of ``data``; None on processes other than the first.

        An interrupted call goes on where it was when it is repeated.

        Args:
            data: the questions.
            name: how the run is called; answers of different names are kept apart.
            change: entered with the torch model around all its answers.
        """
        lm = self.lm
        salt = f"{lm.model.dtype} {name if change is not nullcontext else ''}"
        lm.journal = Journal(journal_path(self._folder, self._model, salt), lm.process)
        self._journals.append(lm.journal)
        known = len(lm.journal.read())
        chat = bool(getattr(lm.processor, "chat_template", None))
        started, before = time.perf_counter(), lm.seconds_in_model
        with change(lm.model):
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
        lm = self.lm
        return {
            "dtype": str(lm.model.dtype).removeprefix("torch."),
            "device": str(lm.model.device),
            "parameters": lm.model.num_parameters(),
            "batch_size": self._settings.batch_size,
            "max_new_tokens": self._settings.max_new_tokens,
            "processes": lm.processes,
        }

    def forget_answers(self) -> None:
        """Deletes the journals, once the runs are stored."""
        for journal in self._journals:
            journal.remove()
