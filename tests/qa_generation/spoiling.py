"""Ways to spoil a file of a written dataset, for tests of what a reader says about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Edit = Callable[[bytes], bytes]


def cut(count: int) -> Edit:
    """Without the last ``count`` bytes."""
    return lambda data: data[:-count]


def text(old: str, new: str) -> Edit:
    """With ``new`` for the first ``old``, which must be there."""

    def edit(data: bytes) -> bytes:
        assert old.encode() in data
        return data.replace(old.encode(), new.encode(), 1)

    return edit


def changed(change: Callable[[Any], Any]) -> Edit:
    """With its JSON content changed in place."""

    def edit(data: bytes) -> bytes:
        content = json.loads(data)
        change(content)
        return json.dumps(content).encode()

    return edit


def spoil(path: Path, edit: Edit) -> None:
    """Edits one file."""
    path.write_bytes(edit(path.read_bytes()))


ODD_VALUES: list[Any] = [
    None, True, -1, 0, 10**30, 10**400, 1.5, float("nan"), float("inf"), -1e308, "", "\u202e\0x", "../..", [], {}, [[]],
    [1, [2]], {"a": {}}, ["x"] * 9, [1e300] * 3, [[0.0] * 4] * 4,
]  # fmt: skip


def draw_odd_json(data: st.DataObject, content: Any) -> Any:
    """JSON content with a value somewhere in it, or a whole part, replaced by an odd one."""
    children: list[Any] = []
    if isinstance(content, dict):
        children = list(content)
    elif isinstance(content, list):
        children = list(range(min(len(content), 5)))
    if not children or data.draw(st.integers(0, 5)) == 0:
        return data.draw(st.sampled_from(ODD_VALUES))
    chosen = data.draw(st.sampled_from(children))
    replaced = draw_odd_json(data, content[chosen])
    return (
        {**content, chosen: replaced}
        if isinstance(content, dict)
        else [*content[:chosen], replaced, *content[chosen + 1 :]]
    )
