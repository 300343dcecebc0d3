"""The lines of a run, one per method and sequence, written as they come, so that a run can be interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.reconstruction.evaluate import SequenceResult
from benchmarks.reconstruction.metrics import CloudMetrics
from qa_generation.errors import InputError

LINES = "results.jsonl"
SETTINGS = "settings.json"


@dataclass(frozen=True)
class Line:
    """What one method got on one sequence: a result, or the reason why there is none."""

    method: str
    capture_id: str
    result: SequenceResult | None = None
    error: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.capture_id

    def to_json(self) -> dict[str, Any]:
        head: dict[str, Any] = {"method": self.method, "sequence": self.capture_id}
        if self.result is None:
            return head | {"error": self.error}
        values = asdict(self.result)
        metrics = values.pop("metrics")
        del values["capture_id"]
        return head | values | metrics

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Line:
        """Raises ``KeyError`` or ``TypeError`` for something that is no such line."""
        method, capture_id = content["method"], content["sequence"]
        if "error" in content:
            return cls(method, capture_id, error=content["error"])
        metrics = CloudMetrics(**{each.name: content[each.name] for each in fields(CloudMetrics)})
        rest = {each.name: content[each.name] for each in fields(SequenceResult) if each.name in content}
        return cls(method, capture_id, SequenceResult(capture_id=capture_id, metrics=metrics, **rest))


class Journal:
    """The lines in a folder.

    Opening it with the settings of the lines that are there goes on after them; sequences that failed are tried again.

    Raises:
        InputError: the folder holds lines of a run with other settings, or lines that are damaged.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.path = folder / LINES
        folder.mkdir(parents=True, exist_ok=True)
        self._check_settings(folder / SETTINGS, json.loads(json.dumps(settings)))
        self.lines: dict[tuple[str, str], Line] = {line.key: line for line in self._read() if line.result is not None}
        # failed sequences are tried again, and a line that was cut off in writing goes
        text = "".join(json.dumps(line.to_json()) + "\n" for line in self.lines.values())
        temporary = self.path.with_suffix(".partial")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.path)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.lines

    def add(self, line: Line) -> None:
        """Appends a line; it is on disk when this returns."""
        self.lines[line.key] = line
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line.to_json()) + "\n")

    def _check_settings(self, path: Path, settings: dict[str, Any]) -> None:
        if not path.is_file():
            path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
            return
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: not JSON ({error}), expected the settings of an earlier run") from None
        for name in sorted({*earlier, *settings}):
            if earlier.get(name) != settings.get(name):
                raise InputError(
                    f"{path}: {name} was {earlier.get(name)!r} and is {settings.get(name)!r} now, expected the same"
                    " settings or another --out"
                )

    def _read(self) -> list[Line]:
        if not self.path.is_file():
            return []
        *whole, _cut_off = self.path.read_text(encoding="utf-8").split("\n")
        lines = []
        for number, text in enumerate(whole, start=1):
            try:
                lines.append(Line.from_json(json.loads(text)))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path}, line {number}: not a result ({error!r}), expected one per line"
                ) from error
        return lines
