"""The implicit variant: what it reads, what it learns, what it refuses."""

from __future__ import annotations

import pytest
import torch

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.refinement.implicit import (
    ImplicitFusionConfig,
    ImplicitFusionModel,
    implicit_loss,
    occupied_at,
    sample,
)
from geometry_encoders.retrieval.scale import WINDOW


@pytest.fixture(scope="module")
def model() -> ImplicitFusionModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ImplicitFusionModel(ImplicitFusionConfig(channels=(2, 3, 3), hidden=16)).eval()
    with torch.no_grad():  # input and candidates look alike, so that candidates count
        model.input_encoder.bias.fill_(1)
        model.candidate_encoder.bias.fill_(1)
    return model


def test_sample_reads_cell_centres() -> None:
    """A grid of coordinates gives the point back, between the outermost cell centres."""
    axis = (torch.arange(8) + 0.5) / 8
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))[None]
    points = torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(0)) * 7 / 8 + 1 / 16
    torch.testing.assert_close(sample(grid, points)[0].T, points[0])


@torch.no_grad()
def test_levels_and_attention(model: ImplicitFusionModel) -> None:
    inputs = torch.randn(2, 1, 8, 8, 8)
    retrieved = torch.randn(2, 3, WINDOW, WINDOW, WINDOW)
    known = model.encode_candidates(retrieved)
    assert [level.shape[-1] for level in known] == [64, 56, 48, 32]
    own = model.encode_inputs(inputs)
    beta, weights = model.attend(own[-1], known[-1], 2)
    assert beta.shape == (2, 1, 8, 8, 8) and weights.shape == (2, 3, 8, 8, 8)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 8, 8, 8))
    assert float(beta.min()) >= 0


@torch.no_grad()
def test_chunks_do_not_look_at_each_other(model: ImplicitFusionModel) -> None:
    """Changing one chunk changes its own cells only, in every level."""
    one = torch.randn(1, 1, WINDOW, WINDOW, WINDOW)
    other = one.clone()
    other[:, :, :16, :16, :16] += 1
    for before, after in zip(model.encode_candidates(one), model.encode_candidates(other), strict=True):
        per_chunk = before.shape[-1] // 4
        changed = (before != after).any(dim=1)[0]
        assert changed[:per_chunk, :per_chunk, :per_chunk].any()
        changed[:per_chunk, :per_chunk, :per_chunk] = False
        assert not changed.any()


@torch.no_grad()
def test_candidates_in_any_number(model: ImplicitFusionModel) -> None:
    """None, one and equal ones: twice the same candidate is as good as once."""
    inputs, points = torch.randn(1, 1, 8, 8, 8), torch.rand(1, 10, 3) * WINDOW
    one = torch.randn(1, 1, WINDOW, WINDOW, WINDOW)
    alone = model(inputs, None, points)
    torch.testing.assert_close(model(inputs, one[:, :0], points), alone)
    once = model(inputs, one, points)
    torch.testing.assert_close(model(inputs, one.repeat(1, 2, 1, 1, 1), points), once, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(once, alone)


def test_labels(model: ImplicitFusionModel) -> None:
    distance = torch.ones(1, WINDOW, WINDOW, WINDOW)
    distance[0, 3, 4, 5] = 0
    points = torch.tensor([[[3.0, 4.0, 5.0], [3.9, 4.9, 5.9], [4.0, 4.0, 5.0]]])
    assert occupied_at(distance, points, model.scale).tolist() == [[True, True, False]]


def test_it_learns() -> None:
    """A floor that only the candidate shows is found after a few steps."""
    torch.manual_seed(0)
    model = ImplicitFusionModel(ImplicitFusionConfig(channels=(4, 4, 4), hidden=32))
    inputs = torch.zeros(1, 1, 8, 8, 8)
    heights = torch.arange(WINDOW).float()[None, None, :, None].expand(1, WINDOW, WINDOW, WINDOW)
    distance = ((heights - 20).abs() * model.scale.voxel).clamp(max=model.scale.truncation)
    retrieved = model.scale.normalise_target(distance)[:, None]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for step in range(30):
        loss = implicit_loss(model, inputs, retrieved, distance, torch.Generator().manual_seed(step), points=256)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


@torch.no_grad()
def test_occupancy_of_a_window(model: ImplicitFusionModel) -> None:
    inputs = torch.randn(1, 1, 8, 8, 8)
    found = model.occupancy(inputs, None)
    assert found.shape == (1, WINDOW, WINDOW, WINDOW)
    node = torch.tensor([[[5.0, 6.0, 7.0]]])
    torch.testing.assert_close(found[0, 5, 6, 7], model(inputs, None, node).sigmoid()[0, 0])


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="three numbers"):
        ImplicitFusionConfig(channels=(4, 4))
    with pytest.raises(InputError, match="expected 'distance'"):
        ImplicitFusionConfig(scale={"voxel": 0.05, "input_kind": "points"})
