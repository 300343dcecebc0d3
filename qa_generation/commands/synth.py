"""The verb ``spatialvlm synth``: procedural indoor scenes, rendered and annotated."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

MAX_SIDE = 4096


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write the rooms to.")],
    scenes: Annotated[int, typer.Option(min=1, help="Number of rooms.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    layout: Annotated[str, typer.Option(help="native, or scannet for ScanNet v2's files.")] = "native",
    views: Annotated[int, typer.Option(min=2, max=1000, help="Views per room.")] = 24,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the pictures, pixels.")] = "640x480",
    assets: Annotated[
        Path | None, typer.Option(help="Folder with one folder of meshes (.obj .ply .glb .stl, metres) per category.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    samples: Annotated[int, typer.Option(help="Rays per pixel: 1, or 4 for smooth edges.")] = 1,
) -> None:
    """Makes furnished rooms with pictures, depth, instance ids and boxes. A second run makes what is missing.

    Example: spatialvlm synth rooms --scenes 20 --seed 7 --views 24 --size 640x480 --workers 2
    """
    from tqdm import tqdm

    from qa_generation.errors import InputError
    from qa_generation.synthetic.build import RoomConfig
    from qa_generation.synthetic.make_rooms import Job, make_rooms

    if samples not in (1, 4):
        raise InputError(f"--samples is {samples}, expected 1 or 4")
    if assets is not None:
        from qa_generation.synthetic.assets import load_assets

        load_assets(assets)
    job = Job(out, seed, layout, RoomConfig(views, parse_size(size), samples), assets)
    made, kept, failed = 0, 0, 0
    with tqdm(total=scenes, unit="room", disable=not sys.stderr.isatty()) as bar:
        for outcome in make_rooms(job, scenes, workers):
            bar.update()
            if outcome.result is None:
                failed += 1
                print(f"room {outcome.item}: {outcome.reason}", file=sys.stderr)
            else:
                made, kept = made + outcome.result, kept + (not outcome.result)
    note = f" ({kept} were there already)" if kept else ""
    print(f"{out}: {made} rooms of {views} views made{note}, layout {layout}")
    if failed:
        raise InputError(f"{failed} of {scenes} rooms failed")


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) from ``640x480``; raises `InputError` for anything else or for sides outside 16 to 4096."""
    from qa_generation.errors import InputError

    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(16 <= side <= MAX_SIDE for side in size):
        raise InputError(f"--size is {text!r}, expected WIDTHxHEIGHT with sides from 16 to {MAX_SIDE}, e.g. 640x480")
    return size
