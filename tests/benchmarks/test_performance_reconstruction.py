"""The speed script compares passes that say the same, and its stream is the one that users get."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.performance.reconstruction import (
    alternate,
    default_pass,
    eager_copy,
    noise,
    random_model,
    relative_error,
    straightforward,
    stream_memory,
)
from geometry_encoders.reconstruction.spann3r import Spann3rConfig

SMALL = Spann3rConfig(
    enc_embed_dim=32,
    enc_depth=1,
    enc_num_heads=2,
    dec_embed_dim=24,
    dec_depth=1,
    dec_num_heads=2,
    head_type="linear",
    value_encoder_depth=1,
    value_encoder_heads=2,
    memory={"long_mem_tokens": 40},
)


def test_both_sides_give_the_same_points() -> None:
    model, frames = random_model(SMALL), noise(4, 32)
    expected, found = straightforward(eager_copy(model), frames), default_pass(model, frames, "auto")
    assert expected.shape == (4, 32, 32, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    low = relative_error(default_pass(model, frames, "bfloat16"), expected)
    assert 0 < low[0] < 0.05


def test_sides_take_turns() -> None:
    turns: list[str] = []

    def side(name: str):
        def run() -> np.ndarray:
            turns.append(name)
            return np.zeros(1)

        return run

    result = alternate({"a": side("a"), "b": side("b")}, views=2, rounds=2, warm_up=1)
    assert "".join(turns) == "ababab"
    assert len(result["a"].cpu_s) == 2


def test_relative_error_by_hand() -> None:
    expected = np.array([[0, 0, 2.0], [0, 4.0, 0]])
    assert relative_error(expected + np.array([0, 0, 1.0]), expected) == pytest.approx((0.375, 0.4875))


def test_the_stream_stays_within_the_memory() -> None:
    lines = list(stream_memory(random_model(SMALL), 30, 32))
    assert [line[0] for line in lines] == list(range(1, 31))
    working, tokens = SMALL.memory_config.work_mem_frames, 4
    assert max(line[1] for line in lines) <= 40 + (working + 1) * tokens
    assert lines[-1][1] >= 40
    assert all(line[3] > 0 for line in lines)
