"""Training of the refinement network by recipe: all phases, resuming, what is written, what is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.refinement import RetrievalFuseModel
from geometry_encoders.retrieval.scale import PRESETS
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from geometry_encoders.retrieval.windows import Window, WindowSettings
from spatialvlm.training.recipe import build, load_recipe
from spatialvlm.training.retrieval import refinement
from spatialvlm.training.retrieval.refinement_recipe import RefinementRecipe
from spatialvlm.training.retrieval.refinement_samples import epoch_batches
from spatialvlm.training.retrieval.sources import split_scenes

RECIPES = Path(__file__).parents[2] / "recipes"
SCALE = PRESETS["rooms"]


def floor_window(scene: str, height: float) -> Window:
    """A window with nothing but a floor."""
    nodes = np.arange(64, dtype=np.float32)[None, :, None] * np.ones((64, 1, 64), np.float32)
    distance = np.abs(nodes - height) * SCALE.voxel
    truncated = np.minimum(distance, SCALE.exact_truncation)
    return Window(
        f"{scene}__64__000_000_000", (0, 0, 0), truncated, distance[::4, ::4, ::4], np.zeros((0, 3), np.float32)
    )


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("windows")
    store = WindowStore(folder, WindowSettings(voxel=SCALE.voxel))
    for number in range(6):
        store.write(f"room_{number}", [floor_window(f"room_{number}", 10.0 + 3 * number)])
    return folder


class KnownRooms:
    """Takes the place of retrieved windows: every window's own truth, twice."""

    def __init__(self, folder: Path) -> None:
        self.dataset = WindowDataset(WindowStore(folder), SCALE)
        self.rows = {sample.name: index for index, sample in enumerate(self.dataset.samples)}

    def read(self, name: str) -> Tensor:
        return self.dataset[self.rows[name]]["target"].expand(2, -1, -1, -1)


@pytest.fixture(autouse=True)
def known_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(refinement, "RetrievedWindows", KnownRooms)


def recipe(windows: Path, folder: Path, **changes: Any) -> RefinementRecipe:
    seed = next(s for s in range(100) if 0 < len(split_scenes([f"room_{n}" for n in range(6)], 0.3, s)[1]) < 4)
    step = {"max_steps": 2, "batch_size": 1, "learning_rate": 1e-3}
    content: dict[str, Any] = {
        "seed": seed,
        "crop": 32,
        "data": {"windows": str(windows), "retrieved": str(windows), "held_out": 0.3},
        "network": {"channels": 2, "unet_levels": 2, "retrieval_channels": 2, "retrieval_levels": 3, "candidates": 2},
        "phases": {name: dict(step) for name in ("unet", "retrieval", "attention", "full")},
        "output": {"folder": str(folder), "eval_windows": 1},
    }
    for name, value in changes.items():
        content[name] = content.get(name, {}) | value if isinstance(value, dict) else value
    return build(RefinementRecipe, content, "test")


def test_all_phases(windows: Path, tmp_path: Path) -> None:
    """Every phase changes its own parts only; a network, a report and figures are written."""
    figures = refinement.train_refinement(recipe(windows, tmp_path))
    assert list(figures) == ["unet", "retrieval", "attention", "full"]
    assert {"loss", "iou", "steps"} <= set(figures["full"])
    states = [
        torch.load(tmp_path / f"phase_{number}_{name}" / "checkpoint.pt", weights_only=True)["model"]
        for number, name in enumerate(figures)
    ]
    moved = [
        {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in pairwise(states)
    ]
    assert moved[0] == {"retrieval_unet"}
    assert moved[1] <= {"attention"}  # nothing, as long as the input shows no surface
    assert {"input_unet", "decoder", "retrieval_unet"} <= moved[2]
    model = load_own_folder(tmp_path / "model", RetrievalFuseModel)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in states[-1].items())
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["phases"]["full"]["steps"] == 2 and report["train_windows"] + report["held_out_windows"] == 6


def test_interrupted_and_resumed(windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is stopped in its last phase ends with the weights of one that is not."""
    whole = recipe(windows, tmp_path / "whole", network={"fusion": "concatenation"})
    refinement.train_refinement(whole)
    stopped = recipe(windows, tmp_path / "stopped", network={"fusion": "concatenation"})
    step = refinement.RefinementPhase.train_step

    def interrupted(self: refinement.RefinementPhase, batch: Any) -> dict[str, float]:
        if self.phase == "full" and self.step == 1:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(refinement.RefinementPhase, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            refinement.train_refinement(stopped)
    refinement.train_refinement(stopped)
    first, second = (
        load_own_folder(Path(r.output.folder) / "model", RetrievalFuseModel).state_dict() for r in (whole, stopped)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_start_takes_over_what_fits(windows: Path, tmp_path: Path) -> None:
    """A U-Net alone becomes the start of attention."""
    refinement.train_refinement(recipe(windows, tmp_path / "unet", network={"fusion": "none"}))
    more = recipe(windows, tmp_path / "more", start=str(tmp_path / "unet" / "model"), skip=["unet"])
    start = load_own_folder(tmp_path / "unet" / "model", RetrievalFuseModel).state_dict()
    taken = refinement.build_model(more).state_dict()
    assert all(torch.equal(taken[name], value) for name, value in start.items())
    assert set(taken) > set(start)


def test_batches_go_on_where_they_stopped() -> None:
    """Every row once per epoch, the same whenever one starts."""
    all_steps = list(epoch_batches(5, 2, 0, 8, 0, "full"))
    assert list(epoch_batches(5, 2, 3, 8, 0, "full")) == all_steps[3:]
    assert all(len(set(a + b)) == 4 for a, b in zip(all_steps[::2], all_steps[1::2], strict=True))
    assert list(epoch_batches(5, 2, 0, 8, 0, "unet")) != all_steps


@pytest.mark.parametrize("path", sorted(RECIPES.glob("retrieval_[ra]*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_read(path: Path) -> None:
    if "network" in yaml.safe_load(path.read_text()):
        assert load_recipe(RefinementRecipe, path).phases.full.max_steps > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"channels": 3}}, "network: channels 3: expected an even number"),
        ({"network": {"attention": {"beta": "tanh"}}}, "network.attention.beta is 'tanh'"),
        ({"data": {"retrieved": None}}, "data.retrieved is empty"),
        ({"crop": 10}, "crop is 10"),
        ({"skip": ["unet"]}, "skip names phases without start"),
        ({"phases": {"all": {}}}, "unknown key 'phases.all'"),
    ],
)
def test_bad_recipes(windows: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe(windows, tmp_path, **changes)


def test_no_held_out_windows(windows: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no windows held out"):
        refinement.train_refinement(recipe(windows, tmp_path, data={"held_out": 0.0}))
