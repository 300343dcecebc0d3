"""Scenes of any size cut into windows and put together, surfaces, measures and losses: known answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.distance_fields import Lattice
from geometry_encoders.retrieval.evaluation import Tally, window_surface
from geometry_encoders.retrieval.metrics import mesh_metrics, surface_cells, voxel_metrics
from geometry_encoders.retrieval.patches import fold, interleave_candidates, unfold
from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.refinement.losses import LossSettings, TrueShape, attention_loss, shape_loss
from geometry_encoders.retrieval.refinement.normals import distance_normals, normal_disagreement
from geometry_encoders.retrieval.refinement.phases import Crop
from geometry_encoders.retrieval.scale import PRESETS, WINDOW, GridScale
from geometry_encoders.retrieval.scenes import CoarseScene, PointScene, blending_weights, refine_scene, window_starts
from geometry_encoders.retrieval.surfaces import extract_surface

SCALE = GridScale(0.1, 8, target_mean=0.2, target_std=0.1)


# ---- windows of a scene ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 300)] * 3), st.sampled_from([8, 16, 32, 56, 64]))
def test_windows_cover_the_scene(shape: tuple[int, int, int], stride: int) -> None:
    """Every voxel lies in a window, and no window is without need."""
    starts = window_starts(shape, stride, 8)
    assert starts == sorted(starts) and len(set(starts)) == len(starts)
    for axis, side in enumerate(shape):
        firsts = sorted({start[axis] for start in starts})
        assert firsts[0] == 0 and firsts[-1] + WINDOW >= side
        assert all(first % 8 == 0 for first in firsts)
        assert all(b - a <= WINDOW for a, b in itertools.pairwise(firsts))
        assert len(firsts) == 1 or firsts[-2] + WINDOW < side


@pytest.mark.parametrize("stride", [0, 65, 12])
def test_bad_stride(stride: int) -> None:
    with pytest.raises(InputError, match="expected a multiple of 8"):
        window_starts((64, 64, 64), stride, 8)


def test_overlaps_are_smooth() -> None:
    """Weights of overlapping windows: symmetric, positive, largest in the middle."""
    weights = blending_weights(48)
    assert float(weights.min()) > 0 and torch.equal(weights, weights.flip(0).flip(1).flip(2))
    assert torch.equal(blending_weights(WINDOW), torch.ones(WINDOW, WINDOW, WINDOW))


def enlarged(inputs: Tensor) -> Tensor:
    """Candidates in which every coarse node fills its cell, which shows where a window landed."""
    fine = inputs
    for axis in (1, 2, 3):
        fine = fine.repeat_interleave(8, dim=axis)
    return fine[:, None].clamp(max=SCALE.truncation)


@pytest.mark.parametrize("stride", [64, 40])
def test_scene_is_put_together(stride: int) -> None:
    """With a network that copies its candidate the scene comes back, at sizes that are no multiple of a window."""
    model = RetrievalFuseModel(RetrievalFuseConfig(fusion="nearest", scale=vars(SCALE))).eval()
    coarse = torch.rand(9, 8, 11, generator=torch.Generator().manual_seed(0)) * SCALE.truncation
    found = refine_scene(model, CoarseScene(coarse, SCALE), enlarged, stride, batch_size=2)
    assert found.shape == (72, 64, 88)
    torch.testing.assert_close(found, enlarged(coarse[None])[0, 0], atol=1e-5, rtol=1e-4)


def test_points_of_a_window() -> None:
    scale = PRESETS["rooms-points"]
    scene = PointScene(torch.tensor([[70.0, 3.0, 2.0], [10.0, 3.0, 2.0]]), (128, 64, 64), scale)
    second = scene.window((64, 0, 0))
    assert second.sum() == 1 and second[12, 6, 4] == 1
    assert scene.window((0, 0, 0))[20, 6, 4] == 1


def test_bad_scenes() -> None:
    with pytest.raises(InputError, match="not numbers"):
        CoarseScene(torch.full((8, 8, 8), math.nan), SCALE)
    with pytest.raises(InputError, match="expected points"):
        CoarseScene(torch.zeros(8, 8, 8), PRESETS["rooms-points"])
    with pytest.raises(InputError, match="shape"):
        PointScene(torch.zeros(4, 2), (64, 64, 64), PRESETS["rooms-points"])


# ---- surfaces and measures -------------------------------------------------------------------------------------------


def sphere(radius: float, shift: float = 0.0) -> np.ndarray:
    nodes = np.stack(np.mgrid[:40, :40, :40], -1) - 20.0
    nodes[..., 2] -= shift
    return np.linalg.norm(nodes, axis=-1) - radius


def test_sphere() -> None:
    """Vertices lie on the sphere, and in the frame of a lattice where it says."""
    mesh = extract_surface(sphere(12.0, 3.0), 0.0)
    radius = np.linalg.norm(mesh.vertices - (23.0, 20.0, 20.0), axis=1)  # x is the last axis of the field
    np.testing.assert_allclose(radius, 12.0, atol=0.02)
    lattice = Lattice((1.0, 2.0, 3.0), 0.5, (40, 40, 40))
    placed = extract_surface(sphere(12.0, 3.0), 0.0, lattice)
    np.testing.assert_allclose(placed.vertices, mesh.vertices * 0.5 + (1.0, 2.0, 3.0), atol=1e-4)


def test_nothing_to_extract() -> None:
    assert not len(extract_surface(np.ones((8, 8, 8)), 0.5).triangles)
    with pytest.raises(InputError, match="not numbers"):
        extract_surface(np.full((8, 8, 8), np.nan), 0.5)


def test_measures_of_spheres() -> None:
    """Concentric spheres one voxel apart: a Chamfer distance of one, parallel normals, an F1 of zero at 1 %."""
    inner, outer = extract_surface(sphere(12.0), 0.0), extract_surface(sphere(13.0), 0.0)
    found = mesh_metrics(inner, outer, samples=5000)
    assert found.points.chamfer_l1 == pytest.approx(1.0, abs=0.1)
    assert found.points.normal_consistency > 0.99
    assert math.isnan(found.points.f1) and found.points.precision == found.points.recall == 0
    assert mesh_metrics(inner, inner, samples=5000).iou == 1.0
    assert len(surface_cells(outer)) > len(surface_cells(inner))


def test_tally() -> None:
    """A window in which a method finds nothing counts as zero, and is named."""
    distance = torch.from_numpy(np.abs(sphere(12.0))).float() * SCALE.voxel
    distance = torch.nn.functional.pad(distance, (0, 24) * 3, value=SCALE.truncation)
    true = window_surface(distance, SCALE, samples=20000)
    assert true is not None
    tally = Tally(SCALE)
    tally.add("good", window_surface(distance, SCALE, samples=20000, seed=1), true)
    tally.add("nothing", window_surface(torch.full_like(distance, SCALE.truncation), SCALE), true)
    means = tally.means()
    assert tally.without_surface == ["nothing"]
    assert means["iou"] == pytest.approx(0.5) and means["f1"] == pytest.approx(0.5, abs=0.05)
    assert means["chamfer"] < 0.5 * SCALE.voxel


def test_voxel_measures() -> None:
    """One of two true voxels found, and a wrong one; empty windows count nothing."""
    true, predicted = torch.ones(2, 4, 4, 4), torch.ones(2, 4, 4, 4)
    true[0, 0, 0, :2] = 0
    predicted[0, 0, 0, 1:3] = 0
    found = voxel_metrics(predicted, true, 0.5)
    assert found.iou == pytest.approx(1 / 3, rel=1e-4)
    assert found.precision == pytest.approx(0.5, rel=1e-4) and found.recall == pytest.approx(0.5, rel=1e-4)


# ---- losses ----------------------------------------------------------------------------------------------------------


def floor(height: float, scale: GridScale = SCALE) -> Tensor:
    nodes = torch.arange(WINDOW).float()[None, None, :, None].expand(1, WINDOW, WINDOW, WINDOW)
    return ((nodes - height).abs() * scale.voxel).clamp(max=scale.truncation)


def test_normals_of_a_floor() -> None:
    normals = distance_normals(floor(20), SCALE.truncation)
    inside = normals[0, :, 5:-5, :, 5:-5]
    assert float(inside[[0, 2]].abs().max()) < 1e-3
    torch.testing.assert_close(inside[1, :, 22].abs(), torch.ones_like(inside[1, :, 22]), atol=1e-4, rtol=0)
    assert float(normal_disagreement(normals, normals)) == pytest.approx(0, abs=1e-4)
    assert float(normal_disagreement(normals, -normals)) == pytest.approx(2, abs=1e-4)
    assert float(normal_disagreement(normals, torch.zeros_like(normals))) == 1


def test_the_truth_has_no_loss() -> None:
    true = TrueShape.of(SCALE.normalise_target(floor(20)), SCALE, 8.0, faithful=False)
    found = shape_loss(true.network, true, SCALE, LossSettings())
    assert float(found.distance) == pytest.approx(0, abs=1e-5)
    off = shape_loss(true.network.clone().fill_(1), true, SCALE, LossSettings())
    expected = 8 * (1 - true.network[~true.empty]).sum() / true.network.numel()
    assert float(off.distance) == pytest.approx(float(expected), rel=1e-4)
    assert float(off.total) > float(found.total)


def test_weights_of_centimetres() -> None:
    """Compared as published, no voxel of a room in centimetres is empty; corrected, most are."""
    scale = PRESETS["matterport"]
    normalised = scale.normalise_target(floor(20, scale))
    assert not TrueShape.of(normalised, scale, 8.0, faithful=True).empty.any()
    corrected = TrueShape.of(normalised, scale, 8.0, faithful=False)
    assert int(corrected.empty[0, 0, :, 0].sum()) == WINDOW - 5  # within three voxels: two on each side and the floor
    assert set(corrected.weights.unique().tolist()) == {1.0, 8.0}


def test_attention_loss_is_bounded() -> None:
    """Slices beyond 1280 patches are left out, smaller ones after them are not."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(2048, 8, generator=generator) for _ in range(2))
    counted = torch.ones(2048, dtype=torch.bool)
    counted[1024 + 200 : 1536] = False
    counted[1536 + 500 :] = False
    everything = attention_loss(inputs, targets, counted)  # 512 + 512 + 200, the last slice would be too much
    counted[1536:] = False
    torch.testing.assert_close(attention_loss(inputs, targets, counted), everything)
    assert float(attention_loss(inputs, targets, torch.zeros(2048, dtype=torch.bool))) == 0


def test_crops_agree_across_resolutions() -> None:
    """The cube of a window and that of its features show the same place."""
    crop = Crop.random(3, 32, torch.Generator().manual_seed(1))
    fine = torch.rand(3, WINDOW, WINDOW, WINDOW)
    coarse = fine[:, None, ::2, ::2, ::2]
    assert crop.of(fine).shape == (3, 32, 32, 32)
    assert torch.equal(crop.of(coarse)[:, 0], crop.of(fine)[:, ::2, ::2, ::2])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_unfold_and_fold(batch: int, k: int, channels: int, per_axis: int, extent: int) -> None:
    """Inverse to each other; candidates of one cube stand side by side."""
    side = per_axis * extent
    volumes = torch.rand(batch * k, channels, side, side, side)
    cubes = unfold(volumes, extent)
    assert torch.equal(fold(cubes, per_axis), volumes)
    candidates = interleave_candidates(volumes, k, extent)
    for sample, candidate in itertools.product(range(batch), range(k)):
        own = candidates.unflatten(0, (batch, -1))[sample, :, candidate]
        assert torch.equal(own, unfold(volumes[sample * k + candidate][None], extent))
