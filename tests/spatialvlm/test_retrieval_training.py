"""Training of the chunk encoders and the verbs around it, on rooms of boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from typer.testing import CliRunner

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval import PRESETS, ChunkDatabase, ChunkEncoder, RetrievedWindows, WindowDataset
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.windows import WindowSettings
from spatialvlm.cli import build_app
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.retrieval.chunk_pairs import ChunkPairs, shuffled_batches
from spatialvlm.training.retrieval.encoder_recipe import (
    EncoderBudget,
    EncoderNetworks,
    EncoderOutputs,
    EncoderRecipe,
    WindowData,
)
from spatialvlm.training.retrieval.encoders import EncoderTraining, train_encoders
from spatialvlm.training.retrieval.sources import MeshFolder, build_windows
from tests.spatialvlm.retrieval_rooms import write_rooms

ROOT = Path(__file__).parents[2]
HELD_OUT = 0.4


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with meshes/ and built/windows of six rooms."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("rooms")
    write_rooms(folder / "meshes", 6)
    settings = WindowSettings(PRESETS["rooms"].voxel)
    build_windows(MeshFolder(folder / "meshes"), folder / "built/windows", settings, threads=1)
    return folder


def recipe(rooms: Path, folder: Path, steps: int = 30) -> EncoderRecipe:
    return EncoderRecipe(
        data=WindowData(str(rooms / "built/windows"), held_out=HELD_OUT),
        output=EncoderOutputs(str(folder), eval_windows=2, eval_chunks=80),
        encoder=EncoderNetworks("2+1", "16+4", 4, 1, 16),
        optimisation=EncoderBudget(max_steps=steps, batch_size=16, learning_rate=3e-3),
    )


@pytest.fixture(scope="module")
def trained(rooms: Path) -> Path:
    """Folder of encoders that had a few steps."""
    train_encoders(recipe(rooms, rooms / "encoders", steps=3))
    return rooms / "encoders/encoder"


# ---- chunks ------------------------------------------------------------------------------------------------------


def test_pairs_are_those_of_whole_windows(rooms: Path) -> None:
    """Cropping single chunks equals cutting the whole window, in memory or not."""
    windows = WindowDataset(rooms / "built/windows", PRESETS["rooms"])
    layout = ChunkLayout(2, 1, 16, 8, 16)
    loaded, lazy = ChunkPairs(windows, layout), ChunkPairs(windows, layout, preload=False)
    assert torch.equal(loaded.places, lazy.places)
    chosen = [0, len(loaded) // 2, len(loaded) - 1]
    one, two = loaded.batch(chosen), lazy.batch(chosen)
    for number, place in enumerate(chosen):
        window, chunk = loaded.places[place].tolist()
        item = windows[window]
        inputs = layout.input_chunks(item["input"][None], windows.scale)
        targets = layout.target_chunks(item["target"][None], windows.scale)
        assert torch.equal(one["input"][number], inputs[chunk])
        assert torch.equal(two["input"][number], inputs[chunk])
        torch.testing.assert_close(one["target"][number], targets[chunk], atol=2e-2, rtol=0)  # float16 in memory
        assert torch.equal(two["target"][number], targets[chunk])


def test_pairs_of_sparse_points(rooms: Path) -> None:
    """Points are drawn anew with every epoch, targets stay."""
    windows = WindowDataset(rooms / "built/windows", PRESETS["rooms-points"], num_points=300)
    pairs = ChunkPairs(windows, ChunkLayout(32, 8, 16, 4, 16))
    first = pairs.batch([0, 1])
    assert first["input"].shape == (2, 1, 48, 48, 48)
    assert set(first["input"].unique().tolist()) == {0.0, 1.0}
    windows.set_epoch(1)
    second = pairs.batch([0, 1])
    assert torch.equal(first["target"], second["target"])
    assert not torch.equal(first["input"], second["input"])


def test_batches_resume_in_the_middle() -> None:
    """Every chunk once per epoch, in another order each time; a late start goes on with the same batches."""
    batches = list(shuffled_batches(10, 3, 0, 9, seed=1))
    assert all(len(set(torch.cat(batches[e : e + 3]).tolist())) == 9 for e in (0, 3, 6))
    assert not torch.equal(torch.cat(batches[:3]), torch.cat(batches[3:6]))
    for one, two in zip(batches[5:], shuffled_batches(10, 3, 5, 9, seed=1), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(InputError, match="2 chunks with content, expected at least batch_size = 3"):
        next(shuffled_batches(2, 3, 0, 1, seed=0))


# ---- training ----------------------------------------------------------------------------------------------------


def test_training_learns_and_goes_on_exactly(rooms: Path, tmp_path: Path) -> None:
    """The loss falls; a run that was stopped half-way ends with the same weights."""
    whole = EncoderTraining(recipe(rooms, tmp_path / "whole", 40))
    batches = list(shuffled_batches(len(whole.pairs), 16, 0, 40, seed=0))
    losses = [whole.train_step(chosen)["loss"] for chosen in batches]
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.1

    half = EncoderTraining(recipe(rooms, tmp_path / "half", 40))
    for chosen in batches[:15]:
        half.train_step(chosen)
    half.save_checkpoint()
    again = EncoderTraining(recipe(rooms, tmp_path / "half", 40))
    again.run()
    assert again.model.digest() == whole.model.digest()
    report = json.loads((tmp_path / "half/report.json").read_text())
    assert report["steps"] == 40
    assert 0 < report["iou"] <= 1
    assert ChunkEncoder.from_pretrained(tmp_path / "half/encoder").digest() == whole.model.digest()


def test_the_recipes_fit_their_schema() -> None:
    assert load_recipe(EncoderRecipe, ROOT / "recipes/retrieval_encoders_full.yaml").encoder == EncoderNetworks()
    loaded = load_recipe(EncoderRecipe, ROOT / "recipes/retrieval_encoders_rooms.yaml")
    assert loaded.encoder.network_target == "16+4"
    with pytest.raises(InputError, match=r"network_target=32\+8|'32\+8' is unknown"):
        load_recipe(EncoderRecipe, ROOT / "recipes/retrieval_encoders_rooms.yaml", ["encoder.network_target='32+8'"])
    with pytest.raises(InputError, match="'nowhere' is unknown"):
        load_recipe(EncoderRecipe, ROOT / "recipes/retrieval_encoders_rooms.yaml", ["data.scale=nowhere"])


# ---- verbs -------------------------------------------------------------------------------------------------------


def run(*arguments: object) -> str:
    result = CliRunner().invoke(build_app(), ["retrieval", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_build_reconstruct_evaluate(rooms: Path, trained: Path, tmp_path: Path) -> None:
    """From meshes to a database, a completed point cloud and figures; a second build keeps everything."""
    built, meshes = rooms / "built", rooms / "meshes"
    options = ("--reader", "meshes", "--threads", 1, "--encoder", trained, "--held-out", HELD_OUT, "-k", 2)
    said = run("build", meshes, built, *options)
    assert "6 kept" in said
    database = ChunkDatabase.load(built / "database", ChunkEncoder.from_pretrained(trained))
    assert f"{len(database)} chunks of {len(database.scenes)} scenes" in said
    assert 0 < len(database.scenes) < 6
    assert RetrievedWindows(built / "retrieved").k == 2
    assert "0 scenes made" in run("build", meshes, built, *options)

    config = RetrievalFuseConfig(
        channels=4, unet_levels=2, retrieval_channels=4, retrieval_levels=3, candidates=2, scale=vars(database.scale)
    )
    torch.manual_seed(0)
    RetrievalFuseModel(config).save_pretrained(tmp_path / "model")
    cloud = trimesh.load(meshes / "room0.ply").sample(3000, seed=0)
    trimesh.PointCloud(cloud[:, [0, 2, 1]] * [1, -1, 1]).export(tmp_path / "scan.ply")
    known = ("--model", tmp_path / "model", "--encoder", trained, "--database", built / "database")
    try:
        said = run("reconstruct", tmp_path / "scan.ply", tmp_path / "room.ply", *known, "--up", "z", "--ceiling", 2.1)
    except InputError as error:  # random weights may see nothing
        assert "finds no surface" in str(error)
    else:
        bounds = trimesh.load(tmp_path / "room.ply").bounds
        assert "triangles" in said
        assert (bounds[0] >= [-0.5, -3.0, -0.5]).all(), "in the axes of the file"
        assert (bounds[1] <= [3.4, 0.6, 3.4]).all()
    run("evaluate", built, "--windows", 2, "--samples", 500, "--held-out", HELD_OUT, "--out", tmp_path / "f.json")
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["windows"] >= 1
    assert 0 < figures["methods"]["retrieved"]["iou"] <= 1


def test_adding_rooms_to_a_database(rooms: Path, trained: Path, tmp_path: Path) -> None:
    write_rooms(tmp_path / "first", 2)
    write_rooms(tmp_path / "more", 3)
    (tmp_path / "more/room0.ply").unlink()
    (tmp_path / "more/room1.ply").rename(tmp_path / "more/other.ply")
    options = ("--reader", "meshes", "--threads", 1, "--encoder", trained, "--held-out", 0)
    run("build", tmp_path / "first", tmp_path / "a", *options, "-k", 1)
    before = len(ChunkDatabase.load(tmp_path / "a/database"))
    said = run("build", tmp_path / "more", tmp_path / "b", *options, "--add-to", tmp_path / "a/database")
    after = ChunkDatabase.load(tmp_path / "a/database")
    assert after.scenes == ["other", "room0", "room1", "room2"]
    assert f"{len(after) - before} chunks of 2 scenes added to {before}" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "recipe.yaml", "--stage", "both"], "--stage is 'both'"),
        (["build", "x", "y", "--up", "x"], "--up is 'x'"),
        (["build", "x", "y", "--index", "hnsw"], "--index is 'hnsw'"),
        (["build", "tests", "y", "--scale", "houses"], "'houses' is unknown"),
        (["build", "x", "y", "--add-to", "z"], "without --encoder"),
        (["reconstruct", "a.ply", "b.txt", "--model", "m"], "ending '.txt'"),
        (["evaluate", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_are_one_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(build_app(), ["retrieval", *arguments])
    assert type(result.exception).__mro__[1].__name__ in ("InputError", "ValueError")
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
