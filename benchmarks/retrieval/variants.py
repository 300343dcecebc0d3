"""The variants of the ablation, each trained from the same start for the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spatialvlm.training.retrieval.refinement import train_refinement
from spatialvlm.training.retrieval.refinement_recipe import RefinementRecipe

VARIANTS = ("unet", "concatenation", "attention")


def variant_recipe(recipe: RefinementRecipe, name: str) -> RefinementRecipe:
    """The recipe of one step of the ablation, with its folder below that of ``recipe``.

    ``start_unet`` is the first phase, ``start`` the two after it without any candidates; the variants go on from there
    for the length of the last phase. The U-Net alone spends that time on its own phase.
    """
    folder = Path(recipe.output.folder)
    network, phases = recipe.network, recipe.phases
    alone = replace(network, fusion="none", candidates=0)
    no_more = replace(phases, full=replace(phases.full, max_steps=0))
    changes: dict[str, dict[str, object]] = {
        "start_unet": {"network": alone},
        "start": {
            "network": replace(network, fusion="attention", candidates=0),
            "phases": no_more,
            "start": str(folder / "start_unet" / "model"),
            "skip": ("unet",),
        },
        "unet": {
            "network": alone,
            "phases": replace(phases, unet=phases.full),
            "start": str(folder / "start_unet" / "model"),
        },
        "concatenation": {
            "network": replace(network, fusion="concatenation"),
            "start": str(folder / "start" / "model"),
            "skip": ("unet", "retrieval"),
        },
        "attention": {
            "network": replace(network, fusion="attention"),
            "start": str(folder / "start" / "model"),
            "skip": ("unet", "retrieval", "attention"),
        },
    }
    output = replace(recipe.output, folder=str(folder / name))
    return replace(recipe, output=output, **changes[name])  # type: ignore[arg-type]


def train_variants(recipe: RefinementRecipe, names: Sequence[str] = VARIANTS) -> dict[str, Path]:
    """Folders of the trained networks; what an earlier run finished is not trained again."""
    folder = Path(recipe.output.folder)
    for name in ("start_unet", "start", *names):
        if not (folder / name / "report.json").is_file():
            train_refinement(variant_recipe(recipe, name))
    return {name: folder / name / "model" for name in names}
