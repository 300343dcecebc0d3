"""What names give away is learned from many scenes and thinned out, so that the same names go with both answers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from qa_generation.compose import write_type
from qa_generation.generation_config import GenerationConfig
from qa_generation.name_priors import MIN_SCENES, Learner, NamePriors, Survey, keep_shares, pair_key
from qa_generation.sampling import SamplingConfig
from qa_generation.survey import survey
from qa_generation.tasks import TASKS, relation
from qa_generation.tasks.relations import AXES
from tests.qa_generation.hand_made import context_of, part


def _learn(surveys: list[Survey]) -> NamePriors | None:
    learner = Learner()
    for one in surveys:
        learner.add(one)
    return learner.learned()


def _scenes(lamp_above_rug: list[int]) -> list[Survey]:
    return [Survey({"ab|lamp|rug": 1000 * above}, {}) for above in lamp_above_rug]


def test_too_few_scenes_teach_nothing():
    assert _learn(_scenes([1] * (MIN_SCENES - 1))) is None
    assert _learn(_scenes([1] * MIN_SCENES)) is not None


def test_a_pair_that_always_goes_one_way_is_not_asked():
    names = _learn(_scenes([1] * 30))
    assert names is not None
    fair = names.fair_pairs("ab", ("lamp", "rug"), np.zeros((2, 2)))
    assert not fair[:, 0, 1].any() and not fair[:, 1, 0].any()


def test_the_frequent_answer_is_thinned_to_the_rare_one():
    # the lamp is above the rug in three scenes of four
    names = _learn(_scenes([1, 1, 1, 0] * 25))
    assert names is not None
    above = names.positive("ab", ("lamp", "rug"))[0, 1]
    assert above == pytest.approx(0.75, abs=0.02)
    kept = np.zeros(2)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        positive = rng.random() < 0.75
        fair = names.fair_pairs("ab", ("lamp", "rug"), rng.random((2, 2)))
        kept[int(positive)] += fair[int(positive), 0, 1]
    assert 0.45 < kept[1] / kept.sum() < 0.55, "among what is left both answers are equally frequent"
    assert names.fair_pairs("ab", ("lamp", "rug"), np.full((2, 2), 0.99))[0, 0, 1], "the rare answer is always kept"


def test_each_of_four_names_is_the_true_one_as_often():
    strengths = {"a": 0.0, "b": 0.7, "c": -0.4, "d": 1.1}
    names = NamePriors({"ab": strengths}, {}, {})
    rng = np.random.default_rng(0)
    promise = np.exp([strengths[name] for name in strengths])
    kept: Counter[str] = Counter()
    for truth in rng.choice(list(strengths), p=promise / promise.sum(), size=8000):
        others = [name for name in strengths if name != truth]
        kept[truth] += rng.random() < names.fair_choice("ab", 1, [truth, *others])
    share = np.array([kept[name] for name in strengths]) / kept.total()
    np.testing.assert_allclose(share, 0.25, atol=0.03)
    # asked for the other side, the names promise the opposite
    assert names.fair_choice("ab", -1, ["c", "a", "b", "d"]) == pytest.approx(np.exp(-1.1 - 0.4))
    assert names.fair_choice("ab", -1, ["d", "a", "b", "c"]) == 1.0


def test_names_never_met_together_are_judged_by_their_strengths():
    chain = [Survey({"ab|clock|table": 1000, "ab|rug|table": 0, "lr|clock|table": 500}, {})] * 30
    names = _learn(chain)
    assert names is not None
    assert names.positive("ab", ("clock", "rug"))[0, 1] > 0.9
    assert names.positive("lr", ("clock", "rug"))[0, 1] == pytest.approx(0.5, abs=0.01)
    assert names.positive("ab", ("unheard", "unseen"))[0, 1] == 0.5


def test_learning_does_not_depend_on_the_order_of_scenes():
    scenes = [Survey({"ab|a|b": 137 * i % 1000, "fb|a|c": 71 * i % 1000}, {"t": {"a": {"1": i}}}) for i in range(20)]
    first, second = _learn(scenes), _learn(scenes[::-1])
    assert first is not None and second is not None and first == second and first.digest() == second.digest()


@pytest.mark.parametrize(
    "counts, kept",
    [
        ({"1": 90, "2": 10}, {"1": pytest.approx(1 / 9, abs=1e-3), "2": 1.0}),
        ({"1": 40}, {"1": 0.02}),
        ({"1": 10, "2": 10, "3": 10, "4": 10}, {"1": 1.0, "2": 1.0, "3": 1.0, "4": 1.0}),
    ],
)
def test_counts_are_evened_out(counts: dict, kept: dict):
    assert keep_shares(counts) == kept


def test_no_count_exceeds_its_share_where_there_are_enough_values():
    counts = {"1": 900, "2": 300, "3": 200, "4": 150, "5": 10}
    left = {key: counts[key] * share for key, share in keep_shares(counts).items()}
    assert max(left.values()) / sum(left.values()) <= 0.301


def test_survey_counts_directions_between_hidden_and_named_things():
    # the lamp is 2 m to the left of the table and shows in frame 2 only
    parts = [part("table", x=3.0, y=0.0), part("lamp", x=3.0, y=2.0), part("box", x=3.0, y=-2.0)]
    config = GenerationConfig(sampling=SamplingConfig(min_visible_instances=2))
    found = survey(context_of(parts, ["V.V", "VVV"], config=config))
    assert found.pairs["lr|lamp|table"] == 0 and found.pairs["lr|box|lamp"] == 1000
    assert "ab|lamp|table" not in found.pairs, "at equal height nothing is decided"
    assert found.counts["obj_count_occ"] == {"box": {"1": 1}, "lamp": {"1": 1}, "table": {"1": 1}}
    assert pair_key("lr", "table", "lamp") == "lr|lamp|table"


def test_what_lies_lower_does_not_tell_what_is_closer():
    """Targets that are lower are always closer here; without groups the false phrase "higher" would mean "closer"."""
    low_near = [part(name, x=2.0, y=y, z=0.2) for name, y in (("rug", 2.0), ("ball", -2.0), ("bin", 3.0))]
    high_far = [part(name, x=6.0, y=y, z=2.4) for name, y in (("clock", 2.0), ("lamp", -2.0), ("vase", 3.0))]
    low_far = [part("box", x=6.0, y=-3.0, z=0.2)]
    context = context_of(
        [part("table", x=4.0, z=1.2), *low_near, *high_far, *low_far],
        ["V.......", "VVVVVVVV"],
        config=GenerationConfig(relation_options="published"),
    )
    drafts = write_type("obj_spatial_occ_fb", TASKS["obj_spatial_occ_fb"], context, np.random.default_rng(0), 40)
    said = Counter()
    for _, draft in drafts:
        (height,) = [text.split()[0] for text in draft.wrong if "er than the" in text and "camera" not in text]
        said[height, draft.answer.split()[0]] += 1
    assert said and all(said[height, "closer"] == said[height, "farther"] for height, _ in said)


def test_octants():
    signs = np.array([[-1, 1, -1, 1], [-1, -1, 1, 1], [-1, -1, -1, 1]], dtype=np.int8)
    assert relation.octant(signs).tolist() == [0, 1, 2, 7]
    for axis in AXES:
        groups = {relation.other_axes(number, axis) for number in range(8)}
        assert len(groups) == 4
