"""The verbs ``spatialvlm retrieval build|train|reconstruct|evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

retrieval = typer.Typer(
    name="retrieval",
    help="RetrievalFuse: detailed geometry from coarse or sparse input with a database of known chunks.",
    no_args_is_help=True,
)


@retrieval.command()
def build(
    source: Annotated[Path, typer.Argument(help="Folder of a dataset, or of mesh files with --reader meshes.")],
    out: Annotated[Path, typer.Argument(help="Folder that receives windows/, database/ and retrieved/.")],
    reader: Annotated[str, typer.Option(help="synthetic, scannet, ... or meshes.")] = "synthetic",
    scale: Annotated[str, typer.Option(help="Preset of voxel, input and normalisation.")] = "rooms",
    up: Annotated[str, typer.Option(help="Axis that points up in mesh files: y or z.")] = "y",
    unit: Annotated[bool, typer.Option(help="Scale every mesh file into the unit cube, for objects.")] = False,
    ceiling: Annotated[
        float | None, typer.Option(help="Leave out surface wholly higher than this above the floor; 0 keeps all.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Take so many scenes at most.")] = None,
    threads: Annotated[int, typer.Option(help="Of the distance queries; 0 = every core.")] = 0,
    encoder: Annotated[
        Path | None, typer.Option(help="Trained chunk encoders: makes database/ and retrieved/ as well.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Share of the scenes kept out of the database, as in the recipes.")
    ] = 0.15,
    index: Annotated[str, typer.Option(help="exact or ivf_pq.")] = "exact",
    k: Annotated[int, typer.Option("-k", help="Neighbours found for every chunk.")] = 4,
    add_to: Annotated[Path | None, typer.Option(help="Add the chunks to the database of this folder instead.")] = None,
) -> None:
    """Cut scenes into windows and, once encoders are trained, make the database and find every window's neighbours.

    Run it again after an interruption, or with more scenes: what is there is kept.

    Example: spatialvlm retrieval build outputs/rooms outputs/retrieval --scale rooms
    """
    from spatialvlm.training.retrieval.building import BuildOptions, build_all

    options = BuildOptions(
        source, out, reader, scale, up, unit, ceiling, limit, threads, encoder, held_out, index, k, add_to
    )
    for line in build_all(options):
        typer.echo(line)


@retrieval.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file, see recipes/.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value ...")] = None,
    stage: Annotated[str, typer.Option(help="encoders or refinement.")] = "encoders",
) -> None:
    """Train the chunk encoders or the refinement network; run the same command again to go on.

    Example: spatialvlm retrieval train recipes/retrieval_encoders_rooms.yaml --stage encoders
    """
    from geometry_encoders.errors import InputError
    from spatialvlm.training.recipe import load_recipe

    if stage == "encoders":
        from spatialvlm.training.retrieval.encoder_recipe import EncoderRecipe
        from spatialvlm.training.retrieval.encoders import train_encoders

        train_encoders(load_recipe(EncoderRecipe, recipe, overrides or ()))
    elif stage == "refinement":
        from spatialvlm.training.retrieval.refinement import train_refinement
        from spatialvlm.training.retrieval.refinement_recipe import RefinementRecipe

        train_refinement(load_recipe(RefinementRecipe, recipe, overrides or ()))
    else:
        raise InputError(f"--stage is {stage!r}, expected 'encoders' or 'refinement'")


@retrieval.command()
def reconstruct(
    source: Annotated[Path, typer.Argument(help="Mesh or point cloud in the unit of the network (rooms: metres).")],
    out: Annotated[Path, typer.Argument(help="Mesh file to write: .ply, .glb, .obj or .stl.")],
    model: Annotated[Path, typer.Option(help="Trained refinement network.")],
    encoder: Annotated[Path | None, typer.Option(help="Trained chunk encoders.")] = None,
    database: Annotated[Path | None, typer.Option(help="Database of known chunks.")] = None,
    k: Annotated[int | None, typer.Option("-k", help="Candidates to fuse; by default as in training.")] = None,
    stride: Annotated[int, typer.Option(help="Voxels between windows; below 64 they overlap and are blended.")] = 64,
    up: Annotated[str, typer.Option(help="Axis that points up in the file: y or z.")] = "y",
    ceiling: Annotated[
        float | None, typer.Option(help="Leave out what lies higher above the floor, e.g. 2.3 for networks of rooms.")
    ] = None,
) -> None:
    """Complete a coarse or sparse scene of any size from the database; axes and unit of the file are kept.

    Example: spatialvlm retrieval reconstruct scan.ply room.ply --model outputs/retrieval/refinement/model
    --encoder outputs/retrieval/encoders/encoder --database outputs/retrieval/database --up z --ceiling 2.3
    """
    from geometry_encoders.errors import InputError
    from spatialvlm.training.retrieval.completing import complete_file

    if out.suffix.lower() not in (".ply", ".glb", ".obj", ".stl"):
        raise InputError(f"{out}: ending {out.suffix!r}, expected .ply, .glb, .obj or .stl")
    mesh = complete_file(source, out, model, encoder, database, k, stride, up, ceiling)
    typer.echo(f"{out}: {len(mesh.vertices):,} vertices, {len(mesh.triangles):,} triangles")


@retrieval.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder made by build, with windows/ and retrieved/.")],
    model: Annotated[Path | None, typer.Option(help="Trained refinement network; without it retrieval alone.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of the scenes held out, as in build.")] = 0.15,
    windows: Annotated[int, typer.Option(help="Windows at most, evenly over the scenes.", min=1)] = 24,
    samples: Annotated[int, typer.Option(help="Surface points per mesh; the paper takes 100000.", min=100)] = 30000,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Compare retrieved and refined windows with the true ones: IoU, Chamfer distance, F1, normal consistency.

    Example: spatialvlm retrieval evaluate outputs/retrieval --model outputs/retrieval/refinement/model
    """
    from spatialvlm.training.retrieval.completing import evaluate_windows, write_report

    report = evaluate_windows(folder / "windows", folder / "retrieved", model, held_out, windows, samples)
    typer.echo(f"{report['windows']} held-out windows")
    for method, figures in report["methods"].items():
        typer.echo(f"{method}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    if out is not None:
        write_report(report, out)
