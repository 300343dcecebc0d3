"""Windows on disk: one safetensors file per scene and a manifest, read lazily and never unpickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from torch.utils.data import Dataset

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.points import draw_points, generator_of, occupancy_grid
from geometry_encoders.retrieval.scale import GridScale
from geometry_encoders.retrieval.windows import COARSE_STRIDE, Window, WindowSettings
from geometry_encoders.whole_files import whole_file

POINT_STEP = 1 / 1024  # points are stored as whole numbers of this part of a voxel
MANIFEST = "manifest.json"


class WindowStore:
    """The folder of one source: ``scenes/<scene>.safetensors``, ``failures.json`` and ``manifest.json``.

    A scene is there whole or not at all, so that a killed job goes on where it stopped. A store made with other
    settings is refused.
    """

    def __init__(self, folder: Path, settings: WindowSettings | None = None) -> None:
        self.folder = folder
        path = folder / MANIFEST
        if path.is_file():
            self.settings = _read_settings(path)
            if settings is not None and settings.digest() != self.settings.digest():
                differing = [
                    f.name for f in fields(settings) if getattr(settings, f.name) != getattr(self.settings, f.name)
                ]
                raise InputError(
                    f"{path}: made with other settings ({', '.join(differing)}); remove the folder or give another one"
                )
        elif settings is None:
            raise InputError(
                f"{folder}: no {MANIFEST}, expected a folder of windows made by `spatialvlm retrieval build`"
            )
        else:
            self.settings = settings
            (folder / "scenes").mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                manifest = {"digest": settings.digest(), "settings": asdict(settings)}
                partial.write_text(json.dumps(manifest, indent=1), encoding="utf-8")

    def path(self, scene: str) -> Path:
        """The file of a scene; raises ``InputError`` for an id that is no plain name."""
        if not scene or Path(scene).name != scene or scene.startswith("."):
            raise InputError(f"scene id {scene!r} cannot name a file, expected one without folders")
        return self.folder / "scenes" / f"{scene}.safetensors"

    def scenes(self) -> list[str]:
        """Ids of the scenes that are there, sorted."""
        return sorted(path.stem for path in (self.folder / "scenes").glob("*.safetensors"))

    def write(self, scene: str, windows: Sequence[Window]) -> None:
        """Writes the windows of one scene."""
        arrays: dict[str, np.ndarray] = {}
        for window in windows:
            arrays[f"{window.name}/target"] = window.target.astype(np.float16)
            arrays[f"{window.name}/coarse"] = np.ascontiguousarray(window.coarse)
            stored = np.clip(np.round(window.points / POINT_STEP), 0, np.iinfo(np.uint16).max)
            arrays[f"{window.name}/points"] = stored.astype(np.uint16)
        with whole_file(self.path(scene)) as partial:
            save_file(arrays, partial, {"digest": self.settings.digest()})

    def window_names(self, scene: str) -> list[str]:
        """Names of a scene's windows in (z, y, x) order."""
        with self._opened(scene) as arrays:
            return sorted(key.removesuffix("/target") for key in arrays.keys() if key.endswith("/target"))  # noqa: SIM118

    def read(self, scene: str, window: str) -> dict[str, Tensor]:
        """``target``, ``coarse`` and ``points`` of one window as float32."""
        with self._opened(scene) as arrays:
            found = {name: arrays.get_tensor(f"{window}/{name}") for name in ("target", "coarse", "points")}
        found = {name: value.float() for name, value in found.items()}
        return found | {"points": found["points"] * POINT_STEP}

    def _opened(self, scene: str) -> Any:
        path = self.path(scene)
        try:
            return safe_open(path, "pt")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not readable ({error}), expected windows; remove it and build again") from error


@dataclass(frozen=True)
class WindowSample:
    """Where a window lies in a store."""

    name: str
    scene: str


