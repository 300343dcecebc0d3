"""The sections that the recipes of all reconstruction networks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spatialvlm.training.pretraining import Budget
from spatialvlm.training.reconstruction.views import Fit

Normalise = Literal["metric", "scale"]


@dataclass(frozen=True)
class PosedViews:
    """Where the views come from.

    Attributes:
        scenes: folder of the dataset.
        reader: name of its reader; every view must have a depth map.
        max_views: at most that many views per scene, evenly spaced.
        fit: how a picture becomes square: ``squeeze`` keeps all of it, ``crop`` keeps the middle and its shape.
        held_out: share of the scenes kept for evaluation, chosen by a hash of the scene id.
        eval_samples: samples drawn from the held-out scenes, always the same.
        decode_workers: processes that decode pictures on first use.
        load_workers: processes that assemble batches; 0 does it in the training process.
    """

    scenes: str
    reader: str = "synthetic"
    max_views: int = 64
    fit: Fit = "squeeze"
    held_out: float = 0.05
    eval_samples: int = 256
    decode_workers: int = 1
    load_workers: int = 0


@dataclass(frozen=True)
class Optimisation(Budget):
    """How the network is trained; keys not named here are explained in `Budget`.

    Attributes:
        min_learning_rate: end of the schedule.
        normalise: ``metric`` trains on metres, ``scale`` divides prediction and truth by their own mean distance.
        alpha: reward for confidence.
        pixel_stride: the loss looks at every so manyth row and column, from a start that changes with every step.
        colour_jitter: largest relative change of brightness, contrast and saturation, drawn anew for every view.
        hue_jitter: largest turn of the hue, as a share of the full circle.
        precision: ``bf16`` computes under autocast, ``no`` in float32.
    """

    batch_size: int = 16
    learning_rate: float = 5e-4
    min_learning_rate: float = 0.0
    normalise: Normalise = "metric"
    alpha: float = 0.2
    pixel_stride: int = 4
    colour_jitter: float = 0.2
    hue_jitter: float = 0.0
    precision: Literal["bf16", "no"] = "bf16"


@dataclass(frozen=True)
class Output:
    """What is written, and when.

    Attributes:
        folder: receives encoder/, the TensorBoard logs, the decoded cache, the checkpoint and report.json.
        cache: folder of the decoded views, to share it between runs; inside ``folder`` where it is not given.
        eval_minutes: minutes between evaluations on held-out scenes.
        save_minutes: minutes between checkpoints.
    """

    folder: str
    cache: str | None = None
    eval_minutes: float = 5.0
    save_minutes: float = 2.0


def check_image_px(image_px: int, patch_px: int = 16) -> None:
    """Raises ``ValueError`` where the side of the input is no multiple of the patch."""
    if image_px % patch_px:
        raise ValueError(f"encoder.image_px is {image_px}, expected a multiple of {patch_px}")
