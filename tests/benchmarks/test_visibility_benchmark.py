"""The visibility benchmark counts what it says it counts."""

from __future__ import annotations

import numpy as np

from benchmarks.performance.visibility import canvas_rectangle, measure, report
from qa_generation.raycast import Region
from qa_generation.visibility import VisibilityConfig
from tests.qa_generation.factories import Part, box_mesh, level_camera, make_scene

LENS = np.array([[100.0, 0.0, 79.5], [0.0, 100.0, 59.5], [0.0, 0.0, 1.0]])
BOX = Part("box", (2.5, 0.0, 0.0), (1.0, 1.0, 1.0))  # its front, 2 m ahead, is 50 x 50 pixels from 54.5 and 34.5 on


def test_all_rays_are_the_frame_and_the_rectangle_of_each_instance() -> None:
    scene = make_scene(
        [BOX], [level_camera((0, 0, 0), (1, 0, 0)), level_camera((0, 0, 0), (-1, 0, 0))], intrinsics=LENS
    )
    cost = measure(scene, VisibilityConfig())
    assert cost.all_rays == 2 * 160 * 120 + 52 * 52
    assert (cost.views, cost.instances, cost.triangles) == (2, 1, 12)
    assert "annotate is" in report(cost)


def test_rectangle_is_the_canvas_for_what_crosses_the_near_plane_and_empty_behind() -> None:
    view = make_scene([BOX], [level_camera((0, 0, 0), (1, 0, 0))], intrinsics=LENS).views[0]
    around = box_mesh([Part("tent", (0, 0, 0), (1, 1, 1))]).triangles_of(1)
    behind = box_mesh([Part("box", (-2, 0, 0), (1, 1, 1))]).triangles_of(1)
    assert canvas_rectangle(around, view, view.size) == Region.canvas(view.size)
    assert canvas_rectangle(behind, view, view.size) == Region(0, 0, 0, 0)
