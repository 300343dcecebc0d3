"""Drawings are well-formed, as wide as their numbers, and hold other people's names as text only."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from qa_generation.browser.charts import Bars, bars_svg, histogram_svg
from qa_generation.browser.distributions import drawings
from qa_generation.statistics import Statistics

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '"><script>alert(1)</script>&amp'


def widths(svg: str) -> list[float]:
    return [
        float(node.get("width"))
        for node in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if node.find(f"{SVG}title") is not None
    ]


def test_bars_are_as_wide_as_their_numbers():
    first, second, third = widths(bars_svg(Bars("t", {"a": [10], "b": [5], "c": [2.5]})))
    assert first == pytest.approx(2 * second, abs=0.02) == pytest.approx(4 * third, abs=0.05)


def test_shares_fill_the_row():
    found = widths(bars_svg(Bars("t", {"a": [1, 3], "b": [300, 100]}, ("x", "y"), shares=True)))
    assert found[0] + found[1] == pytest.approx(found[2] + found[3], abs=0.02)
    assert found[0] == pytest.approx(found[3], abs=0.02) and found[1] == pytest.approx(3 * found[0], abs=0.05)


@pytest.mark.parametrize(
    "svg", [bars_svg(Bars(EVIL, {EVIL: [1, 2]}, (EVIL, "b"))), histogram_svg(EVIL, [1, 2], 0, 1, EVIL)]
)
def test_names_are_text(svg: str):
    root = ElementTree.fromstring(svg)
    assert not list(root.iter(f"{SVG}script")) and not list(root.iter("script"))
    assert root.get("aria-label") == EVIL


def test_nothing_to_draw_is_no_drawing():
    assert drawings(Statistics()) == {}
    ElementTree.fromstring(histogram_svg("t", [], 0, 1))
    ElementTree.fromstring(bars_svg(Bars("t", {"a": [0]})))


def test_counts_and_lengths_have_histograms_of_their_own():
    found = Statistics()
    found.questions[("train", "obj_count_occ_na")] = 6
    found.questions[("train", "obj_size_occ_na")] = 2
    for value, number in ((1.0, 3), (2.0, 2), (5.0, 1)):
        found.values[("obj_count_occ_na", value)] = number
    found.values[("obj_size_occ_na", 37.5)] = 2
    made = drawings(found)
    assert "centimetres" in made["values_obj_size_occ_na"][0]
    heights = [
        float(n.get("height")) for n in ElementTree.fromstring(made["values_obj_count_occ_na"][1]).iter(f"{SVG}rect")
    ]
    assert len(heights) == 5 and heights[2] == heights[3] == 0  # one bin per count from 1 to 5
    assert heights[0] == pytest.approx(1.5 * heights[1], abs=0.02) == pytest.approx(3 * heights[4], abs=0.02)
