"""Training of the refinement network, phase by phase.

Example: ``python -m spatialvlm.training.retrieval.refinement recipes/retrieval_refinement_rooms.yaml``. Run the same
command again to go on after an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from geometry_encoders.errors import InputError
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.metrics import voxel_metrics
from geometry_encoders.retrieval.refinement import RetrievalFuseModel
from geometry_encoders.retrieval.refinement.losses import TrueShape
from geometry_encoders.retrieval.refinement.phases import Crop, Phase, phase_loss, phases_of, trained_parameters
from geometry_encoders.retrieval.retrieved import RetrievedWindows
from geometry_encoders.retrieval.scale import WINDOW, preset_scale
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.retrieval.refinement_recipe import RefinementOutputs, RefinementRecipe
from spatialvlm.training.retrieval.refinement_samples import RefinementSamples, epoch_batches
from spatialvlm.training.retrieval.sources import split_scenes
from spatialvlm.training.seeding import torch_generator
from spatialvlm.training.watched_run import WatchedRun

Batch = dict[str, Tensor]


class PhaseStep(nn.Module):
    """The loss of one phase as a module, so that several processes can share its gradients."""

    def __init__(self, model: RetrievalFuseModel, phase: Phase, recipe: RefinementRecipe) -> None:
        super().__init__()
        self.model, self.phase, self.recipe = model, phase, recipe

    def forward(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """``loss`` and the terms it is made of."""
        settings, scale = self.recipe.loss, self.model.scale
        target, crop = batch["target"], None
        if self.recipe.crop < WINDOW and self.model.training and generator is not None:
            crop = Crop.random(len(target), self.recipe.crop, generator)
            target = crop.of(target)
        with torch.autocast(target.device.type, enabled=False):
            faithful = self.recipe.network.faithful_weights
            true = TrueShape.of(target, scale, settings.weight_occupied, faithful)
        inputs = batch["inputs"], batch["retrieved"]
        found = phase_loss(self.model, self.phase, *inputs, true, settings, generator, crop)
        return {"loss": found.total, **found.terms}


class RefinementPhase(WatchedRun):
    """One phase of a run: some parts learn, the others stand still; the optimiser starts anew."""

    model: RetrievalFuseModel
    unit = "windows"

    def __init__(
        self,
        recipe: RefinementRecipe,
        phase: Phase,
        model: RetrievalFuseModel,
        samples: tuple[RefinementSamples, RefinementSamples],
        folder: Path,
    ) -> None:
        self.recipe, self.phase = recipe, phase
        self.train, self.held_out = samples
        folder.mkdir(parents=True, exist_ok=True)
        accelerator = Accelerator(mixed_precision=recipe.precision, log_with="tensorboard", project_dir=str(folder))
        model.requires_grad_(False)
        for weight in trained_parameters(model, phase):
            weight.requires_grad_(True)
        called = PhaseStep(model, phase, recipe)
        super().__init__(model, getattr(recipe.phases, phase), accelerator, folder, called=called)

    def take_over(self) -> dict[str, float]:
        """The weights and figures of this phase where an earlier run finished it; nothing where none did."""
        path = self.folder / "finished.json"
        if not path.is_file():
            return {}
        self.resume()
        return dict(json.loads(path.read_text()))

    def to_device(self, batch: Batch) -> Batch:
        """The batch where the network is."""
        return {name: value.to(self.accelerator.device, non_blocking=True) for name, value in batch.items()}

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the terms of the loss."""
        rate, place = self.set_learning_rate(), (self.step, self.accelerator.process_index)
        terms = self.prepared(self.to_device(batch), torch_generator(self.recipe.seed, "picks", self.phase, *place))
        norm = self.descend(terms["loss"])
        return {name: term.item() for name, term in terms.items()} | {"norm": norm, "lr": rate}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The loss and, where the phase decodes a shape, the quick measures on fixed held-out windows."""
        self.model.eval()
        sums: dict[str, float] = {}
        rows = range(min(self.recipe.output.eval_windows, len(self.held_out)))
        step = PhaseStep(self.model, self.phase, self.recipe)
        for batch in map(self.to_device, DataLoader(Subset(self.held_out, rows), batch_size=1)):
            with self.accelerator.autocast():
                figures = {"loss": float(step(batch, torch_generator(0, "evaluation"))["loss"])}
            if self.phase in ("unet", "full"):
                figures |= self._voxel_figures(batch)
            sums = {name: sums.get(name, 0.0) + value for name, value in figures.items()}
        self.model.train()
        return {name: value / len(rows) for name, value in sums.items()}

    def _voxel_figures(self, batch: Batch) -> dict[str, float]:
        with self.accelerator.autocast():
            if self.phase == "unet":
                network = self.model.decode(self.model.input_unet(batch["inputs"]))
            else:
                network = self.model(batch["inputs"], batch["retrieved"]).network
        scale = self.model.scale
        true = scale.denormalise_target(batch["target"])
        return asdict(voxel_metrics(scale.from_network(network.float()), true, scale.occupied))

    def train_batches(self) -> Iterator[Batch]:
        """This process's share of every batch from the current step on."""
        budget, accelerator = self.budget, self.accelerator
        rows = epoch_batches(
            len(self.train), budget.batch_size, self.step, budget.max_steps, self.recipe.seed, self.phase
        )
        mine = (batch[accelerator.process_index :: accelerator.num_processes] for batch in rows)
        yield from DataLoader(self.train, batch_sampler=mine, num_workers=self.recipe.data.load_workers)

    @property
    def pace(self) -> RefinementOutputs:
        """How often to write and to look."""
        return self.recipe.output

    @property
    def title(self) -> str:
        """The phase."""
        return self.phase

    def save(self, figures: dict[str, float]) -> dict[str, float]:
        """Writes the figures, which says that the phase is finished."""
        figures = figures | {"steps": self.step, "seconds": round(self.elapsed_s, 1)}
        (self.folder / "finished.json").write_text(json.dumps(figures, indent=1))
        return figures


