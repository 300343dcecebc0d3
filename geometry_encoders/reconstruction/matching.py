"""Which points of two clouds are each other's nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from geometry_encoders.errors import InputError


@dataclass(frozen=True)
class ReciprocalMatches:
    """Matches between a first and a second cloud, told from the second one.

    Attributes:
        is_match: whether the point of the second cloud is the nearest one of its own nearest point.
        nearest_in_first: number of the nearest point of the first cloud.
    """

    is_match: Bool[ndarray, " second"]
    nearest_in_first: Int[ndarray, " second"]

    def pairs(self) -> Int[ndarray, "matches 2"]:
        """Rows of (number in the first cloud, number in the second cloud)."""
        second = np.flatnonzero(self.is_match)
        return np.stack([self.nearest_in_first[second], second], axis=1)


def reciprocal_matches(
    first: Float[ndarray, "first dimensions"], second: Float[ndarray, "second dimensions"]
) -> ReciprocalMatches:
    """Mutual nearest neighbours of two clouds (points or descriptors), Euclidean distance.

    Raises:
        InputError: an empty cloud, dimensions that differ, or coordinates that are not finite.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or not len(first) or not len(second):
        raise InputError(f"clouds of shapes {first.shape} and {second.shape}: expected two of (points, dimensions)")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("clouds: found NaN or infinite coordinates, expected finite ones")
    nearest_in_second = KDTree(second).query(first)[1]
    nearest_in_first = KDTree(first).query(second)[1]
    return ReciprocalMatches(nearest_in_second[nearest_in_first] == np.arange(len(second)), nearest_in_first)
