"""What a model wrote, told apart into the words it thought in and its answer."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Answer:
    """``text`` is the answer, ``thought`` the content of the think block before it; either may be empty."""

    text: str
    thought: str = ""


def split_thought(response: str) -> Answer:
    """The answer after the last ``</think>`` and the thought before it, both stripped.

    A block that was never closed is all thought and leaves no answer. A closing tag without an opening one counts too,
    since some chat templates write the opening tag themselves.
    """
    before, closed, after = response.rpartition(CLOSE)
    answer, opened, unclosed = after.partition(OPEN)
    thought = unclosed if opened else before
    if not (opened or closed):
        return Answer(response.strip())
    return Answer(answer.strip(), thought.replace(OPEN, "").strip())
