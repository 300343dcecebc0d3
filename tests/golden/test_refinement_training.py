"""One training step of every phase against the golden file: batch preparation, losses, gradients."""

from __future__ import annotations

import pytest
import torch

from geometry_encoders.retrieval.metrics import voxel_chamfer, voxel_metrics
from geometry_encoders.retrieval.refinement.losses import LossSettings, TrueShape
from geometry_encoders.retrieval.refinement.official_names import own_name
from geometry_encoders.retrieval.refinement.phases import PHASES, Phase, phase_loss
from tests.golden.refinement_files import RefinementCase, assert_within, read_case

NAME = "refinement_train_step"


@pytest.fixture(scope="module")
def case() -> RefinementCase:
    return read_case(NAME)


def true_shape(case: RefinementCase) -> TrueShape:
    return TrueShape.of(case.target, case.scale, case.expected["config"]["weight_occupied"], faithful=True)


def test_batch_preparation(case: RefinementCase) -> None:
    true, tensors = true_shape(case), case.tensors
    thin = slice(None, None, 4)
    assert torch.equal(true.weights[:, None, thin, thin, thin], tensors["aug/weights_s4"])
    assert torch.equal(true.empty[:, None, thin, thin, thin], tensors["aug/empty_s4"].bool())
    assert_within(true.normals[..., thin, thin, thin], tensors["aug/normals_s4"], 1e-5, 1e-6, "normals")


@pytest.mark.parametrize("phase", PHASES)
def test_phase(case: RefinementCase, phase: Phase) -> None:
    """The loss, what it is made of, and the norm of the gradient of every parameter that it reaches."""
    expected, official = case.expected["phases"][phase], case.expected["config"]
    settings = LossSettings(
        reconstruction=official["loss_reconstruction"],
        normal=official["loss_normal"],
        attention=official["loss_attn_contrastive"],
        retrieval_side_task=official["loss_side_task_retr"],
        unet_side_task=official["loss_side_task_unet"],
        weight_occupied=official["weight_occupied"],
    )
    case.model.zero_grad(set_to_none=True)
    found = phase_loss(case.model, phase, case.inputs, case.retrieved, true_shape(case), settings)
    found.total.backward()
    assert float(found.total.detach()) == pytest.approx(expected["loss"], rel=1e-4)
    logged = {"fused/shape": "shape", "fused/distance": "l1", "fused/normal": "normal", "attention": "attn_contrastive"}
    for ours, theirs in logged.items():
        if f"train_fuse/{theirs}" in expected["logged"]:
            assert float(found.terms[ours].detach()) == pytest.approx(
                expected["logged"][f"train_fuse/{theirs}"], rel=1e-4
            )
    parameters = dict(case.model.named_parameters())
    reached = {name for name, weight in parameters.items() if weight.grad is not None}
    assert reached == {own_name(name) for name in expected["grad_norm"]}
    for name, norm in expected["grad_norm"].items():
        gradient = parameters[own_name(name)].grad
        assert gradient is not None
        # of one input channel whose gradients cancel: ill-conditioned
        tolerance = 0.5 if "encoders.0.basic_module.SingleConv1.groupnorm" in name else 1e-3
        assert float(gradient.norm()) == pytest.approx(norm, rel=tolerance, abs=1e-7), name


@pytest.mark.parametrize("variant", ["init", "free"])
@torch.no_grad()
def test_sigmoid_beta(variant: str) -> None:
    """Predictions with the paper's formula for how much candidates count."""
    case = read_case(NAME, beta="sigmoid")
    patch = case.model.attention.patch
    scale, shift = case.expected["sigmoid_variant"][variant]
    patch.beta_scale.fill_(scale)
    patch.beta_shift.fill_(shift)
    predicted = case.model(case.inputs, case.retrieved).network[:, None, ::4, ::4, ::4]
    largest, mean = case.expected["fp64_gap_max_mean"]["pred"]
    assert_within(predicted, case.tensors[f"sigmoid/{variant}_pred_s4"], 3 * largest, 3 * mean + 1e-6, variant)


def test_quick_measures(case: RefinementCase) -> None:
    """Occupied voxels of the nearest candidate against the truth."""
    scale, expected = case.scale, case.expected["rough_metrics_nn1"]
    nearest, true = scale.denormalise_target(case.retrieved[:, 0]), scale.denormalise_target(case.target)
    found = voxel_metrics(nearest, true, scale.occupied)
    assert found.iou == pytest.approx(expected["IoU"], rel=1e-6)
    assert found.precision == pytest.approx(expected["Precision"], rel=1e-6)
    assert found.recall == pytest.approx(expected["Recall"], rel=1e-6)
    thin = slice(None, None, 2)
    pairs = zip(nearest[:, thin, thin, thin], true[:, thin, thin, thin], strict=True)
    chamfer = [voxel_chamfer(ours <= scale.occupied, theirs <= scale.occupied) for ours, theirs in pairs]
    assert sum(chamfer) / len(chamfer) == pytest.approx(expected["Chamfer3D_on_s2"], rel=1e-6)
