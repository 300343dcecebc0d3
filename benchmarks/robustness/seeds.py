"""Small whole folders for all readers, written by our exporters: what gets spoiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from qa_generation.seeding import generator
from qa_generation.synthetic.build import RoomConfig, build_scene
from qa_generation.synthetic.catalogue import BUILDERS
from qa_generation.synthetic.content import SyntheticScene
from qa_generation.synthetic.style import draw_style
from qa_generation.writers.arkitscenes import ARKitScenesOptions, write_arkitscenes_scene
from qa_generation.writers.mvimgnet import ObjectLayout, draw_similarity, write_categories, write_object
from qa_generation.writers.mvimgnet_turntable import TurntableConfig, film
from qa_generation.writers.native import write_native_scene
from qa_generation.writers.scannet import scannet_name, write_scannet_labels, write_scannet_scene
from qa_generation.writers.scannetpp import write_scannetpp_scene
from qa_generation.writers.waymo import SegmentOptions, segment_name, write_waymo_segment
from qa_generation.writers.waymo_sensors import Rig
from qa_generation.writers.waymo_street import hand_made_street

VIEWS, SIZE = 4, (64, 48)
SMALL_RIG = Rig(96, (16, 90), (12, 36))


def _room() -> SyntheticScene:
    return build_scene(7, 0, RoomConfig(VIEWS, SIZE))


def _synthetic(root: Path) -> None:
    write_native_scene(_room(), root)


def _scannet(root: Path) -> None:
    write_scannet_scene(_room(), root, scannet_name(0))
    write_scannet_labels(root)


def _scannetpp(root: Path) -> None:
    write_scannetpp_scene(_room(), root, "35f2120068")


def _arkitscenes_raw(root: Path) -> None:
    write_arkitscenes_scene(_room(), root, "40753679", ARKitScenesOptions(layout="raw", confidence=True))


def _arkitscenes_3dod(root: Path) -> None:
    write_arkitscenes_scene(_room(), root, "40753679", ARKitScenesOptions(layout="3dod", turns=1))


def _mvimgnet(root: Path, layout: ObjectLayout | None = None) -> None:
    rng = generator(7, "fuzz object")
    chair = BUILDERS["chair"](rng, draw_style(rng)).surface
    footage = film(chair, TurntableConfig(views=6, size=SIZE, points=200), rng)
    write_categories(root, {1: "chair"})
    write_object(root, 1, "0a114aab", footage, draw_similarity(rng), layout)


def _mvimgnet_text(root: Path) -> None:
    _mvimgnet(root, ObjectLayout(model_format="text", mask_format="png"))


def _waymo(root: Path) -> None:
    write_waymo_segment(hand_made_street(), root, segment_name(0), SMALL_RIG, SegmentOptions(frames=1))


def _waymo_parked(root: Path) -> None:
    """Nothing moves but the car, which drives far enough between two moments to see other things."""
    street = hand_made_street()
    parked = tuple(replace(block, velocity=(0.0, 0.0, 0.0)) for block in street.blocks)
    options = SegmentOptions(frames=3)
    write_waymo_segment(replace(street, blocks=parked, speed=80.0), root, segment_name(0), SMALL_RIG, options)


@dataclass(frozen=True)
class Seed:
    """A whole folder: how it is written, and the reader and its options that make questions of it."""

    reader: str
    write: Callable[[Path], object]
    options: Mapping[str, str] = field(default_factory=dict)


SEEDS: dict[str, Seed] = {
    "synthetic": Seed("synthetic", _synthetic),
    "scannet": Seed("scannet", _scannet),
    "scannetpp": Seed("scannetpp", _scannetpp),
    "scannetpp-dslr": Seed("scannetpp", _scannetpp, {"camera": "dslr"}),
    "arkitscenes": Seed("arkitscenes", _arkitscenes_raw),
    "arkitscenes-3dod": Seed("arkitscenes", _arkitscenes_3dod),
    "mvimgnet": Seed("mvimgnet", _mvimgnet),
    "mvimgnet-text": Seed("mvimgnet", _mvimgnet_text),
    "waymo": Seed("waymo", _waymo),
    "waymo-neighbours": Seed("waymo", _waymo_parked, {"snapshot_stride": "1", "neighbours": "1"}),
}
