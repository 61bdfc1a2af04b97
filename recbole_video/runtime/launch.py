"""Starts the processes of a run on this machine, and ends them all when one of them fails."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from recbole_video.entry_point import own_code_error
from recbole_video.errors import RecBoleVideoError, TrainingError
from recbole_video.runtime.processes import ProcessLostError, join, leave

T = TypeVar("T")

_SECONDS_TO_END = 5.0


def launch(function: Callable[[], T], n: int) -> T:
    """Call a function in ``n`` processes that form a group, and return what it gave in the first.

    Args:
        function: Fit to be pickled: importable by its name, or a ``partial`` of such a one.
        n: How many processes.

    Raises:
        RecBoleVideoError: What one of them raised.
        TrainingError: If one of them was killed.
    """
    context = multiprocessing.get_context("spawn")
    alive, held = context.Pipe(duplex=False)  # it closes when this process ends, however it ends
    with tempfile.TemporaryDirectory(prefix="recbole-video-") as folder:
        meeting = (Path(folder, "meeting").as_uri(), n)
        children: list[BaseProcess] = []
        answers: list[Any] = []
        try:
            for rank in range(n):
                answer, theirs = context.Pipe(duplex=False)
                child = context.Process(target=_work, args=(function, rank, meeting, theirs, alive), daemon=True)
                child.start()
                theirs.close()
                children.append(child)
                answers.append(answer)
            found = _first_answer(children, answers)
            for working in children:  # they have answered, and end by themselves
                working.join(_SECONDS_TO_END)
            return found
        finally:
            _end(children)
            held.close()
            alive.close()


def _first_answer(children: list[BaseProcess], answers: list[Any]) -> Any:
    """Wait until all have ended; what the first one answered.

    Raises:
        RecBoleVideoError: What one of them raised; what the others then lack is asked for its reason.
    """
    found: dict[int, Any] = {}
    waiting, lost = dict(enumerate(answers)), None
    while waiting:
        ready = wait(list(waiting.values()), _SECONDS_TO_END if lost else None)
        if not ready and lost:
            break
        for rank in [rank for rank, answer in waiting.items() if answer in ready]:
            try:
                found[rank], error = pickle.loads(waiting.pop(rank).recv_bytes())
            except EOFError:
                raise _killed(rank, children) from None
            if isinstance(error, ProcessLostError):
                lost = error
            elif error is not None:
                raise error
    if lost:
        raise lost
    return found[0]


def _killed(rank: int, children: list[BaseProcess]) -> TrainingError:
    child = children[rank]
    child.join(_SECONDS_TO_END)
    code = child.exitcode
    how = f"with status {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            how = f"by {signal.Signals(-code).name}"
    return TrainingError(
        f"Process {rank + 1} of {len(children)} ended {how}, and with it the run; if memory ran out, lower nproc or "
        "train_batch_size. --resume goes on after the last epoch that was saved."
    )


def _end(children: list[BaseProcess]) -> None:
    """End those that still run: what they write is complete at any moment."""
    for child in children:
        if child.is_alive():
            child.terminate()
    for child in children:
        child.join(_SECONDS_TO_END)
        if child.is_alive():
            child.kill()
            child.join()


def _work(
    function: Callable[[], Any],
    rank: int,
    meeting: tuple[str, int],
    answer: Connection,
    alive: Connection,
) -> None:
    """What a child does."""
    where, size = meeting
    threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
    number, all_of_them = str(rank), str(size)
    os.environ.update(RANK=number, LOCAL_RANK=number, WORLD_SIZE=all_of_them, LOCAL_WORLD_SIZE=all_of_them)
    _share_cores(size)
    _stay_on_the_loopback()
    try:
        join(init_method=where, rank=rank, world_size=size)
        found = function()
        _answer(answer, found if rank == 0 else None)
        leave()
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    except Exception as error:
        _answer(answer, None, fit_to_be_sent(error))
        sys.stderr.flush()
        os._exit(1)  # the others may wait for this one, and their group cannot be dissolved


def _answer(answer: Connection, found: Any, error: Exception | None = None) -> None:
    """Send all of it: as a ``Connection`` does by itself, tensors would stay in memory that ends with this process."""
    answer.send_bytes(pickle.dumps((found, error)))


def fit_to_be_sent(error: Exception) -> Exception:
    """An exception that another process can raise; a fault, ours or the user's, takes its traceback along."""
    if isinstance(error, RecBoleVideoError):
        return error
    told = "".join(traceback.format_exception(error))
    own = own_code_error(error)
    if own is None:
        return RuntimeError(told)
    own.add_note(told)
    return own


def _end_with_parent(alive: Connection) -> None:
    with suppress(EOFError, OSError):
        alive.recv()
    os._exit(1)


def _share_cores(size: int) -> None:
    """Threads of PyTorch for each process, where the environment does not say."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // size))


def _stay_on_the_loopback() -> None:
    """Let nobody else reach the sockets by which the processes of one machine talk."""
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    if loopback is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", loopback)
