"""Dense pretraining of the vision tower on the renderer's labels: category and depth of every cell of the picture.

Run: ``accelerate launch -m spatialvlm.training.pretrain_vision recipes/vision_tiny.yaml [section.key=value ...]``
or plain ``python -m``. Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from transformers import SiglipVisionConfig, SiglipVisionModel

from spatialvlm.training.build_model import load_tower
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.schedule import learning_rate_factor, progress
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


class DensePretraining:
    """One run: the model, its optimiser, the data and where the run stands."""

    def __init__(self, recipe: VisionRecipe) -> None:
        self.recipe = recipe
        self.folder = Path(recipe.output.folder)
        self.accelerator = Accelerator(
            mixed_precision="bf16" if recipe.optimisation.precision == "bf16" else "no",
            log_with="tensorboard",
            project_dir=str(self.folder),
        )
        grid = LabelGrid(recipe.tower.image_size, recipe.data.cell_px)
        with self.accelerator.main_process_first():
            workers = recipe.data.workers
            self.views = cached_labels(Path(recipe.data.scenes), self.folder / "cache", grid, workers)
        data = recipe.data
        self.train, self.held_out = split_views(self.views, data.held_out, data.max_eval_views, recipe.seed)
        torch.manual_seed(recipe.seed)
        config = SiglipVisionConfig(**asdict(recipe.tower), vision_use_head=False)
        if self.accelerator.device.type == "cpu":
            config._attn_implementation = "eager"  # the fused kernel takes half of a bf16 step there
        tower = SiglipVisionModel(config)
        if recipe.init_from is not None:
            load_tower(tower, recipe.init_from, "init_from")
        classes, per_token = 1 + len(self.views.names), recipe.tower.patch_size // recipe.data.cell_px
        self.model = DenseLabelModel(tower, classes, per_token)
        cells = np.bincount(self.views.categories[self.train].ravel(), minlength=classes)
        how = recipe.optimisation
        self.class_weights = class_weights(cells, how.class_balance, how.background_weight)
        self.class_weights = self.class_weights.to(self.accelerator.device)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.model.parameters() if p.ndim >= 2]},
            {"params": [p for p in self.model.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=recipe.optimisation.learning_rate,
            weight_decay=recipe.optimisation.weight_decay,
            fused=True,
        )
        self.prepared, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.step, self.elapsed_s = 0, 0.0

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
        done = progress(self.step, settings.max_steps, self.elapsed_s / 60, settings.max_minutes)
        rate = settings.learning_rate * learning_rate_factor(settings.schedule, done, settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = batch_rows(self.train, self.step, settings.batch_size, self.recipe.seed)
        images, categories, log_depth = self.batch(rows[accelerator.process_index :: accelerator.num_processes])
        generator = torch_generator(self.recipe.seed, "jitter", self.step, accelerator.process_index)
        images = jitter_colours(images, settings.colour_jitter, generator)
        images, categories, log_depth = zoom_in(images, categories, log_depth, settings.max_zoom, generator)
        with accelerator.autocast():
            logits, depth = self.prepared(normalise(images))
        loss = dense_loss(logits, depth, categories, log_depth, self.class_weights)
        accelerator.backward(loss.total)
        accelerator.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
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

    def save_checkpoint(self) -> None:
        """Writes all that an exact continuation needs, replacing the old checkpoint in one move."""
        if not self.accelerator.is_main_process:
            return
        state: dict[str, Any] = {"step": self.step, "elapsed_s": self.elapsed_s, "model": self.model.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "names": list(self.views.names)}
        partial = self.folder / "checkpoint.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "checkpoint.pt")

    def resume(self) -> None:
        """Takes up the checkpoint in the output folder, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True, map_location="cpu")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]

    def finished(self) -> bool:
        """Whether the budget of steps or minutes is used up."""
        settings = self.recipe.optimisation
        return progress(self.step, settings.max_steps, self.elapsed_s / 60, settings.max_minutes) >= 1.0

    def run(self) -> dict[str, float]:
        """Trains to the end of the budget and saves the tower; returns the held-out figures."""
        output, accelerator = self.recipe.output, self.accelerator
        self.resume()
        accelerator.init_trackers("logs")
        bar = tqdm(total=self.recipe.optimisation.max_steps, initial=self.step, unit="step", disable=None)
        before_s, started = self.elapsed_s, time.monotonic()
        try:
            while not self.finished():
                terms = self.train_step()
                self.elapsed_s = before_s + time.monotonic() - started
                bar.update()
                if self.step % 10 == 0:
                    bar.set_postfix({key: f"{value:.3g}" for key, value in terms.items()})
                    accelerator.log({f"train/{key}": value for key, value in terms.items()}, step=self.step)
                if self.step % output.eval_steps == 0 and not self.finished():
                    self.report(self.evaluate())
                if self.step % output.save_steps == 0:
                    self.save_checkpoint()
        finally:
            bar.close()
            self.save_checkpoint()
        figures = self.evaluate()
        self.report(figures)
        if accelerator.is_main_process:
            self.save(figures)
        accelerator.end_training()
        return figures

    def report(self, figures: dict[str, float]) -> None:
        """Logs held-out figures and prints them as one line."""
        self.accelerator.log({f"held_out/{key}": value for key, value in figures.items()}, step=self.step)
        seen = self.step * self.recipe.optimisation.batch_size
        text = ", ".join(f"{key} {value:.4f}" for key, value in figures.items())
        self.accelerator.print(f"step {self.step}, {seen:,} views, {self.elapsed_s:.0f} s: held out {text}", flush=True)

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
