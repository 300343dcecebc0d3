"""The benchmark of the global alignment, on a scene small enough for a test."""

from __future__ import annotations

import pytest

from benchmarks.performance.global_alignment import measure
from geometry_encoders.reconstruction.global_alignment import StorageConfig


@pytest.mark.parametrize(("graph", "edges"), [("complete", 12), ("swin-1", 8)])
def test_measured_alignment_finds_the_cameras(graph: str, edges: int) -> None:
    pytest.importorskip("cv2")
    cost = measure(4, graph, 24, 32, 2, StorageConfig())
    assert cost.edges == edges
    assert cost.pairs_mb == pytest.approx(2 * edges * 4 * 24 * 32 * 4 / 1e6)
    assert cost.kept == "float32 memory"
    assert cost.centre_error < 0.1  # in a room of radius 3
    assert cost.step_s > 0
    assert cost.peak_mb >= cost.base_mb > 0
