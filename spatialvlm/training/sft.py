"""Instruction tuning on question files.

Run: ``accelerate launch -m spatialvlm.training.sft recipes/tiny.yaml [section.key=value ...]`` or plain ``python -m``.
Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin, TrainingArguments
from transformers.integrations.deepspeed import (
    is_deepspeed_zero3_enabled,
    set_hf_deepspeed_config,
    unset_hf_deepspeed_config,
)
from transformers.trainer_utils import get_last_checkpoint

from geometry_encoders.errors import InputError
from spatialvlm.loading import resolve
from spatialvlm.tokenizer import train_tokenizer
from spatialvlm.training.answer_format import AnswerStyle, check_shares, prompt_texts
from spatialvlm.training.build_model import ModelRecipe, build_model
from spatialvlm.training.collator import Packing, build_collator
from spatialvlm.training.command import run_recipe_command
from spatialvlm.training.data import QuestionTable, Source, TrainingViewSets
from spatialvlm.training.evaluation import evaluation_view_sets
from spatialvlm.training.lora import LoraRecipe, add_lora
from spatialvlm.training.schedule import ScheduleName
from spatialvlm.training.shared_prefix_attention import SHARED_PREFIX
from spatialvlm.training.trainer import AnswerTrainer, ProgressFactor


@dataclass(frozen=True)
class DataRecipe:
    """Which questions are learned, and how they are written down.

    Attributes:
        root: folder that the paths of the sources start from.
        train: sources of training questions, mixed by their weights.
        eval: source of held-out questions; left out, nothing is evaluated.
        questions_per_view_set: at most so many questions about the same views in one item.
        packing: ``shared_prefix`` puts them behind one copy of the views; ``none`` gives each its own row.
        answer_style: shares of the styles letter, words and words_then_letter.
        eval_answer_style: the style of held-out questions.
        eval_view_sets: so many view sets are evaluated.
        eval_questions_per_view_set: at most so many questions of each.
        shuffle_options: gives the options a new order every time.
        workers: processes that prepare batches.
        cache_gb: memory for pictures kept at the model's size, so that they are decoded once; each worker has its own.
    """

    train: tuple[Source, ...]
    root: str = "."
    eval: Source | None = None
    questions_per_view_set: int = 24
    packing: Packing = "shared_prefix"
    answer_style: dict[str, float] = field(default_factory=lambda: {"letter": 1.0})
    eval_answer_style: AnswerStyle = "letter"
    eval_view_sets: int = 64
    eval_questions_per_view_set: int = 12
    shuffle_options: bool = True
    workers: int = 0
    cache_gb: float = 2.0

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("data.train is empty, expected at least one source")
        if self.questions_per_view_set < 1:
            raise ValueError(f"data.questions_per_view_set is {self.questions_per_view_set}, expected at least 1")
        check_shares(self.answer_style, "data.answer_style")


@dataclass(frozen=True)
class OptimisationRecipe:
    """How it is learned. The run ends with the first of epochs or steps, and minutes.

    Attributes:
        epochs: passes over the data, when max_steps is left out.
        max_steps: optimiser steps.
        max_minutes: wall-clock budget of training, over all resumed parts; the schedule then goes by the larger share.
        batch_size: view sets per process and step.
        accumulation: steps whose gradients are added up before the weights move.
        learning_rate: peak of the schedule.
        schedule: ``cosine``, ``linear`` or ``constant``.
        warmup: share of the run with a rising rate.
        floor: share of the peak that is left at the end.
        weight_decay: of AdamW.
        adam_beta2: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        precision: ``bf16`` computes under autocast, ``float32`` does not.
    """

    epochs: float = 1.0
    max_steps: int | None = None
    max_minutes: float | None = None
    batch_size: int = 4
    accumulation: int = 1
    learning_rate: float = 1e-3
    schedule: ScheduleName = "cosine"
    warmup: float = 0.03
    floor: float = 0.0
    weight_decay: float = 0.0
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    precision: Literal["bf16", "float32"] = "float32"


@dataclass(frozen=True)
class OutputRecipe:
    """What is written, and when.

    Attributes:
        folder: receives the model with its processor, checkpoints, TensorBoard logs and a copy of the recipe.
        save_steps: steps between checkpoints.
        keep_checkpoints: only the newest stay.
        eval_steps: steps between evaluations.
        log_steps: steps between lines of the log.
        resume: ``auto`` goes on from the newest checkpoint in the folder; ``never`` starts anew.
    """

    folder: str
    save_steps: int = 500
    keep_checkpoints: int = 2
    eval_steps: int = 500
    log_steps: int = 20
    resume: Literal["auto", "never"] = "auto"


@dataclass(frozen=True)
class SftRecipe:
    """Instruction tuning.

    Attributes:
        model: which model is trained.
        data: which questions are learned.
        output: what is written, and when.
        optimisation: how it is learned.
        lora: low-rank adapters on the language tower; left out, all parts that are not frozen learn.
        seed: of new weights, the order of the data and dropout.
        trainer: more arguments of transformers' TrainingArguments, passed on as they are.
    """

    model: ModelRecipe
    data: DataRecipe
    output: OutputRecipe
    optimisation: OptimisationRecipe = field(default_factory=OptimisationRecipe)
    lora: LoraRecipe | None = None
    seed: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)


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


def training_arguments(recipe: SftRecipe) -> TrainingArguments:
    """The recipe in the words of transformers.

    Raises:
        InputError: for a key in ``trainer`` that TrainingArguments does not have, or a value it refuses.
    """
    how, output = recipe.optimisation, recipe.output
    settings: dict[str, Any] = {
        "output_dir": output.folder,
        "num_train_epochs": how.epochs,
        "max_steps": how.max_steps or -1,
        "per_device_train_batch_size": how.batch_size,
        "gradient_accumulation_steps": how.accumulation,
        "learning_rate": how.learning_rate,
        "weight_decay": how.weight_decay,
        "adam_beta2": how.adam_beta2,
        "max_grad_norm": how.max_grad_norm,
        "bf16": how.precision == "bf16",
        "logging_steps": output.log_steps,
        "save_steps": output.save_steps,
        "save_total_limit": output.keep_checkpoints,
        "eval_strategy": "no" if recipe.data.eval is None else "steps",
        "eval_steps": output.eval_steps,
        "report_to": ["tensorboard"],
        "dataloader_num_workers": recipe.data.workers,
        "use_cpu": not torch.accelerator.is_available(),
        "remove_unused_columns": False,
        "disable_tqdm": not sys.stderr.isatty(),
        "seed": recipe.seed,
        "data_seed": recipe.seed,
    }
    try:
        return TrainingArguments(**{**settings, **recipe.trainer})
    except TypeError as error:
        raise InputError(f"trainer: {error}, expected arguments of transformers.TrainingArguments") from error
    except ValueError as error:
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error


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
        data_collator=build_collator(processor, data.packing, data.cache_gb),
        train_dataset=TrainingViewSets(
            tables, data.questions_per_view_set, data.answer_style, recipe.seed, data.shuffle_options
        ),
        eval_dataset=eval_items or None,
        processing_class=processor,
        factor=ProgressFactor(how.schedule, how.warmup, how.floor, how.max_minutes),
        eval_items=eval_items,
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
        start = recipe.model.init_from
        pieces = (folder / "tokenizer" if start is None else resolve(start)) / "tokenizer.model"
        if pieces.is_file():
            shutil.copyfile(pieces, folder / "tokenizer.model")
        trainer.save_metrics("eval", figures, combined=False)
    return figures


if __name__ == "__main__":
    run_recipe_command(SftRecipe, run, "spatialvlm.training.sft")
