"""Training of DUSt3R on posed RGB-D views: pointmaps of every view in the frame of the first one.

Run: ``accelerate launch -m spatialvlm.training.reconstruction.train_dust3r recipes/dust3r_tiny.yaml
[section.key=value ...]`` or plain ``python -m``. Run the same command again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from geometry_encoders.reconstruction import Dust3rModel
from geometry_encoders.reconstruction.losses import confidence_loss, divide, mean_distance
from geometry_encoders.reconstruction.pointmap_model import PixelGrid
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.reconstruction.evaluation import Pointmaps
from spatialvlm.training.reconstruction.recipe import Optimisation, Output, PosedViews, check_image_px
from spatialvlm.training.reconstruction.samples import Sampling, ViewSets
from spatialvlm.training.reconstruction.starting_points import dust3r_to_train
from spatialvlm.training.reconstruction.training import ReconstructionTraining, run_to_the_end
from spatialvlm.training.reconstruction.views import SceneViews


@dataclass(frozen=True)
class Encoder:
    """Which network is trained.

    Attributes:
        preset: ``tiny`` or one of the published sizes, untrained.
        start: folder written by ``save_pretrained``, or an official checkpoint file, whose weights and sizes are taken
            instead.
        image_px: side of the square input, pixels.
        initial_depth: what a fresh network says everywhere, in the units of training; about the typical depth.
    """

    preset: Literal["tiny", "vitl_224_linear", "vitl_512_linear", "vitl_512_dpt"] = "tiny"
    start: str | None = None
    image_px: int = 128
    initial_depth: float = 2.0


@dataclass(frozen=True)
class Dust3rRecipe:
    """Training of DUSt3R.

    Attributes:
        data: where the views come from.
        output: what is written, and when.
        encoder: which network is trained.
        sampling: how the views of a sample are chosen.
        optimisation: how it is trained.
        seed: of the initial weights, the samples and the colour jitter.
    """

    data: PosedViews
    output: Output
    encoder: Encoder = field(default_factory=Encoder)
    sampling: Sampling = field(default_factory=Sampling)
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0

    def __post_init__(self) -> None:
        check_image_px(self.encoder.image_px)
        if self.sampling.views < 2:
            raise ValueError(f"sampling.views is {self.sampling.views}, expected at least 2")


class Dust3rTraining(ReconstructionTraining):
    """One run of DUSt3R."""

    model: Dust3rModel
    recipe: Dust3rRecipe

    def __init__(self, recipe: Dust3rRecipe) -> None:
        self.recipe = recipe
        super().__init__(recipe, recipe.encoder.image_px, min_views=2)

    def build_model(self) -> Dust3rModel:
        """The network that the recipe starts from."""
        how = self.recipe.encoder
        return dust3r_to_train(how.start, how.preset, how.image_px, how.initial_depth, self.recipe.seed)

    def samples(self, scenes: list[SceneViews], purpose: str, with_cameras: bool) -> ViewSets:
        """Views around anchors."""
        return ViewSets(scenes, self.recipe.sampling, self.recipe.seed, purpose, with_cameras)

    @property
    def min_overlap(self) -> float:
        """From the recipe."""
        return self.recipe.sampling.min_overlap

    def loss(self, pixel_values: Tensor, batch: Mapping[str, Tensor], pixels: PixelGrid) -> dict[str, Tensor]:
        """DUSt3R's confidence loss, on metres or on what is left when each sample's scale is taken out."""
        with self.accelerator.autocast():
            output = self.prepared(pixel_values, pixels=pixels)
        predicted, points, valid = output.pointmaps, batch["points"], batch["valid"]
        if self.settings.normalise == "scale":
            predicted = divide(predicted, mean_distance(predicted, valid))
            points = divide(points, mean_distance(points, valid))
        loss = confidence_loss(predicted, output.confidence, points, valid, self.settings.alpha)
        return {"loss": loss, "confidence": output.confidence.mean()}

    def predict(self, pixel_values: Tensor) -> Pointmaps:
        """All views at once, each paired with the first."""
        return self.model(pixel_values).pointmaps


def train(recipe: Dust3rRecipe) -> dict[str, float]:
    """Runs the recipe to its end, taking up a checkpoint where there is one; returns the held-out figures."""
    Path(recipe.output.folder).mkdir(parents=True, exist_ok=True)
    return run_to_the_end(Dust3rTraining(recipe))


if __name__ == "__main__":
    run_recipe_command(Dust3rRecipe, train, "spatialvlm.training.reconstruction.train_dust3r")
