"""The ablation of RetrievalFuse on held-out windows: nearest neighbour, U-Net, concatenation, attention.

Example: ``python -m benchmarks.retrieval.ablation recipes/retrieval_ablation_rooms.yaml --out outputs/ablation``.
Trains what is not trained yet, compares all variants on the same windows and writes ``ablation.json`` and
``ablation.md``. Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.retrieval.variants import VARIANTS, train_variants
from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.evaluation import COLUMNS, Tally, window_surface
from geometry_encoders.retrieval.official import load_own_folder
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


def network(model: RetrievalFuseModel, k: int, small: bool = False) -> Method:
    """The network with the k best candidates of one of the databases."""
    scale = model.scale

    @torch.no_grad()
    def complete(seen: Seen) -> Window:
        candidates = seen.retrieved_small if small else seen.retrieved
        assert candidates is not None
        return model(
            scale.normalise_input(seen.inputs)[None, None], scale.normalise_target(candidates[:k])[None]
        ).distance[0]

    return complete


def methods(models: dict[str, RetrievalFuseModel], k: int, with_small: bool) -> dict[str, Method]:
    """All that is compared, by the name in the table; k candidates where not said otherwise."""
    scale = models["attention"].scale
    attention, mixed = models["attention"], models["concatenation"]
    found: dict[str, Method] = {
        "input, interpolated": lambda seen: enlarged_input(seen.inputs, scale),
        "1-NN retrieval": lambda seen: seen.retrieved[0],
        "U-Net": network(models["unet"], 0),
        "concatenation": network(mixed, mixed.config.candidates),
        "attention": network(attention, k),
    }
    found |= {f"attention, k = {count}": network(attention, count) for count in range(k)}
    if with_small:
        found["1-NN retrieval, small database"] = lambda seen: seen.retrieved_small[0]  # type: ignore[index]
        found["attention, small database"] = network(attention, k, small=True)
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


def compare(
    windows: WindowDataset,
    retrieved: RetrievedWindows,
    small: RetrievedWindows | None,
    compared: dict[str, Method],
    samples: int,
    progress: Path | None = None,
) -> dict[str, Tally]:
    """The figures of every method; ``progress`` is rewritten after every window."""
    tallies = {name: Tally(windows.scale) for name in compared}
    for name, true, seen in _seen(windows, retrieved, small, samples):
        for method, complete in compared.items():
            tallies[method].add(name, window_surface(complete(seen), windows.scale, samples), true)
        if progress is not None:
            progress.write_text(json.dumps({method: tally.rows for method, tally in tallies.items()}))
    return tallies


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
) -> None:
    """Trains the variants and compares them on held-out windows."""
    loaded = load_recipe(RefinementRecipe, recipe, overrides or [])
    if loaded.data.retrieved is None:
        raise InputError(f"{recipe}: data.retrieved is empty, expected a folder of retrieved windows")
    folders = train_variants(loaded)
    models = {name: load_own_folder(folder, RetrievalFuseModel) for name, folder in folders.items()}
    retrieved = RetrievedWindows(Path(loaded.data.retrieved))
    retrieved_small = None if small is None else RetrievedWindows(small)
    compared = methods(models, retrieved.k, small is not None)
    out.mkdir(parents=True, exist_ok=True)
    chosen = chosen_windows(loaded, windows)
    tallies = compare(chosen, retrieved, retrieved_small, compared, samples, out / "progress.json")
    trained = {name: json.loads((folders[name].parent / "report.json").read_text()) for name in VARIANTS}
    report = {
        "windows": [sample.name for sample in chosen.samples],
        "samples": samples,
        "chunks": len(retrieved.database),
        "chunks_small": None if retrieved_small is None else json.loads((small / "retrieved.json").read_text())["rows"],  # type: ignore[operator]
        "methods": {
            name: {**tally.means(), "without_surface": len(tally.without_surface)} for name, tally in tallies.items()
        },
        "training": {name: report["phases"] for name, report in trained.items()},
        "parameters": {name: report["parameters"] for name, report in trained.items()},
    }
    (out / "ablation.json").write_text(json.dumps(report, indent=1))
    (out / "ablation.md").write_text(table(tallies))
    typer.echo(table(tallies))


if __name__ == "__main__":
    typer.run(run)
