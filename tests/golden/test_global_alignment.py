"""Global alignment against the original optimiser: spanning tree, start, losses of every iteration, final scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from geometry_encoders.reconstruction.global_alignment.alignment import read_scene
from geometry_encoders.reconstruction.global_alignment.cleaning import clean_confidence, confidence_masks
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.objective import Objective
from geometry_encoders.reconstruction.global_alignment.optimiser import optimise
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph, PairPrediction
from geometry_encoders.reconstruction.global_alignment.pair_viewer import view_pair_graph
from geometry_encoders.reconstruction.global_alignment.parameters import AlignmentParameters
from geometry_encoders.reconstruction.global_alignment.sky import sky_mask
from geometry_encoders.reconstruction.global_alignment.start import encode_start, find_start

OPTION_NAMES = {
    "dist": "distance",
    "conf": "weighting",
    "base_scale": "base_scale",
    "focal_break": "focal_break",
    "optimize_pp": "optimize_principal_points",
    "allow_pw_adaptors": "pairwise_adaptors",
}
WEIGHTINGS = {"m1": "minus_one", "id": "identity", "none": "identity"}
START, FIRST_LOSSES, FINAL_LOSS, GEOMETRY = 1e-4, 1e-4, 1e-3, 1e-2
MIDDLE_LOSSES = 1e-2  # rounding grows on the way and is forgotten at the end


def settings(description: dict[str, Any]) -> AlignmentConfig:
    """Our settings from those of the original program."""
    options = {OPTION_NAMES[name]: value for name, value in description.get("options", {}).items()}
    if "weighting" in options:
        options["weighting"] = WEIGHTINGS.get(options["weighting"], options["weighting"])
    return AlignmentConfig(
        iterations=description["niter"],
        learning_rate=description["lr"],
        min_learning_rate=description.get("lr_min", 1e-6),
        schedule=description["schedule"],
        pnp_iterations=description.get("niter_PnP", 10),
        compat=True,
        **options,
    )


def read_graph(tensors: dict[str, Tensor], edges: list[list[int]]) -> PairGraph:
    """The stored predictions of all edges."""
    predictions = []
    for number, (i, j) in enumerate(edges):
        points, confidence = (
            tuple(tensors[f"edge.{number:02d}.{kind}_{side}"] for side in (1, 2)) for kind in ("pts3d", "conf")
        )
        predictions.append(PairPrediction((i, j), points, confidence))
    sizes = {view: p.confidence[side].shape for p in predictions for side, view in enumerate(p.edge)}
    graph = PairGraph([p.edge for p in predictions], [np.zeros((*sizes[n], 3), np.uint8) for n in range(len(sizes))])
    for number, prediction in enumerate(predictions):
        graph.put(number, prediction)
    return graph


def padded(parameters: AlignmentParameters, width: int) -> Tensor:
    """Depth maps of all views as rows of one matrix."""
    rows = [torch.nn.functional.pad(row.detach(), (0, width - len(row))) for row in parameters.im_depthmaps]
    return torch.stack(rows)


def same_sign(quaternions: Tensor, expected: Tensor) -> Tensor:
    """Rows that begin with a quaternion, turned to the sign of the expected ones: q and -q are one rotation."""
    sign = (quaternions[:, :4] * expected[:, :4]).sum(1, keepdim=True).sign()
    return torch.cat([sign * quaternions[:, :4], quaternions[:, 4:]], dim=1)


@torch.no_grad()
def load_start(parameters: AlignmentParameters, tensors: dict[str, Tensor]) -> None:
    """The original's start: which of its numbers are 0 and which rounding noise decides where Adam goes first."""
    for key in ("pw_poses", "pw_adaptors", "im_poses", "im_focals", "im_pp"):
        getattr(parameters, key).copy_(tensors[f"init.{key}"])
    for row, stored in zip(parameters.im_depthmaps, tensors["init.im_depthmaps"], strict=True):
        row.copy_(stored[: len(row)])


def pair_matrices(parameters: AlignmentParameters) -> Tensor:
    """4x4 matrices of all pairs, without the adaptors."""
    with torch.no_grad():
        parameters.pw_adaptors.zero_()
        matrices, offsets = parameters.pair_transforms()
    bottom = torch.tensor([0.0, 0, 0, 1]).expand(len(matrices), 1, 4)
    return torch.cat([torch.cat([matrices, offsets[:, :, None]], 2), bottom], 1)


