"""The ablation of retrieval: what needs no network, the table, the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.retrieval.ablation import enlarged_input, methods, table
from benchmarks.retrieval.picture import cubes, draw
from benchmarks.retrieval.variants import variant_recipe
from geometry_encoders.retrieval.evaluation import Tally
from geometry_encoders.retrieval.meshes import TriangleMesh
from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.scale import PRESETS, WINDOW
from spatialvlm.training.recipe import load_recipe
from spatialvlm.training.retrieval.refinement_recipe import RefinementRecipe

SCALE = PRESETS["rooms"]
RECIPE = Path(__file__).parents[2] / "recipes" / "retrieval_ablation_rooms.yaml"


def test_enlarged_input_meets_its_nodes() -> None:
    """Every eighth node is a node of the input; between two of them values are theirs in proportion."""
    inputs = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(0)) * SCALE.truncation
    fine = enlarged_input(inputs, SCALE)
    assert fine.shape == (WINDOW,) * 3
    torch.testing.assert_close(fine[::8, ::8, ::8], inputs)
    torch.testing.assert_close(fine[4, 0, 0], (inputs[0, 0, 0] + inputs[1, 0, 0]) / 2)


def test_variants_differ_in_what_they_should() -> None:
    """All go on from one start for the length of the last phase."""
    recipe = load_recipe(RefinementRecipe, RECIPE)
    unet, mixed, attention = (variant_recipe(recipe, name) for name in ("unet", "concatenation", "attention"))
    assert (unet.network.fusion, mixed.network.fusion, attention.network.fusion) == (
        "none",
        "concatenation",
        "attention",
    )
    assert unet.phases.unet == mixed.phases.full == attention.phases.full == recipe.phases.full
    assert mixed.start == attention.start
    assert replace(mixed, network=attention.network, output=attention.output, skip=attention.skip) == attention
    assert len({found.output.folder for found in (unet, mixed, attention)}) == 3


def test_methods() -> None:
    """Every number of candidates, and the small database where there is one."""
    torch.manual_seed(0)
    sizes = {"channels": 2, "retrieval_channels": 2, "unet_levels": 2, "retrieval_levels": 3, "scale": vars(SCALE)}
    fusions = {"unet": "none", "concatenation": "concatenation", "attention": "attention"}
    models = {
        name: RetrievalFuseModel(RetrievalFuseConfig(fusion=fusion, **sizes)).eval() for name, fusion in fusions.items()
    }
    plain, extended = methods(models, 4, False, False), methods(models, 4, True, False)
    assert [name for name in plain if "k =" in name] == [f"attention, k = {k}" for k in range(4)]
    assert set(extended) - set(plain) == {"1-NN retrieval, small database", "attention, small database"}


def test_table() -> None:
    tally = Tally(SCALE)
    tally.rows["a"] = {"iou": 0.5, "chamfer": 0.02, "f1": float("nan"), "normal_consistency": 0.9}
    tally.without_surface.append("b")
    assert table({"attention": tally}).splitlines()[-1] == "| attention | 0.250 | 0.020 | 0.000 | 0.900 |"


def test_drawing_is_upright() -> None:
    """A tower in the corner of a floor: what is high in the window is high in the picture."""
    inputs = torch.full((8, 8, 8), SCALE.input_truncation)
    inputs[0, :, 0] = 0
    high = draw(cubes(inputs, SCALE), 60)
    inputs[0, 1:, 0] = SCALE.input_truncation
    low = draw(cubes(inputs, SCALE), 60)
    rows_high, rows_low = (np.argwhere((picture < 255).any(-1))[:, 0] for picture in (high, low))
    assert rows_high.min() < rows_low.min() and rows_low.mean() > rows_high.mean()


def test_nothing_to_draw() -> None:
    empty = TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert (draw(empty, 16) == 255).all()
    assert not len(cubes(torch.full((8, 8, 8), 9.0), SCALE).triangles)


@pytest.mark.parametrize("name", ["start_unet", "start"])
def test_starts_need_no_candidates(name: str) -> None:
    recipe = variant_recipe(load_recipe(RefinementRecipe, RECIPE), name)
    assert recipe.network.candidates == 0
