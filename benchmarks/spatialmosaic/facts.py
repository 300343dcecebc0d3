"""What somebody needs to know to repeat a run: command, versions, digests of model and questions, times."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.spatialmosaic.dataset import BenchData
from spatialvlm.loading import resolve

PACKAGES = ("spatialvlm", "torch", "transformers", "lm-eval", "accelerate", "datasets", "numpy", "pillow")
_WHOLE = 512 * 2**20  # bytes of a file that are hashed in full; of larger ones a block in every 64 MiB
_BLOCK, _STRIDE = 2**20, 64 * 2**20
_ASKED = ("id", "question_type", "frames", "question", "options", "mc_answer", "ground_truth", "images")


def command_line() -> str:
    """The command as it was typed, as far as a process can tell, with the program's bare name."""
    name = Path(sys.argv[0]).name
    program = "python -m spatialvlm.cli" if name in ("cli.py", "__main__.py") else name
    return " ".join([program, *map(shlex.quote, sys.argv[1:])])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that have a say in the scores."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """What the run ran on."""
    threads = os.environ.get("OMP_NUM_THREADS")
    system = f"{platform.system()} {platform.machine()}"
    return {"system": system, "cores": os.cpu_count(), "threads": int(threads) if threads else None}


def now() -> str:
    """The time of day, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def model_digest(model: str) -> str:
    """SHA-256 over names and contents of weights, configuration and processor files of a model folder.

    Of files above 512 MiB the first MiB of every 64 is taken, and the size.
    """
    digest = sha256()
    for path in sorted(resolve(model).iterdir()):
        if path.is_file() and path.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            for block in _blocks(path):
                digest.update(block)
    return digest.hexdigest()


def dataset_digest(data: BenchData) -> str:
    """SHA-256 over everything that is shown and compared, in file order; not over the pictures' pixels."""
    digest = sha256()
    for batch in data.table.select(list(_ASKED)).to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            digest.update(json.dumps([row[name] for name in _ASKED]).encode() + b"\n")
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        for start in range(0, size, _BLOCK if size <= _WHOLE else _STRIDE):
            stream.seek(start)
            yield stream.read(_BLOCK)
