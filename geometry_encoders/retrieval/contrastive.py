"""NTXent between input and target embeddings, gentler to negatives that look alike (section 7)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

IOU_SCALE, IOU_SHIFT = 80.0, -65.0  # temperature 1 for negatives with an IoU well above 0.81, unchanged below


def nt_xent(
    input_embeddings: Float[Tensor, "chunks latent"],
    target_embeddings: Float[Tensor, "chunks latent"],
    temperature: float = 0.2,
    iou: Float[Tensor, "chunks chunks"] | None = None,
    cosine: bool = True,
) -> Float[Tensor, ""]:
    """The mean cross-entropy of finding every embedding's partner among all others of both kinds.

    Args:
        input_embeddings, target_embeddings: row i of both belongs together.
        temperature: of similarities.
        iou: overlap of the target chunks; negatives i, j get the temperature t + (1 - t) * sigmoid(80 IoU - 65).
        cosine: similarity is the cosine, else the dot product.

    Source: Siddiqui et al., ICCV 2021, eq. 1 and 2, with the positive in the denominator as in the released program.
    """
    rows = torch.cat([target_embeddings, input_embeddings])
    if cosine:
        rows = functional.normalize(rows, dim=1, eps=1e-8)
    similarity = rows @ rows.T
    count = len(target_embeddings)
    partner = torch.arange(2 * count, device=rows.device).roll(count)
    temperatures = torch.full_like(similarity, temperature)
    if iou is not None:
        softened = temperature + (1 - temperature) * torch.sigmoid(IOU_SCALE * iou + IOU_SHIFT)
        temperatures = softened.to(similarity).tile(2, 2)
        temperatures[torch.arange(2 * count, device=rows.device), partner] = temperature
    logits = similarity / temperatures
    logits = logits.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=rows.device), -torch.inf)
    return functional.cross_entropy(logits, partner)


def iou_matrix(occupied: Bool[Tensor, "chunks *volume"]) -> Float[Tensor, "chunks chunks"]:
    """|A and B| / (|A or B| + 1e-5) of every pair of voxel sets; two empty sets have 0."""
    flat = occupied.flatten(1).float()
    both = flat @ flat.T
    sizes = flat.sum(1)
    return both / (sizes[:, None] + sizes[None] - both + 1e-5)
