"""Training and validation losses on sequences of pointmaps (Spann3R, arXiv:2408.16061, section 3.4).

A pass over ``frames`` pictures says everything twice but the ends: ``left`` is what step k says about its reference
(frames 0 to frames - 2), ``right`` what it says about its target (frames 1 to frames - 1). All points are in the camera
frame of frame 0. Every function that has a ``compat`` argument repairs a slip of the original by default and repeats it
with ``compat=True``, which is what published numbers come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry_encoders.reconstruction.losses import (
    divide,
    mean_distance,
    median_depth,
    median_scale,
    point_errors,
    shift_in_depth,
)

Steps = Float[Tensor, "batch steps height width 3"]
StepPixels = Float[Tensor, "batch steps height width"]
Frames = Float[Tensor, "batch frames height width 3"]
FrameValid = Bool[Tensor, "batch frames height width"]
Factor = Float[Tensor, " batch"]


@dataclass(frozen=True)
class SequencePointmaps:
    """What a network says about a sequence, or the part of it that a loss looks at.

    Attributes:
        left: points of the frames 0 to frames - 2, each as the reference of its step.
        right: points of the frames 1 to frames - 1, each as the target of its step.
        left_confidence: of ``left``, above 0.
        right_confidence: of ``right``.
    """

    left: Steps
    right: Steps
    left_confidence: StepPixels
    right_confidence: StepPixels

    def each_frame_once(self) -> Frames:
        """All frames as references, the last one, which is none, as a target."""
        return torch.cat([self.left, self.right[:, -1:]], dim=1)

    def with_points(self, left: Steps, right: Steps) -> SequencePointmaps:
        """The same confidences with other points."""
        return SequencePointmaps(left, right, self.left_confidence, self.right_confidence)


def sequence_factor(points: Frames, valid: FrameValid, first_only: bool = False, compat: bool = False) -> Factor:
    """Mean distance of the valid points of each sample from the origin, at least 1e-8; not detached.

    Args:
        first_only: look at frame 0 only.
        compat: divide each sample's sum by the number of valid points of the whole batch, as the original does: with
            samples of like size that is the mean distance over the batch size.
    """
    if first_only:
        points, valid = points[:, :1], valid[:, :1]
    if not compat:
        return mean_distance(points, valid)
    total = torch.where(valid, points.norm(dim=-1), 0.0).flatten(1).sum(1)
    return (total / (valid.sum() + 1e-8)).clamp(min=1e-8)


def scale_loss(predicted: Factor, true: Factor, compat: bool = False) -> Float[Tensor, ""]:
    """By how much the predicted factor exceeds the true one, averaged over the samples where it does; 0 where none.

    It keeps a network whose loss is blind to scale from growing without end. ``compat`` compares each of these
    predicted factors with the true factors of all samples, as the original's broadcast does.
    """
    larger = predicted > true
    if not larger.any():
        return predicted.new_zeros(())
    difference = predicted[larger][:, None] - true[None] if compat else predicted[larger] - true[larger]
    return difference.abs().mean()


def confidence_sequence_loss(
    prediction: SequencePointmaps, target: Frames, valid: FrameValid, alpha: float
) -> Float[Tensor, ""]:
    """Twice the mean over all predictions of mean(confidence * error - alpha log confidence) (equation 6).

    The factor two gives a sequence of two frames the weight of DUSt3R's pair.
    """

    def terms(points: Steps, confidence: StepPixels, start: int) -> Float[Tensor, " steps"]:
        stop = start + points.shape[1]
        weighted = confidence * point_errors(points, target[:, start:stop]) - alpha * confidence.log()
        return _means_of_steps(weighted, valid[:, start:stop])

    left = terms(prediction.left, prediction.left_confidence, 0)
    right = terms(prediction.right, prediction.right_confidence, 1)
    return 2 * torch.cat([left, right]).mean()


def regression_sequence_loss(prediction: SequencePointmaps, target: Frames, valid: FrameValid) -> Float[Tensor, ""]:
    """Sum over all predictions of the mean distance between predicted and true points."""
    left = _means_of_steps(point_errors(prediction.left, target[:, :-1]), valid[:, :-1])
    right = _means_of_steps(point_errors(prediction.right, target[:, 1:]), valid[:, 1:])
    return left.sum() + right.sum()


def _means_of_steps(values: StepPixels, valid: FrameValid) -> Float[Tensor, " steps"]:
    """Mean over the valid pixels of the batch at every step, 0 where there is none."""
    total = torch.where(valid, values, 0.0).sum(dim=(0, 2, 3))
    return total / valid.sum(dim=(0, 2, 3)).clamp(min=1)


@dataclass(frozen=True)
class SequenceLoss:
    """Both parts of the training loss; the original adds them with weight 1."""

    confidence: Float[Tensor, ""]
    scale: Float[Tensor, ""]

    @property
    def total(self) -> Float[Tensor, ""]:
        """What is minimised."""
        return self.confidence + self.scale


def training_loss(
    prediction: SequencePointmaps,
    target: Frames,
    valid: FrameValid,
    alpha: float = 0.4,
    normalise: bool = True,
    keep_true_scale: bool = False,
    first_only: bool = False,
    compat: bool = False,
) -> SequenceLoss:
    """The loss that Spann3R is trained with.

    Args:
        prediction: both predictions of every step.
        target: true points in the frame of camera 0.
        valid: pixels with a true point.
        alpha: reward for confidence.
        normalise: divide prediction and truth by their `sequence_factor`.
        keep_true_scale: with ``normalise``, divide the prediction only; the scale part is then 0.
        first_only: factors from frame 0 only.
        compat: repeat the slips named at `sequence_factor` and `scale_loss`.
    """
    zero = target.new_zeros(())
    if not normalise:
        return SequenceLoss(confidence_sequence_loss(prediction, target, valid, alpha), zero)
    predicted = sequence_factor(prediction.each_frame_once(), valid, first_only, compat)
    true = sequence_factor(target, valid, first_only, compat)
    scaled = prediction.with_points(divide(prediction.left, predicted), divide(prediction.right, predicted))
    if keep_true_scale:
        return SequenceLoss(confidence_sequence_loss(scaled, target, valid, alpha), zero)
    confidence = confidence_sequence_loss(scaled, divide(target, true), valid, alpha)
    return SequenceLoss(confidence, scale_loss(predicted, true, compat))


def aligned_in_depth_and_scale(
    prediction: SequencePointmaps, target: Frames, valid: FrameValid
) -> tuple[SequencePointmaps, Frames]:
    """Prediction and truth with their median depth taken out, the prediction brought to the truth's median scale.

    Medians are over `SequencePointmaps.each_frame_once`, without gradient; the predicted scale is limited to
    1e-3 .. 1e3.
    """
    once = prediction.each_frame_once()
    shift, true_shift = median_depth(once, valid), median_depth(target, valid)
    # a shift along z does not change the distances from the median point
    factor = median_scale(once, valid).clamp(1e-3, 1e3) / median_scale(target, valid)

    def aligned(points: Steps) -> Steps:
        return divide(shift_in_depth(points, shift), factor)

    return prediction.with_points(aligned(prediction.left), aligned(prediction.right)), shift_in_depth(
        target, true_shift
    )


def validation_loss(prediction: SequencePointmaps, target: Frames, valid: FrameValid) -> Float[Tensor, ""]:
    """`regression_sequence_loss` after `aligned_in_depth_and_scale`."""
    return regression_sequence_loss(*aligned_in_depth_and_scale(prediction, target, valid), valid)
