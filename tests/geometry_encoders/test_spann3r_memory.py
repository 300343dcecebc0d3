"""The spatial memory on its own: what is read, what enters, what stays, sample by sample."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.spann3r import MemoryConfig
from geometry_encoders.reconstruction.spann3r.memory import SpatialMemory

TOKENS = 2
CHANNELS = 4


def plain_memory(**options: object) -> SpatialMemory:
    """A memory without layer norms, so that answers can be worked out by hand."""
    unchanged = torch.nn.Identity()
    return SpatialMemory(MemoryConfig(**options), unchanged, unchanged, unchanged)


def frame(direction: int, samples: int = 1) -> torch.Tensor:
    """Keys of a frame that all point one way: cosine 1 with the same direction, 0 with another."""
    keys = torch.zeros(samples, TOKENS, CHANNELS)
    keys[..., direction] = 1
    return keys


def test_a_read_is_an_average_by_softmax_plus_the_query() -> None:
    memory = plain_memory(attention_threshold=0.0)
    keys = torch.tensor([[[2.0, 0, 0, 0], [0, 0, 0, 0]]])
    values = torch.tensor([[[1.0, 0, 0, 0], [0, 10.0, 0, 0]]])
    memory.insert(keys, values)
    query = torch.tensor([[[1.0, 0, 0, 0]]])
    share = 1 / (1 + math.exp(-1))  # scores 2 / sqrt(4) and 0
    expected = torch.tensor([[[1 + share, 10 * (1 - share), 0, 0]]])
    torch.testing.assert_close(memory.read(query), expected)
    torch.testing.assert_close(memory.attention, torch.tensor([[share, 1 - share]]))


def test_small_weights_are_cut_and_the_rest_fills_up() -> None:
    memory = plain_memory(attention_threshold=0.4)
    memory.insert(torch.tensor([[[2.0, 0, 0, 0], [0, 0, 0, 0]]]), torch.tensor([[[1.0, 0, 0, 0], [0, 10.0, 0, 0]]]))
    answer = memory.read(torch.tensor([[[1.0, 0, 0, 0]]]), residual=False)
    torch.testing.assert_close(answer, torch.tensor([[[1.0, 0, 0, 0]]]))


@pytest.mark.parametrize("compat", [False, True])
def test_a_row_with_nothing_above_the_threshold(compat) -> None:
    memory = plain_memory(attention_threshold=0.6, similarity_threshold=1.0, compat=compat)
    memory.insert(torch.zeros(1, 2, 4), torch.tensor([[[1.0, 0, 0, 0], [3.0, 0, 0, 0]]]))
    answer = memory.read(torch.zeros(1, 1, 4))
    assert bool(answer.isnan().all()) == compat
    if not compat:
        torch.testing.assert_close(answer[0, 0, 0], torch.tensor(2.0))  # unclipped: half of each


def test_similar_frames_stay_out_sample_by_sample() -> None:
    memory = plain_memory()
    memory.insert(frame(0, samples=2), frame(0, samples=2))
    again_and_new = torch.cat([frame(0), frame(1)])
    assert memory.insert(again_and_new, again_and_new).tolist() == [False, True]
    assert memory.frames() == [1, 2]
    assert memory.ages[0, -TOKENS:].tolist() == [0, 0], "a frame that stays out makes nothing older"
    shared = plain_memory(compat=True)
    shared.insert(frame(0, samples=2), frame(0, samples=2))
    assert shared.insert(again_and_new, again_and_new).tolist() == [False, False]
    assert shared.frames() == [1, 1]


def test_only_working_frames_are_compared() -> None:
    memory = plain_memory(work_mem_frames=2)
    for direction in (0, 1, 2):
        assert bool(memory.insert(frame(direction), frame(direction)))
    assert not bool(memory.insert(frame(1), frame(1)))
    assert bool(memory.insert(frame(0), frame(0))), "the first frame is long-term memory by now"


def test_pruning_keeps_the_working_memory_and_what_was_read_most() -> None:
    memory = plain_memory(work_mem_frames=1, long_mem_tokens=6, similarity_threshold=1.0, attention_threshold=0.0)
    generator = torch.Generator().manual_seed(0)
    inserted = []
    while not inserted or memory.counts.item() == len(inserted) * TOKENS:
        keys = torch.randn(1, TOKENS, CHANNELS, generator=generator)
        memory.insert(keys, keys)
        inserted.append(keys)
        memory.read(inserted[0] * 3)  # the first frame is asked for all the time
    assert len(inserted) == 5  # four frames of long-term memory, eight tokens, are the first to exceed six
    assert memory.counts.item() == 6
    assert torch.equal(memory.keys[0, -TOKENS:], inserted[-1][0])
    ages = memory.ages[0].tolist()
    assert ages == sorted(ages, reverse=True), "tokens keep their order"


def test_sliding_window() -> None:
    memory = plain_memory(work_mem_frames=2, long_mem_tokens=0)
    for direction in (0, 1, 2, 3):
        memory.insert(frame(direction), frame(direction))
    assert torch.equal(memory.keys, torch.cat([frame(2), frame(3)], dim=1))


def random_run(samples: int, choices: list[list[int]], options: dict) -> tuple[SpatialMemory, list[torch.Tensor]]:
    """Frames by number, a column of ``choices`` per sample; every frame is read with before it is offered."""
    memory, answers = plain_memory(**options), []
    bank = torch.randn(6, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(3))
    for row in choices:
        keys = torch.stack([bank[row[sample]] for sample in range(samples)])
        if not memory.is_empty:
            answers.append(memory.read(keys))
        memory.insert(keys, 2 * keys)
    return memory, answers


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=14),
    st.sampled_from([0, 3, 7, 100]),
    st.integers(1, 3),
)
def test_a_batch_is_its_samples_one_by_one(choices, long_mem_tokens, work_mem_frames) -> None:
    options = {"long_mem_tokens": long_mem_tokens, "work_mem_frames": work_mem_frames, "attention_threshold": 0.05}
    together, answers = random_run(3, [list(row) for row in choices], options)
    for sample in range(3):
        alone, own = random_run(1, [[row[sample]] for row in choices], options)
        count = int(alone.counts[0])
        assert int(together.counts[sample]) == count
        assert int(together.long_tokens[sample]) == int(alone.long_tokens[0])
        torch.testing.assert_close(together.keys[sample, -count:], alone.keys[0])
        torch.testing.assert_close(together.ages[sample, -count:], alone.ages[0])
        torch.testing.assert_close(together.attention[sample, -count:], alone.attention[0])
        for mine, batched in zip(own, answers, strict=True):
            torch.testing.assert_close(batched[sample : sample + 1], mine)
    bound = max(long_mem_tokens, work_mem_frames * TOKENS) + (work_mem_frames + 1) * TOKENS
    assert int(together.counts.max()) <= bound


def test_published_rhythm_of_pruning() -> None:
    """With 196 tokens per frame the first prune comes when 26 frames are stored, then one every six insertions."""
    tokens, generator = 196, torch.Generator().manual_seed(0)
    memory = plain_memory(compat=True, similarity_threshold=1.0)
    pruned_at = []
    for number in range(1, 45):
        keys = torch.randn(1, tokens, 2, generator=generator)
        before = 0 if memory.is_empty else int(memory.counts)
        memory.insert(keys, keys)
        if int(memory.counts) < before + tokens:
            pruned_at.append(number)
            assert (int(memory.counts), int(memory.long_tokens)) == (4000, 3020)
    assert pruned_at == [26, 32, 38, 44]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"work_mem_frames": 0}, "work_mem_frames is 0, expected a whole number of at least 1"),
        ({"long_mem_tokens": -1}, "long_mem_tokens"),
        ({"attention_threshold": math.nan}, "attention_threshold is nan"),
        ({"similarity_threshold": 2.0}, "similarity_threshold is 2.0, expected a number from 0 to 1"),
    ],
)
def test_impossible_options(options, words) -> None:
    with pytest.raises(InputError, match=words):
        MemoryConfig(**options)


def test_unknown_options_are_named() -> None:
    with pytest.raises(InputError, match="'long_memory' does not exist, expected one of work_mem_frames"):
        MemoryConfig.from_dict({"long_memory": 3})


def test_frames_of_another_size_are_refused() -> None:
    memory = plain_memory()
    memory.insert(frame(0), frame(0))
    with pytest.raises(InputError, match="frame of 3 tokens, expected 2"):
        memory.insert(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4))
