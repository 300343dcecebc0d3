"""Training and test losses on pointmaps (DUSt3R, arXiv:2312.14132, section 3.2).

Everything takes the views of a sample stacked, all points in the camera frame of the first view. Means are taken over
the valid pixels of the first view and over those of all other views, and the two are added, as the original does for
its two views.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Points = Float[Tensor, "batch views height width 3"]
PerPixel = Float[Tensor, "batch views height width"]
Valid = Bool[Tensor, "batch views height width"]
DistanceMean = Literal["distance", "log_distance"]


def transform_points(
    points: Float[Tensor, "batch views height width 3"], transform: Float[Tensor, "batch 4 4"]
) -> Float[Tensor, "batch views height width 3"]:
    """Points of every sample moved by its 4x4 rigid transform."""
    rotation, translation = transform[:, :3, :3], transform[:, :3, 3]
    return torch.einsum("bij,bvhwj->bvhwi", rotation, points) + translation[:, None, None, None]


def mean_distance(points: Points, valid: Valid, kind: DistanceMean = "distance") -> Float[Tensor, " batch"]:
    """Mean distance (or mean of log(1 + distance)) from the origin over the valid points of each sample.

    At least 1e-8; not detached, so a prediction divided by it is free in scale.
    """
    distance = points.norm(dim=-1)
    if kind == "log_distance":
        distance = distance.log1p()
    total = torch.where(valid, distance, 0.0).flatten(1).sum(1)
    return (total / (valid.flatten(1).sum(1) + 1e-8)).clamp(min=1e-8)


def divide(points: Points, factor: Float[Tensor, " batch"]) -> Points:
    """Points divided by one factor per sample."""
    return points / factor[:, None, None, None, None]


def point_errors(prediction: Points, target: Points) -> PerPixel:
    """Euclidean distance between predicted and true points."""
    return (prediction - target).norm(dim=-1)


def sum_over_views(values: PerPixel, valid: Valid) -> Float[Tensor, ""]:
    """Mean over the valid pixels of the first view plus mean over those of all other views."""
    return masked_mean(values[:, :1], valid[:, :1]) + masked_mean(values[:, 1:], valid[:, 1:])


def masked_mean(values: PerPixel, valid: Valid) -> Float[Tensor, ""]:
    """Mean of the valid entries, 0 where there is none."""
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)


def regression_loss(prediction: Points, target: Points, valid: Valid) -> Float[Tensor, ""]:
    """Distance between predicted and true points."""
    return sum_over_views(point_errors(prediction, target), valid)


def confidence_loss(
    prediction: Points, confidence: PerPixel, target: Points, valid: Valid, alpha: float = 0.2
) -> Float[Tensor, ""]:
    """Distance weighted by confidence, and a reward ``alpha`` log confidence for being sure (equation 4)."""
    weighted = confidence * point_errors(prediction, target) - alpha * confidence.log()
    return sum_over_views(weighted, valid)


def _medians(points: Points, valid: Valid) -> Float[Tensor, "batch 3"]:
    """Lower median of every coordinate over the valid points of each sample."""
    masked = torch.where(valid[..., None], points, torch.nan).flatten(1, 3)
    return masked.nanmedian(dim=1).values


@torch.no_grad()
def median_depth(points: Points, valid: Valid) -> Float[Tensor, " batch"]:
    """Median z of the valid points of each sample, no gradient."""
    return _medians(points, valid)[:, 2]


@torch.no_grad()
def median_scale(points: Points, valid: Valid) -> Float[Tensor, " batch"]:
    """Median distance of the valid points of each sample from their median point, no gradient."""
    centred = points - _medians(points, valid)[:, None, None, None]
    distance = torch.where(valid, centred.norm(dim=-1), torch.nan)
    return distance.flatten(1).nanmedian(dim=1).values


def shift_in_depth(points: Points, shift: Float[Tensor, " batch"]) -> Points:
    """Points moved by -``shift`` along z."""
    offset = torch.stack([torch.zeros_like(shift), torch.zeros_like(shift), shift], dim=-1)
    return points - offset[:, None, None, None]


def align_scale(prediction: Points, target: Points, valid: Valid, metric: bool = False) -> tuple[Points, Points]:
    """Both with the median scale taken out; with ``metric`` the prediction gets the target's scale instead.

    The scale of the prediction is limited to 1e-3 .. 1e3.
    """
    own = median_scale(prediction, valid).clamp(1e-3, 1e3)
    true = median_scale(target, valid)
    if metric:
        return divide(prediction, own / true), target
    return divide(prediction, own), divide(target, true)
