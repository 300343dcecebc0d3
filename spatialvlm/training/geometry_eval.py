"""How well a geometry encoder reconstructs held-out scenes: errors of depth and of points, over all valid pixels."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry_encoders.reconstruction.losses import divide, mean_distance

PIXEL_STRIDE = 4  # every fourth row and column is enough for a median


class GeometryErrors:
    """Collects errors batch by batch and gives their medians."""

    def __init__(self, min_overlap: float) -> None:
        self.min_overlap = min_overlap
        self._errors: dict[str, list[Float[Tensor, " pixels"]]] = {}

    def add(
        self,
        predicted: Float[Tensor, "batch views px px 3"],
        points: Float[Tensor, "batch views px px 3"],
        valid: Bool[Tensor, "batch views px px"],
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

    def figures(self) -> dict[str, float]:
        """Medians over all pixels seen.

        ``depth_relative``: |z - true z| / true z in the first view; ``depth_constant``: the same for a map that says
        the median depth everywhere; ``depth_within_1.25``: share of pixels whose depth is off by at most that factor;
        ``points_first``, ``points_near``, ``points_far``: distance to the true point in the first view, in views that
        overlap it, and in those that do not; ``points_spread``: distance of the true points to their median point.
        """
        kept = {name: torch.cat(values) for name, values in self._errors.items()}
        typical = kept["depth_true"].median()
        return {
            "depth_relative": _median(kept["depth_relative"]),
            "depth_constant": _median((kept["depth_true"] - typical).abs() / kept["depth_true"]),
            "depth_within_1.25": 1.0 - float(kept["depth_beyond_1.25"].mean()),
            "points_first": _median(kept["first_view"]),
            "points_near": _median(kept["near_views"]),
            "points_near_spread": _median(kept["near_views_spread"]),
            "points_far": _median(kept["far_views"]),
        }


def _median(values: Float[Tensor, " pixels"]) -> float:
    return float(values.median()) if len(values) else float("nan")


@torch.no_grad()
def geometry_errors(
    batches: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]], normalise: bool, min_overlap: float
) -> dict[str, float]:
    """Figures of `GeometryErrors` over batches of (predicted, true points, valid, overlap).

    With ``normalise`` the prediction of every sample is first brought to the true mean distance from the origin.
    """
    errors = GeometryErrors(min_overlap)
    for predicted, points, valid, overlap in batches:
        if normalise:
            predicted = divide(predicted, mean_distance(predicted, valid) / mean_distance(points, valid))
        errors.add(predicted, points, valid, overlap)
    return errors.figures()
