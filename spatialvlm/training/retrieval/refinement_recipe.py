"""What a recipe for the refinement network holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.refinement import AttentionSettings, RetrievalFuseConfig
from geometry_encoders.retrieval.refinement.losses import LossSettings
from geometry_encoders.retrieval.scale import preset_scale
from spatialvlm.training.pretraining import Budget
from spatialvlm.training.retrieval.encoder_recipe import WindowData


@dataclass(frozen=True)
class RefinementData(WindowData):
    """Which windows are learned from; keys not named here are explained in `WindowData`.

    Attributes:
        retrieved: folder of the composed nearest neighbours of the same windows; needed unless nothing is fused.
        load_workers: processes that read windows; 0 does it in the training process.
    """

    retrieved: str | None = None
    load_workers: int = 0


@dataclass(frozen=True)
class RefinementNetwork:
    """Sizes and variants; see `RetrievalFuseConfig`."""

    channels: int = 16
    unet_levels: int = 4
    retrieval_channels: int = 16
    retrieval_levels: int = 4
    candidates: int = 4
    fusion: Literal["attention", "concatenation", "none"] = "attention"
    attention_extent: int = 4
    attention: AttentionSettings = field(default_factory=AttentionSettings)
    faithful_weights: bool = False

    def config(self, scale: str) -> RetrievalFuseConfig:
        """The configuration for the grids of that preset."""
        return RetrievalFuseConfig(**asdict(self), scale=asdict(preset_scale(scale)))


@dataclass(frozen=True)
class PhaseBudget(Budget):
    """As `Budget`, with the published rate; the optimiser is Adam, for there is no weight decay."""

    batch_size: int = 8
    learning_rate: float = 1e-4
    schedule: Literal["cosine", "linear", "constant"] = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Phases:
    """How long each phase lasts; the published lengths are 30, 25, 5 and 100 epochs.

    Attributes:
        unet: the U-Net over the input, and the decoder.
        retrieval: the network over known chunks, decoded again.
        attention: the comparison of patches.
        full: everything together.
    """

    unet: PhaseBudget = field(default_factory=lambda: PhaseBudget(max_steps=160000))
    retrieval: PhaseBudget = field(default_factory=lambda: PhaseBudget(max_steps=130000))
    attention: PhaseBudget = field(default_factory=lambda: PhaseBudget(max_steps=27000))
    full: PhaseBudget = field(default_factory=lambda: PhaseBudget(max_steps=540000))


@dataclass(frozen=True)
class RefinementOutputs:
    """What is written, and when.

    Attributes:
        folder: receives model/, report.json and one folder per phase with its checkpoint and TensorBoard logs.
        eval_minutes: minutes between evaluations on held-out scenes.
        eval_windows: held-out windows that are looked at, always the same.
        save_minutes: minutes between checkpoints.
    """

    folder: str
    eval_minutes: float = 10.0
    eval_windows: int = 32
    save_minutes: float = 2.0


@dataclass(frozen=True)
class RefinementRecipe:
    """One training of the refinement network.

    Attributes:
        data: windows and what was retrieved for them.
        output: what is written, and when.
        network: what is trained.
        loss: how much each term counts.
        phases: how long each phase lasts.
        start: folder of a trained refinement network whose parts of the same name and shape are taken over.
        skip: phases that are left out because ``start`` has been through them.
        crop: side, in voxels, of the cube of each window in which losses are taken; 64 takes whole windows, 16 to 48
            save time where only few steps are possible.
        precision: ``bf16`` computes under autocast, ``no`` in float32.
        seed: of the initial weights, the order of windows, points and random picks.
    """

    data: RefinementData
    output: RefinementOutputs
    network: RefinementNetwork = field(default_factory=RefinementNetwork)
    loss: LossSettings = field(default_factory=LossSettings)
    phases: Phases = field(default_factory=Phases)
    start: str | None = None
    skip: tuple[Literal["unet", "retrieval", "attention", "full"], ...] = ()
    crop: Literal[16, 32, 48, 64] = 64
    precision: Literal["bf16", "no"] = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            self.network.config(self.data.scale)
        except InputError as error:
            raise ValueError(f"network: {error}") from error
        fuses = self.network.fusion != "none" and self.network.candidates > 0
        if fuses and self.data.retrieved is None:
            raise ValueError(f"data.retrieved is empty, expected a folder with network.fusion {self.network.fusion!r}")
        if self.skip and self.start is None:
            raise ValueError("skip names phases without start, expected a network that has been through them")
