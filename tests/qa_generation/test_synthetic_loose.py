"""Loose things: names promise neither height nor size, and a room without them is the room it was."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from qa_generation.synthetic.build import RoomConfig, build_scene, scene_rng
from qa_generation.synthetic.catalogue import BUILDERS
from qa_generation.synthetic.furnish import furnish
from qa_generation.synthetic.layout import draw_room
from qa_generation.synthetic.loose import HANGING, STANDING, resized, scatter
from qa_generation.synthetic.placement import Placed
from qa_generation.synthetic.style import draw_style


def scattered(index: int, number: int) -> list[Placed]:
    rng = scene_rng(31, index)
    style = draw_style(rng)
    arrangement = furnish(draw_room(rng), style, rng)
    before = len(arrangement.placed)
    scatter(arrangement, style, rng, number)
    return arrangement.placed[before:]


@pytest.fixture(scope="module")
def things() -> list[Placed]:
    return [placed for index in range(16) for placed in scattered(index, 16)]


def test_most_of_what_is_asked_for_finds_a_place(things: list[Placed]) -> None:
    assert 10 * 16 < len(things) <= (16 + 3) * 16
    assert {placed.item.category for placed in things} == {*STANDING, *HANGING, "shelf"}


def test_a_name_does_not_tell_the_height(things: list[Placed]) -> None:
    heights_m = defaultdict(list)
    for placed in things:
        heights_m[placed.item.category].append(placed.position[2])
    for name in ("ball", "books", "bottle", "bowl", "mug", "vase", "picture", "clock"):
        assert np.ptp(heights_m[name]) > 0.5, name


def test_a_name_does_not_tell_the_size(things: list[Placed]) -> None:
    longest_m = [max(placed.item.size) for placed in things if placed.item.category == "bottle"]
    assert max(longest_m) > 2 * min(longest_m)


def test_rooms_without_loose_things_are_part_of_those_with() -> None:
    tidy, strewn = (build_scene(4, 0, RoomConfig(2, (32, 24), loose=loose)) for loose in (0, 16))
    assert len(strewn.instances) > len(tidy.instances)
    for number, instance in tidy.instances.items():
        assert strewn.instances[number].category == instance.category
        np.testing.assert_array_equal(strewn.instances[number].obb.center, instance.obb.center)


@pytest.mark.parametrize("name", ["floor lamp", "bookshelf"])
def test_a_thing_made_larger_keeps_its_shape_its_levels_and_its_bulb(name: str) -> None:
    rng = np.random.default_rng(5)
    item = BUILDERS[name](rng, draw_style(rng))
    large = resized(item, 1.5)
    np.testing.assert_allclose(large.size, 1.5 * item.size)
    np.testing.assert_allclose(large.surface.normals, item.surface.normals, atol=1e-12)
    np.testing.assert_allclose([s.z for s in large.supports], [1.5 * s.z for s in item.supports])
    if item.lamp:
        np.testing.assert_allclose(large.lamp, np.multiply(item.lamp, 1.5))