@pytest.mark.parametrize("name", ["ga_complete", "ga_mixed_shapes", "ga_l2_linear"])
def test_spanning_tree_and_start(golden: Any, name: str) -> None:
    pytest.importorskip("cv2")
    description, tensors = golden.json(name), golden.tensors(name)
    config, graph = settings(description), read_graph(tensors, description["edges"])
    assert graph.scores() == pytest.approx(description["edge_scores"], rel=1e-5)
    start = find_start(graph, config, KnownCameras())
    assert start.layout is not None
    assert [list(edge) for edge in start.layout.tree] == description["mst_edges"]
    focals = torch.tensor([start.layout.focals[view] for view in range(len(graph))])
    golden.assert_close(focals, tensors["mst.im_focals"], "mst.im_focals", START)
    for view, size in enumerate(graph.sizes):
        points = torch.from_numpy(start.layout.points[view]).reshape(*size, 3)
        golden.assert_close(points, tensors[f"mst.pts3d.{view}"], f"mst.pts3d.{view}", START)
        pose = torch.from_numpy(start.layout.camera_to_world[view])
        golden.assert_close(pose, tensors["mst.im_poses"][view], f"mst.im_poses {view}", START)
    parameters = encode_start(graph, config, KnownCameras(), start)
    for key in ("pw_poses", "im_poses", "im_focals", "im_pp", "pw_adaptors"):
        expected, value = tensors[f"init.{key}"], getattr(parameters, key).detach()
        value = same_sign(value, expected) if key.endswith("poses") else value
        golden.assert_close(value, expected, f"init.{key}", START)
    expected = tensors["init.im_depthmaps"]
    golden.assert_close(padded(parameters, expected.shape[1]), expected, "init.im_depthmaps", START)
    assert Objective(graph, config).loss(parameters) == pytest.approx(tensors["init.loss"].item(), rel=START)


@pytest.mark.parametrize("chunk_points", [500, 2**16])
@pytest.mark.parametrize("name", ["ga_complete", "ga_mixed_shapes", "ga_l2_linear"])
def test_optimisation(golden: Any, name: str, chunk_points: int) -> None:
    pytest.importorskip("cv2")
    description, tensors = golden.json(name), golden.tensors(name)
    config = AlignmentConfig(**(vars(settings(description)) | {"chunk_points": chunk_points}))
    graph = read_graph(tensors, description["edges"])
    parameters = AlignmentParameters(graph.sizes, len(graph.edges), config.focal_break, config.base_scale, compat=True)
    load_start(parameters, tensors)
    history = optimise(graph, parameters, config, KnownCameras())
    assert history.learning_rates == pytest.approx(tensors["lrs"].tolist(), rel=1e-6)
    assert history.losses[:10] == pytest.approx(tensors["losses"][:10].tolist(), rel=FIRST_LOSSES)
    assert history.losses == pytest.approx(tensors["losses"].tolist(), rel=MIDDLE_LOSSES)
    assert history.final_loss == pytest.approx(tensors["final.loss"].item(), rel=FINAL_LOSS)
    scene = read_scene(graph, parameters, config, history)
    golden.assert_close(torch.from_numpy(scene.camera_to_world), tensors["final.im_poses"], "poses", GEOMETRY)
    golden.assert_close(torch.from_numpy(scene.intrinsics[:, :1, 0]), tensors["final.focals"], "focals", GEOMETRY)
    golden.assert_close(torch.from_numpy(scene.intrinsics[:, :2, 2]), tensors["final.pp"], "final.pp", GEOMETRY)
    golden.assert_close(pair_matrices(parameters), tensors["final.pw_poses"], "final.pw_poses", GEOMETRY)
    for view in range(len(graph)):
        depth, points = torch.from_numpy(scene.depths[view]), torch.from_numpy(scene.pointmaps[view])
        golden.assert_close(depth, tensors[f"final.depth.{view}"], f"final.depth.{view}", GEOMETRY)
        golden.assert_close(points, tensors[f"final.pts3d.{view}"], f"final.pts3d.{view}", GEOMETRY)
        confidence = torch.from_numpy(scene.confidence[view])
        golden.assert_close(confidence, tensors[f"im_conf.{view}"], f"im_conf.{view}", 1e-6)


