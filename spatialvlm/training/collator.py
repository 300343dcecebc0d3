"""View sets with questions become model inputs: one question per row, or all questions of a view set in one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from jaxtyping import UInt8
from torch import Tensor
from transformers import ProcessorMixin

from geometry_encoders.errors import InputError
from spatialvlm.conversation import build_messages, with_answer
from spatialvlm.images import load_photo
from spatialvlm.models import SpatialMosaicProcessor
from spatialvlm.tokenizer import THINK_END
from spatialvlm.training.answer_format import Exchange
from spatialvlm.training.data import ViewSet
from spatialvlm.training.packing import IGNORED, TokenisedExchange, label_inputs, pack, thought_end

Packing = Literal["none", "shared_prefix"]


class Collator(Protocol):
    """What turns view sets into model inputs."""

    def __call__(self, items: Sequence[ViewSet]) -> dict[str, Any]:
        """Inputs of the model, labels included."""
        ...


class PlainCollator:
    """One question per row, padded on the right; works with every image-text processor of transformers.

    The loss falls on the assistant's text and its end-of-turn token only. Where the chat template does not mark them
    (``{% generation %}``), they are found as the text that follows the generation prompt.
    """

    def __init__(self, processor: ProcessorMixin, crop_labels: bool = True) -> None:
        self.processor = processor
        self.crop_labels = crop_labels

    def __call__(self, items: Sequence[ViewSet]) -> dict[str, Any]:
        """Inputs with one row per question, in the order of the items and their questions."""
        chats: list[list[dict[str, Any]]] = []
        for item in items:
            pictures = [load_photo(path) for path in item.image_paths]
            for exchange in item.exchanges:
                messages = build_messages(pictures, exchange.question, item.labels)
                chats.append(with_answer(messages, exchange.answer))
        marked = "{% generation %}" in str(self.processor.chat_template).replace("{%-", "{%").replace("-%}", "%}")
        inputs: Any = self.processor.apply_chat_template(
            chats,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=marked,
            processor_kwargs={"padding": True, "padding_side": "right"},
        )
        batch: dict[str, Any] = dict(inputs.items())
        answered = batch.pop("assistant_masks").bool() if marked else self._answered(chats, batch)
        labels = torch.where(answered, batch["input_ids"], IGNORED)
        return {**batch, **(label_inputs(labels) if self.crop_labels else {"labels": labels})}

    def _answered(self, chats: Sequence[list[dict[str, Any]]], batch: dict[str, Tensor]) -> Tensor:
        """Which tokens the assistant wrote, found at the end of each row."""
        tokenizer = self.processor.tokenizer
        answered = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
        for row, chat in enumerate(chats):
            prompt = self.processor.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=False)
            whole = self.processor.apply_chat_template(chat, tokenize=False)
            tail = tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
            end = int(batch["attention_mask"][row].nonzero().max()) + 1
            start = end - len(tail)
            if not whole.startswith(prompt) or batch["input_ids"][row, start:end].tolist() != tail:
                raise InputError("the chat template rewrites earlier turns, expected {% generation %} marks in it")
            stop = tail.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in tail else len(tail)
            answered[row, start : start + stop] = True
        return answered


class PackedCollator:
    """One row per view set with all its questions behind the shared views (`spatialvlm.training.packing`).

    It wants a processor that gives every view the same number of tokens. Pictures are kept at the model's size, up to
    ``cache_gb``, for they come back every epoch. With ``name_views`` the batch also says which they are
    (``view_keys``), for a `TowerCache`.
    """

    def __init__(self, processor: SpatialMosaicProcessor, cache_gb: float = 0.0, name_views: bool = False) -> None:
        self.processor = processor
        self.name_views = name_views
        self.tokenizer = processor.tokenizer
        self._resized: dict[Path, UInt8[Tensor, "3 height width"]] = {}
        self._room_bytes = int(cache_gb * 1e9)

    def __call__(self, items: Sequence[ViewSet]) -> dict[str, Any]:
        """Inputs with one row per item."""
        resized = [self._resize(path) for item in items for path in item.image_paths]
        views = self.processor.image_processor(resized, do_resize=False, return_tensors="pt")["pixel_values"]
        num_views = torch.tensor([len(item.image_paths) for item in items])
        rows = [self.tokenise(len(item.image_paths), item.labels, item.exchanges) for item in items]
        keys = [tuple(map(str, item.image_paths)) for item in items]
        packed = pack(rows, self.tokenizer.pad_token_id)
        return {
            "pixel_values": views,
            "num_views": num_views,
            **packed,
            **({"view_keys": keys} if self.name_views else {}),
        }

    def _resize(self, path: Path) -> UInt8[Tensor, "3 height width"]:
        """The picture at the model's size, from memory where it is there."""
        if path in self._resized:
            return self._resized[path]
        resize_only = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
        resized = self.processor.image_processor(load_photo(path), **resize_only)["pixel_values"][0]
        if self._room_bytes >= resized.nbytes:
            self._room_bytes -= resized.nbytes
            self._resized[path] = resized
        return resized

    def tokenise(self, num_views: int, labels: Sequence[str], exchanges: Sequence[Exchange]) -> list[TokenisedExchange]:
        """The chats about the same views as token ids, with one placeholder token per visual token."""
        views = [""] * num_views  # only the placeholders matter here
        chats = [with_answer(build_messages(views, e.question, labels), e.answer) for e in exchanges]
        encoded = self.tokenizer.apply_chat_template(
            chats,
            chat_template=self.processor.chat_template,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        chats_learned = zip(encoded["input_ids"], encoded["assistant_masks"], exchanges, strict=True)
        return [self._expand(ids, self._learned(ids, marks, each), num_views) for ids, marks, each in chats_learned]

    def _learned(self, ids: Sequence[int], answered: Sequence[int], exchange: Exchange) -> list[bool]:
        """Which tokens are learned: what the assistant wrote, or of that only what follows its thought."""
        if not exchange.letter_only:
            return [bool(mark) for mark in answered]
        end = thought_end(ids, self.tokenizer.convert_tokens_to_ids(THINK_END))
        return [bool(mark) and position > end for position, mark in enumerate(answered)]

    def _expand(self, ids: Sequence[int], answered: Sequence[int], num_views: int) -> TokenisedExchange:
        image, count = self.processor.image_token_id, self.processor.tokens_per_image
        if ids.count(image) != num_views:
            raise InputError(
                f"a question holds the text {self.processor.image_token!r}, expected none outside the views"
            )
        out_ids: list[int] = []
        out_answered: list[bool] = []
        for token, mark in zip(ids, answered, strict=True):
            times = count if token == image else 1
            out_ids += [token] * times
            out_answered += [bool(mark)] * times
        # what follows the answer (a newline) is never read
        last = len(out_answered) - out_answered[::-1].index(True)
        return TokenisedExchange(tuple(out_ids[:last]), tuple(out_answered[:last]))


def build_collator(
    processor: ProcessorMixin, packing: Packing, cache_gb: float = 0.0, name_views: bool = False
) -> Collator:
    """The collator of that name.

    Raises:
        InputError: for packing with another processor than `SpatialMosaicProcessor`.
    """
    if packing == "none":
        return PlainCollator(processor)
    if not isinstance(processor, SpatialMosaicProcessor):
        name = type(processor).__name__
        raise InputError(f"data.packing is {packing!r}, expected 'none' for {name}: its views may vary in length")
    return PackedCollator(processor, cache_gb, name_views)
