"""Spann3R's spatial memory: keys and values of earlier frames, read by attention (arXiv:2408.16061, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig

Tokens = Float[Tensor, "batch tokens channels"]
Stored = Float[Tensor, "batch stored channels"]
Norm = Callable[[Tensor], Tensor]

_KEPT_FOR_CERTAIN = 1e8


class SpatialMemory:
    """The memory of a batch of sequences, which never see each other.

    Tokens lie in the order they were inserted and are aligned to the right: sample b owns the last ``counts[b]`` of
    the stored positions, so the last ones of every sample are its working memory even where samples hold different
    numbers of frames. Keys and values are normalised once, on insertion, not at every read.

    Attributes:
        keys: raw keys, which frames are compared by.
        attention: attention that each stored token has received so far.
        ages: insertions since each token was stored.
        counts: stored tokens per sample.
        working_frames: frames in the working memory, per sample.
        long_tokens: tokens in the long-term memory, per sample.
    """

    def __init__(self, options: MemoryConfig, norm_q: Norm, norm_k: Norm, norm_v: Norm, dropout: float = 0.0) -> None:
        self.options = options
        self._norm_q, self._norm_k, self._norm_v = norm_q, norm_k, norm_v
        self._dropout = dropout
        self._tokens_per_frame: int | None = None
        self.keys: Stored
        self.attention: Float[Tensor, "batch stored"]
        self.ages: Float[Tensor, "batch stored"]
        self.counts: Int[Tensor, " batch"]
        self.working_frames: Int[Tensor, " batch"]
        self.long_tokens: Int[Tensor, " batch"]
        self._read_keys: Stored
        self._read_values: Stored

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been inserted yet."""
        return self._tokens_per_frame is None

    @property
    def alive(self) -> Bool[Tensor, "batch stored"]:
        """Which stored positions belong to a sample; the others are filling."""
        stored = self.keys.shape[1]
        return torch.arange(stored, device=self.keys.device) >= stored - self.counts.unsqueeze(1)

    def frames(self) -> list[int]:
        """Frames of which at least one token is stored, per sample."""
        if self.is_empty:
            return []
        return [len(ages[alive].unique()) for ages, alive in zip(self.ages, self.alive, strict=True)]

    # ---- reading ---------------------------------------------------------------------------------------------------

    def read(self, queries: Tokens, residual: bool = True) -> Tokens:
        """What the memory says to each query, added to it: softmax(LN(q) LN(k) / sqrt(C)) LN(v) + q.

        Weights below ``attention_threshold`` are set to zero and the rest of the row renormalised. The weights that
        count are added to ``attention``.
        """
        scores = self._norm_q(queries) @ self._read_keys.transpose(1, 2) / math.sqrt(queries.shape[-1])
        scores = scores.float().masked_fill(~self.alive.unsqueeze(1), -math.inf)
        weights = scores.softmax(dim=-1)
        if self._dropout > 0:
            weights = torch.nn.functional.dropout(weights, self._dropout)
        if self.options.attention_threshold > 0:
            weights = self._clip(weights)
        self.attention = self.attention + weights.detach().sum(dim=1)
        answer = weights.to(self._read_values.dtype) @ self._read_values
        return answer + queries if residual else answer

    def _clip(self, weights: Float[Tensor, "batch queries stored"]) -> Float[Tensor, "batch queries stored"]:
        clipped = weights.masked_fill(weights < self.options.attention_threshold, 0)
        total = clipped.sum(dim=-1, keepdim=True)
        if self.options.compat:
            return clipped / total
        return torch.where(total > 0, clipped / total.clamp(min=self.options.attention_threshold), weights)

    # ---- writing ---------------------------------------------------------------------------------------------------

    def insert(self, keys: Tokens, values: Tokens) -> Bool[Tensor, " batch"]:
        """Stores a frame where it is not too similar to the working memory; True where it was stored.

        Raises:
            InputError: the frame has another number of tokens than the first one.
        """
        if self.is_empty:
            self._start(keys)
        elif keys.shape[1] != self._tokens_per_frame:
            raise InputError(f"frame of {keys.shape[1]} tokens, expected {self._tokens_per_frame} as in the first one")
        added = self._is_new(keys)
        if added is not None and not _exporting() and not bool(added.any()):
            return added
        self._append(keys, values, None if added is None or _all(added) else added)
        self._age_frames(added)
        return torch.ones_like(self.counts, dtype=torch.bool) if added is None else added

    def _start(self, keys: Tokens) -> None:
        batch, self._tokens_per_frame, channels = keys.shape
        self.keys = self._read_keys = self._read_values = keys.new_empty(batch, 0, channels)
        self.attention = self.ages = torch.zeros(batch, 0, device=keys.device)
        zeros = torch.zeros(batch, dtype=torch.long, device=keys.device)
        self.counts = self.working_frames = self.long_tokens = zeros

    def similarity(self, keys: Tokens) -> Float[Tensor, " batch"]:
        """Mean cosine between the keys of a frame and of the working frame most like it, patch by patch."""
        slots = min(self.options.work_mem_frames, self.keys.shape[1] // keys.shape[1])
        recent = self.keys[:, self.keys.shape[1] - slots * keys.shape[1] :].unflatten(1, (slots, keys.shape[1]))
        cosine = torch.nn.functional.cosine_similarity(keys.float().unsqueeze(1), recent.float(), dim=-1)
        from_end = torch.arange(slots, 0, -1, device=keys.device)
        return cosine.mean(dim=-1).masked_fill(from_end > self.working_frames.unsqueeze(1), -1.0).amax(dim=1)

    def _is_new(self, keys: Tokens) -> Bool[Tensor, " batch"] | None:
        """Per sample whether the frame enters; None = it does everywhere, without looking."""
        if self.keys.shape[1] == 0 or self.options.similarity_threshold >= 1:
            return None
        similarity = self.similarity(keys)
        if self.options.compat:
            similarity = similarity.amax().expand_as(similarity)
        return similarity <= self.options.similarity_threshold

    def _append(self, keys: Tokens, values: Tokens, added: Bool[Tensor, " batch"] | None) -> None:
        """Appends on the right where added; elsewhere shifts the sample to the right over as much filling."""
        fresh = torch.zeros(keys.shape[:2], device=keys.device)
        ages = self.ages + 1 if added is None else self.ages + added.unsqueeze(1)
        self.keys = _extend(self.keys, keys, added)
        self._read_keys = _extend(self._read_keys, self._norm_k(keys), added)
        self._read_values = _extend(self._read_values, self._norm_v(values), added)
        self.attention = _extend(self.attention, fresh, added)
        self.ages = _extend(ages, fresh, added)

    def _age_frames(self, added: Bool[Tensor, " batch"] | None) -> None:
        """Counts the new frame in, and moves the oldest working frame to the long-term memory or out."""
        assert self._tokens_per_frame is not None
        new = torch.ones_like(self.counts) if added is None else added.long()
        self.counts = self.counts + new * self._tokens_per_frame
        frames = self.working_frames + new
        leaving = (frames > self.options.work_mem_frames).long() * self._tokens_per_frame
        self.working_frames = frames.clamp(max=self.options.work_mem_frames)
        if self.options.long_mem_tokens == 0:
            self.counts = self.counts - leaving
        else:
            self.long_tokens = self.long_tokens + leaving
            if self.keys.shape[1] > self.options.long_mem_tokens and not _exporting():
                self._prune()
        if not _exporting() and (longest := int(self.counts.max())) < self.keys.shape[1]:
            self._select(torch.arange(self.keys.shape[1] - longest, self.keys.shape[1]).expand(len(self.counts), -1))

    def _prune(self) -> None:
        """Keeps the tokens with most attention per age where the long-term memory is too large."""
        full = self.long_tokens > self.options.long_mem_tokens
        if not bool(full.any()):
            return
        stored = self.keys.shape[1]
        rows = [
            self._worth_keeping(sample) if full[sample] else torch.arange(stored - int(self.counts[sample]), stored)
            for sample in range(len(full))
        ]
        self.counts = torch.tensor([len(row) for row in rows], device=self.counts.device)
        working = self.working_frames * (self._tokens_per_frame or 0)
        self.long_tokens = torch.where(full, self.counts - working, self.long_tokens)
        longest = int(self.counts.max())
        padded = [torch.cat([row.new_zeros(longest - len(row)), row.cpu()]) for row in rows]
        self._select(torch.stack(padded))

    def _worth_keeping(self, sample: int) -> Int[Tensor, " kept"]:
        count, stored = int(self.counts[sample]), self.keys.shape[1]
        age = self.ages[sample, stored - count :]
        protected = age < self.options.protected_age
        weight = (self.attention[sample, stored - count :] / age).masked_fill(protected, _KEPT_FOR_CERTAIN)
        if self.options.compat:
            return stored - count + weight.topk(self.options.long_mem_tokens).indices.cpu()
        kept = min(count, max(self.options.long_mem_tokens, int(protected.sum())))
        return stored - count + weight.topk(kept).indices.sort().values.cpu()

    def _select(self, rows: Int[Tensor, "batch kept"]) -> None:
        rows = rows.to(self.keys.device)
        for name in ("keys", "_read_keys", "_read_values", "attention", "ages"):
            stored = getattr(self, name)
            index = rows.unsqueeze(-1).expand(-1, -1, stored.shape[-1]) if stored.ndim == 3 else rows
            setattr(self, name, stored.gather(1, index))


def _extend(stored: Tensor, new: Tensor, added: Bool[Tensor, " batch"] | None) -> Float[Tensor, "batch more ..."]:
    appended = torch.cat([stored, new.to(stored.dtype)], dim=1)
    if added is None:
        return appended
    shifted = torch.cat([torch.zeros_like(new, dtype=stored.dtype), stored], dim=1)
    return torch.where(added.view(-1, *[1] * (stored.ndim - 1)), appended, shifted)


def _all(added: Bool[Tensor, " batch"]) -> bool:
    return not _exporting() and bool(added.all())


def _exporting() -> bool:
    """Whether a program is being written: then nothing may depend on values, and memories stay small anyway."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()
