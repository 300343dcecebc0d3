"""Spann3R's parts, its offline mode, a training step and the published size against the original program."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from geometry_encoders.reconstruction.spann3r import SequencePrediction, Spann3rConfig, Spann3rModel
from geometry_encoders.reconstruction.spann3r.offline import pair_sureness
from tests.golden.spann3r_files import compat_options, load_spann3r, run_online
from tests.golden.test_dust3r_network import fill_procedurally

GRADIENT_TOLERANCE = 1e-3
LOSS_TOLERANCE = 1e-5


@torch.no_grad()
def test_value_encoder_and_memory_heads(golden: Any) -> None:
    description, tensors = golden.json("spann3r_parts"), golden.tensors("spann3r_parts")
    model = load_spann3r(golden, description["weights"])
    golden.assert_close(model.memory_values(tensors["value.pts3d"]), tensors["value.out"], "value.out")
    feature, decoded = tensors["key.feat"], tensors["key.dec_last"]
    golden.assert_close(model.memory_keys(feature, decoded), tensors["key.head1"], "key.head1")
    golden.assert_close(model.memory_queries(feature, decoded), tensors["key.head2"], "key.head2")


@torch.no_grad()
def test_memory_read(golden: Any) -> None:
    description, tensors = golden.json("spann3r_parts"), golden.tensors("spann3r_parts")
    model = load_spann3r(golden, description["weights"])
    thresholds = [key.removeprefix("read.out.thresh=") for key in tensors if key.startswith("read.out.")]
    assert thresholds
    for threshold in thresholds:
        memory = model.new_memory(compat_options(model, {"attn_thresh": float(threshold)}))
        memory.insert(tensors["read.mem_k"], tensors["read.mem_v"])
        for residual, name in ((True, "out"), (False, "out_nores")):
            answer = memory.read(tensors["read.query"], residual)
            golden.assert_close(answer, tensors[f"read.{name}.thresh={threshold}"], f"{name}, {threshold}")
        attention = memory.attention.unsqueeze(-1)  # of both reads
        golden.assert_close(attention, tensors[f"read.mem_attn.thresh={threshold}"], f"attention, {threshold}")


@torch.no_grad()
def test_offline(golden: Any) -> None:
    description, tensors = golden.json("spann3r_offline"), golden.tensors("spann3r_offline")
    model = load_spann3r(golden, description["weights"])
    frames = golden.images(tensors["imgs_u8"])[:, 0]
    tokens, positions = model.dust3r.encode(frames)
    scores = pair_sureness(model, tokens, positions[:1], tuple(description["hw"]))
    golden.assert_close(torch.from_numpy(scores), tensors["conf_matrix"], "pair confidence")
    encoded: list[int] = []
    decoded: list[int] = []
    model.dust3r.enc_norm.register_forward_hook(lambda _module, inputs, _output: encoded.append(len(inputs[0])))
    model.dust3r.decoder_embed.register_forward_hook(lambda _module, inputs, _output: decoded.append(len(inputs[0])))
    result = model.reconstruct(frames, order="offline", compat=True)
    order = description["order"]
    assert list(result.order) == order
    golden.assert_close(torch.from_numpy(result.pointmaps)[order], tensors["pts"][:, 0], "pts")
    golden.assert_close(torch.from_numpy(result.confidence)[order], tensors["conf"][:, 0], "conf")
    views = len(frames)
    pairs, first_step, candidates = views * (views - 1), 1, sum(range(1, views - 1))
    assert sum(encoded) == views, "every frame is encoded once"
    assert sum(decoded) == 2 * (pairs + first_step + candidates), "every pair and every candidate is decoded once"


# ---- a training step: the losses of specs C.7, written down once more so that nothing of ours tests itself -----------


def ground_truth_in_first_camera(tensors: dict[str, Tensor]) -> Tensor:
    """World points (views, batch, height, width, 3) in the camera of view 0."""
    to_camera = torch.linalg.inv(tensors["gt.camera_pose"][0].double())
    points = tensors["gt.pts3d"].double()
    moved = torch.einsum("bij,vbhwj->vbhwi", to_camera[:, :3, :3], points)
    return (moved + to_camera[None, :, None, None, :3, 3]).float()


def average_distance(points: Tensor, valid: Tensor) -> Tensor:
    """Per sample: summed distance over the valid pixels of all views by the valid count of the whole batch."""
    distance = points.norm(dim=-1) * valid
    return (distance.sum(dim=(0, 2, 3)) / (valid.sum() + 1e-8)).clip(min=1e-8).view(1, -1, 1, 1, 1)


def official_loss(prediction: SequencePrediction, tensors: dict[str, Tensor], alpha: float) -> tuple[Tensor, Tensor]:
    """Confidence loss and scale loss over L_0, L_1, R_1, L_2, ..., R_last."""
    truth, valid = ground_truth_in_first_camera(tensors), tensors["gt.valid_mask"]
    left, right = prediction.left_points.transpose(0, 1), prediction.right_points.transpose(0, 1)
    own, own_truth = average_distance(torch.cat([left, right[-1:]]), valid), average_distance(truth, valid)
    entries = [(left, prediction.left_confidence, k, k) for k in range(len(left))]
    entries += [(right, prediction.right_confidence, k, k + 1) for k in range(len(right))]
    losses = []
    for points, confidence, step, view in entries:
        distance = (points[step] / own[0] - truth[view] / own_truth[0]).norm(dim=-1)[valid[view]]
        sureness = confidence[:, step][valid[view]]
        losses.append((sureness * distance - alpha * sureness.log()).mean())
    difference = own.flatten() - own_truth.flatten()
    larger = difference > 0
    scale = torch.zeros(())
    if larger.any():  # the published program compares the selected factors with those of all samples
        scale = (own.flatten()[larger, None] - own_truth.flatten()).abs().mean()
    return 2 * torch.stack(losses).mean(), scale


def reward_of(description: dict[str, Any]) -> float:
    """The confidence reward alpha, which the file gives in words."""
    return float(re.search(r"alpha (\d+(?:\.\d+)?)", description["criterion"])[1])  # type: ignore[index]


def test_training_step(golden: Any) -> None:
    description, tensors = golden.json("spann3r_train_step"), golden.tensors("spann3r_train_step")
    model = load_spann3r(golden, description["weights"]).train()
    model.config.memory_dropout = description["memory_dropout"]
    prediction = model.forward_sequence(golden.images(tensors["imgs_u8"]).transpose(0, 1))
    outputs = {
        "res1_pts": prediction.left_points,
        "res1_conf": prediction.left_confidence,
        "res2_pts": prediction.right_points,
        "res2_conf": prediction.right_confidence,
    }
    for name, value in outputs.items():
        golden.assert_close(value.detach().transpose(0, 1), tensors[name], name)
    confidence_loss, scale_loss = official_loss(prediction, tensors, alpha=reward_of(description))
    assert float(confidence_loss) == pytest.approx(description["conf_loss"], rel=LOSS_TOLERANCE)
    assert float(scale_loss) == pytest.approx(description["scale_loss"], rel=LOSS_TOLERANCE)
    (confidence_loss + scale_loss).backward()
    norms = {name: float(parameter.grad.norm()) for name, parameter in model.named_parameters()}
    expected = {name: norm for name, norm in description["grad_norms"].items() if norm is not None}
    assert set(norms) == set(expected), "parameters that learn"
    largest = max(expected.values())
    for name, norm in expected.items():
        if name != "norm_k.bias":  # in theory it has no gradient
            assert norms[name] == pytest.approx(norm, rel=GRADIENT_TOLERANCE, abs=1e-6 * largest), name


@pytest.mark.slow
@torch.no_grad()
def test_published_size(golden: Any) -> None:
    description, tensors = golden.json("fullsize_spann3r"), golden.tensors("fullsize_spann3r")
    with torch.device("meta"):
        model = Spann3rModel(Spann3rConfig.from_official_arguments(description["model"]))
    model = model.to_empty(device="cpu").eval()
    fill_procedurally(golden, model, "", description)
    frames = golden.images(tensors["imgs_u8"]).unsqueeze(1)
    trace = run_online(model, frames, compat_options(model, {}))
    for step, wanted in zip(trace.steps, description["steps"], strict=True):
        assert step == {name: value for name, value in wanted.items() if name != "sim"}
    stride = description["stride"]
    for name in ("res1_pts", "res1_conf", "res2_pts", "res2_conf"):
        golden.assert_close(trace.stacked(name)[:, :, ::stride, ::stride], tensors[name], name)
    fused = torch.stack(trace.fused[1:])[:, :, :: description["fuse_token_stride"]]
    golden.assert_close(fused, tensors["fuse"], "fuse")
    golden.assert_close(trace.memory.attention.unsqueeze(-1), tensors["mem_attn"], "mem_attn")
    check_fast_path(model, frames[:, 0], trace.left[0][0])


def check_fast_path(model: Spann3rModel, frames: Tensor, expected: Tensor) -> None:
    """The default of inference stays within what 16 bits cost at the published size."""
    points = model.reconstruct(frames, compat=True, dtype="bfloat16").pointmaps[0]
    error = np.linalg.norm(points - expected[0].numpy(), axis=-1) / np.linalg.norm(expected[0].numpy(), axis=-1)
    assert np.median(error) < 0.05
