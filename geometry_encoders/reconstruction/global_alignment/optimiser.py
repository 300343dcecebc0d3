"""Adam on the alignment loss, with the learning rate going down on a schedule."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.checkpoint import (
    Progress,
    fingerprint,
    load_progress,
    save_progress,
)
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.objective import Objective
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph
from geometry_encoders.reconstruction.global_alignment.parameters import AlignmentParameters

BETAS = (0.9, 0.9)
SAVE_EVERY_S = 60


@dataclass(frozen=True)
class History:
    """Losses before each update and learning rates of it, and the loss at the end."""

    losses: tuple[float, ...]
    learning_rates: tuple[float, ...]
    final_loss: float


def learning_rate(config: AlignmentConfig, step: int) -> float:
    """Learning rate of update ``step`` (0 is the first one)."""
    t = step / config.iterations
    span = config.learning_rate - config.min_learning_rate
    if config.schedule == "cosine":
        return config.min_learning_rate + span * (1 + math.cos(math.pi * t)) / 2
    return config.learning_rate - span * t


def optimise(
    graph: PairGraph,
    parameters: AlignmentParameters,
    config: AlignmentConfig,
    known: KnownCameras,
    progress: bool = False,
    checkpoint: Path | None = None,
) -> History:
    """Moves the parameters to a smaller loss; what is known about the cameras stays as it is.

    Where the loss does not get smaller the parameters stay at the start (not with ``compat``).

    Args:
        checkpoint: file that the state is written to every minute; where it exists the alignment goes on from it, with
            the same result as without the interruption.

    Raises:
        InputError: the loss stops being finite, or the file belongs to another alignment.
    """
    objective = Objective(graph, config)
    free = _Free(graph, parameters, config, known)
    optimiser = torch.optim.Adam(free.parameters, lr=config.learning_rate, betas=BETAS)
    run = _Run(parameters, optimiser, checkpoint, fingerprint(graph, config, known) if checkpoint else "")
    steps = range(len(run.losses), config.iterations)
    bar = tqdm(
        steps, "alignment", config.iterations, initial=steps.start, unit="step", disable=None if progress else True
    )
    for step in bar:
        rate = learning_rate(config, step)
        optimiser.param_groups[0]["lr"] = rate
        loss = objective.loss_and_gradient(parameters)
        if not math.isfinite(loss):
            raise InputError(f"alignment: the loss is {loss} after {step} iterations, expected a finite number")
        free.hold_known()
        optimiser.step()
        run.note(loss, rate)
        bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
    final = objective.loss(parameters)
    if run.losses and not config.compat and not final < run.losses[0]:  # Adam wanders away from a perfect start
        parameters.load_state_dict(run.start)
        final = run.losses[0]
    return History(tuple(run.losses), tuple(run.learning_rates), final)


class _Run:
    """The state of an optimisation between two steps, kept in a file where one is given."""

    def __init__(
        self, parameters: AlignmentParameters, optimiser: torch.optim.Adam, checkpoint: Path | None, mark: str
    ) -> None:
        self._parameters, self._optimiser, self._path, self._mark = parameters, optimiser, checkpoint, mark
        self.start = {name: value.clone() for name, value in parameters.state_dict().items()}
        self.losses: list[float] = []
        self.learning_rates: list[float] = []
        stored = load_progress(checkpoint, mark) if checkpoint else None
        if stored is not None:
            parameters.load_state_dict(stored.parameters)
            optimiser.load_state_dict(stored.optimiser)
            self.start, self.losses, self.learning_rates = stored.start, stored.losses, stored.learning_rates
        self._saved_at = time.monotonic()

    def note(self, loss: float, rate: float) -> None:
        """One step is done; every minute its outcome is written."""
        self.losses.append(loss)
        self.learning_rates.append(rate)
        if self._path is None or time.monotonic() - self._saved_at < SAVE_EVERY_S:
            return
        parameters, optimiser = self._parameters.state_dict(), self._optimiser.state_dict()
        save_progress(
            self._path, self._mark, Progress(parameters, self.start, optimiser, self.losses, self.learning_rates)
        )
        self._saved_at = time.monotonic()


class _Free:
    """The parameters that may move. Adam leaves a number alone whose gradient was always zero."""

    def __init__(
        self, graph: PairGraph, parameters: AlignmentParameters, config: AlignmentConfig, known: KnownCameras
    ) -> None:
        self._all = parameters
        views = range(len(graph))
        self._poses = self._rows(graph, np.array([view in known.camera_to_world for view in views]))
        self._focals = self._rows(graph, np.array([known.focal(view) is not None for view in views]))
        self._middles = self._rows(graph, np.array([view in known.intrinsics for view in views]))
        self.parameters = [
            parameters.pw_poses, *parameters.im_depthmaps, parameters.im_poses, parameters.im_focals,
        ]  # fmt: skip
        if config.optimize_principal_points:
            self.parameters.append(parameters.im_pp)
        if config.pairwise_adaptors:
            self.parameters.append(parameters.pw_adaptors)

    @staticmethod
    def _rows(graph: PairGraph, held: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(held).to(graph.device)

    def hold_known(self) -> None:
        """Sets the gradient of everything known to zero."""
        for parameter, held in (
            (self._all.im_poses, self._poses),
            (self._all.im_focals, self._focals),
            (self._all.im_pp, self._middles),
        ):
            if parameter.grad is not None:
                parameter.grad[held] = 0
