"""Answers many questions about the same views for the price of one: views are encoded and read once per batch.

A prompt begins with its views. The language model reads that beginning once for each distinct set of views; its cached
keys and values are then shared by all questions about them, and only the questions themselves are read per sample. Each
question is computed as if it stood alone: the layout is left padding with a second gap, ``gap, views, gap, question``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor


def worth_sharing(model: Any, same_views: Sequence[int]) -> bool:
    """Whether the model can share views (ours can) and some samples of the batch have them in common."""
    return hasattr(model, "encode_views") and len(set(same_views)) < len(same_views)


class OncePerPicture:
    """An image processor of fixed size that works on every picture of a call once, however often it is shown.

    Pictures are told apart as objects. Results are those of the processor itself.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """The processor's output for all pictures in their order, ``images`` flat or one list per prompt."""
        flat = [image for item in images for image in (item if isinstance(item, list | tuple) else [item])]
        distinct = {id(image): image for image in flat}
        if len(distinct) == len(flat):
            return self._processor(images, *args, **kwargs)
        output = self._processor(list(distinct.values()), *args, **kwargs)
        place = {key: index for index, key in enumerate(distinct)}
        pixels = output["pixel_values"]
        order = [place[id(image)] for image in flat]
        output["pixel_values"] = pixels[order] if torch.is_tensor(pixels) else [pixels[index] for index in order]
        return output


@torch.inference_mode()
def share_views(model: Any, inputs: Mapping[str, Any], same_views: Sequence[int]) -> dict[str, Any]:
    """Inputs for `generate` in which the views are already read.

    Args:
        model: a model with ``encode_views`` and ``config.image_token_id``.
        inputs: ``input_ids``, ``attention_mask``, ``pixel_values``, ``num_views`` of a left-padded batch.
        same_views: for each sample the first sample with the same views.

    Returns:
        ``input_ids`` and ``attention_mask`` in the layout above, ``past_key_values`` over the views. Samples whose
        prompts differ before the end of their views do not share.
    """
    rows = [ids[mask.bool()] for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
    ends = [int((row == model.config.image_token_id).nonzero().max()) + 1 for row in rows]
    heads = [row[:end] for row, end in zip(rows, ends, strict=True)]
    tails = [row[end:] for row, end in zip(rows, ends, strict=True)]
    leader = [first if torch.equal(heads[first], heads[i]) else i for i, first in enumerate(same_views)]
    distinct = sorted(set(leader))

    views = inputs["pixel_values"].split(inputs["num_views"].tolist())
    features = model.encode_views(torch.cat([views[i] for i in distinct]), inputs["num_views"][distinct])
    pad = int(inputs["input_ids"][0, 0]) if not inputs["attention_mask"].all() else 0
    head_ids, head_mask = _pad_left([heads[i] for i in distinct], pad)
    positions = (head_mask.cumsum(-1) - 1).clamp(min=0)
    cache = model.model(
        input_ids=head_ids,
        attention_mask=head_mask,
        position_ids=positions,
        mm_encoder_outputs=features,
        use_cache=True,
    ).past_key_values
    place = torch.tensor([distinct.index(i) for i in leader], device=head_ids.device)
    cache.batch_select_indices(place)

    tail_ids, tail_mask = _pad_left(tails, pad)
    return {
        "input_ids": torch.cat([head_ids[place], tail_ids], dim=1),
        "attention_mask": torch.cat([head_mask[place], tail_mask], dim=1),
        "past_key_values": cache,
    }


def _pad_left(
    rows: Sequence[Int[Tensor, "length"]], pad: int
) -> tuple[Int[Tensor, "n longest"], Int[Tensor, "n longest"]]:
    """The rows side by side, filled up on the left, and 1 where a token is real."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=rows[0].dtype, device=rows[0].device)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = row
        mask[index, longest - len(row) :] = 1
    return ids, mask
