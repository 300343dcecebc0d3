"""Muon and AdamW as one optimiser: who updates what, one schedule for both, and exact continuation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from spatialvlm.training.muon import MuonWithAdamW, hidden_matrices


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(11, 8)
        self.hidden = nn.Linear(8, 12)
        self.out = nn.Linear(12, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.out(self.hidden(self.embedding(ids)).relu())))


def step(model: Small, optimizer: torch.optim.Optimizer, seed: int) -> float:
    ids = torch.randint(0, 11, (32,), generator=torch.Generator().manual_seed(seed))
    loss = nn.functional.cross_entropy(model(ids), (ids * 3 + 1) % 11)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def test_only_matrices_in_between_are_orthogonalised() -> None:
    model = Small()
    assert [id(p) for p in hidden_matrices(model)] == [id(model.hidden.weight), id(model.out.weight)]
    assert [id(p) for p in hidden_matrices(model, [model.out])] == [id(model.hidden.weight)]
    model.hidden.requires_grad_(False)
    assert [id(p) for p in hidden_matrices(model)] == [id(model.out.weight)]
    before = model.out.weight.detach().clone()
    step(model, MuonWithAdamW(model, lr=0.01), seed=0)
    update = before - model.out.weight.detach()
    values = torch.linalg.svdvals(update)
    # all directions move about alike, by the size of an AdamW step: rms 0.2 lr
    assert values[:-1].min() > 0.5 * values.max()  # the last direction has no gradient: logits do not mind a shift
    assert update.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.3)


def test_it_learns_and_follows_one_schedule() -> None:
    model = Small()
    optimizer = MuonWithAdamW(model, lr=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / 100)
    losses = []
    for seed in range(60):
        losses.append(step(model, optimizer, seed))
        schedule.step()
    assert losses[-1] < 0.2 * losses[0]
    rates = {group["lr"] for part in optimizer.parts for group in part.param_groups}
    assert len(rates) == 1 and rates.pop() == pytest.approx(0.02 * 0.4)


def test_a_run_goes_on_exactly_where_it_stopped() -> None:
    model = Small()
    optimizer = MuonWithAdamW(model, lr=0.02, weight_decay=0.1)
    for seed in range(3):
        step(model, optimizer, seed)
    again = copy.deepcopy(model)
    resumed = MuonWithAdamW(again, lr=0.5)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in range(3, 6):
        assert step(model, optimizer, seed) == step(again, resumed, seed)
    for group in resumed.param_groups:
        group["lr"] = 0.0
    frozen = copy.deepcopy(again.state_dict())
    step(again, resumed, 9)
    assert all(torch.equal(value, frozen[name]) for name, value in again.state_dict().items())
