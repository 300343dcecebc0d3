"""Training of the chunk encoders: NTXent over random chunks, watched by what the nearest neighbours look like.

Example: ``python -m spatialvlm.training.retrieval.encoders recipes/retrieval_encoders_rooms.yaml``
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.contrastive import iou_matrix, nt_xent
from geometry_encoders.retrieval.encoders import ChunkEncoder, ChunkEncoderConfig
from geometry_encoders.retrieval.scale import preset_scale
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.retrieval.chunk_pairs import ChunkPairs, shuffled_batches
from spatialvlm.training.retrieval.encoder_recipe import EncoderOutputs, EncoderRecipe
from spatialvlm.training.retrieval.sources import split_scenes
from spatialvlm.training.seeding import torch_generator
from spatialvlm.training.watched_run import WatchedRun


class EncoderTraining(WatchedRun):
    """One run over the windows of a recipe."""

    model: ChunkEncoder
    unit = "chunks"

    def __init__(self, recipe: EncoderRecipe) -> None:
        self.recipe = recipe
        folder = Path(recipe.output.folder)
        accelerator = Accelerator(log_with="tensorboard", project_dir=str(folder))
        store = WindowStore(Path(recipe.data.windows))
        self.scale = preset_scale(recipe.data.scale)
        train, held_out = split_scenes(store.scenes(), recipe.data.held_out)
        if not train or not held_out:
            raise InputError(
                f"{store.folder}: {len(train)} scenes to learn from and {len(held_out)} held out, expected some of both"
            )
        config = ChunkEncoderConfig(**asdict(recipe.encoder), scale=asdict(self.scale))
        self.layout = ChunkLayout.of(config)
        data, seed = recipe.data, recipe.seed
        self.train_windows = WindowDataset(store, self.scale, train, data.num_points, seed, keep_empty=False)
        self.held_out = WindowDataset(store, self.scale, held_out, data.num_points, seed, keep_empty=False)
        self.pairs = ChunkPairs(self.train_windows, self.layout, data.preload)
        set_seed(recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(ChunkEncoder(config), recipe.optimisation, accelerator, folder)

    # ---- training ----------------------------------------------------------------------------------------------------

    def train_step(self, chosen: Tensor) -> dict[str, float]:
        """One optimiser step on those chunks; negatives come from the chunks of this process."""
        rate, accelerator = self.set_learning_rate(), self.accelerator
        mine = chosen[accelerator.process_index :: accelerator.num_processes]
        batch = {name: value.to(accelerator.device) for name, value in self.pairs.batch(mine).items()}
        output = self.prepared(batch["input"], batch["target"])
        loss = nt_xent(
            output.input_embeddings,
            output.target_embeddings,
            self.recipe.contrast.temperature,
            self.overlaps(batch["target"]) if self.recipe.contrast.iou else None,
        )
        similarity = (output.input_embeddings @ output.target_embeddings.T).detach()
        found = (similarity.argmax(1) == torch.arange(len(similarity), device=similarity.device)).float().mean()
        norm = self.descend(loss)
        return {"loss": loss.item(), "found": found.item(), "norm": norm, "lr": rate}

    def overlaps(self, targets: Tensor) -> Tensor:
        """IoU of normalised target chunks, context included."""
        return iou_matrix(self.scale.denormalise_target(targets) <= self.scale.occupied)

    # ---- what the nearest neighbours look like -----------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Figures on held-out windows whose chunks are replaced by their nearest train chunk.

        ``iou`` is that of occupied voxels, averaged over windows; ``iou_by_target`` where the truth itself asks (the
        best that the target encoder allows), ``iou_nothing_learned`` where the nearest low-resolution chunk is taken.
        """
        self.model.eval()
        options = self.recipe.output
        generator = torch_generator(self.recipe.seed, "evaluation")
        kept = torch.randperm(len(self.pairs), generator=generator)[: options.eval_chunks]
        windows = torch.randperm(len(self.held_out), generator=generator)[: options.eval_windows].tolist()
        embeddings, raw, occupied = self._dictionary(kept)
        sums = dict.fromkeys(("iou", "iou_by_target", "iou_nothing_learned"), 0.0)
        for index in windows:
            item = self.held_out[index]
            inputs = self.layout.input_chunks(item["input"][None], self.scale)
            targets = self.layout.target_chunks(item["target"][None], self.scale)
            asked = self._embedded(inputs, targets)
            truth = self.layout.crop(targets[:, 0])
            truth = self.scale.denormalise_target(truth) <= self.scale.occupied
            nearest = {
                "iou": (asked[0] @ embeddings.T).argmax(1),
                "iou_by_target": (asked[1] @ embeddings.T).argmax(1),
                "iou_nothing_learned": torch.cdist(inputs.flatten(1), raw).argmin(1),
            }
            for name, rows in nearest.items():
                both, either = (truth & occupied[rows]).sum(), (truth | occupied[rows]).sum()
                sums[name] += float(both / (either + 1e-5))
        self.model.train()
        return {name: total / len(windows) for name, total in sums.items()}

    def _dictionary(self, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Target embeddings, flattened inputs and occupied voxels of those train chunks."""
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for rows in kept.split(128):
            batch = self.pairs.batch(rows)
            _, embeddings = self._embedded(batch["input"], batch["target"])
            distances = self.scale.denormalise_target(self.layout.crop(batch["target"][:, 0]))
            parts.append((embeddings, batch["input"].flatten(1), distances <= self.scale.occupied))
        embeddings, raw, occupied = (torch.cat(part) for part in zip(*parts, strict=True))
        return embeddings, raw, occupied

    def _embedded(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        device = self.accelerator.device
        output = self.model(inputs.to(device), targets.to(device))
        return output.input_embeddings.cpu(), output.target_embeddings.cpu()

    # ---- the run -----------------------------------------------------------------------------------------------------

    @property
    def pace(self) -> EncoderOutputs:
        """How often to write and to look."""
        return self.recipe.output

    def train_batches(self) -> Iterator[Tensor]:
        """Numbers of the chunks of every batch from the current step on."""
        settings = self.recipe.optimisation
        per_epoch = len(self.pairs) // settings.batch_size
        for chosen in shuffled_batches(
            len(self.pairs), settings.batch_size, self.step, settings.max_steps, self.recipe.seed
        ):
            self.train_windows.set_epoch(self.step // per_epoch)
            yield chosen

    def save(self, figures: dict[str, float]) -> dict[str, float]:
        """Writes the encoders as a transformers folder and the figures beside it."""
        self.model.save_pretrained(self.folder / "encoder")
        report: dict[str, Any] = {
            **figures,
            "steps": self.step,
            "chunks_seen": self.step * self.recipe.optimisation.batch_size,
            "seconds": round(self.elapsed_s, 1),
            "train_chunks": len(self.pairs),
            "train_windows": len(self.train_windows),
            "held_out_scenes": sorted({sample.scene for sample in self.held_out.samples}),
            "recipe": asdict(self.recipe),
        }
        (self.folder / "report.json").write_text(json.dumps(report, indent=1))
        return figures


def train_encoders(recipe: EncoderRecipe) -> dict[str, float]:
    """Trains by that recipe, taking up a checkpoint where there is one; returns the held-out figures."""
    return EncoderTraining(recipe).run()


if __name__ == "__main__":
    run_recipe_command(EncoderRecipe, train_encoders, "spatialvlm.training.retrieval.encoders")
