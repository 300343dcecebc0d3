"""Least-area upright boxes of known point sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qa_generation.readers.upright_box import fit_upright_box
from qa_generation.scene import OrientedBox


@pytest.mark.parametrize("angle_deg", [0, 17, 45, 90, 133])
def test_turned_box_is_found(angle_deg: float) -> None:
    turn = math.radians(angle_deg)
    rows = [[math.cos(turn), math.sin(turn), 0], [-math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    true = OrientedBox(np.array([1.0, -2.0, 0.5]), np.array(rows), np.array([2.0, 0.6, 1.4]))
    found = fit_upright_box(true.corners)
    np.testing.assert_allclose(found.center, true.center, atol=1e-9)
    np.testing.assert_allclose(found.extents, true.extents, atol=1e-9)
    assert abs(found.axes[0] @ true.axes[0]) == pytest.approx(1)
    np.testing.assert_allclose(found.axes[2], [0, 0, 1])


@pytest.mark.parametrize(
    ("points", "extents"),
    [
        ([[1, 2, 3]], [0, 0, 0]),
        ([[0, 0, 0], [3, 4, 1]], [5, 0, 1]),
        ([[0, 0, 0], [1, 1, 0], [2, 2, 2]], [2 * math.sqrt(2), 0, 2]),
        ([[1, 1, 0], [1, 1, 2]], [0, 0, 2]),
    ],
)
def test_flat_and_thin_sets(points: list[list[float]], extents: list[float]) -> None:
    np.testing.assert_allclose(fit_upright_box(np.array(points)).extents, extents, atol=1e-9)


@given(arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-10, 10, width=32)))
def test_box_holds_all_points_and_is_a_rotation(points: np.ndarray) -> None:
    box = fit_upright_box(points)
    local = (points - box.center) @ box.axes.T
    assert (np.abs(local) <= box.extents / 2 + 1e-6).all()
    np.testing.assert_allclose(box.axes @ box.axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(box.axes) == pytest.approx(1)
    assert box.extents[0] >= box.extents[1]
