"""Instruction tuning on question files.

Run: ``accelerate launch -m spatialvlm.training.sft recipes/tiny.yaml [section.key=value ...]`` or plain ``python -m``.
Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin, TrainingArguments
from transformers.integrations.deepspeed import (
    is_deepspeed_zero3_enabled,
    set_hf_deepspeed_config,
    unset_hf_deepspeed_config,
)
from transformers.trainer_utils import get_last_checkpoint

from spatialvlm.loading import resolve
from spatialvlm.tokenizer import train_tokenizer
from spatialvlm.training.answer_format import prompt_texts
from spatialvlm.training.build_model import build_model
from spatialvlm.training.collator import Packing, build_collator
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.data import QuestionTable, Source, TrainingViewSets
from spatialvlm.training.evaluation import evaluation_view_sets
from spatialvlm.training.lora import add_lora
from spatialvlm.training.sft_recipe import SftRecipe, training_arguments
from spatialvlm.training.shared_prefix_attention import SHARED_PREFIX
from spatialvlm.training.tower_cache import TowerCache
from spatialvlm.training.trainer import AnswerTrainer, ProgressFactor

TOKENIZER_RECORDS = 20_000  # more texts do not change a vocabulary of a thousand pieces


def question_tokenizer(tables: list[QuestionTable], vocab_size: int, folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer trained on the questions and answers of all sources, kept in ``folder`` for the next time."""
    if (folder / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    texts: list[str] = []
    categories: set[str] = set()
    for table in tables:
        step = max(1, table.table.num_rows * len(tables) // TOKENIZER_RECORDS)
        texts += prompt_texts(table.records(range(0, table.table.num_rows, step)))
        for column in ("target_category", "reference_category"):
            categories.update(name for name in table.table[column].unique().to_pylist() if name)
    return train_tokenizer(texts, vocab_size, folder, [f" {name}" for name in sorted(categories)])


def build_trainer(recipe: SftRecipe) -> AnswerTrainer:
    """Everything that a run needs, ready to train."""
    folder = Path(recipe.output.folder)
    arguments = training_arguments(recipe)
    data, how = recipe.data, recipe.optimisation
    root = Path(data.root)
    tables = [QuestionTable(source, recipe.seed, root) for source in data.train]

    def tokenizer() -> PreTrainedTokenizerFast:
        return question_tokenizer(tables, recipe.model.vocab_size, folder / "tokenizer")

    with arguments.main_process_first(desc="writing what the others read"):
        folder.mkdir(parents=True, exist_ok=True)
        if recipe.model.preset is not None:
            tokenizer()
        (folder / "recipe.yaml").write_text(yaml.safe_dump(asdict(recipe), sort_keys=False))
    with whole_models(arguments):
        model, processor = build_model(recipe.model, tokenizer, recipe.seed)
    _choose_attention(model, data.packing, arguments)
    trained: Any = model
    if recipe.lora is not None:
        with arguments.main_process_first(desc="keeping the base model"):
            _keep_base(model, processor, recipe)
        trained = add_lora(model, recipe.lora)
    eval_items = []
    if data.eval is not None:
        table = QuestionTable(_limited(data.eval, data.eval_view_sets), recipe.seed, root)
        eval_items = evaluation_view_sets(table, data.eval_answer_style, data.eval_questions_per_view_set)
    return AnswerTrainer(
        model=trained,
        args=arguments,
        data_collator=build_collator(processor, data.packing, data.cache_gb, name_views=data.tower_cache_gb > 0),
        train_dataset=TrainingViewSets(
            tables, data.questions_per_view_set, data.answer_style, recipe.seed, data.shuffle_options
        ),
        eval_dataset=eval_items or None,
        processing_class=processor,
        factor=ProgressFactor(how.schedule, how.warmup, how.floor, how.max_minutes),
        eval_items=eval_items,
        use_muon=how.optimizer == "muon",
        tower_cache=TowerCache(model.base_model, data.tower_cache_gb) if data.tower_cache_gb else None,
    )


@contextmanager
def whole_models(arguments: TrainingArguments) -> Iterator[None]:
    """Models made inside are whole in every process, under ZeRO-3 too; DeepSpeed shards them when training starts.

    Sharded from birth, the parts of a composite could neither be initialised nor filled from folders.
    """
    if not is_deepspeed_zero3_enabled():
        yield
        return
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        plugin = arguments.deepspeed_plugin
        set_hf_deepspeed_config(plugin.dschf if hasattr(plugin, "dschf") else plugin.hf_ds_config)


def _limited(source: Source, view_sets: int) -> Source:
    limit = view_sets if source.max_view_sets is None else min(view_sets, source.max_view_sets)
    return Source(**{**asdict(source), "max_view_sets": limit})


def _choose_attention(model: PreTrainedModel, packing: Packing, arguments: TrainingArguments) -> None:
    choice: dict[str, str] = {}
    if packing == "shared_prefix":
        choice["text_config"] = SHARED_PREFIX
    if arguments.device.type == "cpu" and arguments.bf16 and "vision_config" in model.config.sub_configs:
        choice["vision_config"] = "eager"  # the fused kernel is slow in bf16 there
    if choice:
        model.set_attn_implementation(choice)


def _keep_base(model: PreTrainedModel, processor: ProcessorMixin, recipe: SftRecipe) -> None:
    """Keeps the model below the adapter on disk, for the adapter cannot be used without, and notes where."""
    if recipe.model.init_from is not None:
        model.name_or_path = str(resolve(recipe.model.init_from))
        return
    base = Path(recipe.output.folder) / "base"
    if not (base / "config.json").is_file():
        model.save_pretrained(base)
        processor.save_pretrained(base)
    model.name_or_path = str(base)


def keep_pieces(start: str | None, folder: Path) -> None:
    """Copies the sentencepiece model that a fast tokenizer was made from beside the model, where there is one."""
    pieces = (folder / "tokenizer" if start is None else resolve(start)) / "tokenizer.model"
    if pieces.is_file():
        shutil.copyfile(pieces, folder / "tokenizer.model")


def run(recipe: SftRecipe) -> dict[str, float]:
    """Trains to the end of the budget, saves the model with its processor, and returns the last evaluation."""
    trainer = build_trainer(recipe)
    folder = Path(recipe.output.folder)
    checkpoint = get_last_checkpoint(str(folder)) if recipe.output.resume == "auto" else None
    trainer.train(resume_from_checkpoint=checkpoint)
    figures = trainer.last_evaluation() if trainer.eval_items else {}
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        cast(ProcessorMixin, trainer.processing_class).save_pretrained(folder)
        keep_pieces(recipe.model.init_from, folder)
        trainer.save_metrics("eval", figures, combined=False)
    return figures


if __name__ == "__main__":
    run_recipe_command(SftRecipe, run, "spatialvlm.training.sft")
