"""Visibility written down by hand, so that a test says in letters what every frame shows.

    context = context_of([chair, table], [camera, camera], ["V.", "?V"])

Rows are frames, letters are instances: ``V`` visible, ``?`` ambiguous (a few pixels), ``.`` absent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qa_generation.generation_config import GenerationConfig
from qa_generation.sampling import ViewSet
from qa_generation.tasks.context import SceneContext
from qa_generation.visibility_table import VisibilityTable
from tests.qa_generation.factories import Camera, Part, level_camera, make_scene

SIZE = (160, 120)
# a camera at the origin, 1 m up, that looks along +x: camera x is world -y, camera z is world x
AHEAD = level_camera((0.0, 0.0, 1.0), (1.0, 0.0, 0.0))


def part(category: str, x: float = 3.0, y: float = 0.0, z: float = 1.0, side: float = 0.4) -> Part:
    """A cube with its centre there, metres."""
    return Part(category, (x, y, z), (side, side, side))


def table_of(
    states: Sequence[str],
    *,
    scene_id: str = "toy_0001",
    pixels: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    occlusion: float = 0.2,
    overlap: np.ndarray | None = None,
    median_depth: Sequence[float] | None = None,
) -> VisibilityTable:
    """A table in which every visible instance has 1,000 pixels (or ``pixels``) and that combined occlusion.

    Letters: ``V`` visible, ``?`` ambiguous, ``~`` glimpsed between the pixels, ``.`` absent.
    """
    letters = np.array([list(row) for row in states])
    views, instances = letters.shape
    if pixels is None:
        pixels = np.full(letters.shape, 1000)
    visible = np.select([letters == "V", letters == "?"], [pixels, 8], 0)
    canvas = np.select([letters == "V", letters == "?"], [np.rint(pixels / (1.0 - occlusion)), 4000], 0)
    if boxes is None:
        boxes = np.tile([40, 30, 72, 60], (views, instances, 1))
    return VisibilityTable(
        scene_id=scene_id,
        view_ids=tuple(f"frame_{10 * i:06d}" for i in range(views)),
        instance_ids=tuple(range(1, instances + 1)),
        sizes=np.tile(np.array(SIZE, dtype=np.int32), (views, 1)),
        visible_pixels=visible.astype(np.int32),
        frame_pixels=canvas.astype(np.int32),
        canvas_pixels=canvas.astype(np.int32),
        boxes=np.where(visible[..., None] > 0, boxes, -1).astype(np.int32),
        centroid_depth=np.where(visible > 0, 2.0, 0.0).astype(np.float32),
        median_depth=np.asarray([2.0] * views if median_depth is None else median_depth, dtype=np.float32),
        overlap=np.where(np.eye(views, dtype=bool), 100.0, 5.0) if overlap is None else overlap,
        glimpsed=letters == "~",
    )


def context_of(
    parts: Sequence[Part],
    states: Sequence[str],
    *,
    cameras: Sequence[Camera] | None = None,
    view_sets: Sequence[tuple[int, ...]] | None = None,
    config: GenerationConfig | None = None,
    **table: object,
) -> SceneContext:
    """The context of one view set of all frames (or ``view_sets``); every camera is ``AHEAD`` unless given."""
    scene = make_scene(parts, cameras or [AHEAD] * len(states), size=SIZE)
    sets = [ViewSet(views, 5.0, 5.0) for views in view_sets or [tuple(range(len(states)))]]
    return SceneContext(scene, table_of(states, **table), sets, config or GenerationConfig())  # type: ignore[arg-type]
