"""Runs a function over many items in worker processes and survives the death of any of them.

``concurrent.futures`` gives up on the whole pool when one process is killed (out of memory, a crash in native code).
Here the item is tried again in a fresh process, and set aside with a reason when that fails too.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from qa_generation.errors import InputError, OutputError

Item = TypeVar("Item")
Result = TypeVar("Result")
ATTEMPTS = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: a result, or the reason why there is none; ``fatal`` ones concern all items."""

    item: Item
    result: Result | None = None
    reason: str = ""
    fatal: bool = False


def run_all(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Outcome[Item, Result]]:
    """One outcome per item, in the order they finish; ``workers`` 0 runs in this process.

    ``function``, items and results must be picklable. An exception is that item's reason; leaving the iterator early
    (or an interrupt) ends the processes.
    """
    if workers <= 0:
        for item in items:
            yield attempt(function, item)
        return
    yield from _Pool(function, items, workers).outcomes()


def attempt(function: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    """What the function makes of the item, or why it does not."""
    try:
        return Outcome(item, function(item))
    except OutputError as error:
        return Outcome(item, reason=str(error), fatal=True)
    except InputError as error:
        return Outcome(item, reason=str(error))
    except MemoryError:
        return Outcome(item, reason="out of memory")
    except Exception as error:
        # not the user's fault, so the traceback is worth keeping
        logger.error("%s failed\n%s", item, traceback.format_exc())
        return Outcome(item, reason=f"{type(error).__name__}: {error}")


def release_memory() -> None:
    """Gives freed memory back to the system, so that a worker's size does not creep up with the scenes (glibc only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _serve(connection: Connection, function: Callable[[Item], Result]) -> None:
    """Main function of a worker: items in, outcomes out, until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        connection.send(attempt(function, item))
        release_memory()


class _Pool(Generic[Item, Result]):
    def __init__(self, function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> None:
        self._function = function
        self._waiting: deque[tuple[Item, int]] = deque((item, 1) for item in items)
        self._workers = min(workers, len(self._waiting))
        self._context = multiprocessing.get_context("spawn")
        self._busy: dict[Connection, tuple[BaseProcess, Item, int]] = {}

    def outcomes(self) -> Iterator[Outcome[Item, Result]]:
        try:
            for _ in range(self._workers):
                self._hand_out(*self._start())
            while self._busy:
                for connection in wait(list(self._busy)):
                    assert isinstance(connection, Connection)
                    yield from self._collect(connection)
        finally:
            for connection, (process, _, _) in self._busy.items():
                connection.close()
                process.terminate()
            for process, _, _ in self._busy.values():
                process.join()

    def _start(self) -> tuple[Connection, BaseProcess]:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(there, self._function), daemon=True)
        process.start()
        there.close()
        return here, process

    def _hand_out(self, connection: Connection, process: BaseProcess) -> None:
        """Gives the next item to an idle worker, or lets it go."""
        if not self._waiting:
            connection.close()
            process.join()
            return
        item, attempt = self._waiting.popleft()
        self._busy[connection] = (process, item, attempt)
        # a worker may be dead already; _collect will see the closed pipe
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(item)

    def _collect(self, connection: Connection) -> Iterator[Outcome[Item, Result]]:
        process, item, attempt = self._busy.pop(connection)
        try:
            outcome = connection.recv()
        except (EOFError, ConnectionResetError):
            connection.close()
            process.join()
            if attempt < ATTEMPTS:
                logger.warning("the worker on %s died (exit status %s), trying it again", item, process.exitcode)
                self._waiting.appendleft((item, attempt + 1))
            else:
                reason = f"its worker process died {attempt} times, the last time with exit status {process.exitcode}"
                yield Outcome(item, reason=reason)
            if self._waiting:
                self._hand_out(*self._start())
            return
        self._hand_out(connection, process)
        yield outcome
