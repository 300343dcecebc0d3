"""Sizes and units of the grids: voxel, truncation, normalisation constants, one preset per dataset.

Every volume of this package is a float32 array in **(z, y, x)** order, y up, of unsigned distances in the unit of its
scale (metres for rooms). A window has 64^3 target voxels; voxels are nodes of a lattice, not cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.errors import InputError

WINDOW = 64  # target voxels along each side of a window
CHUNK = 16  # target voxels along each side of a chunk, the unit of retrieval
POINT_GRID = 128  # cells along each side of the occupancy grid that sparse points become

InputKind = Literal["distance", "points"]
Volume = TypeVar("Volume", Float[Tensor, "..."], Float[np.ndarray, "..."], float)


@dataclass(frozen=True)
class GridScale:
    """One dataset's grids; networks are trained for one scale and fit no other.

    Attributes:
        voxel: distance between two target nodes, in the unit of the scene.
        upsampling: target voxels per low-resolution input voxel, 8 or 4.
        input_kind: ``distance`` is a low-resolution distance field, ``points`` an occupancy grid of sparse points.
        input_mean, input_std, target_mean, target_std: normalisation of what networks see; 0 and 1 for points.
        truncation_voxels: distances stop to grow there, on both grids each in its own voxels.
        round_to_half: whether voxel and truncation are rounded to float16, as the published networks were trained.
        input_voxel_size: where the input voxel was published as a rounded number of its own.
    """

    voxel: float
    upsampling: Literal[8, 4] = 8
    input_kind: InputKind = "distance"
    input_mean: float = 0.0
    input_std: float = 1.0
    target_mean: float = 0.0
    target_std: float = 1.0
    truncation_voxels: float = 3.0
    round_to_half: bool = False
    input_voxel_size: float | None = None

    def __post_init__(self) -> None:
        if self.upsampling not in (4, 8):
            raise InputError(f"scale: upsampling is {self.upsampling!r}, expected 8 or 4")
        if self.input_kind not in ("distance", "points"):
            raise InputError(f"scale: input_kind is {self.input_kind!r}, expected 'distance' or 'points'")
        for name in ("voxel", "input_std", "target_std", "truncation_voxels"):
            if not getattr(self, name) > 0:
                raise InputError(f"scale: {name} is {getattr(self, name)!r}, expected a number above 0")

    # ---- lengths in the unit of the scene --------------------------------------------------------------------------

    @property
    def input_side(self) -> int:
        """Nodes (or cells, for points) of the input along each side of a window."""
        return POINT_GRID if self.input_kind == "points" else WINDOW // self.upsampling

    @property
    def input_voxel(self) -> float:
        """Distance between two nodes (or cells) of the input."""
        if self.input_kind == "points":
            return self.voxel * WINDOW / POINT_GRID
        return self.input_voxel_size or self.voxel * self.upsampling

    @property
    def truncation(self) -> float:
        """The largest target distance; also what lies outside of a window and in empty retrieved chunks."""
        return self._rounded(self.truncation_voxels * self.voxel)

    @property
    def exact_truncation(self) -> float:
        """The largest target distance as written to files, before any rounding."""
        return self.truncation_voxels * self.voxel

    @property
    def input_truncation(self) -> float:
        """The largest low-resolution distance."""
        return self._rounded(self.truncation_voxels * self.input_voxel)

    @property
    def occupied(self) -> float:
        """A target voxel is occupied up to this distance; also the level of marching cubes."""
        return 0.75 * self.voxel

    @property
    def window_length(self) -> float:
        """Side of a window."""
        return WINDOW * self.voxel

    def _rounded(self, length: float) -> float:
        return float(np.float32(np.float16(length))) if self.round_to_half else float(length)

    # ---- what networks see -----------------------------------------------------------------------------------------

    def normalise_input(self, value: Volume) -> Volume:
        """Low-resolution distances (or occupancy) -> what networks see."""
        return (value - self.input_mean) / self.input_std

    def normalise_target(self, value: Volume) -> Volume:
        """Target distances -> what networks see."""
        return (value - self.target_mean) / self.target_std

    def denormalise_target(self, value: Volume) -> Volume:
        """Inverse of `normalise_target`."""
        return value * self.target_std + self.target_mean

    def to_network(self, distance: Volume) -> Volume:
        """Target distances 0..truncation -> -1..1, where the decoder's tanh lives."""
        return 2 * distance / self.truncation - 1

    def from_network(self, value: Volume) -> Volume:
        """Inverse of `to_network`."""
        return (value + 1) * (self.truncation / 2)


_FRONT: dict[str, Any] = {"target_mean": 0.15015658121788053, "target_std": 0.03573221820637578}
_MATTERPORT: dict[str, Any] = {"target_mean": 10.502049923464249, "target_std": 2.3319665041587627}
_SHAPENET: dict[str, Any] = {"target_mean": 0.059954833543534335, "target_std": 0.010110036361741626}
_SHAPENET_RETRIEVAL: dict[str, Any] = {"target_mean": 0.060043341595512584, "target_std": 0.009982546908894512}
_ROOMS: dict[str, Any] = {"target_mean": 0.1468, "target_std": 0.03939}

# published constants of RetrievalFuse (ICCV 2021); centimetres for matterport, the longest edge = 1 for shapenet, whose
# two stages were trained with constants of their own
PRESETS: dict[str, GridScale] = {
    "3dfront": GridScale(
        0.054167,
        8,
        "distance",
        0.8112343966484424,
        0.5094238937427482,
        **_FRONT,
        round_to_half=True,
        input_voxel_size=0.43334,
    ),
    "3dfront-points": GridScale(0.054167, 8, "points", **_FRONT, round_to_half=True),
    "matterport": GridScale(
        3.75, 4, "distance", 35.62394659115317, 14.58642912987053, **_MATTERPORT, round_to_half=True
    ),
    "matterport-points": GridScale(3.75, 4, "points", **_MATTERPORT, round_to_half=True),
    "shapenet": GridScale(
        0.020834,
        8,
        "distance",
        0.3095340441938771,
        0.14730652990291243,
        **_SHAPENET,
        round_to_half=True,
        input_voxel_size=0.166667,
    ),
    "shapenet-retrieval": GridScale(
        0.020834,
        8,
        "distance",
        0.34774827082940146,
        0.16208995673899929,
        **_SHAPENET_RETRIEVAL,
        round_to_half=True,
        input_voxel_size=0.166667,
    ),
    "shapenet-points": GridScale(0.020834, 8, "points", **_SHAPENET, round_to_half=True),
    "shapenet-points-retrieval": GridScale(0.020834, 8, "points", **_SHAPENET_RETRIEVAL, round_to_half=True),
    # our synthetic rooms, on the lattice of 3dfront: constants measured on 810 windows of 200 rooms
    "rooms": GridScale(0.054167, 8, "distance", 0.5813, 0.4268, **_ROOMS),
    "rooms-points": GridScale(0.054167, 8, "points", **_ROOMS),
}


def preset_scale(name: str) -> GridScale:
    """The scale of that name; raises ``InputError`` that lists the names there are."""
    if name not in PRESETS:
        raise InputError(f"scale {name!r} is unknown, expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
