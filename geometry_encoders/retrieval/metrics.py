"""How well a completed shape meets the true one, by the measures of RetrievalFuse (ICCV 2021).

Meshes are compared in **voxel units** of a 64^3 window: one percent of it is 0.64 voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.meshes import TriangleMesh

SAMPLES = 100_000
CELL = 1.1875  # 19/16, exact in binary; side of the cells that the volumetric IoU counts
THRESHOLD = 0.64  # 1 % of a window
THRESHOLD_WIDE = 0.96
_EPSILON = 1e-5
_LEAF_POINTS = 64  # points far from the other surface look into most leaves anyway

Points = Float[np.ndarray, "points 3"]


@dataclass(frozen=True)
class PointMetrics:
    """Two sets of surface points compared; lengths in voxels.

    Attributes:
        chamfer_l1: half the sum of the mean distances both ways, not squared.
        normal_consistency: mean |cosine| between normals of nearest neighbours, both ways.
        f1: harmonic mean of precision and recall at 1 % of the window; NaN where both are zero.
        f1_wide: the same at 1.5 %.
        accuracy, completeness: mean distance predicted to true, and true to predicted.
        precision, recall: at 1 %.
    """

    chamfer_l1: float
    normal_consistency: float
    f1: float
    f1_wide: float
    accuracy: float
    completeness: float
    precision: float
    recall: float


@dataclass(frozen=True)
class MeshMetrics:
    """A predicted and a true surface compared; ``iou`` is that of the cells which the surfaces touch."""

    iou: float
    points: PointMetrics

    def to_json(self, voxel: float) -> dict[str, float]:
        """The four figures of the paper, the Chamfer distance in the unit of ``voxel``."""
        return {
            "iou": self.iou,
            "chamfer": self.points.chamfer_l1 * voxel,
            "f1": self.points.f1,
            "normal_consistency": self.points.normal_consistency,
        }


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """A surface made ready to be compared: several predictions meet the same true one.

    Attributes:
        points, normals: uniform on the surface.
        cells: that the surface touches, see `surface_cells`.
    """

    points: Points
    normals: Points
    cells: Int[np.ndarray, "cells 3"]

    @classmethod
    def of(cls, mesh: TriangleMesh, samples: int = SAMPLES, seed: int = 0) -> SurfaceSamples:
        """Of a mesh in voxel units; raises ``InputError`` where it has no triangles."""
        if not len(mesh.triangles):
            raise InputError("the mesh has no triangles, expected a surface to compare")
        surface = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
        points, faces = trimesh.sample.sample_surface(surface, samples, seed=seed)[:2]
        return cls(np.asarray(points), surface.face_normals[faces], surface_cells(mesh))

    @cached_property
    def tree(self) -> cKDTree:
        """For nearest neighbours among the points."""
        return cKDTree(self.points, leafsize=_LEAF_POINTS)


def compare_surfaces(predicted: SurfaceSamples, true: SurfaceSamples) -> MeshMetrics:
    """All measures of a predicted surface."""
    union = len(np.unique(np.concatenate((predicted.cells, true.cells)), axis=0))
    iou = (len(predicted.cells) + len(true.cells) - union) / union
    return MeshMetrics(iou, _compare_points(predicted, true))


def mesh_metrics(predicted: TriangleMesh, true: TriangleMesh, samples: int = SAMPLES, seed: int = 0) -> MeshMetrics:
    """All measures of a predicted mesh in voxel units.

    Points are sampled uniformly with ``seed``. Two equal meshes do not reach a Chamfer distance of zero (about 0.1
    voxels in a furnished window), since each gets its own samples.

    Raises:
        InputError: one of the meshes has no triangles.
    """
    for mesh, what in ((predicted, "predicted"), (true, "true")):
        if not len(mesh.triangles):
            raise InputError(f"the {what} mesh has no triangles, expected a surface to compare")
    return compare_surfaces(SurfaceSamples.of(predicted, samples, seed), SurfaceSamples.of(true, samples, seed + 1))


def point_metrics(predicted: Points, predicted_normals: Points, true: Points, true_normals: Points) -> PointMetrics:
    """The measures of two sets of points with unit normals."""
    nowhere = np.zeros((0, 3), np.int64)
    return _compare_points(
        SurfaceSamples(predicted, predicted_normals, nowhere), SurfaceSamples(true, true_normals, nowhere)
    )


def _compare_points(predicted: SurfaceSamples, true: SurfaceSamples) -> PointMetrics:
    to_true, nearest_true = true.tree.query(predicted.points)
    to_predicted, nearest_predicted = predicted.tree.query(true.points)
    agreement = (
        np.abs((predicted.normals * true.normals[nearest_true]).sum(axis=1)).mean(),
        np.abs((true.normals * predicted.normals[nearest_predicted]).sum(axis=1)).mean(),
    )
    precision, recall = float((to_true <= THRESHOLD).mean()), float((to_predicted <= THRESHOLD).mean())
    wide = float((to_true <= THRESHOLD_WIDE).mean()), float((to_predicted <= THRESHOLD_WIDE).mean())
    return PointMetrics(
        chamfer_l1=float(to_true.mean() + to_predicted.mean()) / 2,
        normal_consistency=float(sum(agreement)) / 2,
        f1=_f1(precision, recall),
        f1_wide=_f1(*wide),
        accuracy=float(to_true.mean()),
        completeness=float(to_predicted.mean()),
        precision=precision,
        recall=recall,
    )


def _f1(precision: float, recall: float) -> float:
    return math.nan if precision + recall == 0 else 2 * precision * recall / (precision + recall)


# ---- cells of surfaces ---------------------------------------------------------------------------------------------


def surface_cells(mesh: TriangleMesh, cell: float = CELL) -> Int[np.ndarray, "cells 3"]:
    """The cells of side ``cell``, centred on its multiples, that a surface touches: sorted, each once.

    Triangles are cut until their edges are shorter than half a cell, then vertices are rounded to cells.
    """
    longest = float(np.linalg.norm(np.diff(mesh.corners[:, [0, 1, 2, 0]], axis=1), axis=2).max())
    rounds = 10 + max(0, math.ceil(math.log2(max(longest / cell, 1.0))))
    vertices, _ = trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.triangles, max_edge=cell / 2, max_iter=rounds)
    return np.unique(np.round(vertices / cell).astype(np.int64), axis=0)


# ---- quick measures on occupied voxels, while training ---------------------------------------------------------------


@dataclass(frozen=True)
class VoxelMetrics:
    """Occupied voxels of two batches of windows compared.

    Attributes:
        iou, precision, recall: means over the windows in which either has something.
        f1: of those means.
    """

    iou: float
    precision: float
    recall: float
    f1: float


def voxel_metrics(predicted: Float[Tensor, "b z y x"], true: Float[Tensor, "b z y x"], occupied: float) -> VoxelMetrics:
    """Quick measures on the voxels whose distance is at most ``occupied``; zeros where no window has any."""
    ours, theirs = (predicted <= occupied).flatten(1), (true <= occupied).flatten(1)
    both = (ours & theirs).sum(dim=1).double()
    union = (ours | theirs).sum(dim=1)
    some = union > 0
    iou, precision, recall = (
        float((both[some] / (whole[some] + _EPSILON)).mean()) if bool(some.any()) else 0.0
        for whole in (union, ours.sum(dim=1), theirs.sum(dim=1))
    )
    f1 = _f1(precision, recall)
    return VoxelMetrics(iou, precision, recall, 0.0 if math.isnan(f1) else f1)


def voxel_chamfer(predicted: Bool[Tensor, "z y x"], true: Bool[Tensor, "z y x"]) -> float:
    """Mean **squared** distance between occupied voxels in voxels, both ways added; NaN where one has none."""
    ours, theirs = (torch.nonzero(volume).numpy().astype(np.float64) for volume in (predicted, true))
    if not len(ours) or not len(theirs):
        return math.nan
    there, back = cKDTree(theirs).query(ours)[0], cKDTree(ours).query(theirs)[0]
    return float(np.square(there).mean() + np.square(back).mean())
