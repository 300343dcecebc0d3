"""Dense pretraining of the vision tower on the renderer's labels: category and depth of every cell of the picture.

Run: ``accelerate launch -m spatialvlm.training.pretrain_vision recipes/vision_tiny.yaml [section.key=value ...]``
or plain ``python -m``. Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import SiglipVisionConfig, SiglipVisionModel

from spatialvlm.training.build_model import load_tower
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.pretraining import Clock, Pretraining
from spatialvlm.training.seeding import numpy_generator, torch_generator
from spatialvlm.training.vision_head import DenseLabelModel, class_weights, dense_loss, jitter_colours, zoom_in
from spatialvlm.training.vision_labels import LabelGrid, LabelledViews, cached_labels
from spatialvlm.training.vision_recipe import VisionRecipe


def split_views(
    views: LabelledViews, held_out: float, max_eval_views: int, seed: int
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " held_out"]]:
    """Rows for training and held-out rows; a scene is wholly on one side, chosen by a hash of its id.

    With two scenes or more, at least one is held out and at least one is not.
    """
    usable = np.unique(views.view_scenes[views.view_scenes >= 0])
    draws = np.array([numpy_generator(0, "held out", views.scene_ids[scene]).random() for scene in usable])
    count = min(max(int((draws < held_out).sum()), 1), len(usable) - 1)
    held_scenes = usable[np.argsort(draws)[:count]]
    is_held_out = np.isin(views.view_scenes, held_scenes)
    held = np.flatnonzero(is_held_out)
    if len(held) > max_eval_views:
        held = np.sort(numpy_generator(seed, "held-out views").choice(held, max_eval_views, replace=False))
    return np.flatnonzero((views.view_scenes >= 0) & ~is_held_out), held


def batch_rows(train: Int[np.ndarray, " train"], step: int, batch_size: int, seed: int) -> Int[np.ndarray, " batch"]:
    """Rows of the views of one step; every epoch is a fresh permutation that depends on (seed, epoch) only."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    rows = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(positions // len(train)):
        inside = positions // len(train) == epoch
        order = numpy_generator(seed, "epoch", int(epoch)).permutation(len(train))
        rows[inside] = train[order[positions[inside] % len(train)]]
    return rows


