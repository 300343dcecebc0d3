"""A model with its geometry taken away while it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qa_generation.errors import InputError


def has_geometry(model: Any) -> bool:
    """Whether the model has a fusion block that can be bypassed."""
    return getattr(_body(model), "fusion", None) is not None


@contextmanager
def without_geometry(model: Any) -> Iterator[None]:
    """The model with its fusion block bypassed: visual tokens reach the projector as the vision tower gave them.

    This is an ablation at inference. The projector and the language model were trained on fused tokens, so a lower
    score shows that they use them, not how good a model without geometry would be: that is the trained twin
    (`recipes/tiny_nogeometry.yaml`), to be run as a model of its own.

    Raises:
        InputError: for a model without a fusion block.
    """
    body = _body(model)
    fusion = getattr(body, "fusion", None)
    if fusion is None:
        raise InputError("no_geometry: the model has no fusion block to bypass (it is geometry-free already)")
    body.fusion = None
    try:
        yield
    finally:
        body.fusion = fusion


def _body(model: Any) -> Any:
    """The part of a model that holds the fusion block, under adapters and heads."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(base, "model", base)
