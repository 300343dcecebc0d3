"""The Trainer of transformers with a schedule that knows wall-clock time, answer accuracy and throughput."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import torch
from accelerate.utils import broadcast
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from geometry_encoders.errors import InputError
from spatialvlm.training.collator import Collator
from spatialvlm.training.data import TrainingViewSets, ViewSet
from spatialvlm.training.evaluation import answer_accuracy
from spatialvlm.training.muon import MuonWithAdamW
from spatialvlm.training.schedule import ScheduleName, learning_rate_factor, progress
from spatialvlm.training.tower_cache import TowerCache


class ProgressFactor:
    """Learning-rate factor of a step; its fields travel with the checkpoint, so minutes count on after a resume."""

    def __init__(self, name: ScheduleName, warmup: float, floor: float, max_minutes: float | None) -> None:
        self.name: ScheduleName = name
        self.warmup = warmup
        self.floor = floor
        self.max_minutes = max_minutes
        self.max_steps = 1
        self.elapsed_min = 0.0

    def progress(self, step: int) -> float:
        """How much of the run is over, 0-1."""
        return progress(step, self.max_steps, self.elapsed_min, self.max_minutes)

    def __call__(self, step: int) -> float:
        """The factor on the peak learning rate."""
        return learning_rate_factor(self.name, self.progress(step), self.warmup, self.floor)


class TimeBudget(TrainerCallback):
    """Stops and saves when the minutes are used up; all processes go by the clock of the first."""

    def __init__(self, factor: ProgressFactor) -> None:
        self.factor = factor
        self._before_min = 0.0
        self._started_s = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock, at the minutes of the checkpoint if there was one."""
        self._before_min, self._started_s = self.factor.elapsed_min, time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Notes the time."""
        minutes = self._before_min + (time.monotonic() - self._started_s) / 60
        if self.factor.max_minutes is None:
            return
        if args.world_size > 1:
            minutes = float(broadcast(torch.tensor(minutes, device=args.device)))
        self.factor.elapsed_min = minutes
        if self.factor.progress(state.global_step) >= 1.0:
            control.should_training_stop = control.should_save = True


class EpochOfData(TrainerCallback):
    """Tells the data which epoch it is; with several processes the loader tells its sampler only."""

    def __init__(self, data: TrainingViewSets) -> None:
        self.data = data

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The epoch is a fraction where a run goes on in the middle of one."""
        self.data.set_epoch(int((state.epoch or 0.0) + 1e-6))


class AnswerTrainer(Trainer):
    """Trains on packed or plain batches of questions and evaluates by answer accuracy."""

    def __init__(
        self,
        *args: Any,
        factor: ProgressFactor,
        eval_items: Sequence[ViewSet],
        tower_cache: TowerCache | None = None,
        use_muon: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.tower_cache = tower_cache
        self.use_muon = use_muon
        if use_muon and self.is_deepspeed_enabled:
            raise InputError("optimisation.optimizer is 'muon', expected 'adamw' with DeepSpeed, which shards matrices")
        if tower_cache is not None and is_deepspeed_zero3_enabled():
            raise InputError("data.tower_cache_gb is not 0, expected 0 under ZeRO-3: its towers are never whole")
        self.factor = factor
        self.eval_items = eval_items
        self.add_callback(TimeBudget(factor))
        self.add_callback(EpochOfData(cast(TrainingViewSets, self.train_dataset)))
        self._counted = {"questions": 0, "tokens": 0}
        self._counted_since_s = time.monotonic()

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """Muon where the recipe asks for it, else what transformers makes of the arguments."""
        if self.optimizer is None and self.use_muon:
            how, whole = self.args, cast(PreTrainedModel, self.model)
            heads = [head for head in [whole.get_output_embeddings()] if head is not None]
            betas = (how.adam_beta1, how.adam_beta2)
            self.optimizer = MuonWithAdamW(whole, how.learning_rate, how.weight_decay, betas, heads=heads)
            return self.optimizer
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LRScheduler:
        """A schedule over the progress of the run (`ProgressFactor`)."""
        if self.lr_scheduler is None:
            self.factor.max_steps = num_training_steps
            self.lr_scheduler = LambdaLR(cast(Optimizer, optimizer or self.optimizer), self.factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The model's own loss; counts questions and tokens on the way."""
        if model.training:
            blocks = inputs["input_ids"].shape[1] - inputs["prefix_mask"].shape[1] if "prefix_mask" in inputs else 0
            per_row = blocks // inputs["block_length"] if blocks else 1
            self._counted["questions"] += inputs["input_ids"].shape[0] * per_row
            self._counted["tokens"] += inputs["input_ids"].numel()
        if self.tower_cache is not None and "view_keys" in inputs:
            views = (inputs.pop("view_keys"), inputs.pop("pixel_values"), inputs.pop("num_views"))
            with self.accelerator.autocast():
                inputs["mm_encoder_outputs"] = {"image": self.tower_cache.view_features(*views)}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the rates since the last training log."""
        if "loss" in logs:
            now = time.monotonic()
            seconds = max(1e-9, now - self._counted_since_s)
            for name, count in self._counted.items():
                logs[f"{name}_per_second"] = round(count * self.args.world_size / seconds, 1)
            self._counted, self._counted_since_s = dict.fromkeys(self._counted, 0), now
        super().log(logs, start_time)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Answer accuracy on the held-out questions (`answer_accuracy`), logged and returned."""
        model = cast(nn.Module, self.model_wrapped if self.is_deepspeed_enabled else self.model)
        collator = cast(Collator, self.data_collator)
        started_s = time.monotonic()
        figures = answer_accuracy(model, collator, self.eval_items, self.args.device, self.accelerator.autocast)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        metrics[f"{metric_key_prefix}_runtime"] = time.monotonic() - started_s
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._counted_since_s += time.monotonic() - started_s
        return metrics

    def last_evaluation(self) -> dict[str, float]:
        """The figures of the model as it is now, taken from the log where they stand there already."""
        for entry in reversed(self.state.log_history):
            if "eval_accuracy" in entry and entry["step"] == self.state.global_step:
                return {name: value for name, value in entry.items() if name.startswith("eval_")}
        return self.evaluate()
