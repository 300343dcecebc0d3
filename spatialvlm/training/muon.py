"""Muon for the matrices inside a network, AdamW for everything else, behind one optimiser.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) orthogonalises the momentum of weight matrices;
embeddings, heads, convolutions, vectors and scalars stay with AdamW. With update sizes matched to AdamW's (Moonlight,
arXiv:2502.16982) both take the same learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer


class MuonWithAdamW(Optimizer):
    """One optimiser whose parameter groups are those of `torch.optim.Muon` and `torch.optim.AdamW`.

    Args:
        model: its trainable parameters are optimised.
        lr: learning rate of both.
        weight_decay: of all matrices and convolutions, not of vectors and scalars.
        betas: of AdamW.
        momentum: of Muon.
        heads: linear layers that read the network out; they stay with AdamW, like layers tied to embeddings.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        momentum: float = 0.95,
        heads: Iterable[nn.Module] = (),
    ) -> None:
        matrices = hidden_matrices(model, heads)
        chosen = set(map(id, matrices))
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
        self.parts: list[Optimizer] = []
        if matrices:
            muon = torch.optim.Muon(
                matrices, lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw"
            )
            self.parts.append(muon)
        if others:
            self.parts.append(torch.optim.AdamW(decay_groups(others, weight_decay), lr=lr, betas=betas, fused=True))
        # the very dictionaries of the parts, so that a schedule that sets a rate here sets it there
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {type(part).__name__: part.state_dict() for part in self.parts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the states of both."""
        for part in self.parts:
            part.load_state_dict(state_dict[type(part).__name__])
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def decay_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: weight decay on matrices and convolutions, none on biases and norms."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def hidden_matrices(model: nn.Module, heads: Iterable[nn.Module] = ()) -> list[nn.Parameter]:
    """Trainable weights of linear layers in between: neither one of the heads nor tied to an embedding."""
    left_out = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    left_out |= {id(p) for head in heads for p in head.parameters()}
    linear = (cast(nn.Parameter, m.weight) for m in model.modules() if isinstance(m, nn.Linear))
    return [weight for weight in linear if weight.requires_grad and id(weight) not in left_out]
