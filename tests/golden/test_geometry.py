"""Registration, perspective-n-point and nearest neighbours against results of the original program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from geometry_encoders.reconstruction.matching import reciprocal_matches
from geometry_encoders.reconstruction.pnp import solve_pnp
from geometry_encoders.reconstruction.registration import fit_similarity

RANSAC_TOLERANCE = 1e-3


def test_weighted_registration(golden: Any) -> None:
    tensors = golden.tensors("geometry")
    found = fit_similarity(tensors["reg.x"].numpy(), tensors["reg.y"].numpy(), tensors["reg.w"].numpy())
    assert found.scale == pytest.approx(tensors["reg.s"].item(), rel=1e-4)
    golden.assert_close(torch.from_numpy(found.rotation), tensors["reg.R"], "rotation")
    golden.assert_close(torch.from_numpy(found.translation), tensors["reg.T"], "translation")


@pytest.mark.parametrize("known", [True, False])
def test_pnp(golden: Any, known: bool) -> None:
    pytest.importorskip("cv2")
    tensors, expected = golden.tensors("geometry"), golden.json("geometry")["pnp"]
    points = tensors["pnp.pts3d"].numpy()
    height, width = points.shape[:2]
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    focal = expected["true_focal"]
    matrix = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]) if known else None
    pose = solve_pnp(points, pixels, matrix, size=(width, height), iterations=100, refine_focal=False)
    assert pose is not None
    name = "known" if known else "unknown"
    assert pose.focal == pytest.approx(expected[f"{name}_focal_result"], rel=RANSAC_TOLERANCE)
    target = tensors[f"pnp.pose_{name}_focal"]
    golden.assert_close(torch.from_numpy(pose.camera_to_world), target, name, RANSAC_TOLERANCE)


def test_reciprocal_matches(golden: Any) -> None:
    tensors = golden.tensors("geometry")
    found = reciprocal_matches(tensors["nn.P1"].numpy(), tensors["nn.P2"].numpy())
    assert found.is_match.tolist() == tensors["nn.reciprocal_in_P2"].tolist()
    assert found.nearest_in_first.tolist() == tensors["nn.nn2_in_P1"].tolist()
    assert len(found.pairs()) == golden.json("geometry")["num_matches"]
