"""The search as the released program does it while training, kept for comparison (section 9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from geometry_encoders.retrieval.chunk_index import Found
from geometry_encoders.retrieval.database import ChunkDatabase


def search_own_window_last(
    database: ChunkDatabase, embeddings: Float32[np.ndarray, "queries latent"], k: int, windows: Sequence[str]
) -> Found:
    """The first k of 2k neighbours after those of the query's own window were moved behind the others.

    Where more than k of the 2k are own chunks, some remain; ``ChunkDatabase.search(..., exclude_window=...)`` never
    returns any. Errors as there.
    """
    distances, rows = database.search(embeddings, min(2 * k, len(database)))
    own = database.window_of(rows) == np.asarray(windows)[:, None]
    order = np.argsort(own, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)
