"""Windows through the target encoder, on their way into a database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from geometry_encoders.retrieval.chunk_shards import ChunkRows
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.window_store import Windows


@torch.no_grad()
def embed_windows(
    encoder: ChunkEncoder, windows: Windows, chosen: Sequence[int], keep_empty: bool, batch_size: int = 512
) -> Iterator[ChunkRows]:
    """The chunks of those windows with their embeddings; chunks without surface nearby only with ``keep_empty``."""
    layout, scale, device = ChunkLayout.of(encoder.config), windows.scale, encoder.device
    extents = layout.extents().numpy().astype(np.int16)
    encoder.eval()
    for index in tqdm(chosen, unit="window", desc="database", disable=None, leave=False):
        item = windows[index]
        target = item["target"][None]
        kept = torch.arange(layout.count) if keep_empty else torch.nonzero(layout.content(target, scale)[0])[:, 0]
        chunks = layout.target_chunks(target, scale)[kept]
        parts = [encoder(target_chunks=part.to(device)).target_embeddings.cpu() for part in chunks.split(batch_size)]
        embeddings = torch.cat(parts).numpy() if parts else np.zeros((0, encoder.config.latent_dim), np.float32)
        z0, z1, y0, y1, x0, x1 = layout.extents()[kept].T if len(kept) else torch.zeros(6, 0).long()
        stored = [target[0, a:b, c:d, e:f] for a, b, c, d, e, f in zip(z0, z1, y0, y1, x0, x1, strict=True)]
        side = layout.target_size
        volumes = torch.stack(stored).numpy() if stored else np.zeros((0, side, side, side), np.float32)
        yield ChunkRows(item["scene"], item["name"], extents[kept.numpy()], volumes, embeddings)


@torch.no_grad()
def empty_rows(encoder: ChunkEncoder, feature: Literal["ones", "truncation"]) -> ChunkRows:
    """The one row of an empty chunk (section 9), which belongs to no scene."""
    layout, scale = ChunkLayout.of(encoder.config), encoder.config.grid_scale
    seen = 1.0 if feature == "ones" else scale.normalise_target(scale.truncation)
    patch = torch.full((1, 1, *(layout.target_size + 2 * layout.target_context,) * 3), seen, device=encoder.device)
    embedding = encoder.eval()(target_chunks=patch).target_embeddings.cpu().numpy()
    side = layout.target_size
    extent = np.array([[0, side] * 3], np.int16)
    return ChunkRows("", "", extent, np.full((1, side, side, side), scale.truncation, np.float32), embedding)
