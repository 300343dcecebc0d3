"""Training of DUSt3R: true points, view sets, figures, learning, exact continuation, bad scenes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction import Dust3rConfig, Dust3rModel
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.reconstruction.evaluation import aligned_errors, constant_pointmaps, geometry_errors
from spatialvlm.training.reconstruction.recipe import Optimisation, Output, PosedViews
from spatialvlm.training.reconstruction.samples import (
    Sampling,
    ViewSets,
    assemble,
    cameras,
    draw_views,
    held_out_split,
)
from spatialvlm.training.reconstruction.starting_points import start_at_depth
from spatialvlm.training.reconstruction.train_dust3r import Dust3rRecipe, Dust3rTraining, Encoder, train
from spatialvlm.training.reconstruction.views import SceneViews, ViewCacheKey, cached_views, view_overlaps
from spatialvlm.training.seeding import numpy_generator
from tests.spatialvlm.empty_rooms import looking
from tests.spatialvlm.small_reconstruction import rooms_to_train_on, small_dust3r

PX = 32
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return rooms_to_train_on(tmp_path, monkeypatch)


def decoded(rooms: Path, folder: Path) -> list[SceneViews]:
    scenes, skipped = cached_views(ViewCacheKey("rooms", str(rooms), PX, 40), folder)
    assert skipped == {}
    return scenes


@pytest.fixture
def start(tmp_path: Path) -> str:
    return small_dust3r(tmp_path / "start", PX)


def recipe(rooms: Path, folder: Path, start: str, steps: int = 6, **changes: object) -> Dust3rRecipe:
    settings = Optimisation(max_steps=steps, batch_size=4, precision="no", learning_rate=2e-3)
    return Dust3rRecipe(
        PosedViews(str(rooms), reader="rooms", held_out=0.2, eval_samples=8),
        Output(str(folder), save_minutes=0),
        Encoder(start=start, image_px=PX),
        Sampling(views=3),
        replace(settings, **changes),  # type: ignore[arg-type]
    )


def test_decoded_points_lie_on_the_walls(rooms: Path, tmp_path: Path) -> None:
    for scene in decoded(rooms, tmp_path / "cache"):
        extents = torch.tensor(json.loads((rooms / scene.scene_id / "room.json").read_text())["extents"])
        sample = assemble(scene, [2, 0, 4])
        assert sample["pixel_values"].shape == (3, PX, PX, 3)
        assert sample["valid"].all()
        torch.testing.assert_close(sample["points"][0, ..., 2], scene.depth_m[2].float())
        camera_to_world = torch.linalg.inv(scene.world_to_camera[2]).float()
        world = sample["points"] @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]
        off_wall = torch.minimum(world.abs(), (world - extents).abs()).amin(dim=-1)
        assert off_wall.max() < 0.01  # depths are kept in half precision
        # the colour of a pixel tells the place it shows; the picture was squeezed, so pixels have mixed a little
        colours = sample["pixel_values"].float() / 255 * extents
        assert (colours - world).abs().median() < 0.05


def test_cropped_views_keep_the_shape_of_what_they_show(rooms: Path, tmp_path: Path) -> None:
    """The middle 48 x 48 pixels of 64 x 48: equal focal lengths, and points that still lie on the walls."""
    scenes, _ = cached_views(ViewCacheKey("rooms", str(rooms), PX, 40, "crop"), tmp_path / "cache")
    intrinsics = cameras(scenes[0], [0])["intrinsics"][0]
    assert float(intrinsics[0, 0]) == pytest.approx(50 * PX / 48, rel=0.01)
    assert float(intrinsics[0, 0]) == pytest.approx(float(intrinsics[1, 1]), rel=0.01)
    extents = torch.tensor(json.loads((rooms / scenes[0].scene_id / "room.json").read_text())["extents"])
    sample = assemble(scenes[0], [2, 0])
    camera_to_world = torch.linalg.inv(scenes[0].world_to_camera[2]).float()
    world = sample["points"] @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]
    assert torch.minimum(world.abs(), (world - extents).abs()).amin(dim=-1).max() < 0.01
    assert (sample["pixel_values"].float() / 255 * extents - world).abs().median() < 0.05


def test_true_points_have_no_pose_error_mirrored_or_not(rooms: Path, tmp_path: Path) -> None:
    scenes = decoded(rooms, tmp_path / "cache")
    for flip_share in (0.0, 1.0):
        sampling = Sampling(views=3, min_overlap=0.0, far_share=0, repeat_share=0, flip_share=flip_share)
        samples = ViewSets(scenes, sampling, 0, "test", with_cameras=True)
        batch = {name: value[None] for name, value in samples[0].items()}
        figures = geometry_errors([(batch["points"], batch)], normalise=False, min_overlap=0.0)
        assert figures["rotation_deg"] < 0.5
        assert figures["translation_deg"] < 2
        assert figures["rotation_within_15"] == figures["translation_within_15"] == 1
        assert figures["points_aligned"] < 1e-4
        assert figures["points_aligned_constant"] > 0.2
        assert figures["rotation_still_deg"] > 1


def test_mirrored_samples_are_mirror_images(rooms: Path, tmp_path: Path) -> None:
    scene = decoded(rooms, tmp_path / "cache")[0]
    plain, mirrored = assemble(scene, [0, 3]), assemble(scene, [0, 3], mirrored=True)
    assert torch.equal(mirrored["pixel_values"], plain["pixel_values"].flip(2))
    torch.testing.assert_close(mirrored["points"], plain["points"].flip(2) * torch.tensor([-1.0, 1.0, 1.0]))
    rows, columns = slice(1, None, 4), slice(3, None, 4)
    for turned in (False, True):
        part, whole = assemble(scene, [0, 3], turned, (rows, columns)), assemble(scene, [0, 3], turned)
        assert torch.equal(part["points"], whole["points"][:, rows, columns])
        assert torch.equal(part["valid"], whole["valid"][:, rows, columns])


def test_overlap_of_cameras_that_turn() -> None:
    # a wall at 2 m in all directions, seen with rays from -0.5 to 0.5: turning by 90 degrees leaves nothing in common
    rays = np.tile(np.linspace(-0.5, 0.5, 32), (3, 1))
    depth = np.full((3, 32, 32), 2.0)
    depth[:, :4] = 0.0  # missing rows do not count
    poses = np.stack([looking((0, 0, 0), yaw, 0) for yaw in (0, 0, 90)])
    overlap = view_overlaps(depth, rays, rays, poses)
    assert overlap[0, 1] == pytest.approx(1.0)
    assert overlap[0, 2] == 0.0
    depth[1] = 1.0  # view 1 sees something nearer: the points of view 0 are hidden behind it
    overlap = view_overlaps(depth, rays, rays, poses)
    assert overlap[0, 1] == 0.0
    assert overlap[1, 0] == pytest.approx(28 / 32)  # where depth is missing nothing counts as seen


def test_drawn_views_overlap_the_first() -> None:
    overlap = np.eye(6, dtype=np.float32)
    overlap[0, 3] = overlap[3, 0] = 0.5
    strict = Sampling(views=2, far_share=0.0, repeat_share=0.0)
    drawn = [draw_views(overlap, strict, np.random.default_rng(seed)) for seed in range(100)]
    assert all(len(set(views)) == 2 for views in drawn)
    assert {tuple(views) for views in drawn if views[0] in (0, 3)} == {(0, 3), (3, 0)}
    alone = Sampling(views=3, far_share=0.0, repeat_share=1.0)
    assert len(set(draw_views(overlap, alone, np.random.default_rng(0)))) == 1
    few = draw_views(overlap[:2, :2], Sampling(views=4, repeat_share=0.0), np.random.default_rng(0))
    assert len(few) == 4
    assert set(few) == {0, 1}


def test_samples_depend_on_seed_and_number_only(rooms: Path, tmp_path: Path) -> None:
    scenes = decoded(rooms, tmp_path / "cache")
    first, again = (ViewSets(scenes, Sampling(), 5, "train") for _ in range(2))
    _ = [again[number] for number in (9, 1)]  # an order of calls must not matter
    for number in (0, 7):
        assert all(torch.equal(value, again[number][name]) for name, value in first[number].items())
    other = ViewSets(scenes, Sampling(), 6, "train")[0]
    assert any(not torch.equal(value, other[name]) for name, value in first[0].items())
    train, held = held_out_split(scenes, 0.01)
    assert len(train) == 3
    assert len(held) == 1
    assert held_out_split(scenes[::-1], 0.01)[1][0].scene_id == held[0].scene_id


def test_figures_of_known_errors() -> None:
    points = torch.rand(2, 3, 8, 8, 3, generator=torch.Generator().manual_seed(0)) + 1
    valid = torch.ones(2, 3, 8, 8, dtype=torch.bool)
    overlap = torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.2, 0.05]])
    truth = {"points": points, "valid": valid, "overlap": overlap}
    perfect = geometry_errors([(points, truth)], normalise=False, min_overlap=0.1)
    assert perfect["depth_relative"] == perfect["points_near"] == perfect["points_far"] == 0
    assert perfect["depth_within_1.25"] == 1
    moved = points.clone()
    moved[:, 0] *= 1.5
    moved[:, 1, ..., 0] += 0.3
    moved[:, 2, ..., 1] -= 0.7
    figures = geometry_errors([(moved, truth)], normalise=False, min_overlap=0.1)
    assert figures["depth_relative"] == pytest.approx(0.5, rel=1e-4)
    assert figures["depth_within_1.25"] == 0
    assert figures["points_near"] == pytest.approx(0.3, rel=1e-4)
    assert figures["points_far"] == pytest.approx(0.7, rel=1e-4)
    scaled = geometry_errors([(points * 3, truth)], normalise=True, min_overlap=0.1)
    assert scaled["depth_relative"] == pytest.approx(0, abs=1e-5)


def test_alignment_takes_out_depth_and_scale_but_no_turn() -> None:
    points = torch.rand(2, 3, 8, 8, 3, generator=torch.Generator().manual_seed(0)) + 1
    valid = torch.ones(2, 3, 8, 8, dtype=torch.bool)
    assert aligned_errors(points * 0.2 + torch.tensor([0.0, 0.0, 3.0]), points, valid).max() < 1e-5
    assert aligned_errors(points * torch.tensor([-1.0, 1.0, 1.0]), points, valid).median() > 0.1


def test_the_trivial_answer_is_one_depth_along_every_ray() -> None:
    intrinsics = torch.tensor([[40.0, 0, 31.5], [0, 20.0, 10.0], [0, 0, 1]]).expand(1, 2, 3, 3)
    points = constant_pointmaps(intrinsics, 64)
    assert points.shape == (1, 2, 64, 64, 3)
    x, y, z = points[0, 1, 50, 1].tolist()  # row 50, column 1
    assert (x / z, y / z) == pytest.approx(((1 - 31.5) / 40, (50 - 10) / 20))
    assert points[..., 2].unique().numel() == 1


def test_learns_and_writes_an_encoder(rooms: Path, tmp_path: Path, start: str) -> None:
    plan = recipe(rooms, tmp_path / "out", start, steps=60, learning_rate=5e-3)
    before = Dust3rTraining(plan).evaluate()
    after = train(plan)
    assert after["points_near"] < 0.85 * before["points_near"]
    assert after["depth_relative"] < 0.7 * before["depth_relative"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["steps"] == 60
    assert report["depth_relative"] == after["depth_relative"]
    encoder = Dust3rModel.from_pretrained(tmp_path / "out" / "encoder")
    assert encoder.config.enc_embed_dim == 32
    assert list((tmp_path / "out" / "logs").glob("events*"))


@pytest.mark.parametrize("normalise", ["metric", "scale"])
def test_continues_exactly(
    rooms: Path, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch, normalise: str
) -> None:
    train(recipe(rooms, tmp_path / "whole", start, steps=6, normalise=normalise))
    broken = recipe(rooms, tmp_path / "broken", start, steps=6, normalise=normalise)
    train_step = Dust3rTraining.train_step

    def interrupted(run: Dust3rTraining, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        if run.step == 3:
            raise KeyboardInterrupt
        return train_step(run, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Dust3rTraining, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    train(broken)
    whole, resumed = (load_file(tmp_path / name / "encoder" / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_unusable_scenes_are_named_and_left_out(rooms: Path, tmp_path: Path) -> None:
    (rooms / "room_000" / "3.npy").unlink()
    (rooms / "room_001" / "0.png").write_bytes(b"not a picture")
    (rooms / "room_002" / "room.json").unlink()
    key = ViewCacheKey("rooms", str(rooms), PX, 40)
    scenes, skipped = cached_views(key, tmp_path / "cache")
    assert [scene.scene_id for scene in scenes] == ["room_003"]
    assert "frame_000003 has no depth map" in skipped["room_000"]
    assert "0.png" in skipped["room_001"]
    assert "no such file" in skipped["room_002"]
    (rooms / "room_003" / "5.npy").unlink()
    with pytest.raises(InputError, match=r"no usable scene for the reader rooms \(.*no depth map"):
        cached_views(key, tmp_path / "elsewhere")


def test_decoding_goes_on_where_it_stopped(rooms: Path, tmp_path: Path) -> None:
    key = ViewCacheKey("rooms", str(rooms), PX, 4)
    first, _ = cached_views(key, tmp_path / "cache")
    assert all(len(scene.images) == 4 for scene in first)  # evenly spaced, ends included
    for path in rooms.glob("*/*.png"):
        path.write_bytes(b"decoded already")
    again, skipped = cached_views(key, tmp_path / "cache")
    assert skipped == {}
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, again, strict=True))


def test_recipe_of_the_repository_is_valid() -> None:
    plan = load_recipe(Dust3rRecipe, ROOT / "recipes" / "dust3r_tiny.yaml", ["optimisation.max_steps=5"])
    assert plan.encoder.preset == "tiny"
    assert plan.optimisation.max_steps == 5
    with pytest.raises(InputError, match="unknown key"):
        load_recipe(Dust3rRecipe, ROOT / "recipes" / "dust3r_tiny.yaml", ["encoder.depth=5"])
    with pytest.raises(InputError, match="image_px is 100, expected a multiple of 16"):
        load_recipe(Dust3rRecipe, ROOT / "recipes" / "dust3r_tiny.yaml", ["encoder.image_px=100"])


def test_a_checkpoint_of_another_encoder_is_refused(rooms: Path, tmp_path: Path, start: str) -> None:
    plan = recipe(rooms, tmp_path / "out", start, steps=1)
    train(plan)
    with pytest.raises(InputError, match=r"checkpoint\.pt: holds a network of other sizes"):
        train(replace(plan, encoder=Encoder(image_px=PX), optimisation=replace(plan.optimisation, max_steps=2)))


def test_far_views_take_their_share() -> None:
    overlap = np.eye(8, dtype=np.float32)
    overlap[0, 1] = 1.0
    plan = Sampling(views=2, far_share=0.5, repeat_share=0.0)
    others = [draw_views(overlap, plan, numpy_generator(seed, "far")) for seed in range(400)]
    from_first = [views[1] for views in others if views[0] == 0]
    assert 0.4 < np.mean([view == 1 for view in from_first]) < 0.8


@pytest.mark.parametrize(("mode", "head"), [("exp", "linear"), ("square", "linear"), ("linear", "dpt")])
def test_fresh_heads_say_the_initial_depth(mode: str, head: str) -> None:
    sizes = {"enc_embed_dim": 16, "enc_depth": 1, "enc_num_heads": 2, "dec_embed_dim": 16, "dec_num_heads": 2}
    sizes |= {"dec_depth": 10, "dpt_feature_dim": 8, "dpt_last_dim": 8}
    model = Dust3rModel(Dust3rConfig(head_type=head, depth_mode=mode, dpt_layer_dims=(4, 4, 4, 4), **sizes))
    start_at_depth(model, 2.5)
    for number, module in ((1, model.downstream_head1), (2, model.downstream_head2)):
        for name, parameter in module.named_parameters():
            if name.endswith("weight"):
                torch.nn.init.zeros_(parameter)
        points, _ = model.pointmap(number, [torch.zeros(1, 4, 16)] * 11, (32, 32))
        torch.testing.assert_close(points, torch.tensor([0, 0, 2.5]).expand_as(points))
