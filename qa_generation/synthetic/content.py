"""One synthetic room as data: surface, instances and rendered views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from qa_generation.scene import Instance, Mesh


@dataclass(frozen=True, eq=False)
class RenderedView:
    """One rendered photograph with what is known about every pixel; conventions as in `qa_generation.scene.View`.

    Attributes:
        rgb: picture.
        depth_m: metres along z, 0 where nothing was hit.
        instance: id of the instance seen, 0 for walls, floor, ceiling and nothing.
    """

    view_id: str
    intrinsics: Float64[np.ndarray, "3 3"]
    world_to_camera: Float64[np.ndarray, "4 4"]
    size: tuple[int, int]
    rgb: UInt8[np.ndarray, "height width 3"]
    depth_m: Float32[np.ndarray, "height width"]
    instance: Int32[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False)
class SyntheticScene:
    """A whole room in memory. ``views`` has a length at once and renders an element when it is asked for.

    No vertex is shared by two instances. Iterate over ``views`` once: nothing rendered is kept.
    """

    scene_id: str
    seed: int
    mesh: Mesh
    instances: Mapping[int, Instance]
    views: Sequence[RenderedView]
