"""Ways to spoil a file of a written dataset, for tests of what a reader says about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
