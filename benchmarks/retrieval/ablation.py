"""The ablation of RetrievalFuse on held-out windows: nearest neighbour, U-Net, concatenation, attention.

Example: ``python -m benchmarks.retrieval.ablation recipes/retrieval_ablation_rooms.yaml --out outputs/ablation``.
Trains what is not trained yet, compares all variants on the same windows and writes ``ablation.json`` and
``ablation.md``. Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.retrieval.variants import train_variants
from geometry_encoders.errors import InputError
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.evaluation import COLUMNS, Tally, window_surface
from geometry_encoders.retrieval.refinement import RetrievalFuseModel
from geometry_encoders.retrieval.retrieved import RetrievedWindows
from geometry_encoders.retrieval.scale import WINDOW, GridScale, preset_scale
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.retrieval.refinement_recipe import RefinementRecipe
from spatialvlm.training.retrieval.sources import split_scenes

Window = Float[Tensor, "64 64 64"]


@dataclass(frozen=True)
class Seen:
    """What methods are given of a window, in the unit of the scale: its input, and candidates of two databases."""

    inputs: Float[Tensor, "side side side"]
    retrieved: Float[Tensor, "k 64 64 64"]
    retrieved_small: Float[Tensor, "k 64 64 64"] | None


Method = Callable[[Seen], Window]


def enlarged_input(inputs: Float[Tensor, "side side side"], scale: GridScale) -> Window:
    """The low-resolution field interpolated between its nodes, cut off like a target: what needs no learning."""
    step = scale.upsampling
    padded = F.pad(inputs[None, None], (0, 1) * 3, mode="replicate")  # the last node reaches one step further
    fine = F.interpolate(padded, size=(len(inputs) * step + 1,) * 3, mode="trilinear", align_corners=True)
    return fine[0, 0, :WINDOW, :WINDOW, :WINDOW].clamp(max=scale.truncation)


def network(model: RetrievalFuseModel, k: int, small: bool = False, half: bool = False) -> Method:
    """The network with the k best candidates of one of the databases; ``half`` computes under bf16 autocast."""
    scale = model.scale

    @torch.no_grad()
    def complete(seen: Seen) -> Window:
        candidates = seen.retrieved_small if small else seen.retrieved
        assert candidates is not None
        inputs, known = scale.normalise_input(seen.inputs), scale.normalise_target(candidates[:k])
        with torch.autocast(model.device.type, torch.bfloat16, enabled=half):
            return model(inputs[None, None], known[None]).distance[0]

    return complete


def methods(models: dict[str, RetrievalFuseModel], k: int, with_small: bool, half: bool) -> dict[str, Method]:
    """All that is compared, by the name in the table; k candidates where not said otherwise."""
    scale = models["attention"].scale
    attention, mixed = models["attention"], models["concatenation"]
    found: dict[str, Method] = {
        "input, interpolated": lambda seen: enlarged_input(seen.inputs, scale),
        "1-NN retrieval": lambda seen: seen.retrieved[0],
        "U-Net": network(models["unet"], 0, half=half),
        "concatenation": network(mixed, mixed.config.candidates, half=half),
        "attention": network(attention, k, half=half),
    }
    found |= {f"attention, k = {count}": network(attention, count, half=half) for count in range(k)}
    if with_small:
        found["1-NN retrieval, small database"] = lambda seen: seen.retrieved_small[0]  # type: ignore[index]
        found["attention, small database"] = network(attention, k, small=True, half=half)
    return found


def chosen_windows(recipe: RefinementRecipe, count: int) -> WindowDataset:
    """At most ``count`` held-out windows, evenly over the rooms; those without surface are left out."""
    store = WindowStore(Path(recipe.data.windows))
    held_out = split_scenes(store.scenes(), recipe.data.held_out, recipe.seed)[1]
    windows = WindowDataset(
        store, preset_scale(recipe.data.scale), held_out, recipe.data.num_points, recipe.seed, keep_empty=False
    )
    if not len(windows):
        raise InputError(f"{store.folder}: no held-out windows, expected some; see data.held_out")
    step = max(len(windows) / count, 1.0)
    windows.samples = [windows.samples[int(number * step)] for number in range(min(count, len(windows)))]
    return windows


@dataclass(frozen=True)
class Comparison:
    """What the processes of a comparison need to know.

    Attributes:
        recipe: says which windows there are, and in which precision networks compute.
        models: folders of the variants.
        small: folder of candidates from a smaller database.
        windows: how many held-out windows.
        samples: surface points per mesh.
    """

    recipe: RefinementRecipe
    models: dict[str, Path]
    small: Path | None
    windows: int
    samples: int

    def part(self, number: int, parts: int) -> dict[str, Tally]:
        """The figures of every method on every ``parts``-th window from ``number`` on."""
        torch.set_num_threads(1)
        assert self.recipe.data.retrieved is not None
        windows = chosen_windows(self.recipe, self.windows)
        windows.samples = windows.samples[number::parts]
        retrieved = RetrievedWindows(Path(self.recipe.data.retrieved))
        small = None if self.small is None else RetrievedWindows(self.small)
        models = {name: load_own_folder(folder, RetrievalFuseModel) for name, folder in self.models.items()}
        compared = methods(models, retrieved.k, small is not None, self.recipe.precision == "bf16")
        tallies = {name: Tally(windows.scale) for name in compared}
        for name, true, seen in _seen(windows, retrieved, small, self.samples):
            for method, complete in compared.items():
                tallies[method].add(name, window_surface(complete(seen), windows.scale, self.samples), true)
        return tallies


def compare(comparison: Comparison, workers: int = 1) -> dict[str, Tally]:
    """The figures of every method over all windows; the same for any number of processes."""
    if workers == 1:
        return comparison.part(0, 1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(comparison.part, range(workers), [workers] * workers))
    merged = parts[0]
    for part in parts[1:]:
        for name, tally in part.items():
            merged[name].rows |= tally.rows
            merged[name].without_surface += tally.without_surface
    for tally in merged.values():
        tally.rows = dict(sorted(tally.rows.items()))
        tally.without_surface.sort()
    return merged


def _seen(
    windows: WindowDataset, retrieved: RetrievedWindows, small: RetrievedWindows | None, samples: int
) -> Iterator[tuple[str, Any, Seen]]:
    for index in tqdm(range(len(windows)), unit="window", desc="ablation", disable=None):
        item = windows[index]
        true = window_surface(item["target"], windows.scale, samples, seed=1)
        if true is None:
            continue
        name = item["name"]
        yield name, true, Seen(item["input"], retrieved.read(name), None if small is None else small.read(name))


def table(tallies: dict[str, Tally], unit: str = "m") -> str:
    """The means as a Markdown table."""
    lines = [f"| method | IoU ↑ | CD [{unit}] ↓ | F1 ↑ | NC ↑ |", "|---|---|---|---|---|"]
    for name, tally in tallies.items():
        means = tally.means()
        lines.append(f"| {name} | " + " | ".join(f"{means[column]:.3f}" for column in COLUMNS) + " |")
    return "\n".join(lines) + "\n"


def run(
    recipe: Annotated[
        Path, typer.Argument(help="Recipe of the refinement, e.g. recipes/retrieval_ablation_rooms.yaml")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value, replacing the recipe's")] = None,
    out: Annotated[Path, typer.Option(help="Folder of ablation.json and ablation.md")] = Path("outputs/ablation"),
    small: Annotated[Path | None, typer.Option(help="Candidates from a smaller database, for the extension")] = None,
    windows: Annotated[int, typer.Option(help="Held-out windows to compare on", min=1)] = 24,
    samples: Annotated[int, typer.Option(help="Surface points per mesh; the paper takes 100000", min=100)] = 30000,
    workers: Annotated[int, typer.Option(help="Processes that compare", min=1)] = 1,
) -> None:
    """Trains the variants and compares them on held-out windows."""
    loaded = load_recipe(RefinementRecipe, recipe, overrides or [])
    if loaded.data.retrieved is None:
        raise InputError(f"{recipe}: data.retrieved is empty, expected a folder of retrieved windows")
    comparison = Comparison(loaded, train_variants(loaded), small, windows, samples)
    tallies = compare(comparison, workers)
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablation.json").write_text(json.dumps(report(comparison, tallies), indent=1))
    (out / "ablation.md").write_text(table(tallies))
    typer.echo(table(tallies))


def report(comparison: Comparison, tallies: dict[str, Tally]) -> dict[str, Any]:
    """All figures, and how the networks were trained."""
    trained = {
        name: json.loads((folder.parent / "report.json").read_text()) for name, folder in comparison.models.items()
    }
    databases = {"chunks": comparison.recipe.data.retrieved, "chunks_small": comparison.small}
    return {
        **{
            name: None if folder is None else len(RetrievedWindows(Path(folder)).database)
            for name, folder in databases.items()
        },
        "samples": comparison.samples,
        "methods": {
            name: {**tally.means(), "windows": len(tally.rows), "without_surface": len(tally.without_surface)}
            for name, tally in tallies.items()
        },
        "training": {name: found["phases"] for name, found in trained.items()},
        "parameters": {name: found["parameters"] for name, found in trained.items()},
        "rows": {name: tally.rows for name, tally in tallies.items()},
    }


if __name__ == "__main__":
    typer.run(run)
