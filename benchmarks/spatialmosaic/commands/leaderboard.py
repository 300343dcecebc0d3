"""The verb `leaderboard`: finished runs in order of their scores, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qa_generation.errors import InputError

_SUFFIXES = (".html", ".md", ".json")


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="Folders written by `spatialvlm bench`, two or more.")],
    out: Annotated[Path, typer.Option(help="Page to write: .html, .md or .json.")] = Path("leaderboard.html"),
    baselines: Annotated[bool, typer.Option(help="Also rank the baselines that lie in these folders.")] = True,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "SpatialMosaic-Bench leaderboard",
) -> None:
    """Rank finished runs on the questions they share, with intervals and who can be told apart from whom.

    Example: spatialvlm leaderboard runs/bench/* --out leaderboard.html
    """
    if out.suffix not in _SUFFIXES:
        raise InputError(f"--out is {out}, expected a name that ends in {', '.join(_SUFFIXES)}")
    import json

    from benchmarks.spatialmosaic.leaderboard import rank_runs, read_runs
    from benchmarks.spatialmosaic.pages.leaderboard_page import board_to_html, board_to_markdown
    from qa_generation.whole_files import write_whole

    board = rank_runs(read_runs(runs, baselines))
    contents = {
        ".html": lambda: board_to_html(board, title),
        ".md": lambda: board_to_markdown(board),
        ".json": lambda: json.dumps(board.to_json(), indent=1, default=str) + "\n",
    }
    write_whole(out, contents[out.suffix]())
    for entry in board.entries:
        score = "–" if entry.overall is None else f"{100 * entry.overall.mean:.1f}"
        print(f"{'–' if entry.role == 'expected' else entry.rank:>3}  {score:>5}  {entry.name}")
    print(out)
