"""Training of Spann3R on sequences of posed RGB-D views (arXiv:2408.16061, section 4.1).

Run: ``accelerate launch -m spatialvlm.training.reconstruction.train_spann3r recipes/spann3r_tiny.yaml
[section.key=value ...]`` or plain ``python -m``. Run the same command again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from transformers import PreTrainedModel

from geometry_encoders.reconstruction.losses_spann3r import SequencePointmaps, training_loss
from geometry_encoders.reconstruction.pointmap_model import PixelGrid
from geometry_encoders.reconstruction.spann3r import SequencePrediction, Spann3rModel
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.reconstruction.curriculum import confidence_reward
from spatialvlm.training.reconstruction.evaluation import Pointmaps
from spatialvlm.training.reconstruction.recipe import Optimisation, Output, PosedViews, check_image_px
from spatialvlm.training.reconstruction.sequences import FrameSequences, SequenceSampling
from spatialvlm.training.reconstruction.starting_points import spann3r_to_train
from spatialvlm.training.reconstruction.training import ReconstructionTraining, run_to_the_end
from spatialvlm.training.reconstruction.views import SceneViews


@dataclass(frozen=True)
class Encoder:
    """Which network is trained.

    Attributes:
        preset: sizes of value encoder and memory, and without ``start`` of the whole network.
        start: a DUSt3R to build Spann3R around, or a Spann3R to go on from: a folder written by ``save_pretrained`` or
            an official checkpoint file. Sizes of DUSt3R's part are taken from it.
        image_px: side of the square input, pixels.
        initial_depth: what a fresh network says everywhere, in the units of training.
        pass_through: start with queries that are the frame's own features, see `pass_features_through`; not as
            published, for short trainings.
    """

    preset: Literal["tiny", "vitl"] = "tiny"
    start: str | None = None
    image_px: int = 128
    initial_depth: float = 2.0
    pass_through: bool = False


@dataclass(frozen=True)
class SequenceOptimisation(Optimisation):
    """How the network is trained; keys shared with DUSt3R are explained there.

    Attributes:
        alpha: reward for confidence over the first half of the training.
        final_alpha: what it falls to at the end.
        compat: repeat the original's slips in the losses, see `geometry_encoders.reconstruction.losses_spann3r`.
    """

    alpha: float = 0.4
    final_alpha: float = 0.2
    compat: bool = False


@dataclass(frozen=True)
class Spann3rRecipe:
    """Training of Spann3R.

    Attributes:
        data: where the views come from; scenes with fewer views than a sequence are left out.
        output: what is written, and when.
        encoder: which network is trained.
        sequence: how the frames of a sequence are chosen.
        optimisation: how it is trained.
        seed: of the initial weights, the samples, the colour jitter and the dropout of the memory.
    """

    data: PosedViews
    output: Output
    encoder: Encoder = field(default_factory=Encoder)
    sequence: SequenceSampling = field(default_factory=SequenceSampling)
    optimisation: SequenceOptimisation = field(default_factory=SequenceOptimisation)
    seed: int = 0

    def __post_init__(self) -> None:
        check_image_px(self.encoder.image_px)


class SequenceForward(nn.Module):
    """Calls `forward_sequence`, so that wrappers for several processes, which see only ``forward``, take part."""

    def __init__(self, model: Spann3rModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> SequencePrediction:
        """Both predictions of every step."""
        return self.model.forward_sequence(pixel_values)


class Spann3rTraining(ReconstructionTraining):
    """One run of Spann3R."""

    model: Spann3rModel
    recipe: Spann3rRecipe

    def __init__(self, recipe: Spann3rRecipe) -> None:
        self.recipe = recipe
        super().__init__(recipe, recipe.encoder.image_px, min_views=recipe.sequence.frames)

    def build_model(self) -> Spann3rModel:
        """The network that the recipe starts from."""
        how = self.recipe.encoder
        start = (how.start, how.preset, how.image_px, how.initial_depth)
        return spann3r_to_train(*start, self.recipe.seed, how.pass_through)

    def called_in_training(self, model: PreTrainedModel) -> nn.Module:
        """Its pass over sequences."""
        assert isinstance(model, Spann3rModel)
        return SequenceForward(model)

    def samples(self, scenes: list[SceneViews], purpose: str, with_cameras: bool) -> FrameSequences:
        """Frames along paths; those of the evaluation with the widest window."""
        return FrameSequences(scenes, self.recipe.sequence, self.recipe.seed, purpose, with_cameras)

    @property
    def min_overlap(self) -> float:
        """From the recipe."""
        return self.recipe.sequence.min_overlap

    def loss(self, pixel_values: Tensor, batch: Mapping[str, Tensor], pixels: PixelGrid) -> dict[str, Tensor]:
        """Spann3R's confidence loss and, where scale is taken out, the loss that keeps the scale from growing."""
        how = self.recipe.optimisation
        with self.accelerator.autocast():
            output = self.prepared(pixel_values)
        part = (slice(None), slice(None), *pixels)
        prediction = SequencePointmaps(
            output.left_points[part],
            output.right_points[part],
            output.left_confidence[part],
            output.right_confidence[part],
        )
        alpha = confidence_reward(self.done(), how.alpha, how.final_alpha)
        loss = training_loss(
            prediction, batch["points"], batch["valid"], alpha, how.normalise == "scale", compat=how.compat
        )
        confidence = prediction.left_confidence.mean()
        return {"loss": loss.total, "scale_loss": loss.scale, "confidence": confidence}

    def predict(self, pixel_values: Tensor) -> Pointmaps:
        """One pass over the sequence; every frame as its step's reference, the last one as a target."""
        output = self.model.forward_sequence(pixel_values)
        return SequencePointmaps(
            output.left_points, output.right_points, output.left_confidence, output.right_confidence
        ).each_frame_once()


def train(recipe: Spann3rRecipe) -> dict[str, float]:
    """Runs the recipe to its end, taking up a checkpoint where there is one; returns the held-out figures."""
    Path(recipe.output.folder).mkdir(parents=True, exist_ok=True)
    return run_to_the_end(Spann3rTraining(recipe))


if __name__ == "__main__":
    run_recipe_command(Spann3rRecipe, train, "spatialvlm.training.reconstruction.train_spann3r")
