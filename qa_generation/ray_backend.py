"""Runs the scenes as Ray Core tasks, on one machine or on a cluster, with the same bytes as worker processes give.

Needs the extra ``ray``. Ray tries a task again when its worker dies; what fails then is that scene's reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from qa_generation.errors import InputError
from qa_generation.workers import ATTEMPTS, Item, Outcome, Result, attempt, release_memory

# tasks handed to the scheduler at once, per CPU: enough to keep all busy, few enough for flat memory
_AHEAD = 4
_OBJECT_STORE_BYTES = 256 << 20


def run_all(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 0, address: str | None = None
) -> Iterator[Outcome[Item, Result]]:
    """One outcome per item, in the order they finish.

    Args:
        function: picklable.
        items: picklable.
        workers: CPUs of a local Ray started for this call; 0 takes all.
        address: of a running cluster instead, e.g. ``auto``; every machine of it must see the same folders.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """
    ray = _ray()
    _start(ray, workers, address)
    try:
        task = ray.remote(max_retries=ATTEMPTS - 1)(_task)
        shared = ray.put(function)
        waiting = iter(items)
        limit = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        running: dict[Any, Item] = {}
        while True:
            for item in waiting:
                running[task.remote(shared, item)] = item
                if len(running) >= limit:
                    break
            if not running:
                return
            (done,), _ = ray.wait(list(running))
            item = running.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                yield Outcome(item, reason=f"its Ray task died {ATTEMPTS} times ({type(error).__name__})")
    finally:
        ray.shutdown()


def _task(function: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    outcome = attempt(function, item)
    release_memory()
    return outcome


def _ray() -> Any:
    # both are read when Ray is imported
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise InputError("--backend ray needs the extra: pip install 'spatialvlm[ray]'") from None
    return ray


def _start(ray: Any, workers: int, address: str | None) -> None:
    if address:
        try:
            ray.init(address=address, log_to_driver=False)
        except ConnectionError as error:
            raise InputError(f"--ray-address {address}: no Ray cluster there ({error})") from None
        return
    ray.init(
        num_cpus=workers or os.cpu_count(),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        log_to_driver=False,
        configure_logging=True,
        logging_level="warning",
    )
