"""What a recipe of instruction tuning may say, and the same in the words of transformers."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import TrainingArguments

from geometry_encoders.errors import InputError
from spatialvlm.training.answer_format import AnswerStyle, check_shares
from spatialvlm.training.build_model import ModelRecipe
from spatialvlm.training.collator import Packing
from spatialvlm.training.data import Source
from spatialvlm.training.lora import LoraRecipe
from spatialvlm.training.schedule import ScheduleName


@dataclass(frozen=True)
class DataRecipe:
    """Which questions are learned, and how they are written down.

    Attributes:
        root: folder that the paths of the sources start from.
        train: sources of training questions, mixed by their weights.
        eval: source of held-out questions; left out, nothing is evaluated.
        questions_per_view_set: at most so many questions about the same views in one item.
        packing: ``shared_prefix`` puts them behind one copy of the views; ``none`` gives each its own row.
        answer_style: shares of the styles letter, words, words_then_letter and every_letter.
        eval_answer_style: the style of held-out questions.
        eval_view_sets: so many view sets are evaluated.
        eval_questions_per_view_set: at most so many questions of each.
        shuffle_options: gives the options a new order every time.
        workers: processes that prepare batches.
        cache_gb: memory for pictures kept at the model's size, so that they are decoded once; each worker has its own.
        tower_cache_gb: memory for what frozen towers say about each set of views, on the training device; 0 computes it
            anew every time. Needs shared_prefix and a model whose weights are whole in every process.
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
    tower_cache_gb: float = 0.0

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("data.train is empty, expected at least one source")
        if self.questions_per_view_set < 1:
            raise ValueError(f"data.questions_per_view_set is {self.questions_per_view_set}, expected at least 1")
        check_shares(self.answer_style, "data.answer_style")
        styles = {style for source in self.train for style in source.answer_style} | set(self.answer_style)
        if "every_letter" in styles and self.packing != "shared_prefix":
            raise ValueError("data.answer_style holds every_letter, expected data.packing shared_prefix with it")
        if self.tower_cache_gb < 0 or (self.tower_cache_gb and self.packing != "shared_prefix"):
            raise ValueError(
                f"data.tower_cache_gb is {self.tower_cache_gb}, expected 0 unless packing is shared_prefix"
            )


@dataclass(frozen=True)
class OptimisationRecipe:
    """How it is learned. The run ends with the first of epochs or steps, and minutes.

    Attributes:
        epochs: passes over the data, when max_steps is left out.
        max_steps: optimiser steps.
        max_minutes: wall-clock budget of training, over all resumed parts; the schedule then goes by the larger share.
        batch_size: view sets per process and step.
        accumulation: steps whose gradients are added up before the weights move.
        optimizer: ``adamw``, or ``muon`` (`spatialvlm.training.muon`), which learns faster; not with DeepSpeed.
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
    optimizer: Literal["adamw", "muon"] = "adamw"
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
