"""Inference copies of a network that multiply matrices in 16 bits and keep everything else in 32.

The residual stream, layer norms and points stay float32; linear layers read and weigh in the low precision, and what
goes from one into attention or an activation stays in it, so that fused attention runs there too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geometry_encoders.errors import InputError

Model = TypeVar("Model", bound=nn.Module)

_STAYS_LOW = ("qkv", "projq", "projk", "projv", "fc1")  # read by attention or an activation, not by the residual stream
_COPIES: WeakKeyDictionary[nn.Module, tuple[Any, Any]] = WeakKeyDictionary()
_WIDE_ENOUGH = 512  # below this width the time goes to overheads, and rounding would buy nothing


class LowPrecisionLinear(nn.Module):
    """A linear layer with weights of 16 bits; its output has 32 unless ``stays_low``."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, stays_low: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().to(dtype), requires_grad=False)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().to(dtype), requires_grad=False)
        self.stays_low = stays_low

    def forward(self, values: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        low = nn.functional.linear(values.to(self.weight.dtype), self.weight, self.bias)
        return low if self.stays_low else low.float()


def best_dtype(device: torch.device, width: int) -> torch.dtype:
    """bfloat16 where the device multiplies in it faster than in float32 and the network is wide enough to gain."""
    if width < _WIDE_ENOUGH:
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


def resolve_dtype(dtype: torch.dtype | str, device: torch.device, width: int) -> torch.dtype:
    """The number type that an option means: ``auto`` (see `best_dtype`), a name such as ``float32``, or the type."""
    if dtype == "auto":
        return best_dtype(device, width)
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float32, torch.bfloat16, torch.float16):
        raise InputError(f"dtype {dtype!r}: expected auto, float32, bfloat16 or float16")
    return found


def shared_copy(model: Model) -> Model:
    """Another network with the same tensors, whose modes and modules can be changed on their own."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def weights_key(model: nn.Module) -> tuple[tuple[int, int], ...]:
    """Changes when a weight is replaced or changed in place."""
    return tuple((each.data_ptr(), 0 if each.is_inference() else each._version) for each in model.parameters())


def low_precision_copy(model: Model, dtype: torch.dtype, heads: Sequence[str]) -> Model:
    """A copy for inference, kept until a weight of ``model`` changes or ``model`` goes.

    Args:
        heads: names of convolutional parts that run in the low precision as a whole. Tensors that keep their precision
            are shared with ``model``, not copied.
    """
    key = (dtype, tuple(heads), weights_key(model))
    kept = _COPIES.get(model)
    if kept is None or kept[0] != key:
        _COPIES.pop(model, None)  # gives its room back before the next one is made
        kept = _COPIES[model] = key, _make_copy(model, dtype, heads)
    return kept[1]


def _make_copy(model: Model, dtype: torch.dtype, heads: Sequence[str]) -> Model:
    twin = shared_copy(model)
    for name in heads:
        part = copy.deepcopy(model.get_submodule(name)).to(dtype)
        part = part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        twin.set_submodule(name, part.requires_grad_(False))
    for name, module in list(twin.named_modules()):
        if isinstance(module, nn.Linear) and not name.startswith(tuple(heads)):
            twin.set_submodule(name, LowPrecisionLinear(module, dtype, name.rpartition(".")[2] in _STAYS_LOW))
    return twin.eval()
