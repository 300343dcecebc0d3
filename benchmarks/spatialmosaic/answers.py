"""The final answer inside what a model wrote: reasoning blocks are cut away before anything is scored."""

from __future__ import annotations

from spatialvlm.thought import split_thought


def final_answer(response: str) -> str:
    """The text after the last ``</think>``, stripped; empty when a ``<think>`` block was never closed."""
    return split_thought(response).text