class Windows(Dataset[dict[str, Any]]):
    """Windows that networks learn from or that a database is made of.

    Every item is a dict: ``name``, ``scene``, ``target`` (64, 64, 64), ``input`` (side, side, side) and, for a scale
    with points, ``points`` (num_points, 3). Distances are in the unit of the scale, **not** normalised.

    Attributes:
        scale: of the volumes.
        samples: names and scenes, in order.
        source: where they come from, for error messages.
    """

    scale: GridScale
    samples: list[WindowSample]
    source: str
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    def set_epoch(self, epoch: int) -> None:
        """Other points are drawn from now on, where points are drawn."""
        self.epoch = epoch


class MemoryWindows(Windows):
    """Windows given as arrays."""

    def __init__(self, items: Sequence[dict[str, Any]], scale: GridScale, source: str = "memory") -> None:
        self.items, self.scale, self.source = items, scale, source
        self.samples = [WindowSample(item["name"], item["scene"]) for item in items]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


class WindowDataset(Windows):
    """Windows of a store as networks want them; ``points`` are in target voxels, NaN where the window is empty.

    Args:
        store: a folder of windows, or an open store.
        scale: says which input is made; its voxel must be the store's.
        scenes: which scenes, None = all.
        num_points: points per window, drawn anew with every `set_epoch`; drawn from (seed, name, epoch) alone.
        keep_empty: whether windows without any occupied voxel are listed.
    """

    def __init__(
        self,
        store: WindowStore | Path,
        scale: GridScale,
        scenes: Sequence[str] | None = None,
        num_points: int = 1000,
        seed: int = 0,
        keep_empty: bool = True,
    ) -> None:
        self.store = WindowStore(store) if isinstance(store, Path) else store
        if not np.isclose(self.store.settings.voxel, scale.voxel, rtol=1e-4):
            raise InputError(
                f"{self.store.folder}: made with a voxel of {self.store.settings.voxel:g}, expected {scale.voxel:g}"
            )
        self.source = str(self.store.folder)
        self.scale, self.num_points, self.seed = scale, num_points, seed
        there = self.store.scenes()
        chosen = there if scenes is None else list(scenes)
        if missing := sorted(set(chosen) - set(there)):
            raise InputError(f"{self.store.folder}: {len(missing)} scenes are not there, the first is {missing[0]!r}")
        self.samples = [WindowSample(name, scene) for scene in chosen for name in self.store.window_names(scene)]
        self.empty = 0
        if not keep_empty:
            full = [s for s in self.samples if bool((self._target(s) <= scale.occupied).any())]
            self.empty, self.samples = len(self.samples) - len(full), full

    def _target(self, sample: WindowSample) -> Float[Tensor, "64 64 64"]:
        return self.store.read(sample.scene, sample.name)["target"]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        arrays = self.store.read(sample.scene, sample.name)
        item: dict[str, Any] = {"name": sample.name, "scene": sample.scene, "target": arrays["target"]}
        if self.scale.input_kind == "distance":
            item["input"] = low_resolution(arrays["coarse"], self.scale)
        else:
            generator = generator_of(self.seed, sample.name, self.epoch)
            drawn = draw_points(arrays["points"], self.num_points, generator)
            item["input"] = occupancy_grid(drawn)
            item["points"] = drawn if len(drawn) else torch.full((self.num_points, 3), torch.nan)
        return item


def low_resolution(coarse: Float[Tensor, "16 16 16"], scale: GridScale) -> Float[Tensor, "side side side"]:
    """The low-resolution input of a scale from untruncated distances at every fourth node."""
    stride = scale.upsampling // COARSE_STRIDE
    values = coarse[::stride, ::stride, ::stride].clamp(max=scale.truncation_voxels * scale.input_voxel)
    return values.half().float() if scale.round_to_half else values.contiguous()


def _read_settings(path: Path) -> WindowSettings:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return WindowSettings(**content["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a manifest of windows ({error}); remove the folder and build again") from error
