"""Loops turned into machine code by Numba, kept beside the sources so that the next process need not compile again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """The function as machine code, made on its first call.

    Numbers follow IEEE 754 in the order they are written in (no ``fastmath``), and a division by zero gives infinity,
    so that results are the same whatever the processor's vector width.

    An array handed on to another compiled function is counted as shared there, which takes longer than a small function
    itself: inner loops call functions of numbers and tuples only.
    """
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        return cast(Kernel, numba.njit(nogil=True, error_model="numpy")(function))
