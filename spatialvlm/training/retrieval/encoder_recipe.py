"""What a recipe for the chunk encoders holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from geometry_encoders.retrieval.encoders import ChunkEncoderConfig
from geometry_encoders.retrieval.scale import preset_scale
from spatialvlm.training.pretraining import Budget


@dataclass(frozen=True)
class WindowData:
    """Which windows are learned from.

    Attributes:
        windows: folder made by ``spatialvlm retrieval build windows``.
        scale: name of the preset of voxel, input kind and normalisation.
        held_out: share of the scenes kept for evaluation, chosen by a hash of the scene id.
        num_points: points per window, for a scale with points.
        preload: keep all windows in memory.
    """

    windows: str
    scale: str = "rooms"
    held_out: float = 0.1
    num_points: int = 1000
    preload: bool = True

    def __post_init__(self) -> None:
        preset_scale(self.scale)
        if not 0 <= self.held_out < 1:
            raise ValueError(f"data.held_out is {self.held_out}, expected 0 up to 1")


@dataclass(frozen=True)
class EncoderNetworks:
    """The two networks; ids as in `geometry_encoders.retrieval.encoders.NETWORKS`."""

    network_input: str = "2+1"
    network_target: str = "16+8"
    nf_input: int = 32
    nf_target: int = 8
    latent_dim: int = 64


@dataclass(frozen=True)
class Contrast:
    """The loss.

    Attributes:
        temperature: of NTXent.
        iou: whether look-alikes are gentler negatives.
    """

    temperature: float = 0.2
    iou: bool = True


@dataclass(frozen=True)
class EncoderBudget(Budget):
    """As `Budget`, with the published batch, rate and decay."""

    max_steps: int = 150000
    batch_size: int = 192
    learning_rate: float = 1e-4
    warmup: float = 0.01
    weight_decay: float = 5e-5


@dataclass(frozen=True)
class EncoderOutputs:
    """What is written, and when.

    Attributes:
        folder: receives encoder/, the TensorBoard logs, the checkpoint and report.json.
        eval_minutes: minutes between evaluations on held-out scenes.
        eval_windows: held-out windows that are composed from their nearest neighbours.
        eval_chunks: train chunks that these are sought among; the report at the end says how many there are in all.
        save_minutes: minutes between checkpoints.
    """

    folder: str
    eval_minutes: float = 10.0
    eval_windows: int = 32
    eval_chunks: int = 4000
    save_minutes: float = 2.0


@dataclass(frozen=True)
class EncoderRecipe:
    """One training of the chunk encoders."""

    data: WindowData
    output: EncoderOutputs
    encoder: EncoderNetworks = field(default_factory=EncoderNetworks)
    contrast: Contrast = field(default_factory=Contrast)
    optimisation: EncoderBudget = field(default_factory=EncoderBudget)
    seed: int = 0

    def __post_init__(self) -> None:
        ChunkEncoderConfig(network_input=self.encoder.network_input, network_target=self.encoder.network_target)