class DensePretraining(Pretraining):
    """One run: the tower with its label head, the labelled views, and where the run stands."""

    def __init__(self, recipe: VisionRecipe) -> None:
        self.recipe = recipe
        folder = Path(recipe.output.folder)
        accelerator = Accelerator(
            mixed_precision="bf16" if recipe.optimisation.precision == "bf16" else "no",
            log_with="tensorboard",
            project_dir=str(folder),
        )
        grid, data = LabelGrid(recipe.tower.image_size, recipe.data.cell_px), recipe.data
        with accelerator.main_process_first():
            self.views = cached_labels(Path(data.scenes), folder / "cache", grid, data.workers)
        self.train, self.held_out = split_views(self.views, data.held_out, data.max_eval_views, recipe.seed)
        self.model: DenseLabelModel = self._build(accelerator)
        cells = np.bincount(self.views.categories[self.train].ravel(), minlength=self.model.classes)
        how = recipe.optimisation
        self.class_weights = class_weights(cells, how.class_balance, how.background_weight).to(accelerator.device)
        super().__init__(self.model, how, accelerator, folder)

    def heads(self, model: nn.Module) -> list[nn.Module]:
        """The layer that reads labels off the tokens."""
        return [cast(DenseLabelModel, model).head]

    def _build(self, accelerator: Accelerator) -> DenseLabelModel:
        """The untrained network, or one that goes on from a tower."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        config = SiglipVisionConfig(**asdict(recipe.tower), vision_use_head=False)
        if accelerator.device.type == "cpu":
            config._attn_implementation = "eager"  # the fused kernel takes half of a bf16 step there
        tower = SiglipVisionModel(config)
        if recipe.init_from is not None:
            load_tower(tower, recipe.init_from, "init_from")
        return DenseLabelModel(tower, 1 + len(self.views.names), recipe.tower.patch_size // recipe.data.cell_px)

    def batch(self, rows: Int[np.ndarray, " batch"]) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures 0-1, categories and log depth of those rows, on the device."""
        device = self.accelerator.device
        images = torch.from_numpy(self.views.images[rows]).to(device).permute(0, 3, 1, 2).float() / 255
        categories = torch.from_numpy(self.views.categories[rows].astype(np.int64)).to(device)
        log_depth = torch.from_numpy(self.views.log_depth[rows].astype(np.float32)).to(device)
        return images, categories, log_depth

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        settings, accelerator = self.recipe.optimisation, self.accelerator
        rate = self.set_learning_rate()
        rows = batch_rows(self.train, self.step, settings.batch_size, self.recipe.seed)
        images, categories, log_depth = self.batch(rows[accelerator.process_index :: accelerator.num_processes])
        generator = torch_generator(self.recipe.seed, "jitter", self.step, accelerator.process_index)
        images = jitter_colours(images, settings.colour_jitter, generator)
        images, categories, log_depth = zoom_in(images, categories, log_depth, settings.max_zoom, generator)
        with accelerator.autocast():
            logits, depth = self.prepared(normalise(images))
        loss = dense_loss(logits, depth, categories, log_depth, self.class_weights)
        self.descend(loss.total)
        accuracy = loss.correct[1:].sum().item() / max(1, loss.cells[1:].sum().item())
        return {"loss": loss.total.item(), "log_depth": loss.log_depth.item(), "accuracy": accuracy, "lr": rate}

    @torch.no_grad()
    def evaluate(self, batch_size: int = 256) -> dict[str, float]:
        """Held-out share of foreground cells with the right category, its mean over categories, and log-depth error."""
        self.model.eval()
        totals = torch.zeros(2, self.model.classes + 1, dtype=torch.float64)
        share = self.held_out[self.accelerator.process_index :: self.accelerator.num_processes]
        for start in range(0, len(share), batch_size):
            images, categories, log_depth = self.batch(share[start : start + batch_size])
            with self.accelerator.autocast():
                logits, depth = self.model(normalise(images))
            loss = dense_loss(logits, depth, categories, log_depth, self.class_weights)
            found = torch.cat([loss.correct, (loss.log_depth * loss.depth_cells)[None]])
            totals += torch.stack([found, torch.cat([loss.cells, loss.depth_cells[None]])]).double().cpu()
        self.model.train()
        found, cells = self.accelerator.reduce(totals.to(self.accelerator.device)).cpu()
        right, known = found[1:-1], cells[1:-1]  # without background, and without depth
        shares = (right / known)[known > 0]
        return {
            "foreground_accuracy": float(right.sum() / known.sum().clamp(min=1)),
            "mean_category_accuracy": float(shares.mean()) if len(shares) else 0.0,
            "log_depth_error": float(found[-1] / cells[-1].clamp(min=1)),
        }

    def run(self) -> dict[str, float]:
        """Trains to the end of the budget and saves the tower; returns the held-out figures."""
        output, accelerator = self.recipe.output, self.accelerator
        self.resume()
        accelerator.init_trackers("logs")
        bar = tqdm(total=self.recipe.optimisation.max_steps, initial=self.step, unit="step", disable=None)
        clock = Clock(self.elapsed_s)
        try:
            while not self.finished():
                terms = self.train_step()
                self.elapsed_s = self.agreed_seconds(clock.seconds())
                bar.update()
                if self.step % 10 == 0:
                    bar.set_postfix({key: f"{value:.3g}" for key, value in terms.items()})
                    accelerator.log({f"train/{key}": value for key, value in terms.items()}, step=self.step)
                if self.step % output.eval_steps == 0 and not self.finished():
                    self.report(self.evaluate(), "views")
                if self.step % output.save_steps == 0:
                    self.save_checkpoint(names=list(self.views.names))
        finally:
            bar.close()
            self.save_checkpoint(names=list(self.views.names))
        figures = self.evaluate()
        self.report(figures, "views")
        if accelerator.is_main_process:
            self.save(figures)
        accelerator.end_training()
        return figures

    def save(self, figures: dict[str, float]) -> None:
        """Writes the tower as a transformers folder and the head beside it."""
        self.model.tower.save_pretrained(self.folder / "vision_tower")
        head = self.folder / "label_head"
        head.mkdir(exist_ok=True)
        save_file(self.model.head.state_dict(), head / "model.safetensors")
        (head / "labels.json").write_text(json.dumps({"background": 0, "names": list(self.views.names)}, indent=1))
        report = {
            **figures,
            "steps": self.step,
            "views_seen": self.step * self.recipe.optimisation.batch_size,
            "seconds": round(self.elapsed_s, 1),
            "train_views": len(self.train),
            "held_out_views": len(self.held_out),
            "skipped_scenes": self.views.skipped,
            "recipe": asdict(self.recipe),
        }
        (self.folder / "report.json").write_text(json.dumps(report, indent=1))


def normalise(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Pictures 0-1 scaled to -1..1, as the SigLIP image processor does."""
    return images * 2 - 1


def pretrain(recipe: VisionRecipe) -> dict[str, float]:
    """Runs the recipe to its end, taking up a checkpoint where there is one; returns the held-out figures."""
    Path(recipe.output.folder).mkdir(parents=True, exist_ok=True)
    run = DensePretraining(recipe)
    for scene_id, reason in run.views.skipped.items():
        run.accelerator.print(f"skipped {scene_id}: {reason}")
    return run.run()


if __name__ == "__main__":
    run_recipe_command(VisionRecipe, pretrain, "spatialvlm.training.pretrain_vision")
