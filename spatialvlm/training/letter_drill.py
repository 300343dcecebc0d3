"""A drill on texts alone: after the words of an option, the language model learns to write that option's letter.

Run: ``python -m spatialvlm.training.letter_drill recipes/letters_tiny.yaml [section.key=value ...]``

Answers in words are learned from views long before letters are (docs/tiny.md). Which letter stands before given words
can be read off the prompt, though, and needs no view: every question is shown with each of its options as the thought,
true or not, and only the letter is learned. Word embeddings stay as they are, so that a projector aligned with them
(`align_projector`) stays aligned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from geometry_encoders.errors import InputError
from qa_generation.prompts import ALL_CHOICE_TYPES
from qa_generation.records import QARecord
from spatialvlm.models import SpatialMosaicProcessor
from spatialvlm.tokenizer import THINK_END
from spatialvlm.training.answer_format import shuffle_options, write_exchange
from spatialvlm.training.build_model import ModelRecipe, build_model
from spatialvlm.training.collator import PackedCollator
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.data import QuestionTable, Source
from spatialvlm.training.muon import MuonWithAdamW
from spatialvlm.training.packing import IGNORED, TokenisedExchange, pack, thought_end
from spatialvlm.training.schedule import learning_rate_factor
from spatialvlm.training.seeding import numpy_generator
from spatialvlm.training.sft import keep_pieces, question_tokenizer
from spatialvlm.training.shared_prefix_attention import SHARED_PREFIX


@dataclass(frozen=True)
class DrillOptimisation:
    """How the drill is done.

    Attributes:
        max_steps: optimiser steps.
        batch_size: questions per step; each brings as many letters as it has options.
        learning_rate: peak of a cosine.
        warmup: share of the steps with a rising rate.
        max_grad_norm: gradients are clipped to this norm.
        precision: ``bf16`` computes under autocast.
    """

    max_steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.05
    max_grad_norm: float = 1.0
    precision: Literal["bf16", "float32"] = "bf16"


@dataclass(frozen=True)
class DrillRecipe:
    """The letter drill.

    Attributes:
        model: the model to begin with; the tokenizer of a preset is trained on the questions.
        source: questions to drill with.
        folder: receives the model with its processor.
        root: folder that the source's path starts from.
        held_out: split of the same questions on which the letters are counted at the end.
        held_out_questions: at most so many of those.
        optimisation: how it is done.
        log_steps: steps between lines of the log.
        seed: of new weights, the questions of each step and the order of their options.
    """

    model: ModelRecipe
    source: Source
    folder: str
    root: str = "."
    held_out: str = "test"
    held_out_questions: int = 512
    optimisation: DrillOptimisation = field(default_factory=DrillOptimisation)
    log_steps: int = 100
    seed: int = 0


def letter_batch(collator: PackedCollator, records: list[QARecord]) -> dict[str, Any]:
    """Inputs with one row per question: the question without views, then each option as a thought with its letter.

    Only the letters are labels.
    """
    end = collator.tokenizer.convert_tokens_to_ids(THINK_END)
    rows: list[list[TokenisedExchange]] = []
    for record in records:
        exchanges = write_exchange(record, "words_then_letter").candidate_exchanges()
        row = []
        for exchange in collator.tokenise(0, (), exchanges):
            letter = thought_end(exchange.ids, end) + 1
            row.append(TokenisedExchange(exchange.ids, tuple(i == letter for i in range(len(exchange.ids)))))
        rows.append(row)
    return pack(rows, collator.tokenizer.pad_token_id)


def letter_loss(model: PreTrainedModel, batch: dict[str, Any]) -> tuple[Float[Tensor, ""], Bool[Tensor, " letters"]]:
    """Cross entropy of the letters, and which of them are the likeliest token."""
    labels: Tensor = batch.pop("shift_labels")
    batch.pop("labels")
    logits = model(**batch).logits.float()
    learned = labels != IGNORED
    return F.cross_entropy(logits[learned], labels[learned]), logits[learned].argmax(-1) == labels[learned]


def drill(
    model: PreTrainedModel, collator: PackedCollator, table: QuestionTable, recipe: DrillRecipe
) -> dict[str, float]:
    """Trains the language model in place; returns loss and share of right letters over the last steps."""
    how = recipe.optimisation
    model.requires_grad_(False)
    body: Any = model.base_model
    body.language_model.requires_grad_(True)
    model.get_input_embeddings().requires_grad_(False)  # tied to the language head
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = MuonWithAdamW(model, how.learning_rate, weight_decay=0.01)
    seen = torch.zeros(3)
    figures: dict[str, float] = {}
    model.train()
    for step in tqdm(range(how.max_steps), desc="letters", disable=None):
        for group in optimizer.param_groups:
            group["lr"] = how.learning_rate * learning_rate_factor("cosine", step / how.max_steps, how.warmup)
        rng = numpy_generator(recipe.seed, "letters", step)
        rows = rng.choice(table.table.num_rows, how.batch_size)
        records = [shuffle_options(record, rng) for record in table.records(rows.tolist())]
        with torch.autocast(model.device.type, torch.bfloat16, enabled=how.precision == "bf16"):
            loss, right = letter_loss(model, letter_batch(collator, records))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, how.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        seen += torch.tensor([float(loss.detach()), float(right.float().mean()), 1.0])
        if (step + 1) % recipe.log_steps == 0 or step + 1 == how.max_steps:
            figures = {"train_loss": float(seen[0] / seen[2]), "train_right": float(seen[1] / seen[2])}
            tqdm.write(json.dumps({"step": step + 1, **figures}))
            seen.zero_()
    return figures


@torch.inference_mode()
def held_out_letters(model: PreTrainedModel, collator: PackedCollator, table: QuestionTable, limit: int) -> float:
    """Share of right letters on the first questions of a table, options in their stored order."""
    model.eval()
    right = []
    for start in range(0, min(limit, table.table.num_rows), 64):
        stop = min(start + 64, limit, table.table.num_rows)
        right.append(letter_loss(model, letter_batch(collator, table.records(range(start, stop))))[1])
    return float(torch.cat(right).float().mean())


def run(recipe: DrillRecipe) -> dict[str, float]:
    """Builds, drills and saves the model that the recipe describes.

    Raises:
        InputError: a processor whose questions cannot be packed, or no question with options.
    """
    choice = Source(recipe.source.path, recipe.source.split, question_types=ALL_CHOICE_TYPES)
    table = QuestionTable(choice, recipe.seed, Path(recipe.root))
    folder = Path(recipe.folder)

    def tokenizer() -> PreTrainedTokenizerFast:
        everything = QuestionTable(recipe.source, recipe.seed, Path(recipe.root))
        return question_tokenizer([everything], recipe.model.vocab_size, folder / "tokenizer")

    model, processor = build_model(recipe.model, tokenizer, recipe.seed)
    if not isinstance(processor, SpatialMosaicProcessor):
        raise InputError(f"model: {type(processor).__name__} cannot pack questions, expected SpatialMosaicProcessor")
    model.set_attn_implementation({"text_config": SHARED_PREFIX})
    collator = PackedCollator(processor)
    figures = drill(model, collator, table, recipe)
    held_out = Source(recipe.source.path, recipe.held_out, question_types=ALL_CHOICE_TYPES)
    held_out_table = QuestionTable(held_out, recipe.seed, Path(recipe.root))
    figures["held_out_right"] = held_out_letters(model, collator, held_out_table, recipe.held_out_questions)
    model.requires_grad_(True).save_pretrained(folder)
    processor.save_pretrained(folder)
    keep_pieces(recipe.model.init_from, folder)
    print(json.dumps(figures))
    return figures


if __name__ == "__main__":
    run_recipe_command(DrillRecipe, run, "spatialvlm.training.letter_drill")
