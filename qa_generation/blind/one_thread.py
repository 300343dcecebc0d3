"""Numerics on one thread: how a sum is split among threads changes its last digits, and with them close decisions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """A context in which BLAS and OpenMP use one thread."""
    return _controller().limit(limits=1)


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    # looks through all loaded libraries, which takes milliseconds, so once per process; scikit-learn's must be there
    import sklearn.ensemble  # noqa: F401

    return ThreadpoolController()
