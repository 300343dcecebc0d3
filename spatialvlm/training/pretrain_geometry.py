"""Pretraining of a DUSt3R encoder on posed RGB-D views: pointmaps of every view in the frame of the first one.

Run: ``accelerate launch -m spatialvlm.training.pretrain_geometry recipes/geometry_tiny.yaml [section.key=value ...]``
or plain ``python -m``. Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction import Dust3rConfig, Dust3rModel
from geometry_encoders.reconstruction.dust3r.linear_head import RAW_CHANNELS, LinearHead
from geometry_encoders.reconstruction.dust3r.postprocess import raw_length
from geometry_encoders.reconstruction.dust3r.presets import PRESETS
from geometry_encoders.reconstruction.losses import confidence_loss, divide, mean_distance
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.geometry_eval import geometry_errors
from spatialvlm.training.geometry_samples import PixelGrid, Sampling, ViewSets, held_out_split, pixel_subset
from spatialvlm.training.geometry_views import ViewCacheKey, cached_views
from spatialvlm.training.schedule import ScheduleName, learning_rate_factor, progress
from spatialvlm.training.seeding import numpy_generator, torch_generator
from spatialvlm.training.vision_head import jitter_colours

Normalise = Literal["metric", "scale"]


@dataclass(frozen=True)
class Encoder:
    """Which network is trained.

    Attributes:
        preset: ``tiny`` or one of the published sizes, untrained.
        start: folder written by ``save_pretrained`` whose weights and sizes are taken instead.
        image_px: side of the square input, pixels.
        initial_depth: what a fresh network says everywhere, in the units of training; about the typical depth.
    """

    preset: Literal["tiny", "vitl_224_linear", "vitl_512_linear", "vitl_512_dpt"] = "tiny"
    start: str | None = None
    image_px: int = 128
    initial_depth: float = 2.0


@dataclass(frozen=True)
class PosedViews:
    """Where the views come from.

    Attributes:
        scenes: folder of the dataset.
        reader: name of its reader; every view must have a depth map.
        max_views: at most that many views per scene, evenly spaced.
        held_out: share of the scenes kept for evaluation, chosen by a hash of the scene id.
        eval_samples: samples drawn from the held-out scenes, always the same.
        decode_workers: processes that decode pictures on first use.
        load_workers: processes that assemble batches; 0 does it in the training process.
    """

    scenes: str
    reader: str = "synthetic"
    max_views: int = 64
    held_out: float = 0.05
    eval_samples: int = 256
    decode_workers: int = 1
    load_workers: int = 0


@dataclass(frozen=True)
class Optimisation:
    """How the encoder is trained.

    Attributes:
        max_steps: optimiser steps.
        max_minutes: wall-clock budget; the schedule then follows the larger share of steps and minutes.
        batch_size: samples per step over all processes.
        learning_rate: peak of the schedule.
        schedule: shape of the decay.
        warmup: share of the run with a rising rate.
        weight_decay: of AdamW, on matrices only.
        max_grad_norm: gradients are clipped to this norm.
        normalise: ``metric`` trains on metres, ``scale`` divides prediction and truth by their own mean distance.
        alpha: reward for confidence.
        pixel_stride: the loss looks at every so manyth row and column, from a start that changes with every step.
        colour_jitter: largest relative change of brightness, contrast and channel gains.
        precision: ``bf16`` computes under autocast, ``no`` in float32.
    """

    max_steps: int = 10000
    max_minutes: float | None = None
    batch_size: int = 16
    learning_rate: float = 5e-4
    schedule: ScheduleName = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    normalise: Normalise = "metric"
    alpha: float = 0.2
    pixel_stride: int = 4
    colour_jitter: float = 0.2
    precision: Literal["bf16", "no"] = "bf16"


@dataclass(frozen=True)
class Output:
    """What is written, and when.

    Attributes:
        folder: receives encoder/, the TensorBoard logs, the decoded cache, the checkpoint and report.json.
        eval_minutes: minutes between evaluations on held-out scenes.
        save_minutes: minutes between checkpoints.
    """

    folder: str
    eval_minutes: float = 5.0
    save_minutes: float = 2.0


@dataclass(frozen=True)
class GeometryRecipe:
    """Pretraining of a geometry encoder.

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
        if self.encoder.image_px % 16:
            raise ValueError(f"encoder.image_px is {self.encoder.image_px}, expected a multiple of 16")
        if self.sampling.views < 2:
            raise ValueError(f"sampling.views is {self.sampling.views}, expected at least 2")


def build_encoder(choice: Encoder, seed: int) -> Dust3rModel:
    """The network to train, with weights that depend on ``seed`` only or come from ``choice.start``."""
    if choice.start is not None:
        if not (Path(choice.start) / "config.json").is_file():
            raise InputError(f"{choice.start}: no config.json inside, expected a folder written by save_pretrained")
        return Dust3rModel.from_pretrained(choice.start)
    config: Dust3rConfig = PRESETS[choice.preset]()
    config.image_size = (choice.image_px, choice.image_px)
    torch.manual_seed(seed)
    model = Dust3rModel(config)
    start_at_depth(model, choice.initial_depth)
    return model


