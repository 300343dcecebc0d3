"""Two-dimensional rotary position embedding: rows rotate the first half of a head's channels, columns the second."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

RotaryTables = tuple[Float[Tensor, "batch tokens 2 quarter"], Float[Tensor, "batch tokens 2 quarter"]]


def grid_positions(rows: int, columns: int, device: torch.device | None = None) -> Int[Tensor, "1 rows*columns 2"]:
    """(row, column) of every token of a grid, row-major, starting at zero."""
    row, column = torch.arange(rows, device=device), torch.arange(columns, device=device)
    return torch.cartesian_prod(row, column).view(1, -1, 2)


def rotary_tables(positions: Int[Tensor, "batch tokens 2"], head_dim: int, base: float) -> RotaryTables:
    """Cosines and sines of all rotation angles in float32, to be shared by every layer with that head size.

    Angle k of an axis is position * base^(-2k / D) with D = head_dim / 2 channels per axis (RoFormer,
    arXiv:2104.09864, equation 15, once per axis as in CroCo v2).
    """
    axis_dim = head_dim // 2
    exponent = torch.arange(0, axis_dim, 2, device=positions.device, dtype=torch.float32) / axis_dim
    angles = positions.unsqueeze(-1).to(torch.float32) / base**exponent
    return angles.cos(), angles.sin()


def rotate(
    tokens: Float[Tensor, "batch heads tokens head_dim"], tables: RotaryTables
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Queries or keys turned by position: the halves (u, v) of each axis become (u cos - v sin, v cos + u sin)."""
    cos, sin = (table.unsqueeze(1).to(tokens.dtype) for table in tables)
    quarter = tokens.shape[-1] // 4
    u, v = tokens.unflatten(-1, (2, 2, quarter)).unbind(-2)
    return torch.stack((u * cos - v * sin, v * cos + u * sin), dim=-2).flatten(-3)
