"""What our wrapper costs a training step, next to the bare towers and language model on the same tensors.

    python -m benchmarks.performance.model_overhead --rounds 20
    python -m benchmarks.performance.model_overhead --fusion cross_attention --samples 8 --views 5

Both sides share one set of modules and make the same loss and gradients (checked). The bare side calls them one by one
with every index prepared beforehand; the wrapper starts from packed pictures and token ids. Steps alternate in one run,
CPU seconds are counted, and the ratio is the median over rounds, so that other load on the machine matters little.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from spatialvlm.models import SpatialMosaicForConditionalGeneration
from spatialvlm.presets import FusionName, build_tiny
from spatialvlm.tokenizer import train_tokenizer

QUESTION = "These are frames of a video.\nHow many chairs are in the room?\nPlease answer the question."


@dataclass(frozen=True)
class Overhead:
    """CPU seconds of a training step (forward and backward), medians over rounds, and their ratio."""

    bare_s: float
    wrapped_s: float
    ratio: float


def make_batch(model: SpatialMosaicForConditionalGeneration, samples: int, views: int, words: int) -> dict[str, Tensor]:
    """Random pictures and words: ``samples`` prompts of 1 to ``views`` views and ``words`` words each, left-padded."""
    generator = torch.Generator().manual_seed(0)
    config = model.config
    num_views = torch.randint(1, views + 1, (samples,), generator=generator)
    num_views[0] = views
    length = views * config.tokens_per_image + words
    ids = torch.full((samples, length), int(config.text_config.pad_token_id))
    for row, count in enumerate(num_views.tolist()):
        visual = count * config.tokens_per_image
        ids[row, length - words - visual : length - words] = config.image_token_id
        ids[row, length - words :] = torch.randint(10, config.text_config.vocab_size, (words,), generator=generator)
    labels = torch.where(torch.arange(length)[None] >= length - words, ids, -100)
    side = config.vision_config.image_size
    pixel_values = torch.rand(int(num_views.sum()), 3, side, side, generator=generator) * 2 - 1
    mask = (ids != config.text_config.pad_token_id).long()
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": pixel_values,
        "num_views": num_views,
        "labels": labels,
    }


def bare_step(model: SpatialMosaicForConditionalGeneration, batch: dict[str, Tensor]) -> Callable[[], Tensor]:
    """A function that gives the loss from the modules alone, with masks and indices prepared beforehand."""
    body: Any = model.model
    ids, num_views = batch["input_ids"], batch["num_views"]
    places = (ids == model.config.image_token_id)[..., None]
    view_mask = torch.arange(int(num_views.max()))[None] < num_views[:, None]
    padded = torch.zeros(*view_mask.shape, *batch["pixel_values"].shape[1:])
    padded[view_mask] = batch["pixel_values"]
    targets = F.pad(batch["labels"], (0, 1), value=-100)[:, 1:].flatten()

    def loss() -> Tensor:
        visual = body.vision_tower(pixel_values=batch["pixel_values"]).last_hidden_state
        if body.fusion is not None:
            geometry = body.geometry_tower.encode_views(padded, view_mask, with_pointmaps=False).patch_tokens
            visual = body.fusion(visual, geometry[view_mask])
        tokens = body.projector(visual).flatten(0, 1)
        embeddings = body.language_model.embed_tokens(ids).masked_scatter(places, tokens)
        hidden = body.language_model(inputs_embeds=embeddings, attention_mask=batch["attention_mask"], use_cache=False)
        logits = model.lm_head(hidden.last_hidden_state).float().flatten(0, 1)
        return F.cross_entropy(logits, targets, ignore_index=-100)

    return loss


def measure(
    model: SpatialMosaicForConditionalGeneration, batch: dict[str, Tensor], rounds: int, warm_up: int = 2
) -> Overhead:
    """The cost of ``rounds`` alternating steps after ``warm_up`` unmeasured ones.

    Raises:
        AssertionError: when the two sides do not give the same loss, so that their costs cannot be compared.
    """
    bare = bare_step(model, batch)

    def wrapped() -> Tensor:
        return model(**batch, use_cache=False).loss

    torch.testing.assert_close(bare(), wrapped(), atol=1e-5, rtol=1e-5)
    pairs = []
    for number in range(warm_up + rounds):
        order = (bare, wrapped) if number % 2 == 0 else (wrapped, bare)
        spent = {step: _step_cpu_s(model, step) for step in order}
        if number >= warm_up:
            pairs.append((spent[bare], spent[wrapped]))
    return Overhead(
        bare_s=statistics.median(pair[0] for pair in pairs),
        wrapped_s=statistics.median(pair[1] for pair in pairs),
        ratio=statistics.median(after / before for before, after in pairs),
    )


def _step_cpu_s(model: torch.nn.Module, loss: Callable[[], Tensor]) -> float:
    model.zero_grad(set_to_none=True)
    start_s = time.process_time()
    loss().backward()
    return time.process_time() - start_s


def main(
    fusion: Annotated[str, typer.Option(help="cross_attention, add, concat_mlp, gated or none.")] = "cross_attention",
    samples: Annotated[int, typer.Option(help="Prompts in the batch.")] = 2,
    views: Annotated[int, typer.Option(help="Most views of a prompt.")] = 5,
    words: Annotated[int, typer.Option(help="Tokens of text in a prompt.")] = 60,
    rounds: Annotated[int, typer.Option(help="Measured steps of each side.")] = 15,
) -> None:
    """Print the overhead of the wrapper for the tiny preset, as a ratio."""
    torch.set_num_threads(1)
    name: FusionName = fusion  # type: ignore[assignment]
    with TemporaryDirectory() as folder:
        tokenizer = train_tokenizer([QUESTION], 600, folder)
    model, _ = build_tiny(tokenizer, name)
    result = measure(model.train(), make_batch(model, samples, views, words), rounds)
    print(f"bare      {result.bare_s * 1000:8.1f} ms CPU per step")
    print(f"wrapped   {result.wrapped_s * 1000:8.1f} ms CPU per step")
    print(f"overhead  {(result.ratio - 1) * 100:8.2f} %")


if __name__ == "__main__":
    typer.run(main)
