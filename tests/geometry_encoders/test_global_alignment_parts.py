"""Parts of the global alignment on cases worked out by hand or by a slower way."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geometry_encoders.reconstruction.dust3r import Dust3rModel
from geometry_encoders.reconstruction.dust3r.inference import reconstruct_pairs
from geometry_encoders.reconstruction.dust3r.pairs import make_pairs
from geometry_encoders.reconstruction.global_alignment import (
    AlignmentConfig,
    KnownCameras,
    PairGraph,
    StorageConfig,
    align,
    predict_graph,
    reconstruct_views,
)
from geometry_encoders.reconstruction.global_alignment.alignment import graph_from_predictions
from geometry_encoders.reconstruction.global_alignment.cleaning import clean_confidence
from geometry_encoders.reconstruction.global_alignment.objective import Objective, pixel_weights
from geometry_encoders.reconstruction.global_alignment.optimiser import learning_rate
from geometry_encoders.reconstruction.global_alignment.pair_storage import PairStorage
from geometry_encoders.reconstruction.global_alignment.parameters import (
    AlignmentParameters,
    decode_translation,
    encode_pose,
    encode_similarity,
    encode_translation,
    rotation_from_quaternion,
)
from geometry_encoders.reconstruction.global_alignment.sky import sky_mask
from geometry_encoders.reconstruction.global_alignment.spanning_tree import spanning_tree
from geometry_encoders.reconstruction.global_alignment.start import encode_start, find_start, log_depth
from geometry_encoders.reconstruction.registration import Similarity
from tests.geometry_encoders.box_room import make_room


def slow_loss(graph: PairGraph, parameters: AlignmentParameters, config: AlignmentConfig) -> torch.Tensor:
    """The loss edge by edge as the paper writes it, everything by autograd."""
    cameras, pairs = parameters.cameras(), parameters.pair_transforms()
    areas = [[math.prod(graph.sizes[edge[side]]) for edge in graph.edges] for side in (0, 1)]
    total = torch.zeros(())
    for number, edge in enumerate(graph.edges):
        for side, view in enumerate(edge):
            height, width = graph.sizes[view]
            columns, rows = np.meshgrid(np.arange(width), np.arange(height))
            pixels = torch.from_numpy(np.stack([columns.ravel(), rows.ravel()], 1)).float()
            depth = parameters.im_depthmaps[view].exp()[:, None]
            rays = (pixels - cameras.principal_points[view]) / cameras.focals[view]
            world = torch.cat([rays * depth, depth], 1) @ cameras.rotations[view].T + cameras.centres[view]
            predicted = torch.from_numpy(graph.points(number, side).copy())
            aligned = predicted @ pairs.matrices[number].T + pairs.offsets[number]
            square = (world - aligned).square().sum(1)
            distance = square.sqrt() if config.distance == "l1" else square
            weights = pixel_weights(torch.from_numpy(graph.confidence(number, side)), config.weighting)
            total = total + (weights * distance).sum() / sum(areas[side])
    return total


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("weighting", ["log", "sqrt", "minus_one", "identity"])
def test_gradients_are_those_of_autograd(distance: str, weighting: str) -> None:
    pytest.importorskip("cv2")
    room = make_room(3, [(8, 12), (12, 8)])
    config = AlignmentConfig(distance=distance, weighting=weighting, chunk_points=200)
    graph = graph_from_predictions(room.pair_output(make_pairs(3), noise=0.05), config)
    parameters = encode_start(graph, config, KnownCameras(), find_start(graph, config, KnownCameras()))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    value = Objective(graph, config).loss_and_gradient(parameters)
    grads = [parameter.grad.clone() for parameter in parameters.parameters()]
    for parameter in parameters.parameters():
        parameter.grad = None
    expected = slow_loss(graph, parameters, config)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    assert Objective(graph, config).loss(parameters) == pytest.approx(value, rel=1e-6)
    for grad, parameter in zip(grads, parameters.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad, rtol=2e-4, atol=2e-5 * float(parameter.grad.abs().max()))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_codes_round_trip(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rotation, translation = Rotation.random(random_state=seed).as_matrix(), 5 * generator.normal(size=3)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    code = torch.from_numpy(encode_pose(pose))[None]
    np.testing.assert_allclose(rotation_from_quaternion(3 * code[:, :4])[0], rotation, atol=1e-12)
    np.testing.assert_allclose(decode_translation(code[0, 4:]), translation, atol=1e-12)
    similarity = Similarity(float(generator.uniform(0.01, 50)), rotation, translation)
    edge = encode_similarity(similarity)
    assert math.exp(edge[7]) == pytest.approx(similarity.scale)
    np.testing.assert_allclose(similarity.scale * decode_translation(torch.from_numpy(edge[4:7])), translation)


def test_translations_of_zero_can_move() -> None:
    for compat, slope in ((False, 1.0), (True, 0.0)):
        code = torch.zeros(3, requires_grad=True)
        decode_translation(code, compat).sum().backward()
        assert code.grad.tolist() == [slope] * 3
    assert encode_translation(np.array([-1.0, 0, 1])).tolist() == [-math.log(2), 0, math.log(2)]


def test_scales_of_pairs_have_the_wanted_geometric_mean() -> None:
    parameters = AlignmentParameters([(4, 4)] * 2, 3, focal_break=20, base_scale=0.5)
    scales = [0.1, 2.0, 7.0]
    parameters.set_pairs([Similarity(scale, np.eye(3), np.zeros(3)) for scale in scales])
    found = parameters.pair_transforms().matrices[:, 0, 0].log()
    assert found.mean().exp().item() == pytest.approx(0.5)
    assert (found - found[0]).exp().tolist() == pytest.approx([scale / 0.1 for scale in scales])


def test_learning_rates_by_hand() -> None:
    cosine = AlignmentConfig(iterations=4, learning_rate=1.0, min_learning_rate=0.2)
    assert learning_rate(cosine, 0) == 1.0
    assert learning_rate(cosine, 2) == pytest.approx(0.6)
    linear = AlignmentConfig(iterations=4, learning_rate=1.0, min_learning_rate=0.2, schedule="linear")
    assert [learning_rate(linear, step) for step in range(4)] == pytest.approx([1.0, 0.8, 0.6, 0.4])


def test_spanning_tree_by_hand() -> None:
    edges = ((0, 1), (1, 0), (1, 2), (2, 0), (2, 3))
    tree = spanning_tree(edges, np.array([3.0, 5.0, 1.0, 4.0, 0.0]), 4)
    assert [edges[number] for number in tree] == [(1, 0), (2, 0), (2, 3)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), views=st.integers(2, 9))
def test_spanning_trees_are_best_and_span(seed: int, views: int) -> None:
    networkx = pytest.importorskip("networkx")
    generator = np.random.default_rng(seed)
    edges = tuple((i, j) for i in range(views) for j in range(views) if i != j)
    scores = generator.random(len(edges))
    tree = spanning_tree(edges, scores, views)
    graph = networkx.Graph()
    for (i, j), score in zip(edges, scores, strict=True):
        if score > graph.get_edge_data(i, j, {"weight": -1})["weight"]:
            graph.add_edge(i, j, weight=score)
    best = networkx.maximum_spanning_tree(graph).size(weight="weight")
    assert len(tree) == views - 1
    assert scores[tree].sum() == pytest.approx(best)
    assert list(scores[tree]) == sorted(scores[tree], reverse=True)


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_storage_returns_what_was_written(place: str, precision: str, tolerance: float, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    config = StorageConfig(precision, place, directory=tmp_path)
    storage = PairStorage([2, 1], [6, 4], config)
    written = {}
    for view, piece, pixels in ((0, 1, 6), (1, 0, 4), (0, 0, 6)):
        points, confidence = torch.randn(pixels, 3, generator=generator), torch.rand(pixels, generator=generator)
        storage.write(view, piece, points, confidence)
        written[view, piece] = torch.cat([points.T, confidence[None]])
    torch.testing.assert_close(
        storage.read(0, 0, 2), torch.stack([written[0, 0], written[0, 1]]), atol=tolerance, rtol=tolerance
    )
    torch.testing.assert_close(storage.read(1, 0, 1), written[1, 0][None], atol=tolerance, rtol=tolerance)
    assert bool(list(tmp_path.rglob("*.bin"))) == (place == "disk")
    del storage
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limit_gb", "dtype", "on_disk"),
    [(1.0, torch.float32, False), (12e-7, torch.float16, False), (4e-7, torch.float16, True)],
)
def test_storage_halves_precision_before_it_goes_to_disk(limit_gb: float, dtype: torch.dtype, on_disk: bool) -> None:
    storage = PairStorage([10], [10], StorageConfig(limit_gb=limit_gb))  # 400 numbers
    assert (storage.dtype, storage.on_disk) == (dtype, on_disk)


def test_depths_behind_the_camera_become_the_usual_depth() -> None:
    depth = np.array([2.0, 3.0, 4.0, -1.0, np.nan, 0.0])
    assert np.exp(log_depth(depth, compat=False)).tolist() == pytest.approx([2, 3, 4, 3, 3, 3])
    assert np.exp(log_depth(depth, compat=True)).tolist() == pytest.approx([2, 3, 4, 1, 1, 1])


def test_cleaning_by_hand() -> None:
    """Two cameras in one place; the second sees a wall at depth 2, the first a floating point before it."""
    intrinsics = np.tile(np.array([[2.0, 0, 1], [0, 2, 1], [0, 0, 1]]), (2, 1, 1))
    wall, floating = np.full((2, 2), 2.0), np.array([[1.0, 2.0], [2.0, 1.0]])
    rays = np.array([[[-0.5, -0.5, 1], [0, -0.5, 1]], [[-0.5, 0, 1], [0, 0, 1]]])
    maps = [rays * floating[..., None], rays * wall[..., None]]
    confidence = [np.array([[1.0, 1.0], [1.0, 9.0]]), np.full((2, 2), 5.0)]
    poses = np.tile(np.eye(4), (2, 1, 1))
    cleaned = clean_confidence(confidence, maps, [floating, wall], poses, intrinsics)
    assert cleaned[0].tolist() == [[0, 1], [1, 9]]  # the surer floating point stays
    assert cleaned[1].tolist() == [[5, 5], [5, 5]]  # the wall is farther away than what the first camera sees
    poses[1, 2, 3] = 5  # now everything of the first view lies behind the second camera
    assert clean_confidence(confidence, maps, [floating, wall], poses, intrinsics)[0].tolist() == confidence[0].tolist()


def test_sky_is_blue_and_grey_is_none() -> None:
    pytest.importorskip("cv2")
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[:20, :30] = (90, 150, 230)  # blue
    image[:20, 30:] = (120, 120, 120)  # grey
    image[20:] = (200, 60, 30)  # bricks
    image[30:33, 10:13] = (90, 150, 230)  # a blue speck
    assert sky_mask(image).nonzero()[1].max() == 29
    assert sky_mask(image).sum() == 600
    assert sky_mask(image, compat=True).sum() == 1200
    assert not sky_mask(np.zeros((8, 8, 3), dtype=np.uint8)).any()


def test_streamed_pairs_are_those_of_the_whole_list(make_model: object) -> None:
    pytest.importorskip("cv2")
    model: Dust3rModel = make_model()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(3)
    views = [{"img": torch.rand(1, 3, 32, 48, generator=generator) * 2 - 1, "idx": 10 + n} for n in range(3)]
    pairs = make_pairs(3)
    graph = predict_graph(model, views, pairs, batch_size=4)
    output = reconstruct_pairs(model, [view | {"idx": n} for n, view in enumerate(views)], pairs)
    whole = graph_from_predictions(output)
    assert graph.edges == whole.edges
    for number in range(len(pairs)):
        for side in (0, 1):
            np.testing.assert_allclose(graph.points(number, side), whole.points(number, side), atol=1e-5)
    config = AlignmentConfig(iterations=2)
    direct, streamed = align(output, config=config), reconstruct_views(model, views, config=config)
    assert streamed.sizes == direct.sizes == ((32, 48),) * 3
    for scene in (direct, streamed):
        assert all(np.isfinite(points).all() for points in scene.pointmaps)
