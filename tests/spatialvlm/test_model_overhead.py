"""The overhead benchmark compares like with like."""

from __future__ import annotations

import pytest
import torch

from benchmarks.performance.model_overhead import bare_step, make_batch, measure
from tests.spatialvlm.small_models import FUSIONS, small_model


@pytest.mark.parametrize("fusion", FUSIONS)
def test_bare_modules_and_wrapper_make_the_same_gradients(fusion):
    model = small_model(fusion)
    batch = make_batch(model, samples=3, views=3, words=5)
    assert batch["num_views"].max() == 3
    gradients = []
    for loss in (bare_step(model, batch)(), model(**batch).loss):
        model.zero_grad()
        loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) > 40
    for bare, wrapped in zip(*gradients, strict=True):
        torch.testing.assert_close(bare, wrapped, atol=1e-6, rtol=1e-4)


def test_costs_are_those_of_alternating_steps():
    model = small_model("add")
    result = measure(model, make_batch(model, samples=2, views=2, words=3), rounds=3, warm_up=1)
    assert result.bare_s > 0 and result.wrapped_s > 0
    assert 0.2 < result.ratio < 5
