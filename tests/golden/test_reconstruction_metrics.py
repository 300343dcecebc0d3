"""Alignment and metrics of the reconstruction benchmark against the original programs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.reconstruction.alignment import MedianFrame, align_medians, transform_points
from benchmarks.reconstruction.metrics import Cloud, compare_clouds
from tests.golden.conftest import Golden


def test_metrics(golden: Golden) -> None:
    expected, arrays = golden.json("recon_metrics"), golden.tensors("recon_metrics")
    clouds = {name: Cloud(arrays[name].numpy(), arrays[f"{name}_normals"].numpy()) for name in ("gt", "rec")}
    found = compare_clouds(clouds["rec"], clouds["gt"], threshold=0.05)
    accuracy = [found.accuracy, found.accuracy_median, found.normal_consistency_1, found.normal_consistency_1_median]
    completion = [
        found.completion,
        found.completion_median,
        found.normal_consistency_2,
        found.normal_consistency_2_median,
    ]
    np.testing.assert_allclose(accuracy, expected["accuracy"], rtol=1e-9)
    np.testing.assert_allclose(completion, expected["completion"], rtol=1e-9)
    assert found.completion_ratio == pytest.approx(expected["completion_ratio_005"], rel=1e-6)
    assert found.chamfer == pytest.approx((accuracy[0] + completion[0]) / 2)


def test_median_alignment(golden: Golden) -> None:
    """Every sample by itself, as the evaluation runs; the file's truth is stored with its median depth taken off."""
    arrays, results = golden.tensors("losses_spann3r"), golden.json("losses_spann3r")["results"]
    assert results
    for name, batch in results.items():
        prefix = f"{name}."
        stored = {key.removeprefix(prefix): value.numpy() for key, value in arrays.items() if key.startswith(prefix)}
        samples = range(stored["gt.pts3d"].shape[1])
        frames = [align_sample({key: value[:, sample] for key, value in stored.items()}) for sample in samples]
        means = np.mean([(own.depth, own.scale, true.depth, true.scale) for own, true in frames], axis=0)
        expected = [batch["alignment"][key] for key in ("pred_shift_z", "pred_scale", "gt_shift_z", "gt_scale")]
        np.testing.assert_allclose(means, expected, rtol=1e-5, err_msg=name)


def align_sample(stored: dict[str, np.ndarray]) -> tuple[MedianFrame, MedianFrame]:
    truth = transform_points(stored["gt.pts3d"], np.linalg.inv(stored["gt.camera_pose"][0]))
    prediction = np.concatenate([stored["res1_pts"], stored["res2_pts"][-1:]])
    aligned, own, true = align_medians(prediction, truth, stored["gt.valid_mask"])
    lowered = aligned - np.array([0, 0, true.depth], dtype=np.float32)
    np.testing.assert_allclose(lowered[:-1], stored["aligned.pred_l"], atol=1e-5)
    np.testing.assert_allclose(lowered[-1], stored["aligned.pred_r"][-1], atol=1e-5)
    np.testing.assert_allclose(truth - [0, 0, true.depth], stored["aligned.gt"], atol=1e-5)
    return own, true
