"""Focal length and poses from pointmaps against Spann3R's demo (RANSAC inside, hence the tolerance)."""

from __future__ import annotations

import numpy as np
import pytest

from geometry_encoders.reconstruction.cameras import estimate_cameras
from tests.golden.conftest import Golden

TOLERANCE = 1e-3
OTHER_PIXELS = 1e-2  # the default asks the surer half of the pixels; the same camera but for noise


@pytest.mark.parametrize("compat", [True, False])
def test_demo_pose(golden: Golden, compat: bool) -> None:
    tolerance = TOLERANCE if compat else OTHER_PIXELS
    expected, tensors = golden.json("demo_pose"), golden.tensors("demo_pose")
    count = len(expected["results"])
    cameras = estimate_cameras([tensors[f"pts.{k}"].numpy() for k in range(count)], compat=compat)
    np.testing.assert_allclose(cameras.intrinsics[:, 0, 0], expected["focal"], rtol=tolerance)
    np.testing.assert_allclose(cameras.intrinsics[:, 1, 1], expected["focal"], rtol=tolerance)
    for k, result in enumerate(expected["results"]):
        np.testing.assert_allclose(cameras.camera_to_world[k], tensors[f"cam2world.{k}"].numpy(), atol=tolerance)
        if compat:
            height, width = tensors[f"pts.{k}"].shape[:2]
            assert round(cameras.inlier_fraction[k] * height * width) == result["inliers"]
