"""Adam on the alignment loss, with the learning rate going down on a schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.objective import Objective
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph
from geometry_encoders.reconstruction.global_alignment.parameters import AlignmentParameters

BETAS = (0.9, 0.9)


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
) -> History:
    """Moves the parameters to a smaller loss; what is known about the cameras stays as it is.

    Where the loss does not get smaller the parameters stay at the start (not with ``compat``).

    Raises:
        InputError: the loss stops being finite.
    """
    objective = Objective(graph, config)
    free = _Free(graph, parameters, config, known)
    optimiser = torch.optim.Adam(free.parameters, lr=config.learning_rate, betas=BETAS)
    start = {name: value.clone() for name, value in parameters.state_dict().items()}
    losses, rates = [], []
    bar = tqdm(range(config.iterations), desc="alignment", unit="step", disable=None if progress else True)
    for step in bar:
        rates.append(learning_rate(config, step))
        optimiser.param_groups[0]["lr"] = rates[-1]
        losses.append(objective.loss_and_gradient(parameters))
        if not math.isfinite(losses[-1]):
            raise InputError(f"alignment: the loss is {losses[-1]} after {step} iterations, expected a finite number")
        free.hold_known()
        optimiser.step()
        bar.set_postfix(loss=f"{losses[-1]:.4g}", refresh=False)
    final = objective.loss(parameters)
    if losses and not config.compat and not final < losses[0]:  # Adam wanders away from a start that was perfect
        parameters.load_state_dict(start)
        final = losses[0]
    return History(tuple(losses), tuple(rates), final)


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
