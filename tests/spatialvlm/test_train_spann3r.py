"""Training of Spann3R: paths and windows, starting from DUSt3R, learning, exact continuation, recipes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction import Dust3rModel
from geometry_encoders.reconstruction.spann3r import Spann3rModel
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.reconstruction.augmentation import jitter_colours
from spatialvlm.training.reconstruction.curriculum import draw_frames, overlap_tour
from spatialvlm.training.reconstruction.recipe import Output, PosedViews
from spatialvlm.training.reconstruction.sequences import FrameSequences, SequenceSampling
from spatialvlm.training.reconstruction.starting_points import load_encoder, spann3r_to_train
from spatialvlm.training.reconstruction.train_spann3r import (
    Encoder,
    SequenceOptimisation,
    Spann3rRecipe,
    Spann3rTraining,
    train,
)
from spatialvlm.training.reconstruction.views import ViewCacheKey, cached_views
from tests.spatialvlm.small_reconstruction import rooms_to_train_on, small_dust3r

PX = 32
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return rooms_to_train_on(tmp_path, monkeypatch)


@pytest.fixture
def start(tmp_path: Path) -> str:
    return small_dust3r(tmp_path / "start", PX)


def recipe(rooms: Path, folder: Path, start: str, steps: int = 6, **changes: Any) -> Spann3rRecipe:
    settings = SequenceOptimisation(max_steps=steps, batch_size=2, precision="no", learning_rate=2e-3)
    return Spann3rRecipe(
        PosedViews(str(rooms), reader="rooms", held_out=0.2, eval_samples=4),
        Output(str(folder), cache=str(rooms.parent / "cache"), save_minutes=0),
        Encoder(start=start, image_px=PX),
        SequenceSampling(frames=4, max_window=2),
        replace(settings, **changes),
    )


def test_a_tour_visits_every_view_once_and_goes_where_most_is_shared() -> None:
    places = np.array([0.0, 5.0, 1.0, 4.0, 2.0, 3.0])  # along a line, seen in this order
    overlap = np.maximum(0, 1 - np.abs(places[:, None] - places[None]) / 2).astype(np.float32)
    tour = overlap_tour(overlap)
    assert sorted(tour.tolist()) == list(range(6))
    assert places[tour].tolist() == [0, 1, 2, 3, 4, 5]
    assert overlap_tour(np.eye(1, dtype=np.float32)).tolist() == [0]


@given(
    available=st.integers(1, 60), frames=st.integers(1, 8), window=st.integers(1, 20), seed=st.integers(0, 2**32 - 1)
)
def test_drawn_frames_keep_to_the_window(available: int, frames: int, window: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if available < frames:
        with pytest.raises(ValueError, match="expected as many frames"):
            draw_frames(available, frames, window, rng)
        return
    chosen = draw_frames(available, frames, window, rng)
    steps = np.diff(chosen)
    assert len(chosen) == frames
    assert chosen.min() >= 0
    assert chosen.max() < available
    assert (np.abs(steps) <= window).all()
    assert (steps > 0).all() or (steps < 0).all()


def test_the_curriculum_opens_the_window(rooms: Path, tmp_path: Path) -> None:
    scenes, _ = cached_views(ViewCacheKey("rooms", str(rooms), PX, 40), tmp_path / "cache")
    samples = FrameSequences(scenes, SequenceSampling(frames=3, max_window=3, order="stored"), 0, "train")
    steps = {
        ratio: [np.abs(np.diff(samples.choose(0, ratio, np.random.default_rng(k)))).max() for k in range(40)]
        for ratio in (0.0, 1.0)
    }
    assert set(steps[0.0]) == {1}
    assert max(steps[1.0]) == 3
    again = FrameSequences(scenes, samples.sampling, 0, "train")
    for number in (3, 0):
        assert all(torch.equal(value, again[number][name]) for name, value in samples[number].items())


def test_starts_as_the_dust3r_it_is_built_around(start: str, tmp_path: Path) -> None:
    model = spann3r_to_train(start, "tiny", PX, 2.0, seed=0)
    dust3r = load_encoder(start)
    assert isinstance(dust3r, Dust3rModel)
    for name, value in dust3r.state_dict().items():
        assert torch.equal(value, model.dust3r.state_dict()[name]), name
    assert torch.equal(model.pos_patch_embed.proj.weight, dust3r.patch_embed.proj.weight)
    same = spann3r_to_train(start, "tiny", PX, 2.0, seed=0)
    other = spann3r_to_train(start, "tiny", PX, 2.0, seed=1)
    assert torch.equal(same.value_out.weight, model.value_out.weight)
    assert not torch.equal(other.value_out.weight, model.value_out.weight)
    pictures = torch.rand(1, 2, 3, PX, PX) * 2 - 1
    pair, sequence = dust3r.eval()(pictures), model.eval().forward_sequence(pictures)
    torch.testing.assert_close(sequence.left_points[:, 0], pair.pointmaps[:, 0])
    torch.testing.assert_close(sequence.right_points[:, 0], pair.pointmaps[:, 1])
    model.save_pretrained(tmp_path / "spann3r")
    on = spann3r_to_train(str(tmp_path / "spann3r"), "tiny", PX, 2.0, seed=5)
    assert torch.equal(on.value_out.weight, model.value_out.weight)


def test_starts_from_an_official_checkpoint() -> None:
    path = ROOT / "tests" / "data" / "golden_dust3r" / "official_style_dust3r.pth"
    dust3r, model = load_encoder(str(path)), spann3r_to_train(str(path), "tiny", 64, 2.0, seed=0)
    assert isinstance(dust3r, Dust3rModel)
    assert model.config.value_encoder_heads == dust3r.config.enc_num_heads
    weights = model.dust3r.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in dust3r.state_dict().items())
    points = model.eval().forward_sequence(torch.rand(1, 3, 3, 64, 64) * 2 - 1).left_points
    assert points.shape == (1, 2, 64, 64, 3)
    assert torch.isfinite(points).all()


def test_passing_features_through_starts_every_step_as_a_pair(start: str) -> None:
    model = spann3r_to_train(start, "tiny", PX, 2.0, seed=0, pass_through=True).eval()
    dust3r = load_encoder(start).eval()
    pictures = torch.rand(2, 3, 3, PX, PX) * 2 - 1
    second = dust3r(pictures[:, 1:]).pointmaps
    torch.nn.init.zeros_(model.norm_v.weight)  # without what the memory says
    usual = spann3r_to_train(start, "tiny", PX, 2.0, seed=0).eval()
    for side, view in (("left_points", 0), ("right_points", 1)):
        ours, random = (
            (getattr(network.forward_sequence(pictures), side)[:, 1] - second[:, view]).abs().mean()
            for network in (model, usual)
        )
        assert ours < 0.02
        assert ours < 0.1 * random


def test_what_cannot_be_started_from_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json inside"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="holds a bert model, expected dust3r or spann3r"):
        load_encoder(str(tmp_path))


def test_learns_and_writes_an_encoder(rooms: Path, tmp_path: Path, start: str) -> None:
    plan = recipe(rooms, tmp_path / "out", start, steps=50, learning_rate=5e-3)
    before = Spann3rTraining(plan).evaluate()
    after = train(plan)
    assert after["points_near"] < 0.9 * before["points_near"]
    assert after["depth_relative"] < 0.9 * before["depth_relative"]
    assert {"rotation_deg", "rotation_still_deg", "points_aligned_constant"} <= set(after)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["steps"] == 50
    assert isinstance(load_encoder(str(tmp_path / "out" / "encoder")), Spann3rModel)
    assert list((tmp_path / "out" / "logs").glob("events*"))


def test_continues_exactly(rooms: Path, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train(recipe(rooms, tmp_path / "whole", start, normalise="scale"))
    broken = recipe(rooms, tmp_path / "broken", start, normalise="scale")
    train_step = Spann3rTraining.train_step

    def interrupted(run: Spann3rTraining, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        if run.step == 3:
            raise KeyboardInterrupt
        return train_step(run, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Spann3rTraining, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    train(broken)
    whole, resumed = (load_file(tmp_path / name / "encoder" / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_damaged_checkpoint_is_named(rooms: Path, tmp_path: Path, start: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match=r"checkpoint\.pt: damaged checkpoint"):
        train(recipe(rooms, tmp_path / "out", start, steps=1))


def test_scenes_with_too_few_views_are_left_out(rooms: Path, tmp_path: Path) -> None:
    key = ViewCacheKey("rooms", str(rooms), PX, 3)
    with pytest.raises(InputError, match=r"has 3 views, expected at least 4"):
        cached_views(key, tmp_path / "cache", min_views=4)


def test_colours_change_and_shapes_do_not() -> None:
    picture = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    draw = [jitter_colours(picture, 0.5, 0.1, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert draw[0].min() >= 0
    assert draw[0].max() <= 1
    assert torch.equal(jitter_colours(picture, 0, 0, torch.Generator()), picture)
    grey = torch.full((4, 3, 2, 2), 0.4)
    turned = jitter_colours(grey, 0.0, 0.5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(turned, grey, atol=1e-3, rtol=0)  # grey has no hue to turn
    red = torch.zeros(64, 3, 1, 1)
    red[:, 0] = 0.5
    hues = jitter_colours(red, 0.0, 0.5, torch.Generator().manual_seed(0)).flatten(1).argmax(1)
    assert set(hues.tolist()) == {0, 1, 2}  # half a circle either way reaches every hue


def test_recipes_of_the_repository_are_valid() -> None:
    tiny = load_recipe(Spann3rRecipe, ROOT / "recipes" / "spann3r_tiny.yaml")
    assert tiny.encoder.preset == "tiny"
    full = load_recipe(Spann3rRecipe, ROOT / "recipes" / "spann3r_full.yaml")
    assert (full.optimisation.learning_rate, full.optimisation.min_learning_rate) == (5e-5, 1e-6)
    assert full.optimisation.max_steps * full.optimisation.batch_size == 120 * 7 * 10_000
    assert (full.encoder.image_px, full.data.fit, full.sequence.frames) == (224, "crop", 5)
    for wrong, message in (
        ("sequence.length=5", "unknown key"),
        ("sequence.frames=2", "sequence.frames is 2, expected at least 3"),
        ("sequence.min_window=9", "expected 1 <= min <= max"),
        ("encoder.image_px=100", "image_px is 100, expected a multiple of 16"),
    ):
        with pytest.raises(InputError, match=message):
            load_recipe(Spann3rRecipe, ROOT / "recipes" / "spann3r_tiny.yaml", [wrong])
