"""Parts of DUSt3R, one by one, against outputs of the original program."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from geometry_encoders.reconstruction.dust3r import Dust3rConfig
from geometry_encoders.reconstruction.dust3r.blocks import DecoderBlock, EncoderBlock
from geometry_encoders.reconstruction.dust3r.patch_embed import PATCH_EMBEDDINGS
from geometry_encoders.reconstruction.dust3r.postprocess import confidence_from_raw, points_from_raw
from geometry_encoders.reconstruction.dust3r.rope import rotary_tables, rotate
from geometry_encoders.reconstruction.focal import estimate_focal


def test_rope2d(golden: Any) -> None:
    tensors, bases = golden.tensors("rope2d"), golden.json("rope2d")["freq"]
    assert bases
    for case, base in enumerate(bases):
        tokens, positions = tensors[f"{case}.tokens"], tensors[f"{case}.positions"]
        rotated = rotate(tokens, rotary_tables(positions, tokens.shape[-1], base))
        golden.assert_close(rotated, tensors[f"{case}.out"], f"case {case}")


@torch.no_grad()
def test_patch_embeddings(golden: Any) -> None:
    description, tensors = golden.json("patch_embed"), golden.tensors("patch_embed")
    images = golden.images(tensors["img_u8"])
    for prefix, name in (("plain", "PatchEmbedDust3R"), ("manyar", "ManyAR_PatchEmbed")):
        layer = PATCH_EMBEDDINGS[name](description["patch_size"], description["embed_dim"])
        layer.load_state_dict(golden.weights("patch_embed.weights.safetensors"), strict=True)
        tokens, positions = layer(images, tensors["true_shape"])
        golden.assert_close(tokens, tensors[f"{prefix}.x"], f"{prefix}.x")
        assert torch.equal(positions, tensors[f"{prefix}.pos"])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@torch.no_grad()
def test_blocks(golden: Any, attention: str) -> None:
    description, tensors = golden.json("blocks"), golden.tensors("blocks")
    weights = golden.weights("blocks.weights.safetensors")
    dim, heads = description["dim"], description["heads"]
    config = Dust3rConfig()
    config._attn_implementation = attention
    x, y = tensors["x"], tensors["y"]
    rope_x, rope_y = (rotary_tables(tensors[name], dim // heads, description["rope_freq"]) for name in ("xpos", "ypos"))
    names = sorted({name.split(".")[0] for name in weights})
    assert names
    for name in names:
        kind = DecoderBlock if name.startswith("dec") else EncoderBlock
        block = kind(config, dim, heads, description["mlp_ratio"], description["norm_eps"])
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        block.load_state_dict(own, strict=True)
        turned = None if name.endswith("norope") else rope_x
        out = block(x, y, turned, rope_y) if kind is DecoderBlock else block(x, turned)
        golden.assert_close(out, tensors[f"{name}.out"], name)


def test_postprocess(golden: Any) -> None:
    tensors = golden.tensors("postprocess")
    raw = tensors.pop("raw")
    assert tensors
    for name, expected in tensors.items():
        if name.endswith(".pts3d"):
            golden.assert_close(points_from_raw(raw, name.removesuffix(".pts3d")), expected, name)
        elif name.startswith("conf_"):
            mode, low, high = name.removeprefix("conf_").split("_")
            golden.assert_close(confidence_from_raw(raw, mode, float(low), float(high)), expected, name)
        else:
            golden.assert_close(confidence_from_raw(raw, name.removesuffix(".conf")), expected, name)


def test_focal(golden: Any) -> None:
    tensors, description = golden.tensors("focal"), golden.json("focal")
    cases = description["cases"]
    assert cases
    low, high = (float(re.search(rf"{limit}_focal=([\d.]+\d)", description["note"])[1]) for limit in ("min", "max"))
    for case in cases:
        points = tensors[f"{case['case']}.pts3d"]
        assert estimate_focal(points).item() == pytest.approx(case["weiszfeld"], rel=1e-4)
        assert estimate_focal(points, method="median").item() == pytest.approx(case["median"], rel=1e-4)
        clamped = estimate_focal(points, min_focal=low, max_focal=high).item()
        assert clamped == pytest.approx(case["weiszfeld_clamped"], rel=1e-4)
