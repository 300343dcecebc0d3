"""Global alignment of perfect and noisy pair predictions of a box room with known cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.pairs import make_pairs
from geometry_encoders.reconstruction.global_alignment import (
    Alignment,
    AlignmentConfig,
    KnownCameras,
    StorageConfig,
    align,
    align_graph,
    optimiser,
    view_pair,
)
from geometry_encoders.reconstruction.global_alignment.alignment import graph_from_predictions
from geometry_encoders.reconstruction.global_alignment.objective import Objective
from geometry_encoders.reconstruction.registration import Similarity, fit_similarity
from tests.geometry_encoders.box_room import BoxRoom, make_room

QUICK = AlignmentConfig(iterations=3)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    pytest.importorskip("cv2")
    torch.set_num_threads(1)


def run(output: dict[str, Any], config: AlignmentConfig = QUICK, known: KnownCameras | None = None) -> Alignment:
    return align_graph(graph_from_predictions(output, config), known, config)


def stack(room: BoxRoom, pointmaps: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Aligned and true points of all views."""
    truth = [room.points(view).reshape(-1, 3) for view in range(len(room))]
    return np.concatenate([points.reshape(-1, 3) for points in pointmaps]), np.concatenate(truth)


def assert_recovered(room: BoxRoom, scene: Any, tolerance: float) -> Similarity:
    """Points, poses and focal lengths are the true ones, up to one similarity."""
    points, truth = stack(room, scene.pointmaps)
    found = fit_similarity(points, truth)
    assert np.linalg.norm(found.apply(points) - truth, axis=1).mean() < tolerance
    poses = found.apply_to_poses(scene.camera_to_world)
    np.testing.assert_allclose(poses, room.camera_to_world, atol=3 * tolerance)
    np.testing.assert_allclose(scene.intrinsics[:, 0, 0] / room.focals, 1, atol=3 * tolerance)
    return found


@pytest.mark.parametrize("symmetrize", [True, False])
@pytest.mark.parametrize(
    ("views", "sizes", "graph"),
    [
        (2, [(24, 32)], "complete"),
        (4, [(24, 32)], "complete"),
        (3, [(24, 32), (32, 24), (24, 24)], "complete"),
        (6, [(24, 32)], "swin-1"),
        (6, [(24, 32)], "logwin-2"),
        (5, [(16, 32)], "oneref-3"),
    ],
)
def test_perfect_pairs_give_the_true_scene(views: int, sizes: list, graph: str, symmetrize: bool) -> None:
    room = make_room(views, sizes)
    scene = align(room.pair_output(make_pairs(views, graph, symmetrize)), config=QUICK)
    assert_recovered(room, scene, 1e-3)
    np.testing.assert_array_equal(scene.camera_to_world[0], np.eye(4))
    assert scene.sizes == room.sizes


def test_the_optimisation_averages_noise_away() -> None:
    room = make_room(4)
    output = room.pair_output(make_pairs(4), noise=0.01)
    config = AlignmentConfig(iterations=60)
    start, end = run(output, replace(config, iterations=0)), run(output, config)
    assert end.history.final_loss < 0.85 * start.history.final_loss
    errors = []
    for scene in (start, end):
        points, truth = stack(room, scene.pointmaps)
        errors.append(np.linalg.norm(fit_similarity(points, truth).apply(points) - truth, axis=1).mean())
    assert errors[1] < 0.8 * errors[0]
    assert_recovered(room, end, 0.03)


def test_a_scene_does_not_depend_on_the_order_of_the_pairs() -> None:
    room, pairs = make_room(4), make_pairs(4)
    first = run(room.pair_output(pairs, noise=0.002))
    second = run(room.pair_output([pairs[k] for k in np.random.default_rng(0).permutation(len(pairs))], noise=0.002))
    for one, other in zip(first.pointmaps, second.pointmaps, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
    np.testing.assert_allclose(first.camera_to_world, second.camera_to_world, atol=2e-3)


def test_numbering_the_views_differently_gives_the_same_scene() -> None:
    room, order = make_room(4), [2, 0, 3, 1]
    renumbered = BoxRoom(room.camera_to_world[order], room.focals[order], tuple(room.sizes[v] for v in order))
    for scene_room in (room, renumbered):
        assert_recovered(scene_room, run(scene_room.pair_output(make_pairs(4))), 1e-3)


def test_the_same_input_gives_the_same_bytes() -> None:
    output = make_room(3).pair_output(make_pairs(3), noise=0.01)
    first, second = (run(output) for _ in range(2))
    assert first.history == second.history
    assert first.camera_to_world.tobytes() == second.camera_to_world.tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first.pointmaps, second.pointmaps, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_points": 100},
        {"chunk_points": 2000},
        {"storage": StorageConfig(place="disk")},
        {"storage": StorageConfig(precision="float16")},
        {"storage": StorageConfig(precision="float16", place="disk")},
        {"storage": StorageConfig(limit_gb=1e-5)},
    ],
)
def test_chunks_and_storage_change_rounding_only(change: dict[str, Any]) -> None:
    room = make_room(4, [(24, 32), (32, 24)])
    output = room.pair_output(make_pairs(4), noise=0.005)
    plain, other = run(output), run(output, replace(QUICK, **change))
    assert other.history.losses == pytest.approx(plain.history.losses, rel=2e-2)
    for one, two in zip(plain.pointmaps, other.pointmaps, strict=True):
        assert np.median(np.linalg.norm(one - two, axis=-1)) < 0.01
    assert_recovered(room, other, 0.1)


