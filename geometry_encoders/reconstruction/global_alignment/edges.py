"""Which of the pairs that were predicted take part in an alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig
from geometry_encoders.reconstruction.global_alignment.pair_graph import Edge, check_edges
from geometry_encoders.reconstruction.global_alignment.spanning_tree import spanning_tree


def choose_edges(
    edges: Sequence[Edge], scores: Float[ndarray, " edges"], views: int, config: AlignmentConfig
) -> list[int]:
    """Numbers of the edges that are used, in their order: at most ``max_edges``.

    Pairs of a view with itself, which circular windows longer than the sequence bring, are left out: they say nothing
    about how views lie to each other. Where there are too many pairs, those of the spanning tree stay, and then the
    ones with the best scores.

    Raises:
        InputError: the pairs do not join all views, or ``max_edges`` is too few for that.
    """
    numbers = [n for n, (i, j) in enumerate(edges) if i != j]
    check_edges([edges[n] for n in numbers], views)
    limit = config.max_edges
    if limit is None or len(numbers) <= limit:
        return numbers
    if limit < views - 1:
        raise InputError(f"max_edges {limit}: expected at least {views - 1} to join {views} views")
    kept = [edges[n] for n in numbers]
    tree = spanning_tree(tuple(kept), scores[numbers], views)
    order = tree + [n for n in np.argsort(-scores[numbers], kind="stable").tolist() if n not in set(tree)]
    return sorted(numbers[n] for n in order[:limit])
