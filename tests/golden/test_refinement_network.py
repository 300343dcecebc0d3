"""Whole refinement networks against the golden files: features, predictions, losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geometry_encoders.retrieval.refinement.losses import LossSettings, TrueShape, patch_agreement, shape_loss
from tests.golden.refinement_files import RefinementCase, assert_within, fixture_names, read_case

NAMES = fixture_names("refinement_") or ["refinement_sr8_3dfront"]
EXACT = 1e-4
BEHIND_SOFTMAX = ("x_fused", "pred")  # near-ties under a sharpness of 1024 amplify rounding


def limits(case: RefinementCase, name: str) -> tuple[float, float]:
    """Allowed largest and mean difference: from the official network's own gap between two precisions."""
    gaps = case.expected["fp64_gap_max_mean"] or {}
    if name in gaps:
        largest, mean = gaps[name]
        return max(3 * largest, EXACT), 3 * mean + 1e-6
    return EXACT, EXACT


def stored(tensors: dict[str, Tensor], name: str) -> tuple[Tensor, int]:
    """The stored output of that name and its stride."""
    key = next(key for key in tensors if key.startswith(f"out/{name}_s") and key[len(f"out/{name}_s") :].isdigit())
    return tensors[key], int(key.rpartition("_s")[2])


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> RefinementCase:
    return read_case(request.param)


def test_inputs_are_rebuilt(case: RefinementCase) -> None:
    """What goes in has the statistics of the official batch."""
    for name, values in (("target", case.target), ("retrieval", case.retrieved), ("input", case.inputs)):
        expected = case.expected["io_stats"][name]
        assert float(values.double().mean()) == pytest.approx(expected["mean"], abs=1e-6), name
        assert float(values.double().norm()) == pytest.approx(expected["l2"], rel=1e-6), name


@torch.no_grad()
def test_forward(case: RefinementCase) -> None:
    model = case.model
    output = model(case.inputs, case.retrieved, noise=case.tensors.get("io/gumbel"))
    target_features, rebuilt = model.autoencode(case.target)
    inputs, targets = model.attention.embed_pair(output.input_features, target_features)
    alone = model.decode(output.input_features)
    volumes = {
        "x_back": output.input_features,
        "x_retr": output.candidate_features,
        "x_target": target_features,
        "x_fused": output.features,
        "pred": output.network[:, None],
        "pred_back": alone[:, None],
        "pred_target_ae": rebuilt[:, None],
    }
    for name, values in volumes.items():
        expected, stride = stored(case.tensors, name)
        assert_within(values[..., ::stride, ::stride, ::stride], expected, *limits(case, name), name)
    for name, rows in {"feat_pred": inputs, "feat_target": targets, "scores": output.scores}.items():
        expected, stride = stored(case.tensors, name)
        assert_within(rows[::stride], expected, *limits(case, name), name)
    surface = model.scale.from_network(alone) <= model.scale.occupied
    counted = model.attention.occupied_patches(surface[:, None], output.features.shape[-1])
    assert torch.equal(counted, case.tensors["out/occ"].bool())
    assert float((output.beta > 0).double().mean()) == pytest.approx(case.expected["scores"]["frac_positive_beta"])
    torch.testing.assert_close(output.distance, model.scale.from_network(output.network))


@torch.no_grad()
def test_losses(case: RefinementCase) -> None:
    model, expected = case.model, case.expected
    if "losses" not in expected:
        pytest.skip("no losses in this file")
    output = model(case.inputs, case.retrieved, noise=case.tensors.get("io/gumbel"))
    target_features, rebuilt = model.autoencode(case.target)
    settings = LossSettings(weight_occupied=expected["config"]["weight_occupied"])
    true = TrueShape.of(case.target, model.scale, settings.weight_occupied, faithful=True)
    share = float((true.weights == settings.weight_occupied).double().mean())
    assert share == pytest.approx(expected["weights_fraction"]["w8"], abs=1e-6)
    assert float(true.empty.double().mean()) == pytest.approx(expected["weights_fraction"]["empty"], abs=1e-6)
    shapes = {"fuse": output.network, "back": model.decode(output.input_features), "retr": rebuilt}
    for name, predicted in shapes.items():
        found, wanted = shape_loss(predicted, true, model.scale, settings), expected["losses"][name]
        assert float(found.total) == pytest.approx(wanted["total"], rel=1e-4), name
        assert float(found.distance) == pytest.approx(wanted["l1"], rel=1e-4), name
        assert float(found.normal) == pytest.approx(wanted["normal"], rel=1e-4), name
    agreement = patch_agreement(model, output.input_features, target_features)
    assert float(agreement) == pytest.approx(expected["attn_contrastive"], rel=1e-4)