@torch.no_grad()
def start_at_depth(model: Dust3rModel, depth: float) -> None:
    """Sets the heads' biases to points at that depth straight ahead, which spares training the way there."""
    for head in (model.downstream_head1, model.downstream_head2):
        bias = head.proj.bias if isinstance(head, LinearHead) else head.dpt.raw_bias
        bias.view(RAW_CHANNELS, -1)[2] = raw_length(depth, model.config.depth_mode)


class GeometryPretraining:
    """One run: the model, its optimiser, the data and where the run stands."""

    def __init__(self, recipe: GeometryRecipe) -> None:
        self.recipe = recipe
        self.folder = Path(recipe.output.folder)
        settings, data = recipe.optimisation, recipe.data
        self.accelerator = Accelerator(
            mixed_precision=settings.precision, log_with="tensorboard", project_dir=str(self.folder)
        )
        key = ViewCacheKey(data.reader, str(Path(data.scenes).resolve()), recipe.encoder.image_px, data.max_views)
        with self.accelerator.main_process_first():
            scenes, self.skipped = cached_views(key, self.folder / "cache", data.decode_workers)
        self.train, self.held_out = held_out_split(scenes, data.held_out)
        self.model = build_encoder(recipe.encoder, recipe.seed)
        if self.accelerator.device.type == "cpu":
            self.model.set_attn_implementation("eager")  # the fused kernel's backward pass is slow in bf16 there
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.model.parameters() if p.ndim >= 2]},
            {"params": [p for p in self.model.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay, fused=True
        )
        self.prepared, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.step, self.elapsed_s = 0, 0.0

    # ---- data --------------------------------------------------------------------------------------------------------

    def train_batches(self) -> Iterator[dict[str, Tensor]]:
        """This process's share of every batch from the current step on."""
        batch, rank, world = (
            self.recipe.optimisation.batch_size,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        samples = ViewSets(self.train, self.recipe.sampling, self.recipe.seed, "train")
        numbers = (
            [(number, self.pixels(step)) for number in range(step * batch + rank, (step + 1) * batch, world)]
            for step in range(self.step, self.recipe.optimisation.max_steps)
        )
        yield from DataLoader(samples, batch_sampler=numbers, num_workers=self.recipe.data.load_workers)

    def pixels(self, step: int) -> PixelGrid:
        """The pixels that the loss of that step looks at."""
        return pixel_subset(self.recipe.optimisation.pixel_stride, numpy_generator(self.recipe.seed, "pixels", step))

    def to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch on the device with pictures (batch, views, 3, px, px) in 0-1."""
        moved = {name: value.to(self.accelerator.device, non_blocking=True) for name, value in batch.items()}
        moved["pixel_values"] = moved["pixel_values"].permute(0, 1, 4, 2, 3).float() / 255
        return moved

    # ---- training ----------------------------------------------------------------------------------------------------

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        settings, accelerator = self.recipe.optimisation, self.accelerator
        done = progress(self.step, settings.max_steps, self.elapsed_s / 60, settings.max_minutes)
        rate = settings.learning_rate * learning_rate_factor(settings.schedule, done, settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self.to_device(batch)
        generator = torch_generator(self.recipe.seed, "jitter", self.step, accelerator.process_index)
        flat = batch["pixel_values"].flatten(0, 1)
        flat = jitter_colours(flat, settings.colour_jitter, generator)
        pixel_values = (flat * 2 - 1).unflatten(0, batch["valid"].shape[:2])
        with accelerator.autocast():
            output = self.prepared(pixel_values, pixels=self.pixels(self.step))
        predicted, points, valid = output.pointmaps, batch["points"], batch["valid"]
        if settings.normalise == "scale":
            predicted = divide(predicted, mean_distance(predicted, valid))
            points = divide(points, mean_distance(points, valid))
        loss = confidence_loss(predicted, output.confidence, points, valid, settings.alpha)
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
        if not torch.isfinite(loss.detach()):
            raise InputError(f"step {self.step}: the loss is {loss.item()}, expected a number; lower the learning rate")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return {"loss": loss.item(), "confidence": output.confidence.mean().item(), "norm": float(norm), "lr": rate}

    @torch.no_grad()
    def evaluate(self, batch_size: int = 16) -> dict[str, float]:
        """Errors on the fixed samples of the held-out scenes (computed by the main process only)."""
        samples = ViewSets(self.held_out, self.recipe.sampling, self.recipe.seed, "held out")
        numbers = [
            list(range(start, min(start + batch_size, self.recipe.data.eval_samples)))
            for start in range(0, self.recipe.data.eval_samples, batch_size)
        ]
        loader = DataLoader(samples, batch_sampler=numbers)
        self.model.eval()

        def predictions() -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
            for batch in map(self.to_device, loader):
                with self.accelerator.autocast():
                    output = self.model(batch["pixel_values"] * 2 - 1)
                yield output.pointmaps, batch["points"], batch["valid"], batch["overlap"]

        normalise = self.recipe.optimisation.normalise == "scale"
        figures = geometry_errors(predictions(), normalise, self.recipe.sampling.min_overlap)
        self.model.train()
        return figures

    def finished(self) -> bool:
        """Whether the budget of steps or minutes is used up."""
        settings = self.recipe.optimisation
        return progress(self.step, settings.max_steps, self.elapsed_s / 60, settings.max_minutes) >= 1.0

    def run(self) -> dict[str, float]:
        """Trains to the end of the budget and saves the encoder; returns the held-out figures."""
        output, accelerator = self.recipe.output, self.accelerator
        self.resume()
        accelerator.init_trackers("logs")
        self.model.train()
        bar = tqdm(total=self.recipe.optimisation.max_steps, initial=self.step, unit="step", disable=None)
        clock = _Clock(self.elapsed_s)
        save_due, eval_due = clock.every(output.save_minutes), clock.every(output.eval_minutes)
        try:
            for batch in self.train_batches():
                if self.finished():
                    break
                terms = self.train_step(batch)
                self.elapsed_s = self._agreed(clock.seconds())
                bar.update()
                if self.step % 10 == 0:
                    bar.set_postfix({name: f"{value:.3g}" for name, value in terms.items()})
                    accelerator.log({f"train/{name}": value for name, value in terms.items()}, step=self.step)
                if save_due():
                    self.save_checkpoint()
                if eval_due() and accelerator.is_main_process:
                    self.report(self.evaluate())
        finally:
            bar.close()
            self.save_checkpoint()
        figures: dict[str, float] = {}
        if accelerator.is_main_process:
            figures = self.evaluate()
            self.report(figures)
            self.save(figures)
        accelerator.end_training()
        return figures

    def _agreed(self, seconds: float) -> float:
        """The main process's clock, so that all processes end at the same step."""
        if self.accelerator.num_processes == 1 or self.recipe.optimisation.max_minutes is None:
            return seconds
        value = torch.tensor(seconds if self.accelerator.is_main_process else 0.0, device=self.accelerator.device)
        return float(self.accelerator.reduce(value, reduction="sum"))

    # ---- files -------------------------------------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Writes all that an exact continuation needs, replacing the old checkpoint in one move."""
        if not self.accelerator.is_main_process:
            return
        state: dict[str, Any] = {"step": self.step, "elapsed_s": self.elapsed_s, "model": self.model.state_dict()}
        state["optimizer"] = self.optimizer.state_dict()
        partial = self.folder / "checkpoint.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "checkpoint.pt")

    def resume(self) -> None:
        """Takes up the checkpoint in the output folder, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True, map_location="cpu")
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise InputError(
                f"{path}: holds an encoder of other sizes than the recipe's; give another output.folder"
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]

    def report(self, figures: dict[str, float]) -> None:
        """Logs held-out figures and prints them as one line."""
        self.accelerator.log({f"held_out/{name}": value for name, value in figures.items()}, step=self.step)
        seen = self.step * self.recipe.optimisation.batch_size
        text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.accelerator.print(f"step {self.step}, {seen:,} samples, {self.elapsed_s:.0f} s: {text}", flush=True)

    def save(self, figures: dict[str, float]) -> None:
        """Writes the encoder as a transformers folder and the figures beside it."""
        self.model.save_pretrained(self.folder / "encoder")
        report = {
            **figures,
            "steps": self.step,
            "samples_seen": self.step * self.recipe.optimisation.batch_size,
            "seconds": round(self.elapsed_s, 1),
            "train_scenes": len(self.train),
            "held_out_scenes": [scene.scene_id for scene in self.held_out],
            "skipped_scenes": self.skipped,
            "recipe": asdict(self.recipe),
        }
        (self.folder / "report.json").write_text(json.dumps(report, indent=1))


class _Clock:
    """Seconds of training, those before a resume included."""

    def __init__(self, before_s: float) -> None:
        self._before_s, self._started = before_s, time.monotonic()

    def seconds(self) -> float:
        return self._before_s + time.monotonic() - self._started

    def every(self, minutes: float) -> Callable[[], bool]:
        """A question that is answered yes once per so many minutes."""
        last = self.seconds()

        def due() -> bool:
            nonlocal last
            if self.seconds() - last < minutes * 60:
                return False
            last = self.seconds()
            return True

        return due


def pretrain(recipe: GeometryRecipe) -> dict[str, float]:
    """Runs the recipe to its end, taking up a checkpoint where there is one; returns the held-out figures."""
    Path(recipe.output.folder).mkdir(parents=True, exist_ok=True)
    run = GeometryPretraining(recipe)
    for scene_id, reason in run.skipped.items():
        run.accelerator.print(f"skipped {scene_id}: {reason}")
    return run.run()


if __name__ == "__main__":
    run_recipe_command(GeometryRecipe, pretrain, "spatialvlm.training.pretrain_geometry")
