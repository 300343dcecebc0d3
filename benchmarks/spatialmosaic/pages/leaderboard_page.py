"""The leaderboard as one HTML page that sorts without a server, and as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.spatialmosaic.leaderboard import Board, Entry, Pair
from benchmarks.spatialmosaic.pages.templates import FOLDER, render
from benchmarks.spatialmosaic.paired import p_text
from benchmarks.spatialmosaic.texts import cell_text

BOARD_NOTE = (
    "Percent with 95 % bootstrap intervals over scenes. A rank is 1 plus the number of runs that are clearly better: "
    "paired sign-flip test over scenes, p-values adjusted for the number of pairs (Benjamini and Hochberg, false "
    "discovery rate 5 %). The second table says which runs can be told apart."
)


def board_to_html(board: Board, title: str = "SpatialMosaic-Bench leaderboard") -> str:
    """One page: the sortable table and who can be told apart from whom."""
    asked = [entry for entry in board.entries if entry.role != "expected"]
    return render(
        "leaderboard.html.jinja",
        title=title,
        board=board,
        families=list(board.entries[0].families),
        matrix=[(entry, [_against(board, entry, other) for other in asked]) for entry in asked],
        made_with={entry.name: _made_with(entry) for entry in board.entries},
        # ours, and free of characters that HTML would read
        script=(FOLDER / "sort.js").read_text(encoding="utf-8"),
        note=BOARD_NOTE,
    )


def board_to_markdown(board: Board) -> str:
    """The table with intervals, and every pair in words."""
    families = list(board.entries[0].families)
    head = ["rank", "run", *families, "lenient", "unreadable"]
    lines = ["# SpatialMosaic-Bench leaderboard", "", f"{board.questions} questions of {board.scenes} scenes.", ""]
    lines += ["| " + " | ".join(head) + " |", "|" + " ---: | --- |" + " ---: |" * (len(head) - 2)]
    for entry in board.entries:
        name = entry.name.replace("|", "\\|")
        cells = [cell_text(entry.families[family]) for family in families]
        rank = "–" if entry.role == "expected" else str(entry.rank)
        row = [rank, name, *cells, cell_text(entry.lenient), f"{100 * entry.unreadable:.1f}"]
        lines.append("| " + " | ".join(row) + " |")
    pairs = sorted(board.pairs.values(), key=lambda pair: pair.adjusted_p)
    lines += ["", *(f"- {pair.comparison.sentence()} Adjusted {p_text(pair.adjusted_p)}." for pair in pairs)]
    return "\n".join([*lines, "", BOARD_NOTE]) + "\n"


def _against(board: Board, entry: Entry, other: Entry) -> dict[str, Any] | None:
    """Gain of one entry over another in points, and how sure it is; None on the diagonal."""
    pair: Pair | None = board.pairs.get((entry.name, other.name))
    sign = 1.0
    if pair is None:
        pair, sign = board.pairs.get((other.name, entry.name)), -1.0
    if pair is None:
        return None
    points = 100 * sign * pair.comparison.difference.mean
    kind = ("clear" if points > 0 else "worse") if pair.is_clear else ""
    return {"points": f"{points:+.1f}", "p": p_text(pair.adjusted_p), "kind": kind}


def _made_with(entry: Entry) -> str:
    """The command of a run, for the list under the table."""
    command = entry.facts.get("command", "")
    return " ".join(map(str, command)) if isinstance(command, list | tuple) else str(command)
