"""The golden files of RetrievalFuse's refinement: where they are, and inputs rebuilt as their README says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.refinement.official_names import own_names
from geometry_encoders.retrieval.scale import CHUNK, WINDOW, GridScale
from tests.golden.conftest import golden_root


def retrieval_folder() -> Path:
    """The folder of golden files; skips where it is absent, fails under CI=true."""
    folder = golden_root() / "retrievalfuse"
    if not folder.is_dir():
        message = f"no golden files at {folder}; set SPATIALVLM_GOLDEN"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    torch.set_num_threads(1)
    return folder


def fixture_names(prefix: str) -> list[str]:
    """Names of all fixtures that start so; none where the folder is absent."""
    return sorted(path.stem for path in (golden_root() / "retrievalfuse").glob(f"{prefix}*.json"))


def read_json(name: str) -> dict[str, Any]:
    return json.loads((retrieval_folder() / f"{name}.json").read_text())


def read_tensors(name: str) -> dict[str, Tensor]:
    return load_file(retrieval_folder() / f"{name}.safetensors")


def assert_within(actual: Tensor, expected: Tensor, largest: float, mean: float, what: str) -> None:
    """Same shape; largest and mean absolute difference within the limits."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    difference = (actual.double() - expected.double()).abs()
    assert float(difference.max()) <= largest, f"{what}: off by {float(difference.max()):.2e}, allowed {largest:.1e}"
    assert float(difference.mean()) <= mean, f"{what}: mean {float(difference.mean()):.2e}, allowed {mean:.1e}"


@dataclass(frozen=True)
class RefinementCase:
    """A refinement fixture: the model with its weights and the batch that went in."""

    expected: dict[str, Any]
    tensors: dict[str, Tensor]
    model: RetrievalFuseModel
    inputs: Tensor
    retrieved: Tensor
    target: Tensor

    @property
    def scale(self) -> GridScale:
        return self.model.scale


def scale_of(expected: dict[str, Any]) -> GridScale:
    """The scale in a fixture's json file."""
    constants, dataset = expected["normalisation"], expected["config"]["dataset_val"]
    points = dataset["num_points"] > 0
    return GridScale(
        voxel=constants["voxel_size_target"],
        upsampling=8 if points else dataset["target_chunk_size"] // dataset["input_chunk_size"],  # type: ignore[arg-type]
        input_kind="points" if points else "distance",
        input_mean=float(constants["input_mean"]),
        input_std=float(constants["input_std"]),
        target_mean=constants["target_mean"],
        target_std=constants["target_std"],
        round_to_half=True,
        input_voxel_size=constants["voxel_size_input"] or None,
    )


def config_of(expected: dict[str, Any], **attention: Any) -> RetrievalFuseConfig:
    """Our configuration for the official one in a fixture's json file."""
    official = expected["config"]
    return RetrievalFuseConfig(
        channels=official["nf"],
        unet_levels=official["unet_num_level"],
        retrieval_channels=official["retrieval_fmaps"],
        retrieval_levels=official["retrieval_num_level"],
        candidates=expected["K"],
        attention_extent=official["attn_patch_extent"],
        attention={
            "normalise": official["attn_normalize"],
            "selection": "gumbel" if official["attn_retrieval_mode"] else "softmax",
            "blend": official["attn_blend"],
            "value_mappings": not official["attn_no_output_mapping"],
        }
        | attention,
        scale=vars(scale_of(expected)),
        faithful_weights=True,
    )


def read_volume(scenes: dict[str, Tensor], name: str, truncation: float) -> Tensor:
    """The quantised distances of a toy scene, in the unit of the fixture."""
    return scenes[f"scene/{name}/high_q"].float() / 255 * float(np.float32(truncation))


def compose(rows: Tensor, scenes: dict[str, Tensor], names: list[str], empty: float, truncation: float) -> Tensor:
    """Retrieved windows from the list of chunks in the fixture: (batch, k, 64, 64, 64)."""
    windows = torch.full((*rows.shape[:2], WINDOW, WINDOW, WINDOW), empty)
    per_axis = WINDOW // CHUNK
    for sample, candidate, place in np.ndindex(*rows.shape[:3]):
        scene, *extents = rows[sample, candidate, place].tolist()
        if scene < 0:
            continue
        z, y, x = (CHUNK * i for i in (place // per_axis**2, place // per_axis % per_axis, place % per_axis))
        source = read_volume(scenes, names[scene], truncation)
        z0, z1, y0, y1, x0, x1 = extents
        windows[sample, candidate, z : z + CHUNK, y : y + CHUNK, x : x + CHUNK] = source[z0:z1, y0:y1, x0:x1]
    return windows


def read_case(name: str, **attention: Any) -> RefinementCase:
    """The refinement fixture of that name."""
    expected, tensors = read_json(name), read_tensors(name)
    model = RetrievalFuseModel(config_of(expected, **attention)).eval()
    weights = {key: value.float() for key, value in tensors.items() if not key.startswith(("io/", "out/", "grid_pad"))}
    model.load_state_dict(own_names({key: weights[key] for key in weights if "/" not in key}), strict=True)
    scenes, toy = read_tensors("toy_scenes"), read_json("toy_scenes")
    scale, truncation = model.scale, expected["trunc_file"]
    target = torch.stack([read_volume(scenes, scene, truncation) for scene in expected["scene"]])
    retrieved = compose(tensors["io/retrieval_rows"], scenes, toy["all_scenes"], expected["trunc_float16"], truncation)
    return RefinementCase(
        expected=expected,
        tensors=tensors,
        model=model,
        inputs=inputs_of(tensors, scale),
        retrieved=scale.normalise_target(retrieved),
        target=scale.normalise_target(target),
    )


def inputs_of(tensors: dict[str, Tensor], scale: GridScale) -> Tensor:
    """The network's input: stored, or the grid that the stored points occupy."""
    if "io/input" in tensors:
        return tensors["io/input"].float()
    side = scale.input_side
    grid = torch.zeros(1, 1, side, side, side)
    cells = (tensors["io/points"] * (side / WINDOW)).clamp(0, side - 1).long()
    grid[0, 0, cells[:, 0], cells[:, 1], cells[:, 2]] = 1
    return grid
