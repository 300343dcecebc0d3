"""The verb `ask`: an answer to one's own question about one's own photos."""

from __future__ import annotations

import string
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geometry_encoders.errors import InputError
from spatialvlm.thought import Answer, split_thought

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedModel, ProcessorMixin

MIN_VIEWS, MAX_VIEWS = 1, 5


def question_with_options(question: str, options: Sequence[str]) -> str:
    """The user text for a free question: as in the benchmark, with lettered options when there are any."""
    from qa_generation.prompts import POST_CHOICE, POST_NUMERIC, PREAMBLE

    if not options:
        return "\n".join([PREAMBLE, question, POST_NUMERIC])
    lettered = [f"{letter}. {text}" for letter, text in zip(string.ascii_uppercase, options, strict=False)]
    return "\n".join([PREAMBLE, question, "Options:", *lettered, POST_CHOICE])


def answer(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    photos: Sequence[Image.Image],
    question: str,
    options: Sequence[str] = (),
    max_new_tokens: int = 48,
) -> Answer:
    """The model's greedy answer about ``photos``, called ``Frame 1``, ``Frame 2``, ... in the question.

    Raises:
        InputError: for a number of photos outside 1-5, an empty question, or a single option.
    """
    import torch

    from spatialvlm.conversation import build_messages

    check_request(len(photos), question, options)
    labels = [f"Frame {k}" for k in range(1, len(photos) + 1)]
    messages = build_messages(list(photos), question_with_options(question, options), labels)
    inputs: Any = processor.apply_chat_template(
        [messages], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    generate: Any = model.generate
    with torch.inference_mode():
        output = generate(**inputs.to(model.device), max_new_tokens=max_new_tokens, do_sample=False)
    new_tokens = output[0, inputs["input_ids"].shape[1] :]
    return split_thought(processor.tokenizer.decode(new_tokens, skip_special_tokens=True))


def check_request(photos: int, question: str, options: Sequence[str]) -> None:
    """Raises ``InputError`` when the request cannot be answered whatever the model."""
    if not MIN_VIEWS <= photos <= MAX_VIEWS:
        raise InputError(f"ask: {photos} photos given, expected {MIN_VIEWS} to {MAX_VIEWS}")
    if not question.strip():
        raise InputError("ask: --question is empty, expected a question about the photos")
    if len(options) == 1:
        raise InputError("ask: one --option given, expected none or at least two")


def ask(
    model: Annotated[str, typer.Argument(help="Model folder, or 'tiny' for the packaged one.")],
    images: Annotated[list[Path] | None, typer.Argument(help="1 to 5 photos of one place.")] = None,
    question: Annotated[str, typer.Option(help="What to ask; photos are called Frame 1, Frame 2, ...")] = "",
    option: Annotated[list[str] | None, typer.Option(help="A possible answer; give several for a choice.")] = None,
    show_thought: Annotated[bool, typer.Option(help="Also print what the model thought first.")] = False,
) -> None:
    """Print the answer to a question about 1-5 photos of any size.

    Example: spatialvlm ask tiny a.jpg b.jpg --question "How many chairs can be seen in these frames?"
    """
    from spatialvlm.images import load_photo

    check_request(len(images or []), question, option or [])
    photos = [load_photo(path) for path in images or []]
    from transformers.utils import logging

    from spatialvlm.loading import load_model

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    loaded, processor = load_model(model)
    reply = answer(loaded, processor, photos, question, option or [])
    if reply.thought and (show_thought or not reply.text):
        print(f"(thought: {reply.thought})")
    print(reply.text or "(no answer within the length limit)")
