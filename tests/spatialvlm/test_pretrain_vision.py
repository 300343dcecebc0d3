"""Dense pretraining of the vision tower: labels, learning, exact continuation, bad scenes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import SiglipVisionModel

from geometry_encoders.errors import InputError
from qa_generation.readers.base import READERS
from spatialvlm.training.pretrain_vision import batch_rows, pretrain, split_views
from spatialvlm.training.vision_head import class_weights, zoom_in
from spatialvlm.training.vision_labels import LabelGrid, cached_labels, majority_labels
from spatialvlm.training.vision_recipe import LabelData, Optimisation, Output, TowerShape, VisionRecipe
from tests.spatialvlm.rendered_boxes import COLOURS, write_boxes

TOWER = TowerShape(32, 8, 32, 2, 2, 64)


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(READERS, "synthetic", "tests.spatialvlm.rendered_boxes:BoxReader")
    root = tmp_path / "rooms"
    write_boxes(root, scenes=8)
    AcceleratorState._reset_state(reset_partial_state=True)  # one process runs several recipes here
    return root


def recipe(rooms: Path, folder: Path, steps: int = 6, **changes: object) -> VisionRecipe:
    settings = Optimisation(max_steps=steps, batch_size=8, precision="float32")
    return VisionRecipe(
        LabelData(str(rooms), cell_px=4, held_out=0.2),
        Output(str(folder), eval_steps=1000, save_steps=2),
        TOWER,
        replace(settings, **changes),  # type: ignore[arg-type]
    )


def test_majority_and_depth_of_cells() -> None:
    labels = np.array([[1, 1, 0, 2], [1, 0, 2, 2], [3, 3, 0, 0], [3, 3, 0, 0]])
    depth_m = np.array([[2, 8, 1, 1], [0, 50, 1, math.e**2], [0, 0, 4, 4], [0, 0, 4, 4]], np.float32)
    majority, log_depth = majority_labels(labels, depth_m, 2)
    assert majority.tolist() == [[1, 2], [3, 0]]
    assert log_depth[0, 0] == pytest.approx(math.log(4), abs=1e-3)  # of 2 m and 8 m; depth 0 and label 0 do not count
    assert log_depth[0, 1] == pytest.approx(2 / 3, abs=1e-3)  # of 1 m, 1 m and e^2 m
    assert np.isnan(log_depth[1, 0]) and log_depth[1, 1] == pytest.approx(math.log(4), abs=1e-3)


def test_cached_labels_match_the_pictures(rooms: Path, tmp_path: Path) -> None:
    views = cached_labels(rooms, tmp_path / "cache", LabelGrid(64, 1))
    assert views.names == tuple(sorted(COLOURS)) and views.images.shape == (32, 64, 64, 3)
    for index, name in enumerate(views.names):
        seen = views.images[views.categories == index + 1]
        assert len(seen) and (seen == COLOURS[name]).all()
    assert np.nanmax(views.log_depth[views.categories == 0]) == pytest.approx(math.log(5), abs=2e-3)
    assert np.nanmax(views.log_depth[views.categories > 0]) < math.log(4) + 2e-3


def test_cache_goes_on_after_an_interruption(rooms: Path, tmp_path: Path) -> None:
    whole = cached_labels(rooms, tmp_path / "cache", LabelGrid(32, 4))
    done = tmp_path / "cache" / "done.json"
    done.write_text(json.dumps(dict(list(json.loads(done.read_text()).items())[:3])))
    expected = whole.images.copy()
    for name in ("images", "categories", "log_depth"):
        array = np.load(tmp_path / "cache" / f"{name}.npy", mmap_mode="r+")
        array[3 * 4 :] = 0
    again = cached_labels(rooms, tmp_path / "cache", LabelGrid(32, 4))
    assert np.array_equal(again.images, expected)


def test_bad_scenes_are_skipped_with_their_reason(rooms: Path, tmp_path: Path) -> None:
    (rooms / "room_001" / "scene.json").unlink()
    (rooms / "room_002" / "instance" / "frame_000001.png").unlink()
    (rooms / "room_003" / "images" / "frame_000000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    views = cached_labels(rooms, tmp_path / "cache", LabelGrid(32, 4))
    assert sorted(views.skipped) == ["room_001", "room_002", "room_003"]
    assert "scene.json" in views.skipped["room_001"] and "instance/frame_000001.png" in views.skipped["room_002"]
    assert "truncated or damaged" in views.skipped["room_003"]
    assert len(views.view_scenes) == 28 and (views.view_scenes >= 0).sum() == 20
    train, held_out = split_views(views, 0.3, 100, seed=0)
    assert len(train) + len(held_out) == 20
    assert not set(views.view_scenes[train]) & set(views.view_scenes[held_out])


def test_a_folder_without_scenes_is_refused(tmp_path: Path, rooms: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no usable scene"):
        cached_labels(tmp_path / "empty", tmp_path / "cache", LabelGrid(32, 4))
    cached_labels(rooms, tmp_path / "cache", LabelGrid(32, 4))
    with pytest.raises(InputError, match=r"listing\.json: made from"):
        cached_labels(rooms, tmp_path / "cache", LabelGrid(64, 4))


def test_an_epoch_shows_every_view_once() -> None:
    train = np.arange(10, 40)
    rows = np.concatenate([batch_rows(train, step, 8, seed=3) for step in range(15)])
    for epoch in range(4):
        assert sorted(rows[epoch * 30 : (epoch + 1) * 30]) == list(range(10, 40))
    assert not np.array_equal(rows[:30], rows[30:60])


def test_learns_coloured_boxes(rooms: Path, tmp_path: Path) -> None:
    figures = pretrain(recipe(rooms, tmp_path / "out", steps=150, learning_rate=3e-3, precision="bf16"))
    assert figures["foreground_accuracy"] > 0.8
    assert figures["log_depth_error"] < 0.5
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["foreground_accuracy"] == figures["foreground_accuracy"] and report["views_seen"] == 1200
    tower = SiglipVisionModel.from_pretrained(tmp_path / "out" / "vision_tower")
    assert tower.config.hidden_size == 32
    head = load_file(tmp_path / "out" / "label_head" / "model.safetensors")
    assert head["weight"].shape == (4 * (1 + 3 + 1), 32)
    assert list((tmp_path / "out").rglob("events.out.tfevents*"))


def test_continuation_is_bit_equal(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrain(recipe(rooms, tmp_path / "whole"))

    from spatialvlm.training import pretrain_vision

    original = pretrain_vision.DensePretraining.train_step

    def stop_at_four(self: pretrain_vision.DensePretraining) -> dict[str, float]:
        if self.step == 4:
            raise KeyboardInterrupt
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain_vision.DensePretraining, "train_step", stop_at_four)
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe(rooms, tmp_path / "parts"))
    pretrain(recipe(rooms, tmp_path / "parts"))
    whole, parts = (load_file(tmp_path / name / "vision_tower" / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_rare_categories_weigh_more() -> None:
    weights = class_weights(np.array([1000, 400, 100, 0]), 0.5, 0.3)
    assert weights[0] == pytest.approx(0.3)
    assert weights[2] / weights[1] == pytest.approx(2.0)  # a quarter of the cells, to the power -1/2
    assert (400 * weights[1] + 100 * weights[2] + weights[3]) / 501 == pytest.approx(1.0, rel=1e-3)
    assert class_weights(np.array([5, 7, 9]), 0.0, 0.5).tolist() == [0.5, 1.0, 1.0]


def test_zoomed_labels_stay_with_their_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    categories = torch.randint(0, 5, (6, 2, 2), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    images = categories.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].expand(-1, 3, -1, -1) / 4
    log_depth = categories.float()
    zoomed = zoom_in(images, categories, log_depth, 1.5, generator)
    seen = zoomed[0][:, 0].reshape(6, 16, 8, 16, 8).mean(dim=(2, 4)) * 4
    agrees = (seen - zoomed[1]).abs() < 0.05
    assert agrees.float().mean() > 0.85  # all but the cells on an edge
    zoom = (zoomed[1] - zoomed[2]).exp()
    assert torch.allclose(zoom, zoom[:, :1, :1].expand_as(zoom), atol=1e-4)
    assert (zoom[:, 0, 0] > 1).all() and (zoom[:, 0, 0] < 1.5).all()
    assert zoom_in(images, categories, log_depth, 1.0, generator)[0] is images


def test_goes_on_from_another_tower(rooms: Path, tmp_path: Path) -> None:
    pretrain(recipe(rooms, tmp_path / "first"))
    AcceleratorState._reset_state(reset_partial_state=True)
    tower = str(tmp_path / "first" / "vision_tower")
    again = replace(recipe(rooms, tmp_path / "second", steps=1, learning_rate=0.0), init_from=tower)
    pretrain(again)
    first, second = (load_file(tmp_path / n / "vision_tower" / "model.safetensors") for n in ("first", "second"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    with pytest.raises(InputError, match=r"init_from .*: has .*, expected"):
        pretrain(replace(again, tower=TowerShape(32, 8, 16, 1, 2, 64), output=Output(str(tmp_path / "third"))))
