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
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

IGNORED = -100  # label of tokens that are not learned
SHARED_PREFIX = "shared_prefix"  # name of the attention function below


@dataclass(frozen=True)
class TokenisedExchange:
    """A whole chat as token ids, and which of them the assistant wrote."""

    ids: tuple[int, ...]
    answered: tuple[bool, ...]

    @property
    def first_answered(self) -> int:
        """Position of the first token of the answer."""
        return self.answered.index(True)


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


def shared_prefix_attention(
    module: nn.Module,
    query: Float[Tensor, "rows heads length head_size"],
    key: Float[Tensor, "rows key_heads length head_size"],
    value: Float[Tensor, "rows key_heads length head_size"],
    attention_mask: None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    prefix_mask: Bool[Tensor, "rows prefix"] | None = None,
    block_length: int | None = None,
    **kwargs: object,
) -> tuple[Float[Tensor, "rows length heads head_size"], None]:
    """Attention in the packed layout without its quadratic waste: no block is ever compared with another block.

    An attention function of transformers; select it with ``set_attn_implementation("shared_prefix")`` and pass
    ``prefix_mask`` and ``block_length`` to the model.

    Raises:
        ValueError: when the layout is not given, or does not fit the length.
    """
    if prefix_mask is None or block_length is None:
        raise ValueError("attention 'shared_prefix' needs prefix_mask and block_length, expected a packed batch")
    rows, heads, length, size = query.shape
    prefix = prefix_mask.shape[1]
    blocks, rest = divmod(length - prefix, block_length)
    if rest:
        raise ValueError(f"length is {length}, expected {prefix} + a multiple of {block_length}")
    groups = heads // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    query = query * (size**-0.5 if scaling is None else scaling)
    # rotary embeddings leave float32 behind under autocast; the softmax accumulates in float32 whatever its input is
    query, key = query.to(value.dtype), key.to(value.dtype)
    parts = [prefix, length - prefix]
    (query_p, query_b), (key_p, key_b), (value_p, value_b) = (t.split(parts, dim=2) for t in (query, key, value))
    with torch.autocast(query.device.type, enabled=False):
        lowest = torch.finfo(value.dtype).min
        scores = (query_p @ key_p.transpose(2, 3)).masked_fill_(_future(prefix, query.device), lowest)
        read_p = F.dropout(scores.softmax(-1), dropout) @ value_p
        shape = (rows, heads, blocks, block_length, size)
        with_prefix = (query_b @ key_p.transpose(2, 3)).masked_fill_(~prefix_mask[:, None, None, :], lowest)
        query_b, key_b, value_b = (t.reshape(shape) for t in (query_b, key_b, value_b))
        with_block = (query_b @ key_b.transpose(3, 4)).masked_fill_(_future(block_length, query.device), lowest)
        scores = torch.cat([with_prefix.view(*shape[:4], prefix), with_block], dim=-1)
        weights_p, weights_b = F.dropout(scores.softmax(-1), dropout).split([prefix, block_length], dim=-1)
        read_b = weights_p.reshape(rows, heads, -1, prefix) @ value_p + (weights_b @ value_b).flatten(2, 3)
    return torch.cat([read_p, read_b], dim=2).transpose(1, 2), None


def _future(length: int, device: torch.device) -> Bool[Tensor, "length length"]:
    """True where the key comes after the query."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)


AttentionInterface.register(SHARED_PREFIX, shared_prefix_attention)
