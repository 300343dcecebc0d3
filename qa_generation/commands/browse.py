"""The verb ``spatialvlm browse``: a static page to look at a generated set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def browse(
    dataset: Annotated[Path, typer.Argument(help="Folder that `spatialvlm generate` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the page.  [default: DATASET/browser]")] = None,
    scenes: Annotated[Path | None, typer.Option(help="Folder of the captures, for masks and measured lines.")] = None,
    reader: Annotated[str | None, typer.Option(help="Layout of the captures, as for `spatialvlm generate`.")] = None,
    reader_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the reader. Repeatable.")
    ] = None,
    records: Annotated[str, typer.Option(help="Records per type, or all.")] = "40",
    max_scenes: Annotated[str, typer.Option(help="Scenes they come from, or all.")] = "64",
    width: Annotated[int, typer.Option(min=64, max=2048, help="Width of the pictures, pixels.")] = 480,
    seed: Annotated[int, typer.Option(help="Of the choice of records.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes for masks; 0 works in this one.")] = 0,
) -> None:
    """Writes a page that shows questions with their views, marks and answers; open its index.html, no server needed.

    Example: spatialvlm browse dataset --scenes rooms --reader synthetic --records 100

    Records are spread evenly over types, levels and scenes; filters, keys and permalinks are on the page.
    """
    from qa_generation.browser.site import BrowseConfig, write_browser
    from qa_generation.errors import InputError
    from qa_generation.readers.base import open_reader, parse_options

    if (scenes is None) != (reader is None):
        raise InputError("--scenes and --reader belong together, expected both or none")
    config = BrowseConfig(_bound("records", records), _bound("max-scenes", max_scenes), width, seed, workers)
    captures = open_reader(reader, scenes, parse_options(reader_option or [])) if scenes and reader else None
    report = write_browser(dataset, out, reader=captures, config=config, progress=True)
    print(f"{report.shown} of {report.records} records, {report.pictures} pictures: open {report.page}")
    for scene, reason in report.failures.items():
        print(f"no masks of {scene}: {reason}", file=sys.stderr)
    if report.missing:
        path, reason = next(iter(sorted(report.missing.items())))
        print(f"{len(report.missing)} pictures cannot be shown, the first is {path}: {reason}", file=sys.stderr)


def _bound(option: str, text: str) -> int | None:
    from qa_generation.errors import InputError

    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"--{option} is {text!r}, expected a whole number of at least 1, or all")
    return int(text)
