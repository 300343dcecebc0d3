"""The final answer inside what a model wrote: reasoning blocks are cut away before anything is scored."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


def final_answer(response: str) -> str:
    """The text after the last ``</think>``, stripped; empty when a ``<think>`` block was never closed.

    A closing tag without an opening one counts too, since some chat templates write the opening tag themselves.
    """
    _, closed, after = response.rpartition(CLOSE)
    before_open, opened, _ = after.partition(OPEN)
    if opened:
        return before_open.strip()
    return (after if closed else response).strip()
