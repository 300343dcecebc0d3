"""The loop of a pretraining run that is watched by held-out figures: steps, checkpoints, evaluations, files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from tqdm import tqdm

from spatialvlm.training.pretraining import Clock, Pretraining


class Pace(Protocol):
    """The part of a recipe that says how often to write and to look, minutes."""

    @property
    def save_minutes(self) -> float: ...
    @property
    def eval_minutes(self) -> float: ...


class WatchedRun(Pretraining):
    """A run with its loop; subclasses bring the batches, the step, the figures and what is left behind.

    Attributes:
        unit: what batches are made of, for the printed figures.
    """

    unit = "samples"

    @property
    def pace(self) -> Pace:
        """How often to write and to look."""
        raise NotImplementedError

    @property
    def title(self) -> str | None:
        """What stands before the progress bar."""
        return None

    def train_batches(self) -> Iterable[Any]:
        """Batches from the current step on."""
        raise NotImplementedError

    def train_step(self, batch: Any) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, float]:
        """Held-out figures; asked of the main process only."""
        raise NotImplementedError

    def save(self, figures: dict[str, float]) -> dict[str, float]:
        """Writes what a finished run leaves behind; returns its figures."""
        raise NotImplementedError

    def run(self) -> dict[str, float]:
        """Trains to the end of the budget and saves; returns the held-out figures, none on processes but the main."""
        self.resume()
        self.accelerator.init_trackers("logs")
        self.model.train()
        try:
            self._loop()
        finally:
            self.save_checkpoint()
        figures: dict[str, float] = {}
        if self.accelerator.is_main_process:
            figures = self.evaluate()
            self.report(figures, self.unit)
            figures = self.save(figures)
        self.accelerator.end_training()
        return figures

    def _loop(self) -> None:
        clock = Clock(self.elapsed_s)
        save_due, eval_due = clock.every(self.pace.save_minutes), clock.every(self.pace.eval_minutes)
        steps = self.budget.max_steps
        with tqdm(total=steps, initial=self.step, unit="step", desc=self.title, disable=None) as bar:
            for batch in self.train_batches():
                if self.finished():
                    break
                terms = self.train_step(batch)
                self.elapsed_s = self.agreed_seconds(clock.seconds())
                bar.update()
                if self.step % 10 == 0:
                    bar.set_postfix({name: f"{value:.3g}" for name, value in terms.items()})
                    self.accelerator.log({f"train/{name}": value for name, value in terms.items()}, step=self.step)
                if save_due():
                    self.save_checkpoint()
                if eval_due() and self.accelerator.is_main_process:
                    self.report(self.evaluate(), self.unit)
