"""How well a model answers held-out questions, without generating text: options are compared by their likelihood."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce, send_to_device
from jaxtyping import Bool, Float
from torch import Tensor, nn

from qa_generation.prompts import ALL_TYPES, WARMUP_TYPES
from spatialvlm.training.answer_format import AnswerStyle, write_exchange
from spatialvlm.training.collator import Collator
from spatialvlm.training.data import QuestionTable, ViewSet
from spatialvlm.training.packing import IGNORED

_TYPES = ALL_TYPES + WARMUP_TYPES


@dataclass(frozen=True)
class ScoredAnswers:
    """Of every exchange of some view sets, in order: log-probability of its answer, and whether argmax spells it."""

    log_prob: Float[Tensor, " exchanges"]
    exact: Bool[Tensor, " exchanges"]


def evaluation_view_sets(table: QuestionTable, style: AnswerStyle, questions_per_view_set: int) -> list[ViewSet]:
    """The first questions of every view set in one style, options in their stored order."""
    view_sets = []
    for rows in table.groups:
        records = table.records(rows[:questions_per_view_set].tolist())
        view_sets.append(table.view_set(records, [write_exchange(record, style) for record in records]))
    return view_sets


@torch.no_grad()
def score_answers(
    model: nn.Module, collator: Collator, items: Sequence[ViewSet], device: torch.device | str
) -> ScoredAnswers:
    """Teacher-forced scores of all answers."""
    batch = send_to_device(collator(items), device)
    batch.pop("view_keys", None)
    shift_labels = batch["shift_labels"]
    logits = model(**batch).logits.float()
    learned = shift_labels != IGNORED
    targets = shift_labels.clamp(min=0)
    log_prob = logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1) * learned
    wrong = (logits.argmax(-1) != targets) & learned
    if "block_length" not in batch:
        return ScoredAnswers(log_prob.sum(1), ~wrong.any(1))
    prefix = batch["prefix_mask"].shape[1]
    block = (batch["logits_to_keep"] + 1 - prefix) // batch["block_length"]
    rows = log_prob.new_zeros(len(log_prob), int(block.max()) + 1)
    sums, mistakes = rows.index_add(1, block, log_prob), rows.index_add(1, block, wrong.float())
    counts = [len(item.exchanges) for item in items]
    kept = torch.cat([torch.stack([sums[r, :n], mistakes[r, :n]]) for r, n in enumerate(counts)], dim=1)
    return ScoredAnswers(kept[0], kept[1] == 0)


def _candidates(item: ViewSet) -> ViewSet:
    """The item with every option as an exchange of its own; questions without options stay as they are."""
    exchanges = [c for e in item.exchanges for c in (e.candidate_exchanges() or [e])]
    return replace(item, exchanges=tuple(exchanges))


def answer_accuracy(
    model: nn.Module,
    collator: Collator,
    items: Sequence[ViewSet],
    device: torch.device | str,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> dict[str, float]:
    """Accuracy over all questions and by type, and chance.

    A choice counts when the true option is the likeliest of the options; a number or point counts when the argmax of
    every token is right. Processes share the work and all get the same figures.
    """
    state = PartialState()
    index = {name: i for i, name in enumerate(_TYPES)}
    totals = torch.zeros(len(_TYPES), 3, dtype=torch.float64)  # questions, right ones, expected by chance
    was_training = model.training
    model.eval()
    rounds = -(-len(items) // state.num_processes)
    for round_ in range(rounds):
        place = round_ * state.num_processes + state.process_index
        item = items[place % len(items)]  # sharded models need every process in every round
        with autocast():
            scores = score_answers(model, collator, [_candidates(item)], device)
        if place >= len(items):
            continue
        position = 0
        for exchange in item.exchanges:
            options = len(exchange.candidates)
            row = totals[index[exchange.question_type]]
            row[0] += 1
            if options:
                best = int(scores.log_prob[position : position + options].argmax())
                row[1] += exchange.candidates[best] == exchange.answer
                row[2] += 1 / options
            else:
                row[1] += bool(scores.exact[position])
            position += max(1, options)
    model.train(was_training)
    totals = reduce(totals.to(device) if str(device) != "mps" else totals, "sum").cpu()
    figures: dict[str, float] = defaultdict(float)
    questions, right, chance = totals.sum(0).tolist()
    figures |= {"accuracy": right / questions, "chance": chance / questions, "questions": questions}
    for name, (count, correct, _) in zip(_TYPES, totals.tolist(), strict=True):
        if count:
            figures[f"accuracy/{name}"] = correct / count
    return dict(figures)
