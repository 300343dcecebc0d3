"""Chunk encoders, the loss, and chunks of windows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModel

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.chunks import ChunkLayout, chunk_extents, chunk_starts
from geometry_encoders.retrieval.contrastive import iou_matrix, nt_xent
from geometry_encoders.retrieval.encoders import NETWORKS, ChunkEncoder, ChunkEncoderConfig, chunk_and_context
from tests.geometry_encoders.retrieval_models import SCALE, box_windows, small_encoder, window_names


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_every_network_embeds_its_chunk(network: str) -> None:
    """The side is chunk plus context on both sides; embeddings have length one."""
    model = small_encoder(network_input=network, network_target=network, nf_input=1, nf_target=1)
    chunk, context = chunk_and_context(network)
    side = chunk + 2 * context
    with torch.no_grad():
        output = model(torch.randn(2, 1, side, side, side), torch.randn(2, 1, side, side, side))
    for embeddings in output.to_tuple():
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("network", "nf", "count"),
    [("2+1", 32, 320704), ("16+8", 8, 450720), ("4+2", 16, 212736), ("pc_32+8", 10, 387384), ("16+4", 12, 509512)],
)
def test_published_parameter_counts(network: str, nf: int, count: int) -> None:
    model = ChunkEncoder(ChunkEncoderConfig(network_input=network, nf_input=nf, network_target="4+2", nf_target=1))
    assert sum(value.numel() for value in model.fenc_input.parameters()) == count


def test_saved_and_loaded(tmp_path: Path) -> None:
    """The digest follows the weights and the scale, through files."""
    model = small_encoder()
    model.save_pretrained(tmp_path / "encoder")
    again = AutoModel.from_pretrained(tmp_path / "encoder").eval()
    assert isinstance(again, ChunkEncoder)
    assert again.digest() == model.digest()
    assert again.config.grid_scale == SCALE
    chunks = torch.randn(3, 1, 4, 4, 4)
    torch.testing.assert_close(again(chunks).input_embeddings, model(chunks).input_embeddings)
    assert small_encoder(seed=1).digest() != model.digest()


def test_wrong_chunks_and_networks() -> None:
    with pytest.raises(InputError, match=re.escape("(2, 1, 8, 8, 8), expected (count, 1, 4, 4, 4)")):
        small_encoder()(torch.zeros(2, 1, 8, 8, 8))
    with pytest.raises(InputError, match=r"'3\+1' is unknown"):
        ChunkEncoderConfig(network_input="3+1")


def test_networks_that_see_different_places() -> None:
    """Eight target voxels are one input voxel on these grids, not two."""
    with pytest.raises(InputError, match="expected 1 input voxels"):
        ChunkLayout.of(small_encoder(network_target="8+4").config)


# ---- loss --------------------------------------------------------------------------------------------------------


def test_loss_by_hand() -> None:
    """Two orthogonal pairs that agree perfectly: each row sees its partner at 1 and two negatives at 0."""
    rows = torch.eye(2)
    expected = torch.log(torch.tensor(torch.e**2 + 2)) - 2
    assert nt_xent(rows, rows, 0.5).item() == pytest.approx(expected.item(), abs=1e-6)


def test_look_alikes_are_gentler_negatives() -> None:
    """With temperature 1 for negatives of IoU 1 the same confusion costs less; well below 0.8 nothing changes."""
    generator = torch.Generator().manual_seed(0)
    rows = functional.normalize(torch.randn(4, 8, generator=generator), dim=1)
    plain = nt_xent(rows, rows, 0.2)
    assert nt_xent(rows, rows, 0.2, torch.full((4, 4), 0.6)).item() == pytest.approx(plain.item(), rel=1e-4)
    same = nt_xent(rows[:1].repeat(4, 1), rows[:1].repeat(4, 1), 0.2)
    assert nt_xent(rows[:1].repeat(4, 1), rows[:1].repeat(4, 1), 0.2, torch.ones(4, 4)) < same


def test_iou_by_hand() -> None:
    sets = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]).bool()
    torch.testing.assert_close(
        iou_matrix(sets), torch.tensor([[1, 0.25, 0], [0.25, 1, 0], [0, 0, 0]]), atol=1e-4, rtol=0
    )


# ---- chunks ------------------------------------------------------------------------------------------------------


def test_extents_by_hand() -> None:
    assert chunk_starts(64, 16, 16) == [0, 16, 32, 48]
    assert chunk_starts(100, 16, 16) == [0, 16, 33, 50, 67, 84]
    extents = chunk_extents((32, 16, 32), 16, 4, 16)
    assert extents == [
        (0, 24, 0, 24, 0, 24),
        (0, 24, 0, 24, 16, 40),
        (16, 40, 0, 24, 0, 24),
        (16, 40, 0, 24, 16, 40),
    ]


def test_chunks_match_their_extents() -> None:
    """Input and target chunk n show the same place, and what lies outside of the window is far away."""
    layout = ChunkLayout.of(small_encoder().config)
    item = box_windows(window_names(1))[0]
    targets = SCALE.denormalise_target(layout.target_chunks(item["target"][None], SCALE))[:, 0]
    inputs = layout.input_chunks(item["input"][None], SCALE) * SCALE.input_std + SCALE.input_mean
    assert layout.count == len(targets) == len(inputs) == 64
    for number in (0, 21, 63):
        z0, z1, y0, y1, x0, x1 = layout.extents()[number].tolist()
        expected = item["target"][z0:z1, y0:y1, x0:x1]
        torch.testing.assert_close(layout.crop(targets[number : number + 1])[0], expected)
        z, y, x = z0 // 8, y0 // 8, x0 // 8
        coarse = item["input"][z : z + 2, y : y + 2, x : x + 2]
        torch.testing.assert_close(inputs[number, 0, 1:3, 1:3, 1:3], coarse)
    assert targets[0, 0].min() == pytest.approx(SCALE.truncation)
    assert inputs[0, 0, 0].min() == pytest.approx(SCALE.input_truncation)


def test_content_counts_context() -> None:
    """A single near voxel counts for every chunk whose context reaches it."""
    layout = ChunkLayout(2, 1, 16, 8, 16)
    volume = torch.full((1, 64, 64, 64), SCALE.truncation)
    volume[0, 20, 2, 2] = 0.0
    counts = layout.content(volume, SCALE)[0].reshape(4, 4, 4)
    assert torch.nonzero(counts).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert counts.sum() == 2
