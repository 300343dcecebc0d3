"""What a recipe of dense vision pretraining may say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spatialvlm.training.pretraining import Budget, OptimizerName


@dataclass(frozen=True)
class TowerShape:
    """Shape of the SigLIP vision tower.

    Attributes:
        image_size: side of the square input, pixels.
        patch_size: side of a patch, pixels.
        hidden_size: width of the tokens.
        num_hidden_layers: transformer layers.
        num_attention_heads: heads of each layer.
        intermediate_size: width inside the MLPs.
    """

    image_size: int = 128
    patch_size: int = 16
    hidden_size: int = 192
    num_hidden_layers: int = 6
    num_attention_heads: int = 6
    intermediate_size: int = 576


@dataclass(frozen=True)
class LabelData:
    """Where the labelled views come from.

    Attributes:
        scenes: folder of rendered scenes in the native layout (<scene_id>/{scene.json, images, depth, instance}).
        cell_px: side of a label cell in pixels of the input.
        held_out: share of the scenes kept for evaluation, chosen by a hash of the scene id.
        max_eval_views: at most that many held-out views are used.
        workers: processes that decode pictures on first use.
    """

    scenes: str
    cell_px: int = 8
    held_out: float = 0.05
    max_eval_views: int = 2000
    workers: int = 1


@dataclass(frozen=True)
class Optimisation(Budget):
    """How the tower is trained; keys not named here are explained in `Budget`.

    Attributes:
        background_weight: weight of background cells in the cross entropy, foreground has 1 on average.
        class_balance: categories weigh their frequency to the power of minus this; 0 treats all cells alike.
        max_zoom: largest factor by which a random window of the picture is blown up; 1 for whole pictures only.
        colour_jitter: largest relative change of brightness, contrast and channel gains.
        precision: ``bf16`` computes under autocast, ``float32`` does not.
    """

    max_steps: int = 1500
    optimizer: OptimizerName = "muon"
    background_weight: float = 0.3
    class_balance: float = 0.5
    max_zoom: float = 1.5
    colour_jitter: float = 0.2
    precision: Literal["bf16", "float32"] = "bf16"


@dataclass(frozen=True)
class Output:
    """What is written, and when.

    Attributes:
        folder: receives vision_tower/, label_head/, the TensorBoard logs, the decoded cache and the checkpoint.
        eval_steps: steps between evaluations on held-out views.
        save_steps: steps between checkpoints.
    """

    folder: str
    eval_steps: int = 250
    save_steps: int = 250


@dataclass(frozen=True)
class VisionRecipe:
    """Dense pretraining of a vision tower.

    Attributes:
        data: where the labelled views come from.
        output: what is written, and when.
        tower: shape of the vision tower.
        optimisation: how it is trained.
        init_from: folder with a vision tower of that shape to go on from, e.g. after more rooms were made.
        seed: of the initial weights, the order of the views and the augmentation.
    """

    data: LabelData
    output: Output
    tower: TowerShape = field(default_factory=TowerShape)
    optimisation: Optimisation = field(default_factory=Optimisation)
    init_from: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tower.image_size % self.tower.patch_size or self.tower.patch_size % self.data.cell_px:
            raise ValueError(
                f"tower.image_size {self.tower.image_size}, tower.patch_size {self.tower.patch_size} and data.cell_px "
                f"{self.data.cell_px} do not fit, expected each to be a multiple of the next"
            )
