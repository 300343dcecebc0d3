"""How well a network reconstructs held-out scenes: errors of depth, of points and of poses, beside trivial answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry_encoders.reconstruction.losses import (
    divide,
    mean_distance,
    median_depth,
    median_scale,
    shift_in_depth,
)
from spatialvlm.training.reconstruction.pose_errors import angle_deg, can_solve_poses, relative_pose_error

PIXEL_STRIDE = 4  # every fourth row and column is enough for a median
CONSTANT_DEPTH = 2.0  # any number: the trivial answer is brought to the true scale

Pointmaps = Float[Tensor, "batch views px px 3"]
Valid = Bool[Tensor, "batch views px px"]


def aligned_errors(predicted: Pointmaps, points: Pointmaps, valid: Valid) -> Float[Tensor, " pixels"]:
    """Distances to the true points of all valid pixels, after the alignment that Spann3R is evaluated with.

    Per sample, over all views: the median depth is taken out of both, then the prediction is brought to the truth's
    median distance from the median point.
    """
    factor = median_scale(predicted, valid).clamp(1e-3, 1e3) / median_scale(points, valid).clamp(min=1e-6)
    moved = divide(shift_in_depth(predicted, median_depth(predicted, valid)), factor)
    return (moved - shift_in_depth(points, median_depth(points, valid))).norm(dim=-1)[valid]


def constant_pointmaps(intrinsics: Float[Tensor, "batch views 3 3"], px: int) -> Pointmaps:
    """The trivial answer: every view stands where the first one does and sees one depth everywhere."""
    pixels = torch.arange(px, device=intrinsics.device, dtype=intrinsics.dtype)
    rays = [
        (pixels - intrinsics[:, :, axis, 2:]) / intrinsics[:, :, axis, axis, None] for axis in (0, 1)
    ]  # (batch, views, px) each
    x = rays[0][:, :, None, :].expand(-1, -1, px, -1)
    y = rays[1][:, :, :, None].expand(-1, -1, -1, px)
    return torch.stack([x, y, torch.ones_like(x)], dim=-1) * CONSTANT_DEPTH


class GeometryErrors:
    """Collects errors batch by batch and gives their medians."""

    def __init__(self, min_overlap: float) -> None:
        self.min_overlap = min_overlap
        self._errors: dict[str, list[Float[Tensor, " pixels"]]] = {}

    def add(
        self,
        predicted: Pointmaps,
        points: Pointmaps,
        valid: Valid,
        overlap: Float[Tensor, "batch views"],
    ) -> None:
        """Takes in one batch; everything in the frame of the first view, metres (or any one unit)."""
        predicted, points = (
            predicted[:, :, ::PIXEL_STRIDE, ::PIXEL_STRIDE],
            points[:, :, ::PIXEL_STRIDE, ::PIXEL_STRIDE],
        )
        valid = valid[:, :, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
        distance = (predicted - points).norm(dim=-1)
        own = valid[:, 0]
        true_z, z = points[:, 0, ..., 2][own], predicted[:, 0, ..., 2][own]
        self._keep("depth_relative", (z - true_z).abs() / true_z)
        self._keep("depth_beyond_1.25", (torch.maximum(z / true_z, true_z / z.clamp(min=1e-6)) > 1.25).float())
        self._keep("depth_true", true_z)
        self._keep("first_view", distance[:, 0][own])
        near = overlap[:, 1:] >= self.min_overlap
        for name, chosen in (("near_views", near), ("far_views", ~near)):
            self._keep(name, distance[:, 1:][chosen[..., None, None] & valid[:, 1:]])
            moved = points[:, 1:][chosen[..., None, None] & valid[:, 1:]]
            self._keep(
                f"{name}_spread", (moved - moved.median(dim=0).values).norm(dim=-1) if len(moved) else moved[:, 0]
            )

    def _keep(self, name: str, values: Float[Tensor, " pixels"]) -> None:
        self._errors.setdefault(name, []).append(values.float().cpu())

    def add_cameras(
        self,
        predicted: Pointmaps,
        points: Pointmaps,
        valid: Valid,
        overlap: Float[Tensor, "batch views"],
        view_to_first: Float[Tensor, "batch views 4 4"],
        intrinsics: Float[Tensor, "batch views 3 3"],
    ) -> None:
        """Takes in the same batch for the figures that need cameras; poses of near views only."""
        part = (slice(None), slice(None), slice(None, None, PIXEL_STRIDE), slice(None, None, PIXEL_STRIDE))
        self._keep("aligned", aligned_errors(predicted[part], points[part], valid[part]))
        trivial = constant_pointmaps(intrinsics, points.shape[-2])
        self._keep("aligned_constant", aligned_errors(trivial[part], points[part], valid[part]))
        if not can_solve_poses():
            return
        arrays = [tensor.float().cpu().numpy() for tensor in (predicted, intrinsics, view_to_first)]
        for sample, view in torch.nonzero(overlap >= self.min_overlap).tolist():
            if view == 0 or not np.isfinite(arrays[0][sample, view]).all():
                continue
            seen = valid[sample, view].cpu().numpy()
            rotation, translation = relative_pose_error(
                arrays[0][sample, view], seen, arrays[1][sample, view], arrays[2][sample, view]
            )
            self._keep("rotation", torch.tensor([rotation]))
            self._keep("rotation_still", torch.tensor([angle_deg(arrays[2][sample, view, :3, :3])]))
            if np.isfinite(translation):
                self._keep("translation", torch.tensor([translation]))

    def figures(self) -> dict[str, float]:
        """Medians over all pixels seen.

        ``depth_relative``: |z - true z| / true z in the first view; ``depth_constant``: the same for a map that says
        the median depth everywhere; ``depth_within_1.25``: share of pixels whose depth is off by at most that factor;
        ``points_first``, ``points_near``, ``points_far``: distance to the true point in the first view, in views that
        overlap it, and in those that do not; ``points_near_spread``: distance of the true points of overlapping views
        to their median point.

        With cameras also ``points_aligned``: the distance after `aligned_errors`; ``points_aligned_constant``: the
        same for `constant_pointmaps`; and over the views that overlap the first one ``rotation_deg``,
        ``rotation_still_deg`` (the error of saying that the camera has not turned), ``rotation_within_15``,
        ``translation_deg`` and ``translation_within_15``, from `relative_pose_error`.
        """
        kept = {name: torch.cat(values) for name, values in self._errors.items()}
        typical = kept["depth_true"].median()
        figures = {
            "depth_relative": _median(kept["depth_relative"]),
            "depth_constant": _median((kept["depth_true"] - typical).abs() / kept["depth_true"]),
            "depth_within_1.25": 1.0 - float(kept["depth_beyond_1.25"].mean()),
            "points_first": _median(kept["first_view"]),
            "points_near": _median(kept["near_views"]),
            "points_near_spread": _median(kept["near_views_spread"]),
            "points_far": _median(kept["far_views"]),
        }
        medians = {"aligned": "points_aligned", "aligned_constant": "points_aligned_constant"}
        medians |= {
            "rotation": "rotation_deg",
            "rotation_still": "rotation_still_deg",
            "translation": "translation_deg",
        }
        figures |= {name: _median(kept[key]) for key, name in medians.items() if key in kept}
        for key in ("rotation", "translation"):
            if key in kept:
                figures[f"{key}_within_15"] = float((kept[key] <= 15).float().mean())
        return figures


def _median(values: Float[Tensor, " pixels"]) -> float:
    return float(values.median()) if len(values) else float("nan")


@torch.no_grad()
def geometry_errors(
    batches: Iterable[tuple[Pointmaps, Mapping[str, Tensor]]], normalise: bool, min_overlap: float
) -> dict[str, float]:
    """Figures of `GeometryErrors` over batches of predictions and the samples they are for.

    A sample has ``points``, ``valid`` and ``overlap``, and for all figures ``view_to_first`` and ``intrinsics``. With
    ``normalise`` the prediction of every sample is first brought to the true mean distance from the origin.
    """
    errors = GeometryErrors(min_overlap)
    for predicted, sample in batches:
        points, valid, overlap = sample["points"], sample["valid"], sample["overlap"]
        if normalise:
            predicted = divide(predicted, mean_distance(predicted, valid) / mean_distance(points, valid))
        errors.add(predicted, points, valid, overlap)
        if "intrinsics" in sample:
            errors.add_cameras(predicted, points, valid, overlap, sample["view_to_first"], sample["intrinsics"])
    return errors.figures()
