"""Answers kept on disk as they come, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from spatialvlm.loading import resolve

_STATEFUL = (".safetensors", ".json", ".jinja", ".model", ".txt")


def journal_path(folder: Path, model: str | None, salt: str = "") -> Path:
    """Where the answers of an interrupted run lie: a name that changes with the weights, so that none go stale.

    Args:
        folder: of the run.
        model: folder or packaged name; None for one that has no files here.
        salt: what else an answer depends on besides weights and request, such as the number type or an ablation.
    """
    files = sorted(path for path in resolve(model).iterdir() if path.suffix in _STATEFUL) if model else []
    state = [salt, *((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)]
    return folder / f".answers-{sha256(repr(state).encode()).hexdigest()[:12]}.jsonl"


class Journal:
    """Answers by request key: one JSON object per line; a line cut off by a crash is ignored.

    Every process appends to a file of its own and reads those of all, so that a run can go on with another number of
    processes.
    """

    def __init__(self, path: Path, process: int = 0) -> None:
        self.path = path.with_name(f"{path.name}.{process}") if process else path
        self._stem = path

    def read(self) -> dict[str, str]:
        """All complete answers by request key; empty when there is no file yet."""
        answers: dict[str, str] = {}
        for path in self.files():
            with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
                for line in stream:
                    try:
                        row = json.loads(line)
                        key, text = row["key"], row["text"]
                    except (ValueError, KeyError, TypeError):
                        continue
                    if isinstance(key, str) and isinstance(text, str):
                        answers[key] = text
        return answers

    def append(self, answers: Mapping[str, str]) -> None:
        """Adds answers at the end of this process's file, starting on a fresh line."""
        rows = "".join(json.dumps({"key": key, "text": text}) + "\n" for key, text in answers.items())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+", encoding="utf-8") as stream:
            # after a crash the last line may lack its end
            stream.write(rows if stream.tell() == 0 or _ends_with_newline(self.path) else "\n" + rows)

    def files(self) -> list[Path]:
        """The files of all processes, this one's and those of earlier calls."""
        return sorted(self._stem.parent.glob(f"{self._stem.name}*"))

    def remove(self) -> None:
        """Deletes them, once the answers are stored for good."""
        for path in self.files():
            path.unlink(missing_ok=True)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"
