"""The numbers a forest sees of every option: what it says, what is known of such words, and how the others compare."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from qa_generation.blind.option_table import OptionTable


def option_features(
    table: OptionTable, evidence: Float[np.ndarray, "rows keys"], with_position: bool
) -> Float[np.ndarray, "rows features"]:
    """Numbers, evidence, and evidence beside the best and the mean of the question's other options.

    Args:
        table: rows.
        evidence: what other scenes say of each key, in logits.
        with_position: also the option's place (A, B, ...) and their number.
    """
    others = [beside(table, column) for column in evidence.T]
    place = [np.stack([table.position, table.counts[table.record]], axis=1)] if with_position else []
    return np.concatenate([table.numbers, evidence, *others, *place], axis=1).astype(np.float32)


def beside(table: OptionTable, values: Float[np.ndarray, " rows"]) -> Float[np.ndarray, "rows 2"]:
    """How far above the best and above the mean of the other options of its question each value is."""
    grid = table.grid(values)
    if grid.shape[1] < 2:
        return np.zeros((len(values), 2))
    filled = np.where(np.isnan(grid), -np.inf, grid)
    ordered = np.sort(filled, axis=1)
    best, second = ordered[:, -1:], ordered[:, -2:-1]
    rest = np.where(filled == best, second, best)
    rest = np.where(np.isfinite(rest), rest, filled)
    number = table.counts[:, None]
    total = np.nansum(grid, axis=1, keepdims=True)
    mean = (total - np.nan_to_num(grid)) / np.maximum(number - 1, 1)
    return np.stack([table.rows(grid - rest), table.rows(grid - mean)], axis=1)
