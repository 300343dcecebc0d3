"""Saving a model together with its code, so that programs that do not know spatialvlm can load it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spatialvlm.models import (
    SpatialMosaicConfig,
    SpatialMosaicForConditionalGeneration,
    SpatialMosaicModel,
    SpatialMosaicProcessor,
)

_AUTO_CLASSES: dict[type[Any], str] = {
    SpatialMosaicConfig: "AutoConfig",
    SpatialMosaicModel: "AutoModel",
    SpatialMosaicForConditionalGeneration: "AutoModelForImageTextToText",
    SpatialMosaicProcessor: "AutoProcessor",
}


def export_with_code(
    model: SpatialMosaicForConditionalGeneration, processor: SpatialMosaicProcessor, out: Path | str, **options: Any
) -> Path:
    """The folder ``out`` with weights, processor and the model's source files.

    It loads with ``trust_remote_code=True`` wherever ``geometry_encoders`` is installed, for example in the stock
    ``lm_eval --model hf-multimodal --model_args pretrained=OUT,trust_remote_code=True``.

    Args:
        model: the model; its weights are written in their present dtype.
        processor: what turns chats into its inputs.
        out: folder to write, made where missing.
        options: further arguments of ``save_pretrained``, e.g. ``max_shard_size``.
    """
    folder = Path(out)
    with _registered_for_auto_classes():
        model.save_pretrained(folder, **options)
        processor.save_pretrained(folder)
    model.config.__dict__.pop("auto_map", None)  # set while saving
    return folder


@contextmanager
def _registered_for_auto_classes() -> Iterator[None]:
    # the mark is on the class: left there, every later save would copy code too
    before = {cls: cls._auto_class for cls in _AUTO_CLASSES}
    try:
        for cls, auto_class in _AUTO_CLASSES.items():
            cls.register_for_auto_class(auto_class)
        yield
    finally:
        for cls, mark in before.items():
            cls._auto_class = mark