def test_known_poses_and_intrinsics_are_kept() -> None:
    room = make_room(4)
    known = KnownCameras(
        camera_to_world=dict(enumerate(room.camera_to_world)),
        intrinsics={view: room.intrinsics(view) for view in range(4)},
    )
    scene = run(room.pair_output(make_pairs(4), noise=0.002), replace(QUICK, iterations=20), known)
    np.testing.assert_allclose(scene.camera_to_world, room.camera_to_world, atol=1e-6)
    np.testing.assert_allclose(scene.intrinsics, np.stack([room.intrinsics(v) for v in range(4)]), rtol=1e-5)
    points, truth = stack(room, scene.pointmaps)  # poses fix the scale, so no alignment is needed
    assert np.linalg.norm(points - truth, axis=1).mean() < 0.05


@pytest.mark.parametrize("views", [[1], [0, 2], [0, 1, 2]])
def test_some_known_poses_set_the_frame(views: list[int]) -> None:
    room = make_room(4)
    known = KnownCameras(camera_to_world={view: room.camera_to_world[view] for view in views})
    scene = run(room.pair_output(make_pairs(4)), known=known)
    np.testing.assert_allclose(scene.camera_to_world[views], room.camera_to_world[views], atol=1e-5)
    found = assert_recovered(room, scene, 2e-3)
    if len(views) > 1:
        np.testing.assert_allclose(found.matrix(), np.eye(4), atol=1e-2)
    assert scene.history.final_loss < 1e-4


def test_some_known_intrinsics_with_unequal_focal_lengths_and_moved_centre() -> None:
    room = make_room(3)
    matrix = np.array([[40.0, 0, 15.0], [0, 36.0, 13.0], [0, 0, 1]])
    known = KnownCameras(intrinsics={1: matrix}, focals={2: float(room.focals[2])})
    scene = run(room.pair_output(make_pairs(3)), replace(QUICK, optimize_principal_points=True), known)
    np.testing.assert_allclose(scene.intrinsics[1], matrix, rtol=1e-6)
    assert scene.intrinsics[2, 0, 0] == pytest.approx(room.focals[2], rel=1e-6)


def test_known_cameras_in_one_place_fix_no_scale() -> None:
    room = make_room(3)
    poses = dict.fromkeys(range(3), room.camera_to_world[0])
    with pytest.raises(InputError, match="stand"):
        run(room.pair_output(make_pairs(3)), known=KnownCameras(camera_to_world={0: poses[0], 1: poses[1]}))
    known = KnownCameras(camera_to_world=poses, focals=dict(enumerate(room.focals)))
    with pytest.raises(InputError, match="stand"):
        run(room.pair_output(make_pairs(3)), known=known)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (KnownCameras(focals={7: 30.0}), "view 7"),
        (KnownCameras(focals={0: -1.0}), "-1.0"),
        (KnownCameras(camera_to_world={0: 2 * np.eye(4)}), "rotation"),
        (KnownCameras(intrinsics={1: np.eye(4)}), "intrinsics of view 1"),
    ],
)
def test_known_cameras_that_are_none(known: KnownCameras, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(make_room(2).pair_output(make_pairs(2)), known=known)


def test_a_graph_in_two_parts_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"2 groups that no pair joins \(0, 1; 2, 3\)"):
        run(make_room(4).pair_output([(0, 1), (1, 0), (2, 3), (3, 2)]))
    with pytest.raises(InputError, match="view 1 is in no pair"):
        run(make_room(3).pair_output([(0, 2), (2, 0)]))
    with pytest.raises(InputError, match="occurs more than once"):
        run(make_room(2).pair_output([(0, 1), (0, 1)]))


