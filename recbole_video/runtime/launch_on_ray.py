"""Starts the processes of a run on the machines of a Ray cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from recbole_video.errors import OwnCodeError, RecBoleVideoError, TrainingError
from recbole_video.runtime.launch import fit_to_be_sent
from recbole_video.runtime.processes import ProcessLostError, join, leave
from recbole_video.runtime.ray_session import ray_session

T = TypeVar("T")

_SECONDS_TO_END = 5.0


def launch_on_ray(function: Callable[[], T], n: int, use_gpu: bool, address: str) -> T:
    """Call a function in ``n`` processes of a cluster that form a group, and return what it gave in the first.

    Each process has a core, and a GPU where the run is to be on one. All machines have to see the same files, by the
    same paths.

    Args:
        function: Fit to be pickled.
        n: How many processes.
        use_gpu: Whether each is to have a GPU, where the cluster has any.
        address: Of the cluster, see :func:`~recbole_video.runtime.ray_session.ray_session`.

    Raises:
        RecBoleVideoError: What one of them raised.
        TrainingError: If one of them was lost, or the cluster has no room for so many.
    """
    with ray_session(address, part="util") as ray:
        has_gpus = use_gpu and ray.cluster_resources().get("GPU", 0) >= 1
        _check_room(ray, n, has_gpus)
        worker = ray.remote(num_cpus=1, num_gpus=int(has_gpus))(_Worker)
        workers = [worker.remote(str(Path.cwd())) for _ in range(n)]
        try:
            where = ray.get(workers[0].meeting_place.remote())
            answers = [one.work.remote(function, rank, n, where) for rank, one in enumerate(workers)]
            return _first_answer(ray, answers)
        except RecBoleVideoError as error:  # as Ray hands it over, with the traceback of the other process in its text
            raise getattr(error, "cause", error) from None
        except ray.exceptions.RayError as error:
            raise TrainingError(
                f"A process of the run was lost ({type(error).__name__}); --resume goes on after the last epoch that "
                "was saved."
            ) from error
        finally:
            for one in workers:
                ray.kill(one)


def _first_answer(ray: Any, answers: list[Any]) -> Any:
    """Wait until all have ended; what the first one answered. What the others then lack is asked for its reason."""
    waiting, lost = list(answers), None
    while waiting:
        done, waiting = ray.wait(waiting, timeout=_SECONDS_TO_END if lost else None)
        if not done:
            break
        try:
            ray.get(done)
        except ProcessLostError as error:
            lost = error
    if lost:
        raise lost
    return ray.get(answers[0])


def _check_room(ray: Any, n: int, has_gpus: bool) -> None:
    """Refuse what would wait for ever.

    Raises:
        TrainingError: If there are fewer cores or GPUs than processes.
    """
    kind, name = ("GPU", "GPUs") if has_gpus else ("CPU", "cores")
    there = int(ray.cluster_resources().get(kind, 0))
    if there < n:
        raise TrainingError(f"`nproc` is {n}, and the cluster has {there} {name}; lower nproc.")


class _Worker:
    """One process of a run."""

    def __init__(self, folder: str) -> None:
        with suppress(OSError):  # where it is not, paths are absolute, or will not be found
            os.chdir(folder)

    def meeting_place(self) -> str:
        """Where the processes find each other: a free port of this one's machine."""
        import ray

        host = ray.util.get_node_ip_address()
        with socket.socket() as found:
            found.bind((host, 0))
            return f"tcp://{host}:{found.getsockname()[1]}"

    def work(self, function: Callable[[], Any], rank: int, size: int, where: str) -> Any:
        """Join the others, call the function, and return what it gave to the first."""
        host, _, port = where.removeprefix("tcp://").rpartition(":")
        # As torchrun says it; Ray shows each process its own GPU alone.
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK="0", LOCAL_WORLD_SIZE="1")
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=port)
        join(init_method=where, rank=rank, world_size=size)
        try:
            found = function()
            return found if rank == 0 else None
        except Exception as error:
            sent = fit_to_be_sent(error)
            if isinstance(sent, OwnCodeError):
                raise sent from error
            raise
        finally:
            leave()
