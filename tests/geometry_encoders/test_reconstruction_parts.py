"""Losses, focal length, rotary embedding, pair lists and photo loading on cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.image_loading import load_images
from geometry_encoders.reconstruction.dust3r.pairs import make_pairs
from geometry_encoders.reconstruction.dust3r.rope import grid_positions, rotary_tables, rotate
from geometry_encoders.reconstruction.focal import estimate_focal
from geometry_encoders.reconstruction.losses import (
    align_scale,
    confidence_loss,
    divide,
    mean_distance,
    median_depth,
    regression_loss,
)


def test_loss_by_hand() -> None:
    target = torch.zeros(1, 2, 1, 2, 3)
    prediction = torch.zeros(1, 2, 1, 2, 3)
    prediction[0, 0, 0, 0] = torch.tensor([3.0, 4.0, 0.0])  # off by 5
    prediction[0, 1, 0, 0, 2] = 2.0  # off by 2
    prediction[0, 1, 0, 1, 2] = 100.0  # not valid
    valid = torch.tensor([[[[True, True]], [[True, False]]]])
    assert regression_loss(prediction, target, valid).item() == pytest.approx(5 / 2 + 2)
    confidence = torch.full((1, 2, 1, 2), 3.0)
    expected = (3 * 5 / 2 - 0.2 * math.log(3)) + (3 * 2 - 0.2 * math.log(3))
    assert confidence_loss(prediction, confidence, target, valid, alpha=0.2).item() == pytest.approx(expected)


def test_loss_without_a_valid_pixel_is_zero() -> None:
    points = torch.ones(1, 2, 2, 2, 3, requires_grad=True)
    loss = regression_loss(points, torch.zeros_like(points), torch.zeros(1, 2, 2, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()


def test_medians_are_lower_medians() -> None:
    points = torch.zeros(1, 1, 1, 4, 3)
    points[0, 0, 0, :, 2] = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert median_depth(points, torch.ones(1, 1, 1, 4, dtype=torch.bool)).item() == 2.0
    valid = torch.tensor([[[[True, False, True, False]]]])
    assert median_depth(points, valid).item() == 3.0


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_normalised_losses_do_not_see_the_scale(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction, target = torch.randn(2, 2, 2, 3, 4, 3, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, 2, 3, 4, generator=generator) > 0.2

    def loss(points: torch.Tensor) -> float:
        return regression_loss(
            divide(points, mean_distance(points, valid)), divide(target, mean_distance(target, valid)), valid
        ).item()

    assert loss(prediction * scale) == pytest.approx(loss(prediction), rel=1e-6)
    aligned = regression_loss(*align_scale(prediction * scale, target, valid, metric=True), valid).item()
    if 0.02 < scale < 50:  # the scale of the prediction is limited
        assert aligned == pytest.approx(
            regression_loss(*align_scale(prediction, target, valid, metric=True), valid).item(), rel=1e-6
        )


@settings(max_examples=25, deadline=None)
@given(focal=st.floats(20, 200), height=st.integers(8, 24), width=st.integers(8, 24), seed=st.integers(0, 1000))
def test_focal_of_a_pinhole_camera_is_found(focal: float, height: int, width: int, seed: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    depth = 1 + torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    x, y = (columns - width / 2) * depth / focal, (rows - height / 2) * depth / focal
    points = torch.stack([x, y, depth], -1)[None]
    assert estimate_focal(points).item() == pytest.approx(focal, rel=1e-3)
    assert estimate_focal(points, method="median").item() == pytest.approx(focal, rel=1e-3)


@settings(max_examples=25, deadline=None)
@given(shift=st.tuples(st.integers(0, 40), st.integers(0, 40)), seed=st.integers(0, 1000))
def test_rotary_scores_depend_on_relative_positions_only(shift: tuple[int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 1, 1, 12, 16, generator=generator, dtype=torch.float64)
    positions = grid_positions(3, 4)

    def scores(where: torch.Tensor) -> torch.Tensor:
        tables = rotary_tables(where, 16, base=100.0)
        return rotate(query, tables) @ rotate(key, tables).transpose(-2, -1)

    torch.testing.assert_close(scores(positions + torch.tensor(shift)), scores(positions), rtol=1e-4, atol=1e-4)
    assert grid_positions(2, 3)[0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize("graph", ["complete", "swin-2", "swin-2-noncyclic", "logwin-2", "oneref-1"])
def test_symmetrized_pair_lists_hold_both_directions(graph: str) -> None:
    plain, both = make_pairs(6, graph, symmetrize=False), make_pairs(6, graph)
    assert both == plain + [(j, i) for i, j in plain]
    assert all(0 <= i < 6 and 0 <= j < 6 for i, j in both)


def test_pair_lists_by_hand() -> None:
    assert make_pairs(3, "complete", symmetrize=False) == [(1, 0), (2, 0), (2, 1)]
    assert make_pairs(4, "oneref-2", symmetrize=False) == [(2, 0), (2, 1), (2, 3)]
    assert make_pairs(4, "swin-1-noncyclic", symmetrize=False) == [(0, 1), (1, 2), (2, 3)]
    assert make_pairs(5, "complete", symmetrize=False, prefilter="cyc1") == [(1, 0), (2, 1), (3, 2), (4, 0), (4, 3)]


@pytest.mark.parametrize(("graph", "prefilter"), [("ring", None), ("oneref-9", None), ("complete", "near3")])
def test_unreadable_graph_names(graph: str, prefilter: str | None) -> None:
    with pytest.raises(InputError, match="expected"):
        make_pairs(4, graph, prefilter=prefilter)


def test_photo_loading(tmp_path) -> None:
    Image.new("RGB", (100, 50), (255, 0, 0)).save(tmp_path / "b.png")
    Image.new("L", (64, 64)).save(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("not a photo")
    views = load_images(tmp_path, 64)
    assert [view["true_shape"].tolist() for view in views] == [[[48, 64]], [[32, 64]]]  # a square one is cut to 4:3
    assert views[1]["img"][0, :, 0, 0].tolist() == [1.0, -1.0, -1.0]
    assert [view["instance"] for view in views] == ["0", "1"]
    assert load_images([tmp_path / "a.jpg"], 64, square_ok=True)[0]["img"].shape == (1, 3, 64, 64)
    assert load_images([tmp_path / "b.png"], 224)[0]["img"].shape == (1, 3, 224, 224)


def test_bad_photos(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no photos found"):
        load_images(tmp_path / "empty", 64)
    with pytest.raises(InputError, match="no such folder"):
        load_images(tmp_path / "absent", 64)
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1500])
    with pytest.raises(InputError, match=r"cut\.png: not a readable picture"):
        load_images([tmp_path / "cut.png"], 64)
    Image.new("RGB", (640, 20)).save(tmp_path / "strip.png")
    with pytest.raises(InputError, match="too elongated"):
        load_images([tmp_path / "strip.png"], 64)
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(InputError, match=r"huge\.png.*400000000 pixels"):
        load_images([tmp_path / "huge.png"], 64)
