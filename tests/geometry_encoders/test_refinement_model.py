"""The refinement network and its variants: what they take, give and keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.patches import unfold
from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.scale import CHUNK, PRESETS, WINDOW


def small(**changes: Any) -> RetrievalFuseModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = {"channels": 2, "retrieval_channels": 2, "unet_levels": 2, "retrieval_levels": 3} | changes
    return RetrievalFuseModel(RetrievalFuseConfig(**settings)).eval()


def batch(k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(1, 1, 8, 8, 8, generator=generator)
    return inputs, torch.randn(1, k, WINDOW, WINDOW, WINDOW, generator=generator)


@torch.no_grad()
def test_distances_stay_in_range() -> None:
    model = small()
    output = model(*batch(2))
    assert output.distance.shape == (1, WINDOW, WINDOW, WINDOW)
    assert float(output.distance.min()) >= 0 and float(output.distance.max()) <= model.scale.truncation
    assert output.weights.shape == output.scores.shape == (4096, 2) and output.beta.shape == (4096,)


@torch.no_grad()
def test_no_candidates_is_the_unet() -> None:
    model = small()
    inputs, retrieved = batch(2)
    alone = model(inputs).distance
    assert torch.equal(model(inputs, retrieved[:, :0]).distance, alone)


@torch.no_grad()
def test_unused_candidates_change_nothing() -> None:
    """Where no candidate fits better than at right angles, the input's features stay."""
    model = small()
    inputs, retrieved = batch(2)
    with torch.no_grad():
        model.attention.patch.candidate_encoder[-1].weight.zero_()
        model.attention.patch.candidate_encoder[-1].bias.zero_()
    assert torch.equal(model(inputs, retrieved).distance, model(inputs).distance)


@torch.no_grad()
def test_constant_chunks_pass_once() -> None:
    """The shortcut for empty chunks gives what the network gives them one by one."""
    model = small()
    windows = torch.randn(2, WINDOW, WINDOW, WINDOW)
    windows[0, :32] = 0.7
    windows[1, :, :, 16:] = -0.2
    found = model.encode_chunks(windows)
    plain = model.retrieval_unet(unfold(windows[:, None], CHUNK))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_prefers_the_better_candidate() -> None:
    """A copy of a candidate shares its weight; order does not matter."""
    model = small()
    inputs, retrieved = batch(2)
    there, back = model(inputs, retrieved), model(inputs, retrieved.flip(1))
    torch.testing.assert_close(there.weights, back.weights.flip(1), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(there.distance, back.distance, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_gumbel_picks() -> None:
    """The best outside training; random where asked for, by the generator alone."""
    inputs, retrieved = batch(3)
    calm = small(attention={"selection": "gumbel"})
    output = calm(inputs, retrieved)
    assert torch.equal(output.weights.argmax(1), output.scores.argmax(1))
    assert set(output.weights.unique().tolist()) <= {0.0, 1.0}
    wild = small(attention={"selection": "gumbel", "random_inference": True})
    first, again, other = (wild(inputs, retrieved, torch.Generator().manual_seed(seed)).weights for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_gumbel_learns_through_its_picks() -> None:
    model = small(attention={"selection": "gumbel"}).train()
    inputs, retrieved = batch(2)
    model(inputs, retrieved, torch.Generator().manual_seed(0)).distance.mean().backward()
    gradient = model.attention.patch.candidate_encoder[0].weight.grad
    assert gradient is not None and float(gradient.abs().sum()) > 0


@torch.no_grad()
def test_nearest() -> None:
    """The variant without a network gives the first candidate, cut to the range of distances."""
    model = small(fusion="nearest")
    true = torch.rand(1, 2, WINDOW, WINDOW, WINDOW) * model.scale.truncation
    output = model(torch.zeros(1, 1, 8, 8, 8), model.scale.normalise_target(true))
    torch.testing.assert_close(output.distance, true[:, 0], atol=1e-6, rtol=1e-5)
    with pytest.raises(InputError, match="at least one"):
        model(torch.zeros(1, 1, 8, 8, 8))


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"fusion": "concatenation", "candidates": 2}, {"fusion": "none"}])
def test_round_trip(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = small(**changes)
    model.save_pretrained(tmp_path)
    again = load_own_folder(tmp_path, RetrievalFuseModel)
    inputs, retrieved = batch(2)
    assert torch.equal(model(inputs, retrieved).distance, again(inputs, retrieved).distance)
    assert again.scale == PRESETS["3dfront"]


@pytest.mark.parametrize(
    ("scale", "levels", "side"), [("3dfront", 4, 8), ("matterport", 4, 16), ("3dfront-points", 5, 128)]
)
def test_sizes(scale: str, levels: int, side: int) -> None:
    """Parameter counts of the published networks (section 10 of the fact sheet)."""
    points = side == 128
    width = 12 if points else 16
    settings = {"channels": width, "retrieval_channels": width, "unet_levels": levels, "scale": vars(PRESETS[scale])}
    with torch.device("meta"):
        model = RetrievalFuseModel(RetrievalFuseConfig(**settings))
    counts = [
        sum(weight.numel() for weight in part.parameters())
        for part in (model.input_unet, model.decoder, model.retrieval_unet, model.attention)
    ]
    unet = {8: 1_138_858, 16: 1_083_434, 128: 2_319_356}[side]
    assert counts == [unet, *((7_837, 592_100, 99_138) if points else (13_905, 1_052_122, 107_330))]
    assert model.scale.input_side == side


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "sum"}, "expected one of attention"),
        ({"channels": 3}, "even number"),
        ({"attention": {"beta_": 1}}, "unknown key 'beta_'"),
        ({"scale": {"voxel": 0}}, "expected a number above 0"),
        ({"attention_extent": 3}, "expected 2, 4, 8 or 16"),
        ({"fusion": "nearest", "candidates": 0}, "at least 1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RetrievalFuseConfig(**settings)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="sizes that do not fit"):
        small(unet_levels=5)
    with pytest.raises(InputError, match="cannot lead from 16"):
        small(retrieval_levels=2)


def test_bad_inputs() -> None:
    model, mixed = small(), small(fusion="concatenation", candidates=2)
    inputs, retrieved = batch(1)
    with pytest.raises(InputError, match=r"expected \(batch, 1, 8, 8, 8\)"):
        model(inputs[..., :4])
    with pytest.raises(InputError, match=r"expected .*64, 64, 64"):
        model(inputs, retrieved[..., :32])
    with pytest.raises(InputError, match="1 retrieved candidates, expected 2"):
        mixed(inputs, retrieved)


def test_damaged_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        load_own_folder(tmp_path, RetrievalFuseModel)
    small().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(InputError, match="damaged"):
        load_own_folder(tmp_path, RetrievalFuseModel)
