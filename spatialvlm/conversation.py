"""How views and a question become chat messages; asking, training and benchmarking all build them here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image


def default_frame_labels(count: int) -> tuple[str, ...]:
    """``Frame 1`` to ``Frame count``."""
    return tuple(f"Frame {index + 1}" for index in range(count))


def build_messages(
    images: Sequence[Image.Image | str], question_text: str, frame_labels: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """One user message: each view on a line after its label, then the question's full text.

    Args:
        images: RGB pictures (or paths to them), in the order the question counts them.
        question_text: e.g. from `qa_generation.prompts.question_prompt`.
        frame_labels: what each view is called; ``Frame 1``, ``Frame 2``, ... where left out.

    Raises:
        ValueError: when there is not one label per picture.
    """
    labels = default_frame_labels(len(images)) if frame_labels is None else frame_labels
    content: list[dict[str, Any]] = []
    for label, image in zip(labels, images, strict=True):
        content += [
            {"type": "text", "text": f"{label}: "},
            {"type": "image", "image": image},
            {"type": "text", "text": "\n"},
        ]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question_text}]}]


def with_answer(messages: Sequence[dict[str, Any]], answer: str) -> list[dict[str, Any]]:
    """The same chat followed by the assistant's answer."""
    return [*messages, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