@pytest.mark.parametrize("part", ["pts3d", "conf"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_one_clear_error(part: str, value: float) -> None:
    output = make_room(3).pair_output(make_pairs(3))
    output["pred1"][part][2, 5, 6] = value
    with pytest.raises(InputError, match=r"pair \(2, 1\): 1 pixels of view 2 are NaN or infinite"):
        run(output)


def test_output_without_a_field_or_points_without_extent() -> None:
    output = make_room(2).pair_output(make_pairs(2))
    with pytest.raises(InputError, match=r"no pred1\.conf"):
        align(output | {"pred1": {"pts3d": output["pred1"]["pts3d"]}})
    flat = {"pts3d": torch.ones_like(output["pred1"]["pts3d"]), "conf": output["pred1"]["conf"]}
    with pytest.raises(InputError, match="all in one place"):
        align(output | {"pred1": flat}, config=QUICK)


def test_confidence_of_zero_everywhere_gives_the_start_and_no_points_to_believe() -> None:
    room = make_room(3)
    scene = align(room.pair_output(make_pairs(3), confidence=0.0), config=QUICK)
    assert_recovered(room, scene, 1e-3)
    assert len(scene.point_cloud()) == 0


def test_confidence_of_one_weighs_nothing_and_is_no_error() -> None:
    room = make_room(2)
    scene = run(room.pair_output(make_pairs(2), confidence=1.0))
    assert scene.history.final_loss == 0
    assert_recovered(room, scene, 1e-3)


def test_unsure_pairs_matter_less() -> None:
    room, pairs = make_room(4), make_pairs(4)
    good, bad = room.pair_output(pairs, confidence=20.0), room.pair_output(pairs, noise=0.5, confidence=1.5)
    wrong = pairs.index((3, 0))
    for part in ("pred1", "pred2"):
        for name, values in good[part].items():
            values[wrong] = bad[part][name][wrong]
    assert_recovered(room, run(good), 1e-3)


def test_max_edges_keeps_the_graph_together() -> None:
    room = make_room(5)
    output = room.pair_output(make_pairs(5))
    graph = graph_from_predictions(output, AlignmentConfig(max_edges=6))
    assert len(graph.edges) == 6
    assert len({view for edge in graph.edges for view in edge}) == 5
    assert_recovered(room, run(output, replace(QUICK, max_edges=8)), 1e-3)
    with pytest.raises(InputError, match="max_edges 3: expected at least 4"):
        graph_from_predictions(output, AlignmentConfig(max_edges=3))


def test_pairs_of_a_view_with_itself_are_left_out() -> None:
    pairs = make_pairs(3, "swin-3")
    assert (1, 1) in pairs
    graph = graph_from_predictions(make_room(3).pair_output(pairs))
    assert graph.edges == tuple((i, j) for i, j in pairs if i != j)


def test_settings_from_a_dictionary() -> None:
    config = AlignmentConfig.from_dict({"iterations": 5, "storage": {"place": "disk"}})
    assert config == AlignmentConfig(iterations=5, storage=StorageConfig(place="disk"))
    with pytest.raises(InputError, match="unknown settings steps"):
        AlignmentConfig.from_dict({"steps": 5})
    with pytest.raises(InputError, match="distance 'l3'"):
        AlignmentConfig(distance="l3")


@pytest.mark.parametrize("pairs", [[(0, 1), (1, 0)], [(1, 0), (0, 1)]])
@pytest.mark.parametrize("sizes", [[(24, 32)], [(24, 32), (32, 24)]])
def test_pair_viewer(pairs: list[tuple[int, int]], sizes: list[tuple[int, int]]) -> None:
    room = make_room(2, sizes)
    scene = view_pair(room.pair_output(pairs), names=("left", "right"))
    assert scene.names == ("left", "right")
    assert_recovered(room, scene, 1e-3)
    with pytest.raises(InputError, match="expected \\(0, 1\\) and \\(1, 0\\)"):
        view_pair(room.pair_output([(0, 1)]))


def test_progress_stays_quiet_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    align(make_room(2).pair_output(make_pairs(2)), config=QUICK, progress=True)
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_alignment_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, config = make_room(3).pair_output(make_pairs(3), noise=0.01), replace(QUICK, iterations=8)
    graph, state = graph_from_predictions(output), tmp_path / "alignment.pt"
    whole = align_graph(graph, None, config)
    monkeypatch.setattr(optimiser, "SAVE_EVERY_S", 0)
    calls = iter(range(100))

    def interrupted(self: Objective, parameters: Any) -> float:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return plain(self, parameters)

    plain = Objective.loss_and_gradient
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "loss_and_gradient", interrupted)
        with pytest.raises(KeyboardInterrupt):
            align_graph(graph, None, config, checkpoint=state)
    resumed = align_graph(graph, None, config, checkpoint=state)
    assert resumed.history == whole.history
    assert all(a.tobytes() == b.tobytes() for a, b in zip(resumed.pointmaps, whole.pointmaps, strict=True))
    with pytest.raises(InputError, match="state of another alignment"):
        align_graph(graph, None, replace(config, learning_rate=0.02), checkpoint=state)
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(InputError, match="not readable as the state of an alignment"):
        align_graph(graph, None, config, checkpoint=state)