def build_samples(recipe: RefinementRecipe) -> tuple[RefinementSamples, RefinementSamples]:
    """Windows to learn from and held-out windows, split by scene as for the encoders; empty windows are left out.

    Raises:
        InputError: no windows of one kind, or windows without retrieved candidates.
    """
    data, scale = recipe.data, preset_scale(recipe.data.scale)
    store = WindowStore(Path(data.windows))
    parts = split_scenes(store.scenes(), data.held_out, recipe.seed)
    retrieved = None if data.retrieved is None else RetrievedWindows(Path(data.retrieved))
    samples = []
    for scenes, kind in zip(parts, ("to learn from", "held out"), strict=True):
        windows = WindowDataset(store, scale, scenes, data.num_points, recipe.seed, keep_empty=False)
        if not len(windows):
            raise InputError(
                f"{store.folder}: no windows {kind}, expected some; build more scenes or change data.held_out"
            )
        samples.append(RefinementSamples(windows, retrieved, recipe.network.candidates))
    return samples[0], samples[1]


def build_model(recipe: RefinementRecipe) -> RetrievalFuseModel:
    """The network of the recipe with fresh weights, or those of ``start`` where names and shapes agree.

    Raises:
        InputError: ``start`` is no network, or shares no weights with the recipe's.
    """
    set_seed(recipe.seed)
    model = RetrievalFuseModel(recipe.network.config(recipe.data.scale))
    if recipe.start is None:
        return model
    known = load_own_folder(Path(recipe.start), RetrievalFuseModel).state_dict()
    own = model.state_dict()
    taken = {name: value for name, value in known.items() if name in own and own[name].shape == value.shape}
    if not taken:
        raise InputError(f"{recipe.start}: shares no weights with the network of the recipe")
    model.load_state_dict(taken, strict=False)
    return model


def train_refinement(recipe: RefinementRecipe) -> dict[str, dict[str, float]]:
    """Runs all phases, taking up checkpoints where there are any; returns the held-out figures of every phase."""
    folder = Path(recipe.output.folder)
    folder.mkdir(parents=True, exist_ok=True)
    samples, model = build_samples(recipe), build_model(recipe)
    figures: dict[str, dict[str, float]] = {}
    for number, name in enumerate(phases_of(model)):
        if name in recipe.skip:
            continue
        phase = RefinementPhase(recipe, name, model, samples, folder / f"phase_{number}_{name}")
        figures[name] = phase.take_over() or phase.run()
    model.requires_grad_(True)
    if Accelerator().is_main_process:
        model.eval().save_pretrained(folder / "model")
        report = {
            "phases": figures,
            "train_windows": len(samples[0]),
            "held_out_windows": len(samples[1]),
            "held_out_scenes": sorted({sample.scene for sample in samples[1].windows.samples}),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "recipe": asdict(recipe),
        }
        (folder / "report.json").write_text(json.dumps(report, indent=1))
    return figures


if __name__ == "__main__":
    run_recipe_command(RefinementRecipe, train_refinement, "spatialvlm.training.retrieval.refinement")
