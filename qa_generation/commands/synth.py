"""The verb ``spatialvlm synth``: procedural indoor scenes, rendered and annotated; or single objects, filmed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

MAX_SIDE = 4096


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write the rooms to.")],
    scenes: Annotated[int, typer.Option(min=1, help="Number of rooms, or of objects with --layout mvimgnet.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    layout: Annotated[
        str,
        typer.Option(help="native, scannet for ScanNet v2's files, or mvimgnet: single objects filmed from around."),
    ] = "native",
    views: Annotated[int, typer.Option(min=2, max=1000, help="Views per room or object.")] = 24,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the pictures, pixels.")] = "640x480",
    assets: Annotated[
        Path | None, typer.Option(help="Folder with one folder of meshes (.obj .ply .glb .stl, metres) per category.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    samples: Annotated[int, typer.Option(help="Rays per pixel: 1, or 4 for smooth edges.")] = 1,
    loose: Annotated[
        int, typer.Option(min=0, max=100, help="Things per room at heights and of sizes their names do not promise.")
    ] = 16,
) -> None:
    """Makes furnished rooms with pictures, depth, instance ids and boxes. A second run makes what is missing.

    With --layout mvimgnet it makes objects instead: pictures, masks and a COLMAP model of each.

    Example: spatialvlm synth rooms --scenes 20 --seed 7 --views 24 --size 640x480 --workers 2
    """
    from tqdm import tqdm

    from qa_generation.errors import InputError
    from qa_generation.synthetic.build import RoomConfig
    from qa_generation.synthetic.make_rooms import LAYOUTS, Job, make_rooms

    if samples not in (1, 4):
        raise InputError(f"--samples is {samples}, expected 1 or 4")
    if assets is not None:
        from qa_generation.synthetic.assets import load_assets

        load_assets(assets)
    if layout not in (*LAYOUTS, "mvimgnet"):
        raise InputError(f"--layout {layout!r} is unknown, expected one of {', '.join(LAYOUTS)}, mvimgnet")
    if layout == "mvimgnet":
        from qa_generation.writers.mvimgnet_objects import ObjectJob, make_objects

        if assets is not None or samples != 1:
            raise InputError("--assets and --samples are for rooms, and --layout mvimgnet makes objects")
        thing = "object"
        outcomes = make_objects(ObjectJob(out, seed, views, parse_size(size)), scenes, workers)
    else:
        thing = "room"
        outcomes = make_rooms(
            Job(out, seed, layout, RoomConfig(views, parse_size(size), samples, loose), assets), scenes, workers
        )
    made, kept, failed = 0, 0, 0
    with tqdm(total=scenes, unit=thing, disable=not sys.stderr.isatty()) as bar:
        for outcome in outcomes:
            bar.update()
            if outcome.result is None:
                failed += 1
                print(f"{thing} {outcome.item}: {outcome.reason}", file=sys.stderr)
            else:
                made, kept = made + outcome.result, kept + (not outcome.result)
    note = f" ({kept} were there already)" if kept else ""
    print(f"{out}: {made} {thing}s of {views} views made{note}, layout {layout}")
    if failed:
        raise InputError(f"{failed} of {scenes} {thing}s failed")


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) from ``640x480``; raises `InputError` for anything else or for sides outside 16 to 4096."""
    from qa_generation.errors import InputError

    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(16 <= side <= MAX_SIDE for side in size):
        raise InputError(f"--size is {text!r}, expected WIDTHxHEIGHT with sides from 16 to {MAX_SIDE}, e.g. 640x480")
    return size
