"""Golden files: numbers from the original programs, compared with ours.

The folder is ``$SPATIALVLM_GOLDEN`` (default ``../shared/golden`` beside the repository); where it is absent its tests
skip, except under CI=true, where that is an error. A small part of it lies in ``tests/data/golden_dust3r``, so that
every clone tests parity. Tests read shapes, seeds and configurations from the json files only.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "tests" / "data" / "golden_dust3r"
RELATIVE_TOLERANCE = 1e-4


def golden_root() -> Path:
    """The folder with all golden sets, whether it exists or not."""
    return Path(os.environ.get("SPATIALVLM_GOLDEN", ROOT.parent / "shared" / "golden"))


@dataclass(frozen=True)
class Golden:
    """One folder of golden files."""

    root: Path
    embedded: bool

    def path(self, name: str) -> Path:
        """The file, or a skip where an embedded subset does not hold it."""
        path = self.root / name
        if not path.exists() and self.embedded:
            pytest.skip(f"{name} is not in the embedded subset")
        return path

    def json(self, name: str) -> dict[str, Any]:
        return json.loads(self.path(f"{name}.json").read_text())

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.path(f"{name}.safetensors"))

    def weights(self, file_name: str) -> dict[str, Tensor]:
        return load_file(self.path(file_name))

    @staticmethod
    def images(value: Tensor) -> Tensor:
        """Network input from stored uint8 pictures."""
        return (value.float() / 255 - 0.5) / 0.5

    @staticmethod
    def assert_close(actual: Tensor, expected: Tensor, what: str, tolerance: float = RELATIVE_TOLERANCE) -> None:
        """Same shape, and no difference above ``tolerance`` of the largest expected value."""
        assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
        scale = max(float(expected.abs().max()), 1e-12)
        error = float((actual.double() - expected.double()).abs().max()) / scale
        assert error <= tolerance, f"{what}: off by {error:.2e} of the largest value, allowed {tolerance:.0e}"


@pytest.fixture(params=["shared", "embedded"])
def golden(request: pytest.FixtureRequest) -> Golden:
    """The full set and the embedded subset, one after the other."""
    torch.set_num_threads(1)
    embedded = request.param == "embedded"
    root = EMBEDDED if embedded else golden_root() / "dust3r_spann3r"
    if not root.is_dir():
        message = f"no golden files at {root}; set SPATIALVLM_GOLDEN"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    return Golden(root, embedded)
