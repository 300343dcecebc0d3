"""Many questions about the same views behind one shared prefix: the layout of tokens and what may see what.

Row layout: ``prefix (P) | block 0 (B) | block 1 (B) | ...``. The prefix holds the views; a block holds one question
with its answer. A token sees the prefix and the earlier tokens of its own block; in every block positions go on from
the end of the prefix. So each question is computed exactly as if it stood alone, and the views are computed once.
Prefix and blocks are padded on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

IGNORED = -100  # label of tokens that are not learned


@dataclass(frozen=True)
class TokenisedExchange:
    """A whole chat as token ids, and which of them the assistant wrote."""

    ids: tuple[int, ...]
    answered: tuple[bool, ...]

    @property
    def first_answered(self) -> int:
        """Position of the first token of the answer."""
        return self.answered.index(True)


def thought_end(ids: Sequence[int], end_token_id: int) -> int:
    """Position of the last token that closes a thought; raises ValueError where there is none."""
    return len(ids) - 1 - ids[::-1].index(end_token_id)


def common_prefix_length(exchanges: Sequence[TokenisedExchange]) -> int:
    """How many leading tokens all chats share, at most up to the token before the first answer token."""
    limit = min(exchange.first_answered for exchange in exchanges) - 1
    first = exchanges[0].ids
    for position in range(limit):
        if any(exchange.ids[position] != first[position] for exchange in exchanges):
            return position
    return limit


def pack(rows: Sequence[Sequence[TokenisedExchange]], pad_token_id: int) -> dict[str, Tensor | int]:
    """Model inputs for one row per view set: each holds its questions behind their common prefix.

    Returns ``input_ids``, ``position_ids`` (rows, length), ``shift_labels`` as `label_inputs` gives them,
    ``prefix_mask`` (rows, P) that is True on real prefix tokens, and ``block_length``.
    """
    prefixes = [common_prefix_length(row) for row in rows]
    prefix_length = max(prefixes)
    block_length = max(len(e.ids) - p for row, p in zip(rows, prefixes, strict=True) for e in row)
    length = prefix_length + max(map(len, rows)) * block_length
    input_ids = torch.full((len(rows), length), pad_token_id)
    position_ids = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), IGNORED)
    prefix_mask = torch.zeros(len(rows), prefix_length, dtype=torch.bool)
    for index, (row, prefix) in enumerate(zip(rows, prefixes, strict=True)):
        input_ids[index, :prefix] = torch.tensor(row[0].ids[:prefix])
        position_ids[index, :prefix_length] = torch.arange(prefix_length)
        prefix_mask[index, :prefix] = True
        for block, exchange in enumerate(row):
            start = prefix_length + block * block_length
            ids = torch.tensor(exchange.ids[prefix:])
            span = slice(start, start + len(ids))
            input_ids[index, span] = ids
            labels[index, span] = torch.where(torch.tensor(exchange.answered[prefix:]), ids, IGNORED)
        blocks = position_ids[index, prefix_length:].view(-1, block_length)
        blocks.copy_(prefix + torch.arange(block_length).expand_as(blocks))
    inputs = {"input_ids": input_ids, "position_ids": position_ids, **label_inputs(labels)}
    return {**inputs, "prefix_mask": prefix_mask, "block_length": block_length}


def label_inputs(labels: Int[Tensor, "rows length"]) -> dict[str, Tensor]:
    """``logits_to_keep``, the positions whose next token is learned in some row, and ``shift_labels``, those tokens.

    ``labels`` are the same again, as models ask for them. The language head, the largest layer of a small model, then
    skips all other positions; the loss stays the same.
    """
    following = torch.cat([labels[:, 1:], labels.new_full((len(labels), 1), IGNORED)], dim=1)
    kept = (following != IGNORED).any(0).nonzero().squeeze(1)
    shifted = following[:, kept].contiguous()
    return {"labels": shifted, "shift_labels": shifted, "logits_to_keep": kept}


def block_attention_mask(
    prefix_mask: Bool[Tensor, "rows prefix"], length: int, block_length: int
) -> Bool[Tensor, "rows 1 length length"]:
    """The mask that states who sees whom; for attention kernels that take a mask (True = may look)."""
    prefix_length = prefix_mask.shape[1]
    position = torch.arange(length, device=prefix_mask.device)
    block = torch.where(position < prefix_length, -1, (position - prefix_length) // block_length)
    causal = position[:, None] >= position[None, :]
    same_or_prefix = (block[:, None] == block[None, :]) | (block[None, :] == -1)
    real = torch.ones(len(prefix_mask), length, dtype=torch.bool, device=prefix_mask.device)
    real[:, :prefix_length] = prefix_mask
    mask = (causal & same_or_prefix)[None] & real[:, None, :]
    mask = mask | torch.eye(length, dtype=torch.bool, device=mask.device)  # a padded token sees itself: no empty row
    return mask[:, None]
