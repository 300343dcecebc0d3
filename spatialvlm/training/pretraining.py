"""What our pretraining runs share: an optimiser step, a budget of steps and minutes, checkpoints, figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from geometry_encoders.errors import InputError
from geometry_encoders.whole_files import whole_file
from spatialvlm.training.muon import MuonWithAdamW, decay_groups
from spatialvlm.training.schedule import ScheduleName, learning_rate_factor, progress

OptimizerName = Literal["adamw", "muon"]


@dataclass(frozen=True)
class Budget:
    """The part of a recipe that says how long and how fast to train; recipes set their own defaults.

    Attributes:
        max_steps: optimiser steps.
        max_minutes: wall-clock budget; the schedule then follows the larger share of steps and minutes.
        batch_size: samples per step over all processes.
        learning_rate: peak of the schedule.
        schedule: shape of the decay.
        warmup: share of the run with a rising rate.
        optimizer: ``adamw``, or ``muon`` (`spatialvlm.training.muon`), which learns faster here.
        weight_decay: on matrices only.
        max_grad_norm: gradients are clipped to this norm.
    """

    max_steps: int = 10000
    max_minutes: float | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: ScheduleName = "cosine"
    warmup: float = 0.05
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0


def build_optimizer(
    model: nn.Module,
    budget: Budget,
    betas: tuple[float, float] = (0.9, 0.999),
    heads: Iterable[nn.Module] = (),
) -> torch.optim.Optimizer:
    """The optimiser of that name over all parameters that want gradients; weight decay spares biases and norms.

    ``heads`` are the linear layers that read the network out, which Muon leaves to AdamW.
    """
    if budget.optimizer == "muon":
        return MuonWithAdamW(model, budget.learning_rate, budget.weight_decay, betas, heads=heads)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = decay_groups(trained, budget.weight_decay)
    return torch.optim.AdamW(groups, lr=budget.learning_rate, betas=betas, fused=True)


class Clock:
    """Seconds of training, those before a resume included."""

    def __init__(self, before_s: float) -> None:
        self._before_s, self._started = before_s, time.monotonic()

    def seconds(self) -> float:
        """Since the training first began."""
        return self._before_s + time.monotonic() - self._started

    def every(self, minutes: float) -> Callable[[], bool]:
        """A question that is answered yes once per so many minutes."""
        last = self.seconds()

        def due() -> bool:
            nonlocal last
            if self.seconds() - last < minutes * 60:
                return False
            last = self.seconds()
            return True

        return due


class Pretraining:
    """One run: the model, its optimiser and where the run stands. Subclasses bring the data, the loss and the loop.

    Attributes:
        model: what is trained and saved.
        prepared: what is called in a training step: ``model`` or ``called``, wrapped for several processes.
        step: optimiser steps done.
        elapsed_s: seconds of training done, those before a resume included.
    """

    def __init__(
        self,
        model: nn.Module,
        budget: Budget,
        accelerator: Accelerator,
        folder: Path,
        betas: tuple[float, float] = (0.9, 0.999),
        called: nn.Module | None = None,
        min_learning_rate: float = 0.0,
    ) -> None:
        self.model, self.budget, self.accelerator, self.folder = model, budget, accelerator, folder
        optimizer = build_optimizer(model, budget, betas, self.heads(model))
        self.prepared, self.optimizer = accelerator.prepare(model if called is None else called, optimizer)
        self.step, self.elapsed_s = 0, 0.0
        self._floor = min_learning_rate / budget.learning_rate if budget.learning_rate > 0 else 0.0

    def heads(self, model: nn.Module) -> list[nn.Module]:
        """Linear layers that read the network out."""
        return []

    # ---- how far the run is ----------------------------------------------------------------------------------------

    def done(self, step: int | None = None) -> float:
        """Share of the budget used up at that step (default: now), 0-1."""
        at = self.step if step is None else step
        return progress(at, self.budget.max_steps, self.elapsed_s / 60, self.budget.max_minutes)

    def finished(self) -> bool:
        """Whether the budget of steps or minutes is used up."""
        return self.done() >= 1.0

    def agreed_seconds(self, seconds: float) -> float:
        """The main process's clock, so that all processes end at the same step."""
        if self.accelerator.num_processes == 1 or self.budget.max_minutes is None:
            return seconds
        value = torch.tensor(seconds if self.accelerator.is_main_process else 0.0, device=self.accelerator.device)
        return float(self.accelerator.reduce(value, reduction="sum"))

    # ---- one step --------------------------------------------------------------------------------------------------

    def set_learning_rate(self) -> float:
        """Gives the optimiser the rate that the schedule wants now, and returns it."""
        factor = learning_rate_factor(self.budget.schedule, self.done(), self.budget.warmup, self._floor)
        rate = self.budget.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def descend(self, loss: Tensor) -> float:
        """One optimiser step down that loss with clipped gradients; returns their norm before clipping.

        Raises ``InputError`` where the loss is not a number, before any weight is changed.
        """
        if not torch.isfinite(loss.detach()):
            raise InputError(f"step {self.step}: the loss is {loss.item()}, expected a number; lower the learning rate")
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.budget.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return float(norm)

    # ---- files and figures -----------------------------------------------------------------------------------------

    def save_checkpoint(self, **more: Any) -> None:
        """Writes all that an exact continuation needs, replacing the old checkpoint in one move (main process only)."""
        if not self.accelerator.is_main_process:
            return
        state = {"step": self.step, "elapsed_s": self.elapsed_s, "model": self.model.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), **more}
        with whole_file(self.folder / "checkpoint.pt") as partial:
            torch.save(state, partial)

    def resume(self) -> None:
        """Takes up the checkpoint in the output folder, if there is one.

        Raises:
            InputError: the file is damaged or holds a network of other sizes.
        """
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
        except (RuntimeError, EOFError, UnpicklingError, ValueError) as error:
            raise InputError(f"{path}: damaged checkpoint, remove it or give another output.folder") from error
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise InputError(
                f"{path}: holds a network of other sizes than the recipe's; give another output.folder"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]

    def report(self, figures: dict[str, float], unit: str) -> None:
        """Logs held-out figures and prints them as one line; ``unit`` is what a batch is made of."""
        self.accelerator.log({f"held_out/{name}": value for name, value in figures.items()}, step=self.step)
        seen = self.step * self.budget.batch_size
        text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.accelerator.print(f"step {self.step}, {seen:,} {unit}, {self.elapsed_s:.0f} s: {text}", flush=True)
