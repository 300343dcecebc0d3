"""Spann3R's training and validation criteria against the original program; what ``compat`` repairs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from geometry_encoders.reconstruction.losses import transform_points
from geometry_encoders.reconstruction.losses_spann3r import (
    SequencePointmaps,
    aligned_in_depth_and_scale,
    scale_loss,
    sequence_factor,
    training_loss,
    validation_loss,
)

TOLERANCE = 1e-5


def load(tensors: dict[str, Tensor], prefix: str = "") -> tuple[SequencePointmaps, Tensor, Tensor]:
    """Prediction, true points in camera 0, valid masks; the files have the step or frame first, then the batch."""
    steps = {name: tensors[f"{prefix}{name}"].transpose(0, 1) for name in STEP_NAMES}
    prediction = SequencePointmaps(*(steps[name] for name in STEP_NAMES))
    world_to_first = torch.linalg.inv(tensors[f"{prefix}gt.camera_pose"][0])
    target = transform_points(tensors[f"{prefix}gt.pts3d"].transpose(0, 1), world_to_first)
    return prediction, target, tensors[f"{prefix}gt.valid_mask"].transpose(0, 1).bool()


STEP_NAMES = ("res1_pts", "res2_pts", "res1_conf", "res2_conf")
TRAINING: dict[str, dict[str, Any]] = {
    "conf_a04_all": {"alpha": 0.4},
    "conf_a02_first": {"alpha": 0.2, "first_only": True},
    "conf_gtscale": {"alpha": 0.4, "keep_true_scale": True},
    "conf_nonorm": {"alpha": 0.4, "normalise": False},
}


def test_criteria(golden: Any) -> None:
    tensors = golden.tensors("losses_spann3r")
    cases = golden.json("losses_spann3r")["results"]
    assert cases
    for case, results in cases.items():
        prediction, target, valid = load(tensors, f"{case}.")
        for name, options in TRAINING.items():
            ours = training_loss(prediction, target, valid, compat=True, **options)
            assert ours.confidence.item() == pytest.approx(results[name]["loss"], rel=TOLERANCE), (case, name)
            assert ours.scale.item() == pytest.approx(results[name]["scale_loss"], rel=TOLERANCE), (case, name)
        ours_validation = validation_loss(prediction, target, valid).item()
        for name in ("scaleshift_eval", "scaleshift_gtscale"):
            assert ours_validation == pytest.approx(results[name]["loss"], rel=TOLERANCE), (case, name)


def test_alignment_of_the_evaluation(golden: Any) -> None:
    tensors = golden.tensors("losses_spann3r")
    for case in golden.json("losses_spann3r")["results"]:
        aligned, centred = aligned_in_depth_and_scale(*load(tensors, f"{case}."))
        for name, ours in (("gt", centred), ("pred_l", aligned.left), ("pred_r", aligned.right)):
            stored = tensors[f"{case}.aligned.{name}"].transpose(0, 1)
            golden.assert_close(ours, stored, f"{case} {name}", tolerance=TOLERANCE)


def test_losses_of_the_training_step(golden: Any) -> None:
    expected = golden.json("spann3r_train_step")
    prediction, target, valid = load(golden.tensors("spann3r_train_step"))
    alpha = float(re.search(r"alpha (\d+(?:\.\d+)?)", expected["criterion"])[1])  # type: ignore[index]
    ours = training_loss(prediction, target, valid, alpha=alpha, compat=True)
    assert ours.confidence.item() == pytest.approx(expected["conf_loss"], rel=TOLERANCE)
    assert ours.scale.item() == pytest.approx(expected["scale_loss"], rel=TOLERANCE)
    assert ours.total.item() == pytest.approx(expected["total"], rel=TOLERANCE)


def random_batch(samples: int) -> tuple[SequencePointmaps, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = [torch.randn(samples, 2, 4, 5, 3, generator=generator) for _ in range(2)]
    confidence = [1 + torch.rand(samples, 2, 4, 5, generator=generator) for _ in range(2)]
    target = torch.randn(samples, 3, 4, 5, 3, generator=generator)
    return SequencePointmaps(*points, *confidence), target, torch.ones(samples, 3, 4, 5, dtype=torch.bool)


def test_repaired_factors_do_not_depend_on_the_rest_of_the_batch() -> None:
    _, target, valid = random_batch(3)
    valid[1, :, :2] = False
    together = sequence_factor(target, valid)
    alone = torch.cat([sequence_factor(target[k : k + 1], valid[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(sequence_factor(target[:1], valid[:1], compat=True), alone[:1])
    # three samples of one size: a third of the mean distance
    full = torch.ones_like(valid)
    torch.testing.assert_close(sequence_factor(target, full, compat=True), sequence_factor(target, full) / 3)


def test_scale_loss_by_hand() -> None:
    predicted, true = torch.tensor([3.0, 1.0, 5.0]), torch.tensor([2.0, 4.0, 4.5])
    assert scale_loss(predicted, true).item() == pytest.approx((1 + 0.5) / 2)
    # 3 and 5 against 2, 4 and 4.5: 1, 1, 1.5 and 3, 1, 0.5
    assert scale_loss(predicted, true, compat=True).item() == pytest.approx(8 / 6)
    assert scale_loss(torch.tensor([1.0]), torch.tensor([2.0])).item() == 0


def test_normalised_loss_is_blind_to_scale_but_for_the_scale_part() -> None:
    prediction, target, valid = random_batch(2)
    larger = prediction.with_points(prediction.left * 10, prediction.right * 10)
    small, large = training_loss(prediction, target, valid), training_loss(larger, target, valid)
    assert large.confidence.item() == pytest.approx(small.confidence.item(), rel=1e-5)
    assert large.scale > small.scale
    assert torch.isfinite(training_loss(prediction, target, torch.zeros_like(valid)).total)


def test_the_truth_has_no_validation_loss_at_any_scale_and_depth() -> None:
    _, target, valid = random_batch(2)
    ones = torch.ones(2, 2, 4, 5)
    moved = target * 0.3 + torch.tensor([0.0, 0.0, 2.0])
    truth = SequencePointmaps(moved[:, :-1], moved[:, 1:], ones, ones)
    assert validation_loss(truth, target, valid).item() == pytest.approx(0, abs=1e-5)
