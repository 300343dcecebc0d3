"""The measures of completed shapes against the golden file."""

from __future__ import annotations

import pytest

from geometry_encoders.retrieval.meshes import TriangleMesh
from geometry_encoders.retrieval.metrics import mesh_metrics, point_metrics, surface_cells
from tests.golden.refinement_files import read_json, read_tensors


def pair_names(kind: str) -> list[str]:
    try:
        return list(read_json("mesh_metrics")[kind])
    except pytest.skip.Exception:
        return ["sphere|sphere"]


@pytest.mark.parametrize("pair", pair_names("pairs"))
def test_meshes(pair: str) -> None:
    """Counts of cells exactly; sampled figures within the spread of sampling."""
    expected, arrays = read_json("mesh_metrics")["pairs"][pair], read_tensors("mesh_metrics")
    predicted, true = (
        TriangleMesh(arrays[f"mesh/{name}/v"].numpy(), arrays[f"mesh/{name}/f"].numpy()) for name in pair.split("|")
    )
    assert len(surface_cells(predicted)) == expected["voxels_pred"]
    assert len(surface_cells(true)) == expected["voxels_target"]
    found = mesh_metrics(predicted, true)
    figures = dict(zip(expected["columns"], expected["mean"], strict=True))
    spreads = dict(zip(expected["columns"], expected["spread_over_3_samplings"], strict=True))
    assert found.iou == pytest.approx(figures.pop("iou"), abs=1e-12)
    ours = (found.points.chamfer_l1, found.points.normal_consistency, found.points.f1, found.points.f1_wide)
    for (column, mean), value in zip(figures.items(), ours, strict=True):
        assert value == pytest.approx(mean, abs=max(5 * spreads[column], 0.02 * mean)), column


@pytest.mark.parametrize("pair", pair_names("point_sets"))
def test_points(pair: str) -> None:
    """Given points, nothing is random."""
    expected, arrays = read_json("mesh_metrics")["point_sets"][pair], read_tensors("mesh_metrics")
    names = ("pred", "pred_normals", "target", "target_normals")
    found = point_metrics(*(arrays[f"{pair}/{name}"].numpy() for name in names))
    ours = {
        "completeness": found.completeness,
        "accuracy": found.accuracy,
        "chamfer_l1": found.chamfer_l1,
        "normal_consistency": found.normal_consistency,
        "precision_9": found.precision,
        "recall_9": found.recall,
        "f1_9": found.f1,
        "f1_14": found.f1_wide,
    }
    for name, value in ours.items():
        assert value == pytest.approx(expected[name], abs=1e-5), name
