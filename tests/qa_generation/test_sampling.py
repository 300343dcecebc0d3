"""View sets keep to the overlap cap and the frame rules, and depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.errors import InputError
from qa_generation.sampling import SamplingConfig, draw_view_sets, usable_views
from tests.qa_generation.hand_made import table_of


def _table(overlap: np.ndarray, states: list[str] | None = None, **rest: object):
    return table_of(states or ["VVV"] * len(overlap), overlap=overlap, **rest)  # type: ignore[arg-type]


def _overlap(pairs: dict[tuple[int, int], float], views: int, other: float = 90.0) -> np.ndarray:
    overlap = np.full((views, views), other)
    for (i, j), value in pairs.items():
        overlap[i, j] = overlap[j, i] = value
    np.fill_diagonal(overlap, 100.0)
    return overlap


def test_only_the_pair_under_the_cap_is_drawn_and_the_cap_is_inclusive():
    overlap = _overlap({(0, 2): 30.0, (1, 3): 30.001}, views=4)
    drawn = draw_view_sets(_table(overlap), np.random.default_rng(0))
    assert [set(s.views) for s in drawn] == [{0, 2}]
    assert drawn[0].overlap_avg == drawn[0].overlap_max == 30.0


def test_mean_and_largest_overlap_of_a_triple():
    overlap = _overlap({(0, 1): 6.0, (0, 2): 12.0, (1, 2): 27.0}, views=3)
    config = SamplingConfig(view_sets=1, sizes=(3,))
    (drawn,) = draw_view_sets(_table(overlap), np.random.default_rng(0), config)
    assert drawn.overlap_avg == pytest.approx(15.0) and drawn.overlap_max == 27.0


def test_frames_with_few_instances_or_a_near_wall_are_left_out():
    overlap = np.where(np.eye(4, dtype=bool), 100.0, 1.0)
    table = _table(overlap, ["VVV", "VV?", "VVV", "VVV"], median_depth=[2.0, 2.0, 0.49, 0.5])
    assert usable_views(table, SamplingConfig()).tolist() == [0, 3]
    assert {s.views for s in draw_view_sets(table, np.random.default_rng(1))} <= {(0, 3), (3, 0)}


def test_views_of_unequal_size_never_meet():
    overlap = np.where(np.eye(4, dtype=bool), 100.0, 1.0)
    sizes = [(640, 480), (640, 480), (1920, 1080), (1920, 1080)]
    drawn = draw_view_sets(_table(overlap), np.random.default_rng(0), image_sizes=sizes)
    assert {frozenset(s.views) for s in drawn} == {frozenset({0, 1}), frozenset({2, 3})}


def test_the_order_of_views_is_not_the_order_of_time():
    overlap = np.where(np.eye(30, dtype=bool), 100.0, 1.0)
    drawn = draw_view_sets(_table(overlap), np.random.default_rng(0), SamplingConfig(view_sets=80))
    rising = [list(s.views) == sorted(s.views) for s in drawn]
    assert 0 < sum(rising) < len(rising) / 2


def test_views_that_share_a_category_are_preferred():
    states = ["VVV......", "...VVV...", "......VVV", "......VVV"]
    labels = ["chair", "lamp", "box", "chair", "lamp", "box", "sofa", "rug", "bin"]
    overlap = np.where(np.eye(4, dtype=bool), 100.0, 0.0)
    config = SamplingConfig(view_sets=1, sizes=(2,))
    pairs = [
        frozenset(draw_view_sets(_table(overlap, states), np.random.default_rng(i), config, labels)[0].views)
        for i in range(300)
    ]
    # among the partners of view 0: view 1 shares its categories (weight 3), views 2 and 3 share nothing (1 each)
    assert pairs.count(frozenset({0, 1})) > pairs.count(frozenset({0, 2})) + pairs.count(frozenset({0, 3}))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), views=st.integers(1, 14))
def test_every_set_is_valid_and_drawn_once(seed: int, views: int):
    rng = np.random.default_rng(seed)
    overlap = rng.uniform(0, 60, (views, views))
    overlap = np.maximum(overlap, overlap.T)
    np.fill_diagonal(overlap, 100.0)
    config = SamplingConfig(view_sets=20)
    drawn = draw_view_sets(_table(overlap), np.random.default_rng(seed), config)
    assert drawn == draw_view_sets(_table(overlap), np.random.default_rng(seed), config)
    assert len(drawn) <= 20 and len({frozenset(s.views) for s in drawn}) == len(drawn)
    for view_set in drawn:
        assert 2 <= len(view_set.views) <= 5 and len(set(view_set.views)) == len(view_set.views)
        pairs = [overlap[i, j] for i in view_set.views for j in view_set.views if i < j]
        assert max(pairs) <= 30.0 and view_set.overlap_max == max(pairs)
        assert view_set.overlap_avg == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("wrong", [{"sizes": (1, 2)}, {"sizes": ()}, {"view_sets": 0}, {"max_overlap": 130.0}])
def test_senseless_settings_are_refused(wrong: dict):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SamplingConfig(**wrong)
