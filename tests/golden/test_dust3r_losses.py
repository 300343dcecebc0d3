"""DUSt3R's criteria and their gradients against the original program."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from geometry_encoders.reconstruction.losses import (
    align_scale,
    confidence_loss,
    divide,
    mean_distance,
    median_depth,
    regression_loss,
    shift_in_depth,
    transform_points,
)


def load(golden: Any) -> tuple[dict, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    tensors = golden.tensors("losses_dust3r")
    both = lambda first, second: torch.stack([tensors[first], tensors[second]], dim=1)  # noqa: E731
    world_to_first = torch.linalg.inv(tensors["gt1.camera_pose"])
    target = transform_points(both("gt1.pts3d", "gt2.pts3d"), world_to_first)
    valid = both("gt1.valid_mask", "gt2.valid_mask")
    return tensors, both("pred_pts1", "pred_pts2"), both("conf1", "conf2"), target, valid


def test_criteria(golden: Any) -> None:
    _, points, confidence, target, valid = load(golden)

    def own_mean(values: torch.Tensor, kind: Any = "distance") -> torch.Tensor:
        return divide(values, mean_distance(values, valid, kind))

    def shifted(values: torch.Tensor) -> torch.Tensor:
        return shift_in_depth(values, median_depth(values, valid))

    scaled, scaled_target = own_mean(points), own_mean(target)
    log, log_target = own_mean(points, "log_distance"), own_mean(target, "log_distance")
    aligned = align_scale(shifted(points), shifted(target), valid, metric=True)
    ours = {
        "regr3d": regression_loss(scaled, scaled_target, valid),
        "regr3d_gtscale": regression_loss(scaled, target, valid),
        "regr3d_log1p": regression_loss(log, log_target, valid),
        "regr3d_nonorm": regression_loss(points, target, valid),
        "conf": confidence_loss(scaled, confidence, scaled_target, valid, alpha=0.2),
        "shiftinv": regression_loss(shifted(scaled), shifted(scaled_target), valid),
        "scaleinv": regression_loss(*align_scale(points, target, valid), valid),
        "scaleshiftinv_gtscale": regression_loss(*aligned, valid),
    }
    results = golden.json("losses_dust3r")["results"]
    assert set(results) == set(ours)
    for name, result in results.items():
        assert ours[name].item() == pytest.approx(result["loss"], rel=1e-5), name


@pytest.mark.parametrize("name", ["regr3d", "conf"])
def test_gradients(golden: Any, name: str) -> None:
    tensors, points, confidence, target, valid = load(golden)
    points.requires_grad_(), confidence.requires_grad_()
    prediction, truth = divide(points, mean_distance(points, valid)), divide(target, mean_distance(target, valid))
    if name == "conf":
        confidence_loss(prediction, confidence, truth, valid, alpha=0.2).backward()
    else:
        regression_loss(prediction, truth, valid).backward()
    leaves = {"pts": points, "conf": confidence}
    stored = [key for key in tensors if key.startswith(f"{name}.grad_")]
    assert stored
    for key in stored:
        leaf, view = key.split("grad_")[1][:-1], int(key[-1]) - 1
        gradient = leaves[leaf].grad
        assert gradient is not None
        golden.assert_close(gradient[:, view], tensors[key], key, tolerance=5e-4)
