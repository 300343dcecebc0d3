"""LoRA on the language tower only; fusion and projector are trained whole beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoProcessor, PreTrainedModel

from geometry_encoders.errors import InputError
from spatialvlm.loading import load_model

# a string is matched against the whole name; a list of names would also wrap the towers and the fusion block
LANGUAGE_LINEARS = r"model\.language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"


@dataclass(frozen=True)
class LoraRecipe:
    """Low-rank adapters (Hu et al., arXiv:2106.09685).

    Attributes:
        rank: of the adapters.
        alpha: their scale is alpha / rank.
        dropout: on the input of the adapters.
        target_modules: regular expression that the whole name of a layer must match.
        modules_to_save: parts trained and saved whole, where the model has them.
    """

    rank: int = 128
    alpha: int = 256
    dropout: float = 0.05
    target_modules: str = LANGUAGE_LINEARS
    modules_to_save: tuple[str, ...] = ("model.fusion", "model.projector", "model.image_newline")


def add_lora(model: PreTrainedModel, recipe: LoraRecipe) -> PeftModel:
    """The model with adapters; only they and the saved parts learn.

    Raises:
        InputError: when no layer matches.
    """
    names = {name for name, _ in model.named_modules()}
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=recipe.target_modules,
        modules_to_save=[name for name in recipe.modules_to_save if name in names],
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        reason = f"lora.target_modules {recipe.target_modules!r} matches no layer of {type(model).__name__}"
        raise InputError(f"{reason}, expected a regular expression for whole names") from error


def merge_adapter(adapter: Path, out: Path) -> None:
    """Writes the model with the adapter folded into its weights, and the processor, to ``out``.

    Example: ``python -m spatialvlm.training.lora outputs/lora outputs/lora_merged``

    Raises:
        InputError: when ``adapter`` is no adapter folder, or its base model is gone.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise InputError(f"{adapter}: adapter_config.json is missing, expected a folder with a LoRA adapter")
    config = LoraConfig.from_pretrained(str(adapter))
    base, _ = load_model(str(config.base_model_name_or_path), dtype=torch.float32, device="cpu")
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    merged.save_pretrained(out)
    AutoProcessor.from_pretrained(adapter).save_pretrained(out)


def main(arguments: list[str] | None = None) -> None:
    """The command ``python -m spatialvlm.training.lora ADAPTER OUT``."""
    import argparse
    import sys

    parser = argparse.ArgumentParser(prog="python -m spatialvlm.training.lora", description=merge_adapter.__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    try:
        merge_adapter(options.adapter, options.out)
    except InputError as error:
        print(f"spatialvlm: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
