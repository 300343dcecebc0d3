"""One small whole folder for each reader, written by our exporters: what gets spoiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qa_generation.seeding import generator
from qa_generation.synthetic.build import RoomConfig, build_scene
from qa_generation.synthetic.catalogue import BUILDERS
from qa_generation.synthetic.content import SyntheticScene
from qa_generation.synthetic.style import draw_style
from qa_generation.writers.arkitscenes import ARKitScenesOptions, write_arkitscenes_scene
from qa_generation.writers.mvimgnet import draw_similarity, write_categories, write_object
from qa_generation.writers.mvimgnet_turntable import TurntableConfig, film
from qa_generation.writers.native import write_native_scene
from qa_generation.writers.scannet import scannet_name, write_scannet_labels, write_scannet_scene
from qa_generation.writers.scannetpp import write_scannetpp_scene
from qa_generation.writers.waymo import SegmentOptions, segment_name, write_waymo_segment
from qa_generation.writers.waymo_sensors import Rig
from qa_generation.writers.waymo_street import hand_made_street

VIEWS, SIZE = 4, (64, 48)


def _room() -> SyntheticScene:
    return build_scene(7, 0, RoomConfig(VIEWS, SIZE))


def _synthetic(root: Path) -> None:
    write_native_scene(_room(), root)


def _scannet(root: Path) -> None:
    write_scannet_scene(_room(), root, scannet_name(0))
    write_scannet_labels(root)


def _scannetpp(root: Path) -> None:
    write_scannetpp_scene(_room(), root, "35f2120068")


def _arkitscenes(root: Path) -> None:
    write_arkitscenes_scene(_room(), root, "40753679", ARKitScenesOptions(layout="raw", confidence=True))


def _mvimgnet(root: Path) -> None:
    rng = generator(7, "fuzz object")
    chair = BUILDERS["chair"](rng, draw_style(rng)).surface
    footage = film(chair, TurntableConfig(views=6, size=SIZE, points=200), rng)
    write_categories(root, {1: "chair"})
    write_object(root, 1, "0a114aab", footage, draw_similarity(rng))


def _waymo(root: Path) -> None:
    options = SegmentOptions(frames=1)
    write_waymo_segment(hand_made_street(), root, segment_name(0), Rig(96, (16, 90), (12, 36)), options)


SEEDS: dict[str, Callable[[Path], None]] = {
    "synthetic": _synthetic,
    "scannet": _scannet,
    "scannetpp": _scannetpp,
    "arkitscenes": _arkitscenes,
    "mvimgnet": _mvimgnet,
    "waymo": _waymo,
}
