"""Files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to, which takes the name when the block ends without an error."""
    partial = path.with_name(path.name + ".partial")
    yield partial
    partial.replace(path)