@pytest.mark.parametrize("name", ["ga_complete", "ga_mixed_shapes", "ga_l2_linear"])
def test_masks_and_cleaning(golden: Any, name: str) -> None:
    description, tensors = golden.json(name), golden.tensors(name)
    views = range(description["n"])
    confidence, depths, points = (
        [tensors[f"{kind}.{view}"].numpy() for view in views] for kind in ("im_conf", "final.depth", "final.pts3d")
    )
    masks = confidence_masks(confidence)
    for view in views:
        assert masks[view].tolist() == tensors[f"final.mask.{view}"].tolist()
    intrinsics = np.tile(np.eye(3), (len(views), 1, 1))
    intrinsics[:, [0, 1], [0, 1]] = tensors["final.focals"].numpy()
    intrinsics[:, :2, 2] = tensors["final.pp"].numpy()
    poses = tensors["final.im_poses"].double().numpy()
    cleaned = clean_confidence(confidence, points, depths, poses, intrinsics)
    for view in views:
        assert cleaned[view].tolist() == tensors[f"cleaned_conf.{view}"].tolist()


def test_known_poses(golden: Any) -> None:
    pytest.importorskip("cv2")
    description, tensors = golden.json("ga_known_poses"), golden.tensors("ga_known_poses")
    config, graph = settings(description), read_graph(tensors, description["edges"])
    known = KnownCameras(
        camera_to_world=dict(enumerate(tensors["known.cam2world"].numpy())),
        focals=dict(enumerate(tensors["known.focals"].tolist())),
    )
    parameters = encode_start(graph, config, known, find_start(graph, config, known))
    expected = tensors["init.pw_poses"]
    golden.assert_close(same_sign(parameters.pw_poses.detach(), expected), expected, "init.pw_poses", 1e-3)  # RANSAC
    expected = tensors["init.im_depthmaps"]
    golden.assert_close(padded(parameters, expected.shape[1]), expected, "init.im_depthmaps", 1e-3)
    assert Objective(graph, config).loss(parameters) == pytest.approx(tensors["init.loss"].item(), rel=1e-3)
    history = optimise(graph, parameters, config, known)
    scene = read_scene(graph, parameters, config, history)
    assert history.final_loss == pytest.approx(tensors["final.loss"].item(), rel=FINAL_LOSS)
    golden.assert_close(torch.from_numpy(scene.camera_to_world), tensors["final.im_poses"], "poses", 1e-5)
    golden.assert_close(torch.from_numpy(scene.intrinsics[:, :1, 0]), tensors["final.focals"], "focals", 1e-5)
    for view in range(len(graph)):
        depth = torch.from_numpy(scene.depths[view])
        golden.assert_close(depth, tensors[f"final.depth.{view}"], f"final.depth.{view}", GEOMETRY)


def test_pair_viewer(golden: Any) -> None:
    pytest.importorskip("cv2")
    description, tensors = golden.json("pair_viewer"), golden.tensors("pair_viewer")
    scene = view_pair_graph(read_graph(tensors, description["edges"]), description["min_conf_thr"])
    golden.assert_close(torch.from_numpy(scene.intrinsics[:, 0, 0]), tensors["focals"], "focals")
    golden.assert_close(torch.from_numpy(scene.intrinsics[:, :2, 2]), tensors["pp"], "principal points")
    golden.assert_close(torch.from_numpy(scene.camera_to_world), tensors["im_poses"], "poses", 1e-3)
    for view in range(2):
        golden.assert_close(torch.from_numpy(scene.depths[view]), tensors[f"depth.{view}"], f"depth.{view}", 1e-3)
        golden.assert_close(torch.from_numpy(scene.pointmaps[view]), tensors[f"pts3d.{view}"], f"pts3d.{view}", 1e-3)


def test_sky_mask(golden: Any) -> None:
    pytest.importorskip("cv2")
    tensors = golden.tensors("sky_mask")
    assert tensors["mask"].any()
    assert sky_mask(tensors["rgb_u8"].numpy(), compat=True).tolist() == tensors["mask"].tolist()


def test_demo_mask_compares_with_the_logarithm() -> None:
    values = [np.array([[1.0, 1.2, 3.5]], dtype=np.float32)]
    assert confidence_masks(values, 3.0, compat=True)[0].tolist() == [[False, True, True]]
    assert confidence_masks(values, 3.0)[0].tolist() == [[False, False, True]]
