"""Work on many items in processes that may die, without losing more than the items that kill them."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_QUEUED_PER_WORKER = 2
"""Enough that no worker waits; few, as each is a suspect when a worker dies."""


class Workers:
    """``n`` processes, or this one when ``n`` is 1; a context manager.

    The functions given to `run` report their own errors as values. What they cannot report (a worker that is killed,
    for want of memory or by a decoder's crash) is found by running the suspects one by one.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._pool: ProcessPoolExecutor | None = None
        self._children: set[multiprocessing.process.BaseProcess] = set()

    def __enter__(self) -> Self:
        use_one_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._terminate()
        self._close()

    def begin(self, function: Callable[[_Item], object], item: _Item) -> None:
        """Let each worker start and do this once, while the caller goes on; what comes of it is not asked for."""
        if self.n > 1:
            with suppress(BrokenProcessPool):  # one died as it started: `run` will find out
                for _ in range(self.n):
                    self._submit(function, item)

    def run(
        self,
        function: Callable[[_Item], _Result],
        items: Sequence[_Item],
        *,
        crashed: Callable[[_Item], _Result],
    ) -> Iterator[tuple[int, _Result]]:
        """(index, result) for each item, in the order in which they are done; the first are begun at once.

        Parameters
        ----------
        function
            Importable function of one item; called in a worker.
        items
            What to work on; pickled.
        crashed
            Gives the result of an item whose worker died; called here.
        """
        if self.n == 1:
            return ((index, function(item)) for index, item in enumerate(items))
        waiting, running = deque(enumerate(items)), dict[Future[_Result], int]()
        self._feed(function, waiting, running)
        return self._results(function, items, waiting, running, crashed=crashed)

    def _results(
        self,
        function: Callable[[_Item], _Result],
        items: Sequence[_Item],
        waiting: deque[tuple[int, _Item]],
        running: dict[Future[_Result], int],
        *,
        crashed: Callable[[_Item], _Result],
    ) -> Iterator[tuple[int, _Result]]:
        while waiting or running:
            self._feed(function, waiting, running)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            suspects = []
            for future in done:
                index = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    suspects.append(index)
                else:
                    yield index, future.result()
            if suspects:
                suspects += self._wait_for_the_end(running)
                for index in sorted(suspects):
                    yield index, self._run_alone(function, items[index], crashed)

    def _feed(
        self,
        function: Callable[[_Item], _Result],
        waiting: deque[tuple[int, _Item]],
        running: dict[Future[_Result], int],
    ) -> None:
        while waiting and len(running) < self.n * _QUEUED_PER_WORKER:
            try:
                running[self._submit(function, waiting[0][1])] = waiting[0][0]
            except BrokenProcessPool:  # those that run will say so; with none of them, a new pool is made
                if running:
                    return
                self._close()
                continue
            waiting.popleft()

    def _wait_for_the_end(self, running: dict[Future[_Result], int]) -> list[int]:
        """Indices of all that ran in a broken pool; it is closed."""
        wait(running)
        suspects = list(running.values())
        running.clear()
        self._close()
        return suspects

    def _run_alone(
        self, function: Callable[[_Item], _Result], item: _Item, crashed: Callable[[_Item], _Result]
    ) -> _Result:
        try:
            return self._submit(function, item).result()
        except BrokenProcessPool:
            self._close()
            return crashed(item)

    def _submit(self, function: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.n, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
            )
        before = set(multiprocessing.active_children())
        with _interruptions_held():
            future = self._pool.submit(function, item)
        self._children |= set(multiprocessing.active_children()) - before
        return future

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._children.clear()

    def _terminate(self) -> None:
        for child in self._children:
            child.terminate()


@contextmanager
def _interruptions_held() -> Iterator[None]:
    """Let processes that start here inherit that SIGINT is held back: one that still imports would print a traceback.

    An interruption of this process waits until the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # lets SIGINT through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def use_one_thread() -> None:
    """Let OpenCV work in one thread: the images are what runs side by side, and no sum depends on threads."""
    import cv2  # noqa: PLC0415  slow to import

    cv2.setNumThreads(1)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    atexit.register(os._exit, 0)  # nothing is left to do: taking all modules apart takes half a second
    use_one_thread()


def _end_with_the_parent() -> None:
    """A worker waits for work on a pipe that it holds open itself: without this it outlives a killed parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
