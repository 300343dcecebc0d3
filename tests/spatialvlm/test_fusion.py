"""Fusion blocks against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialvlm.models.fusion import FUSION_BLOCKS, CrossAttentionFusion, GatedFusion, resize_token_grid


def test_cross_attention_has_the_published_number_of_parameters():
    block = CrossAttentionFusion(1152, 2048, num_heads=18, dropout=0.1)
    assert sum(parameter.numel() for parameter in block.parameters()) == 12_699_136


def test_cross_attention_follows_the_published_order():
    torch.manual_seed(0)
    block = CrossAttentionFusion(8, 6, num_heads=2, dropout=0.1).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    visual, geometry = torch.randn(3, 4, 8), torch.randn(3, 5, 6)
    seen = F.layer_norm(geometry, (6,), block.norm_geometry.weight, block.norm_geometry.bias)
    query = block.query(F.layer_norm(visual, (8,), block.norm_visual.weight, block.norm_visual.bias))
    key, value = block.key(seen), block.value(seen)
    # torch's attention projects once more
    own, bias = block.attention.in_proj_weight.chunk(3), block.attention.in_proj_bias.chunk(3)
    query, key, value = (F.linear(x, w, b) for x, w, b in zip((query, key, value), own, bias, strict=True))
    query, key, value = (x.unflatten(2, (2, 4)).transpose(1, 2) for x in (query, key, value))
    weights = (query @ key.transpose(2, 3) / 4**0.5).softmax(-1)
    read = block.output(block.attention.out_proj((weights @ value).transpose(1, 2).flatten(2)))
    expected = visual + F.layer_norm(read, (8,), block.norm_output.weight, block.norm_output.bias)
    torch.testing.assert_close(block(visual, geometry), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FUSION_BLOCKS)
def test_dropout_acts_on_the_sum(name):
    block = FUSION_BLOCKS[name](8, 6, 2, dropout=1.0).train()
    assert torch.equal(block(torch.randn(1, 4, 8), torch.randn(1, 4, 6)), torch.zeros(1, 4, 8))


@pytest.mark.parametrize("name", FUSION_BLOCKS)
def test_a_frame_sees_its_own_geometry_only(name):
    torch.manual_seed(0)
    block = FUSION_BLOCKS[name](8, 6, 2, dropout=0.0)
    if name == "gated":
        torch.nn.init.ones_(block.gate)
    visual, geometry = torch.randn(2, 4, 8), torch.randn(2, 4, 6)
    changed = geometry.clone()
    changed[1] += 1.0 * torch.randn(4, 6)
    before, after = block(visual, geometry), block(visual, changed)
    assert torch.equal(before[0], after[0]) and not torch.allclose(before[1], after[1])


def test_aligned_blocks_work_token_by_token():
    torch.manual_seed(0)
    for block in FUSION_BLOCKS.values():
        if not block.aligned:
            continue
        fusion = block(8, 6, 2, dropout=0.0)
        visual, geometry, order = torch.randn(1, 4, 8), torch.randn(1, 4, 6), torch.tensor([2, 0, 3, 1])
        permuted = fusion(visual[:, order], geometry[:, order])
        torch.testing.assert_close(permuted, fusion(visual, geometry)[:, order])


def test_gated_fusion_starts_as_the_identity():
    visual = torch.randn(2, 4, 8)
    assert torch.equal(GatedFusion(8, 6, 2, dropout=0.0)(visual, torch.randn(2, 4, 6)), visual)


def test_resizing_a_grid_by_hand():
    row = torch.tensor([[[0.0], [4.0]]])  # one row, two columns
    resized = resize_token_grid(row, (1, 2), (1, 4))
    # centres of the four cells lie at -0.25, 0.25, 0.75, 1.25 of the two samples; outside is clamped
    assert resized.flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
    assert resize_token_grid(row, (1, 2), (1, 2)) is row


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 6), st.integers(1, 6)), st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_resizing_keeps_constant_grids_and_row_major_order(from_grid, to_grid):
    rows, columns = from_grid
    plane = torch.arange(rows, dtype=torch.float32)[:, None].expand(rows, columns).reshape(1, -1, 1)
    tokens = torch.cat([torch.full_like(plane, 7.0), plane], dim=2)
    resized = resize_token_grid(tokens, from_grid, to_grid)
    assert resized.shape == (1, to_grid[0] * to_grid[1], 2)
    assert torch.allclose(resized[..., 0], torch.tensor(7.0))
    by_row = resized[0, :, 1].view(to_grid)
    assert torch.allclose(by_row, by_row[:, :1].expand_as(by_row), atol=1e-6)  # values change down rows only
