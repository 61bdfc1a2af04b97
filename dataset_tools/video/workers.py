"""Processes that decode, so that the accelerator does not wait, and that may die without harm."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from recbole_video.dataset_tools.video.decode import Decoded, DecodeTask, decode_task, failed
from recbole_video.dataset_tools.video.hand_over import receive, send

TIMEOUT = 600.0  # seconds
# Decoded videos that may wait for the accelerator, per worker.
_AHEAD = 1


def serve(pipe: Connection, threads: int) -> None:
    """Say that it is ready, then answer tasks until the other end of the pipe closes: what each process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the main process has ended, perhaps by a kill
        pipe.send(None)
        while True:
            send(pipe, decode_task(pipe.recv(), threads))


class DecodePool:
    """Decodes videos in processes of their own; a context manager.

    A process that dies or hangs costs the video that it had, as a failure, and is replaced. Each has
    a thread here that talks to it.

    Args:
        n_workers: Processes.
        timeout: Seconds that one video may take.
        threads: Threads of each one's decoder; by default the cores are shared out among them.
        server: What a process runs.
    """

    def __init__(
        self,
        n_workers: int,
        timeout: float = TIMEOUT,
        threads: int | None = None,
        server: Callable[[Connection, int], None] = serve,
    ) -> None:
        self._n_workers = n_workers
        self._decoder_threads = threads or max(1, usable_cores() // n_workers)
        self._timeout = timeout
        self._server = server
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()  # None: there will be no more
        self._workers: set[_Worker] = set()
        self._helpers = ThreadPoolExecutor(n_workers)
        self._is_closing = False

    def __enter__(self) -> DecodePool:
        for _ in range(self._n_workers):
            self._start_worker()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_closing = True
        self._helpers.shutdown(wait=False, cancel_futures=True)  # first, so that no helper takes another task
        for worker in list(self._workers):
            worker.kill()
        for _ in range(self._n_workers):
            self._idle.put(None)
        self._helpers.shutdown()

    def decode(self, tasks: Iterable[DecodeTask]) -> Iterator[Decoded]:
        """Decode videos, some ahead of the one that is asked for; results come in the order of the tasks."""
        ahead: deque[Future[Decoded]] = deque()
        for task in tasks:
            ahead.append(self._helpers.submit(self._decode, task))
            if len(ahead) > self._n_workers * (1 + _AHEAD):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _decode(self, task: DecodeTask) -> Decoded:
        worker = self._idle.get()
        if worker is None:
            return failed(task, "crashed", "the run was stopped")
        answer = worker.ask(task, self._timeout)
        if not worker.is_lost:
            self._idle.put(worker)
        elif not self._is_closing:
            self._workers.discard(worker)
            self._start_worker()
        return answer

    def _start_worker(self) -> None:
        worker = _Worker(self._server, self._decoder_threads)
        self._workers.add(worker)
        self._idle.put(worker)


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, server: Callable[[Connection, int], None], threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=server, args=(theirs, threads), daemon=True)
        self._process.start()
        theirs.close()
        self._is_ready = False
        self.is_lost = False

    def ask(self, task: DecodeTask, timeout: float) -> Decoded:
        """Have one video decoded; the time that a new process takes to start is not the video's."""
        try:
            if self._has_started() and self._answers(task, timeout):
                return receive(self._pipe)
            reason, detail = "timeout", f"more than {timeout:g} s"
        except (EOFError, OSError):
            self._process.join()
            reason, detail = "crashed", f"its exit status is {self._process.exitcode}"
        self.is_lost = True
        self.kill()
        return failed(task, reason, detail)

    def _has_started(self) -> bool:
        if not self._is_ready and self._pipe.poll(TIMEOUT):
            self._pipe.recv()
            self._is_ready = True
        return self._is_ready

    def _answers(self, task: DecodeTask, timeout: float) -> bool:
        self._pipe.send(task)
        return self._pipe.poll(timeout)

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_row(row: dict[str, Any]) -> dict[str, Any]:
    """Decode the video of a row of Ray Data, in a process that may die without harm to the row's task.

    It is here since Ray's workers import the module of what they run: this one needs no PyTorch.
    """
    [decoded] = _pool().decode([pickle.loads(row["task"])])
    return {"decoded": pickle.dumps(decoded)}


@cache
def _pool() -> DecodePool:
    """The decoding process of this Ray worker; it ends with it."""
    return DecodePool(1, threads=1).__enter__()
