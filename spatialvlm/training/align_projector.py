"""Alignment of the projector: visual tokens learn to lie near the word embeddings of what their patch shows.

Run: ``python -m spatialvlm.training.align_projector recipes/align_tiny.yaml [section.key=value ...]``

The towers and the language model are untrained or frozen; only the projector moves. It is the small-scale counterpart
of the captioning stage that larger models align their projector with (LLaVA, arXiv:2304.08485, 4.2): instead of a
caption of the picture, every patch has the category word of each of its label cells to say. A language model whose
attention starts by content (`initialise_from_scratch`) then finds the patches that a question names at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from geometry_encoders.errors import InputError
from spatialvlm.training.build_model import ModelRecipe, build_model
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.pretrain_vision import batch_rows, split_views
from spatialvlm.training.sft import keep_pieces
from spatialvlm.training.vision_labels import BACKGROUND, LabelGrid, LabelledViews, cached_labels
from spatialvlm.training.vision_recipe import LabelData


@dataclass(frozen=True)
class AlignOptimisation:
    """How the projector is trained.

    Attributes:
        max_steps: optimiser steps.
        batch_size: views per step.
        learning_rate: peak of a cosine.
        scale: logit of a visual token that equals a unit word embedding.
        background_weight: weight of cells that show no instance.
        precision: ``bf16`` computes the tower under autocast.
    """

    max_steps: int = 600
    batch_size: int = 64
    learning_rate: float = 1e-3
    scale: float = 4.0
    background_weight: float = 0.3
    precision: Literal["bf16", "float32"] = "bf16"


@dataclass(frozen=True)
class AlignRecipe:
    """Alignment of a projector with the words of the categories.

    Attributes:
        model: the model to begin with; a preset needs ``tokenizer``.
        data: where the labelled views come from.
        folder: receives the aligned model with its processor.
        cache: folder of decoded views, shared with the dense pretraining of the same rooms.
        tokenizer: folder of the tokenizer of a preset.
        optimisation: how the projector is trained.
        seed: of new weights and the order of the views.
    """

    model: ModelRecipe
    data: LabelData
    folder: str
    cache: str
    tokenizer: str | None = None
    optimisation: AlignOptimisation = field(default_factory=AlignOptimisation)
    seed: int = 0


def category_tokens(tokenizer: PreTrainedTokenizerFast, names: tuple[str, ...]) -> Int[Tensor, " categories"]:
    """The token of each category word with its leading space.

    Raises:
        InputError: when a category is not one token, so that no single embedding stands for it.
    """
    pieces = {name: tokenizer(f" {name}").input_ids for name in names}
    for name, ids in pieces.items():
        if len(ids) != 1:
            raise InputError(f"tokenizer: category {name!r} is {len(ids)} tokens, expected one")
    return torch.tensor([pieces[name][0] for name in names])


def alignment_logits(
    visual: Float[Tensor, "views tokens text_size"], words: Float[Tensor, "categories text_size"], scale: float
) -> Float[Tensor, "views tokens classes"]:
    """Similarity of visual tokens to each word's direction; class 0, the background, has logit 0."""
    logits = scale * visual.float() @ F.normalize(words.float(), dim=-1).T
    return F.pad(logits, (1, 0))


def alignment_loss(
    logits: Float[Tensor, "views tokens classes"],
    categories: Int[Tensor, "views cells cells"],
    background_weight: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross entropy of every token with the labels of all its cells, and the share of foreground cells named right."""
    side = int(logits.shape[1] ** 0.5)
    per_token = categories.shape[1] // side
    cells = categories.unflatten(2, (side, per_token)).unflatten(1, (side, per_token))
    cells = cells.permute(0, 1, 3, 2, 4).reshape(*logits.shape[:2], per_token**2)
    weights = logits.new_ones(logits.shape[-1])
    weights[BACKGROUND] = background_weight
    spread = logits[:, :, None].expand(-1, -1, per_token**2, -1)
    loss = F.cross_entropy(spread.flatten(0, 2), cells.flatten(), weight=weights)
    foreground = cells != BACKGROUND
    named = (logits.argmax(-1, keepdim=True) == cells) & foreground
    return loss, named.sum() / foreground.sum().clamp(min=1)


def align(
    model: PreTrainedModel, words: Int[Tensor, " categories"], views: LabelledViews, recipe: AlignRecipe
) -> dict[str, float]:
    """Trains the projector in place; returns the share of held-out foreground cells it names."""
    how = recipe.optimisation
    train, held_out = split_views(views, recipe.data.held_out, recipe.data.max_eval_views, recipe.seed)
    body: Any = model.base_model
    body.requires_grad_(False).eval()
    body.projector.requires_grad_(True)
    embeddings = body.get_input_embeddings().weight[words].detach()
    optimizer = torch.optim.AdamW(body.projector.parameters(), lr=how.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.max_steps)

    def score(rows: Int[np.ndarray, " views"]) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(views.images[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=how.precision == "bf16"):
            visual = body.projector(body.vision_tokens(pixels))
        labels = torch.from_numpy(views.categories[rows].astype("int64"))
        return alignment_loss(alignment_logits(visual, embeddings, how.scale), labels, how.background_weight)

    for step in tqdm(range(how.max_steps), desc="aligning", disable=None):
        loss, _ = score(batch_rows(train, step, how.batch_size, recipe.seed))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    with torch.inference_mode():
        shares = [float(score(held_out[i : i + 256])[1]) for i in range(0, len(held_out), 256)]
    return {"held_out_named": sum(shares) / len(shares), "train_loss": float(loss.detach())}


def run(recipe: AlignRecipe) -> dict[str, float]:
    """Builds, aligns and saves the model that the recipe describes."""

    def tokenizer() -> PreTrainedTokenizerFast:
        if recipe.tokenizer is None or not Path(recipe.tokenizer, "tokenizer.json").is_file():
            raise InputError(f"tokenizer is {recipe.tokenizer}, expected a folder with tokenizer.json")
        return PreTrainedTokenizerFast.from_pretrained(recipe.tokenizer)

    model, processor = build_model(recipe.model, tokenizer, recipe.seed)
    side = model.config.vision_config.image_size
    grid = LabelGrid(side, recipe.data.cell_px)
    views = cached_labels(Path(recipe.data.scenes), Path(recipe.cache), grid, recipe.data.workers)
    words = category_tokens(processor.tokenizer, views.names)
    figures = align(model, words, views, recipe)
    model.requires_grad_(True).save_pretrained(recipe.folder)
    processor.save_pretrained(recipe.folder)
    keep_pieces(recipe.model.init_from or recipe.tokenizer, Path(recipe.folder))
    print(json.dumps(figures))
    return figures


if __name__ == "__main__":
    run_recipe_command(AlignRecipe, run, "spatialvlm.training.align_projector")
