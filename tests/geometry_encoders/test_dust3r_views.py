"""Any number of views: every view anchored to the first, samples and padding never mixed."""

from __future__ import annotations

import pytest
import torch

HEADS = ["linear", "dpt"]


@pytest.mark.parametrize("head_type", HEADS)
@torch.no_grad()
def test_every_view_is_paired_with_the_first(make_model, pictures, head_type) -> None:
    model = make_model(head_type)
    output = model.encode_views(pictures)
    assert output.pointmaps.shape == (2, 4, 32, 48, 3)
    assert output.patch_tokens.shape == (2, 4, 6, model.token_size)
    assert output.grid == (2, 3)
    for k in range(1, 4):
        first, other = model.forward_pair({"img": pictures[:, 0]}, {"img": pictures[:, k]})
        torch.testing.assert_close(output.pointmaps[:, k], other["pts3d_in_other_view"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output.confidence[:, k], other["conf"], rtol=1e-4, atol=1e-5)
        if k == 1:  # the first view's own result comes from its pair with the second
            torch.testing.assert_close(output.pointmaps[:, 0], first["pts3d"], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(output.confidence[:, 0], first["conf"], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_patch_tokens_are_the_last_decoder_layer(make_model, pictures) -> None:
    model = make_model()
    (tokens1, positions1), (tokens2, positions2) = model.encode_pair({"img": pictures[:, 0]}, {"img": pictures[:, 2]})
    layers1, layers2 = model.decode(tokens1, positions1, tokens2, positions2)
    three = model.encode_views(pictures[:, [0, 2, 3]], with_pointmaps=False)
    torch.testing.assert_close(three.patch_tokens[:, 0], layers1[-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(three.patch_tokens[:, 1], layers2[-1], rtol=1e-4, atol=1e-5)
    assert three.pointmaps is None
    assert three.confidence is None


@torch.no_grad()
def test_a_lone_view_meets_itself(make_model, pictures) -> None:
    model = make_model()
    alone = model.encode_views(pictures[:, :1])
    first, _ = model.forward_pair({"img": pictures[:, 0]}, {"img": pictures[:, 0]})
    torch.testing.assert_close(alone.pointmaps[:, 0], first["pts3d"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("views", [1, 2, 3])
@torch.no_grad()
def test_padding_changes_nothing_and_stays_zero(make_model, pictures, views) -> None:
    model = make_model()
    padded = pictures.clone()
    padded[1, views:] = torch.nan  # the worst that padding may hold
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1, views:] = False
    output = model.encode_views(padded, mask)
    full, alone = model.encode_views(pictures[:1]), model.encode_views(pictures[1:, :views])
    for name in ("pointmaps", "confidence", "patch_tokens"):
        torch.testing.assert_close(output[name][0], full[name][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output[name][1, :views], alone[name][0], rtol=1e-4, atol=1e-5)
        assert torch.count_nonzero(output[name][1, views:]) == 0


@torch.no_grad()
def test_each_view_is_encoded_once(make_model, pictures) -> None:
    model = make_model()
    encoded = []
    model.enc_norm.register_forward_hook(lambda _module, inputs, _output: encoded.append(len(inputs[0])))
    model.encode_views(pictures)
    assert encoded == [8]


@torch.no_grad()
def test_selected_pixels_equal_those_of_the_whole(make_model, pictures) -> None:
    model = make_model()
    rows, columns = slice(1, None, 4), slice(3, None, 4)
    whole, part = model(pictures), model(pictures, pixels=(rows, columns))
    torch.testing.assert_close(part.pointmaps, whole.pointmaps[:, :, rows, columns])
    torch.testing.assert_close(part.confidence, whole.confidence[:, :, rows, columns])


@pytest.mark.parametrize("head_type", ["linear", pytest.param("dpt", marks=pytest.mark.slow)])
@torch.no_grad()
def test_exported_program_takes_any_number_of_samples_and_views(make_model, pictures, head_type) -> None:
    model = make_model(head_type)
    mask = torch.ones(2, 4, dtype=torch.bool)
    batch, views = torch.export.Dim("batch", max=8), torch.export.Dim("views", min=2, max=8)
    shapes = {"pixel_values": {0: batch, 1: views}, "view_mask": {0: batch, 1: views}}
    program = torch.export.export(
        _ViewsOnly(model), (), {"pixel_values": pictures, "view_mask": mask}, dynamic_shapes=shapes
    )
    more = torch.rand(3, 5, 3, 32, 48) * 2 - 1
    other_mask = torch.ones(3, 5, dtype=torch.bool)
    other_mask[0, 1:] = False
    points, tokens = program.module()(pixel_values=more, view_mask=other_mask)
    expected = model.encode_views(more, other_mask)
    torch.testing.assert_close(points, expected.pointmaps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens, expected.patch_tokens, rtol=1e-4, atol=1e-5)


class _ViewsOnly(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor, view_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.model.encode_views(pixel_values, view_mask)
        return output.pointmaps, output.patch_tokens
