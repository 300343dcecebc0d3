"""The user turn of a question: every view under its name, then the published question text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qa_generation.prompts import frame_name, question_prompt
from spatialvlm.conversation import build_messages

IMAGE = "<image>"


def user_text(record: Mapping[str, Any]) -> str:
    """The text of the chat message that training builds too, with one literal ``<image>`` per view.

    Image marks inside a third party's question would be taken for views and are removed.
    """
    naming = record.get("frame_naming") or "stem"
    labels = [frame_name(naming, index, view) for index, view in enumerate(record["frames"])]
    question = question_prompt(record["question_type"], record["question"], list(record.get("options") or ()))
    (message,) = build_messages(["" for _ in labels], question.replace(IMAGE, ""), labels)
    return "".join(IMAGE if part["type"] == "image" else part["text"] for part in message["content"])
