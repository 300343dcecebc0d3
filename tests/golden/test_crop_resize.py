"""Crop and resize of pictures with depth, against the official data sets of DUSt3R and Spann3R."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from geometry_encoders.reconstruction.cropping import CameraImage, Enlarging, crop_and_resize
from tests.golden.conftest import Golden


def input_depth(case: int, height: int, width: int) -> np.ndarray:
    """The depth the fixtures were made from, as their note gives it."""
    rows, columns = np.mgrid[:height, :width]
    return (1 + ((7 * rows + 13 * columns + case) % 64) / 64).astype(np.float32)


def load_view(golden: Golden, case: dict[str, Any], intrinsics: np.ndarray) -> CameraImage:
    with Image.open(golden.path("images") / case["file"]) as picture:
        image = np.asarray(picture.convert("RGB"))
    return CameraImage(image, input_depth(case["case"], *image.shape[:2]), intrinsics)


@pytest.mark.parametrize(("name", "enlarging"), [("crop_resize_dust3r", "bicubic"), ("crop_resize_spann3r", "lanczos")])
def test_crop_and_resize(golden: Golden, name: str, enlarging: Enlarging) -> None:
    arrays = {key: value.numpy() for key, value in golden.tensors(name).items()}
    for case in golden.json(name)["cases"]:
        number = case["case"]
        view = load_view(golden, case, arrays[f"{number}.K_in"])
        rng = np.random.default_rng(case["rng_seed"])
        result = crop_and_resize(view, tuple(case["resolution"]), rng, case["aug_crop"], enlarging)
        assert result.size == tuple(case["out_size"]), f"case {number}"
        stride = case["stride"]
        np.testing.assert_array_equal(result.image[::stride, ::stride], arrays[f"{number}.image"], f"case {number}")
        np.testing.assert_array_equal(result.depth[::stride, ::stride], arrays[f"{number}.depth"], f"case {number}")
        np.testing.assert_allclose(result.intrinsics, arrays[f"{number}.K"], rtol=1e-6, err_msg=f"case {number}")
