"""One training run of a network that reconstructs: batches of posed views, the loop, evaluation, files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from geometry_encoders.reconstruction.dust3r.linear_head import LinearHead
from geometry_encoders.reconstruction.pointmap_model import PixelGrid
from spatialvlm.training.reconstruction.augmentation import jitter_colours
from spatialvlm.training.reconstruction.curriculum import window_ratio
from spatialvlm.training.reconstruction.evaluation import Pointmaps, geometry_errors
from spatialvlm.training.reconstruction.recipe import Optimisation, Output, PosedViews
from spatialvlm.training.reconstruction.samples import Samples, held_out_split, pixel_subset
from spatialvlm.training.reconstruction.views import SceneViews, ViewCacheKey, cached_views
from spatialvlm.training.seeding import numpy_generator, torch_generator
from spatialvlm.training.watched_run import WatchedRun

BETAS = (0.9, 0.95)  # of AdamW, as DUSt3R and Spann3R were trained


class ReconstructionRecipe(Protocol):
    """What the recipes of all reconstruction networks have."""

    @property
    def data(self) -> PosedViews: ...
    @property
    def output(self) -> Output: ...
    @property
    def optimisation(self) -> Optimisation: ...
    @property
    def seed(self) -> int: ...


class ReconstructionTraining(WatchedRun):
    """One run; subclasses say which network, which samples and which loss."""

    model: PreTrainedModel

    def __init__(self, recipe: ReconstructionRecipe, image_px: int, min_views: int) -> None:
        self.recipe, self.seed = recipe, recipe.seed
        self.settings, self.data, self.output = settings, data, output = recipe.optimisation, recipe.data, recipe.output
        folder = Path(output.folder)
        accelerator = Accelerator(mixed_precision=settings.precision, log_with="tensorboard", project_dir=str(folder))
        cache = Path(output.cache or folder / "cache")
        key = ViewCacheKey(data.reader, str(Path(data.scenes).resolve()), image_px, data.max_views, data.fit)
        with accelerator.main_process_first():
            scenes, self.skipped = cached_views(key, cache, data.decode_workers, min_views)
        self.train, self.held_out = held_out_split(scenes, data.held_out)
        model = self.build_model()
        if accelerator.device.type == "cpu":
            model.set_attn_implementation("eager")  # the fused kernel's backward pass is slow in bf16 there
        floor = settings.min_learning_rate
        super().__init__(model, settings, accelerator, folder, BETAS, self.called_in_training(model), floor)

    @property
    def pace(self) -> Output:
        """How often to write and to look."""
        return self.output

    # ---- what subclasses bring ---------------------------------------------------------------------------------------

    def build_model(self) -> PreTrainedModel:
        """The network to train."""
        raise NotImplementedError

    def heads(self, model: nn.Module) -> list[nn.Module]:
        """The linear heads of DUSt3R; its DPT heads hold no matrices."""
        return [module for module in model.modules() if isinstance(module, LinearHead)]

    def called_in_training(self, model: PreTrainedModel) -> nn.Module:
        """The module that a training step calls; wrapped for several processes."""
        return model

    def samples(self, scenes: list[SceneViews], purpose: str, with_cameras: bool) -> Samples:
        """The endless samples of those scenes."""
        raise NotImplementedError

    def loss(self, pixel_values: Tensor, batch: Mapping[str, Tensor], pixels: PixelGrid) -> dict[str, Tensor]:
        """Terms of the loss on pictures (batch, views, 3, px, px) in -1..1; ``loss`` is minimised, others are shown."""
        raise NotImplementedError

    def predict(self, pixel_values: Tensor) -> Pointmaps:
        """Points of every view in the frame of the first one, by the model as it is used after training."""
        raise NotImplementedError

    @property
    def min_overlap(self) -> float:
        """Share of the first view's points that another view must see to count as near in the figures."""
        raise NotImplementedError

    # ---- data --------------------------------------------------------------------------------------------------------

    def train_batches(self) -> Iterator[dict[str, Tensor]]:
        """This process's share of every batch from the current step on."""
        batch, accelerator = self.settings.batch_size, self.accelerator
        samples = self.samples(self.train, "train", with_cameras=False)

        def numbers() -> Iterator[list[tuple[int, PixelGrid, float]]]:
            for step in range(self.step, self.settings.max_steps):
                pixels, ratio = self.pixels(step), window_ratio(self.done(step))
                share = range(step * batch + accelerator.process_index, (step + 1) * batch, accelerator.num_processes)
                yield [(number, pixels, ratio) for number in share]

        yield from DataLoader(samples, batch_sampler=numbers(), num_workers=self.data.load_workers)

    def pixels(self, step: int) -> PixelGrid:
        """The pixels that the loss of that step looks at."""
        return pixel_subset(self.settings.pixel_stride, numpy_generator(self.seed, "pixels", step))

    def to_device(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The batch on the device with pictures (batch, views, 3, px, px) in 0-1."""
        moved = {name: value.to(self.accelerator.device, non_blocking=True) for name, value in batch.items()}
        moved["pixel_values"] = moved["pixel_values"].permute(0, 1, 4, 2, 3).float() / 255
        return moved

    # ---- training ----------------------------------------------------------------------------------------------------

    def train_step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        rate, place = self.set_learning_rate(), (self.step, self.accelerator.process_index)
        moved = self.to_device(batch)
        generator = torch_generator(self.seed, "jitter", *place)
        torch.manual_seed(torch_generator(self.seed, "dropout", *place).initial_seed())
        flat = moved["pixel_values"].flatten(0, 1)
        flat = jitter_colours(flat, self.settings.colour_jitter, self.settings.hue_jitter, generator)
        pixel_values = (flat * 2 - 1).unflatten(0, moved["valid"].shape[:2])
        terms = self.loss(pixel_values, moved, self.pixels(self.step))
        norm = self.descend(terms["loss"])
        return {name: value.item() for name, value in terms.items()} | {"norm": norm, "lr": rate}

    @torch.no_grad()
    def evaluate(self, batch_size: int = 16) -> dict[str, float]:
        """Errors on the fixed samples of the held-out scenes (computed by the main process only)."""
        samples = self.samples(self.held_out, "held out", with_cameras=True)
        count = self.data.eval_samples
        numbers = [list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]
        self.model.eval()

        def predictions() -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
            for batch in map(self.to_device, DataLoader(samples, batch_sampler=numbers)):
                with self.accelerator.autocast():
                    predicted = self.predict(batch["pixel_values"] * 2 - 1)
                yield predicted.float(), batch

        figures = geometry_errors(predictions(), self.settings.normalise == "scale", self.min_overlap)
        self.model.train()
        return figures

    def save(self, figures: dict[str, float]) -> dict[str, float]:
        """Writes the network as a transformers folder and the figures beside it."""
        self.model.save_pretrained(self.folder / "encoder")
        assert is_dataclass(self.recipe) and not isinstance(self.recipe, type)
        report: dict[str, Any] = {
            **figures,
            "steps": self.step,
            "samples_seen": self.step * self.settings.batch_size,
            "seconds": round(self.elapsed_s, 1),
            "train_scenes": len(self.train),
            "held_out_scenes": [scene.scene_id for scene in self.held_out],
            "skipped_scenes": self.skipped,
            "recipe": asdict(self.recipe),
        }
        (self.folder / "report.json").write_text(json.dumps(report, indent=1))
        return figures


def run_to_the_end(run: ReconstructionTraining) -> dict[str, float]:
    """Names the scenes that are left out and trains, taking up a checkpoint where there is one."""
    for scene_id, reason in run.skipped.items():
        run.accelerator.print(f"skipped {scene_id}: {reason}")
    return run.run()
