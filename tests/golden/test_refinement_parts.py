"""Cubes and patch attention against the golden files."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from geometry_encoders.retrieval.patches import fold, interleave_candidates, unfold, unfold_overlapping
from geometry_encoders.retrieval.refinement.attention import (
    EMBEDDING,
    GUMBEL_SCALE,
    AttentionSettings,
    GridAttention,
    PatchAttention,
)
from geometry_encoders.retrieval.refinement.official_names import own_names
from tests.golden.refinement_files import assert_within, read_json, read_tensors

EXACT = 1e-4
OFFICIAL_BLOCK = "patched_attention_block."


def test_cubes() -> None:
    """Index orders are exact."""
    arrays, sizes = read_tensors("unfold_fold"), read_json("unfold_fold")
    volumes = arrays["unfold/x"]
    assert torch.equal(unfold(volumes, sizes["unfold"]["patch"]), arrays["unfold/y"])
    per_axis = sizes["fold"]["num_patch"]
    assert torch.equal(fold(arrays["unfold/y"], per_axis), arrays["fold/y"])
    assert torch.equal(fold(arrays["unfold/y"][arrays["fold_perm/perm"].long()], per_axis), arrays["fold_perm/y"])
    padded = sizes["unfold_pad_stride"]
    found = unfold_overlapping(volumes[:, :1], padded["patch"], padded["stride"], padded["pad"], padded["value"])
    assert torch.equal(found, arrays["unfold_pad_stride/y"])
    around = sizes["patcher"]
    extent = around["patch"] + 2 * around["side"]
    found = unfold_overlapping(volumes[:, :1], extent, around["stride"], around["side"], around["pad_value"])
    assert torch.equal(found, arrays["patcher/y"])
    retrieved = sizes["retr_patch"]
    found = interleave_candidates(arrays["retr_patch/x"], retrieved["K"], retrieved["e"])
    assert torch.equal(found, arrays["retr_patch/y"])


def case_names() -> list[str]:
    try:
        return list(read_json("attention_block")["cases"])
    except pytest.skip.Exception:
        return ["soft"]


def settings_of(case: dict[str, Any]) -> AttentionSettings:
    """Ours for the description of a case; no option of it may go unread."""
    assert case["score_scale_gumbel"] == GUMBEL_SCALE
    assert case["sharpness"] == 4 * EMBEDDING * case["e"] ** 3
    beta = {
        "relu(max score)": "relu",
        "sigmoid(sig_scale*max+sig_shift)": "sigmoid",
        "constant 1": "one",
    }[case["beta"]]
    return AttentionSettings(
        normalise=case["normalize"],
        selection="gumbel" if case["retrieval_mode"] else "softmax",
        beta=beta,  # type: ignore[arg-type]
        blend=case["blend"],
        value_mappings=not case["no_output_mapping"],
    )


@pytest.mark.parametrize("name", case_names())
@torch.no_grad()
def test_attention(name: str) -> None:
    """Embeddings, scores and fused patches of every variant."""
    case = read_json("attention_block")["cases"][name]
    arrays = {key.removeprefix(f"{name}/"): value for key, value in read_tensors("attention_block").items()}
    arrays = {key: value.float() for key, value in arrays.items()}
    block = PatchAttention(case["nf"], case["e"], settings_of(case)).eval()
    weights = {key.removeprefix("w/"): value for key, value in arrays.items() if key.startswith("w/")}
    block.load_state_dict(own_names(weights), strict=True)
    fused = block(arrays["x"], arrays["p"], noise=arrays.get("gumbel"))
    assert_within(block.embed_inputs(arrays["x"]), arrays["feat_in"], EXACT, EXACT, "embeddings of the input")
    assert_within(block.embed_candidates(arrays["p"]), arrays["feat_retr"], EXACT, EXACT, "embeddings of candidates")
    assert_within(fused.scores, arrays["scores"], EXACT, EXACT, "scores")
    assert_within(fused.features, arrays["y"], 2e-4 + 3 * case["fp64_gap"], EXACT, "fused patches")
    torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(len(fused.weights)))
    if case["retrieval_mode"]:
        picks = (GUMBEL_SCALE * arrays["scores"] + arrays["gumbel"]).argmax(dim=1)
        assert torch.equal(fused.weights.argmax(dim=1), picks)


@torch.no_grad()
def test_attention_on_grids() -> None:
    """Patches of feature grids, with their candidates, and patches with something in them."""
    sizes = read_json("patched_attention")
    arrays = {key: value.float() for key, value in read_tensors("patched_attention").items()}
    weights = {key.replace("w/", OFFICIAL_BLOCK): value for key, value in arrays.items() if key.startswith("w/")}
    model = nn.ModuleDict({"attention": GridAttention(sizes["nf"], sizes["e"], AttentionSettings())}).eval()
    model.load_state_dict(own_names(weights), strict=True)
    grid: GridAttention = model["attention"]  # type: ignore[assignment]
    fused = grid(arrays["x"], arrays["x_retr"].flatten(0, 1))
    assert_within(fused.features, arrays["y"], 1e-3, EXACT, "fused grid")
    inputs, targets = grid.embed_pair(arrays["x"], arrays["x_target"])
    assert_within(inputs, arrays["feat_pred"], EXACT, EXACT, "embeddings of the input")
    assert_within(targets, arrays["feat_target"], EXACT, EXACT, "embeddings of the target")
    occupied = grid.occupied_patches(arrays["occupancy"].bool(), arrays["x"].shape[-1])
    assert torch.equal(occupied, arrays["occ_patch"].bool())
