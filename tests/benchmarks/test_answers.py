"""Which part of a response is the answer."""

from __future__ import annotations

import pytest

from benchmarks.spatialmosaic.answers import final_answer


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("B", "B"),
        ("  B. chair\n", "B. chair"),
        ("<think>4 chairs; Frame 2</think>B", "B"),
        ("<think>a</think> <think>b</think>\nC", "C"),
        ("the template opened it</think>D", "D"),
        ("<think>ran out of tok", ""),
        ("A <think>doubts", "A"),
        ("<think>x</think>A<think>unfinished", "A"),
        ("", ""),
        ("<think></think>", ""),
    ],
)
def test_final_answer(response: str, expected: str) -> None:
    assert final_answer(response) == expected
