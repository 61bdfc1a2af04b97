"""Ray, started quietly on this machine or joined where it runs: for sweeps, and for videos on a cluster."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import psutil

from recbole_video.errors import ConfigError, MissingDependencyError, SweepError
from recbole_video.runtime.dependencies import import_optional
from recbole_video.runtime.memory import available_memory

MIN_RAY = (2, 54)
# Part of Ray -> who needs it, and our extra.
_PARTS = {"tune": ("Sweeps", "sweep"), "data": ("Clusters", "cluster"), "util": ("Several machines", "cluster")}
_QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths are the user's
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the run folders have it all
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial has no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C comes to the sweep
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",  # a trial is as urgent as the same run by hand
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
_ANSWER_SECONDS = 10
_STARTS, _END_SECONDS, _PATIENCE = 2, 5, 4
_OBJECT_STORE_SHARE = 0.2  # of the machine's memory


def import_ray(part: str = "tune") -> Any:
    """Ray with one of its parts.

    Args:
        part: ``tune``, ``data`` or ``util``.

    Raises:
        MissingDependencyError: If it is missing or too old.
    """
    who, extra = _PARTS[part]
    install = f"uv pip install -e '.[{extra}]' in the checkout"
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    ray = import_optional("ray", f"{who} need Ray; {install}.")
    version = tuple(int(n) for n in re.findall(r"\d+", ray.__version__)[:2])
    if version < MIN_RAY:
        wanted = ".".join(map(str, MIN_RAY))
        raise MissingDependencyError(f"{who} need Ray {wanted} or newer, and this is {ray.__version__}; {install}.")
    try:
        import_module(f"ray.{part}")
    except ImportError as error:
        problem = f"Ray's {part.capitalize()} cannot be imported ({error})"
        raise MissingDependencyError(f"{problem}; {install}.") from error
    return ray


@contextmanager
def ray_session(address: str | None, n_cpus: int | None = None, part: str = "tune") -> Iterator[Any]:
    """Ray for the time of a sweep, or of a run on videos; one that this process has started already is used as it is.

    Args:
        address: The address of a cluster, ``auto`` for one that runs here; None starts one on this machine that
            listens on the loopback alone, has no dashboard, and ends with this process.
        n_cpus: Cores that a Ray of our own offers; all by default.
        part: What is needed of Ray, see :func:`import_ray`.

    Raises:
        ConfigError: If there is no cluster at the address.
        SweepError: If Ray does not start in time on this machine.
    """
    if address is None:
        # Elsewhere than on Linux Ray's own default; it must be set before Ray is imported, here and in its processes.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = import_ray(part)
    if ray.is_initialized():
        yield ray
        return
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        _connect_patiently(ray, address, n_cpus)
        if is_main:  # a scheduler's kill is a Ctrl-C; Ray sets its own
            signal.signal(signal.SIGTERM, signal.default_int_handler)
    except (OSError, ValueError, RuntimeError) as error:
        where = f"at `{address}`" if address else "on this machine"
        raise ConfigError(f"Ray cannot be reached {where}: {str(error).splitlines()[0]}") from error
    except Exception as error:
        if not _is_late(error):
            raise
        raise SweepError(
            f"Ray has not started in time ({str(error).splitlines()[0].rstrip('.')}) in {_STARTS} tries; this machine "
            "may be too busy or short of memory: type the same command again when it is less so."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if is_main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _connect_patiently(ray: Any, address: str | None, n_cpus: int | None) -> None:
    """As :func:`_connect`, again where a node of ours is late."""
    for tries_left in reversed(range(_STARTS)):
        before = set(psutil.Process().children())
        try:
            _connect(ray, address, n_cpus)
            return
        except Exception as error:
            if not tries_left or not _is_late(error):
                raise
        late = [child for child in psutil.Process().children() if child not in before]
        for child in late:  # else they would keep this machine busy, and their ports
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        psutil.wait_procs(late, timeout=_END_SECONDS)


def _is_late(error: Exception) -> bool:
    """Whether a node has not started in time: Ray raises a bare Exception for that alone."""
    return type(error) is Exception


def _connect(ray: Any, address: str | None, n_cpus: int | None) -> None:
    """Join a cluster, or start one on this machine."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        _require_answer(address)
        ray.init(address=address, runtime_env={"env_vars": _QUIET}, **quiet)
        return
    _stay_on_the_loopback()
    store = _object_store_bytes()
    with _slower_clock():
        ray.init(address="local", num_cpus=n_cpus, include_dashboard=False, object_store_memory=store, **quiet)


def _require_answer(address: str) -> None:
    """Ray asks a head that is not there for minutes; a socket says it at once.

    Raises:
        OSError: If nobody answers at ``host:port``.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()


@contextmanager
def _slower_clock() -> Iterator[None]:
    """Ray gives a node 30 seconds to start, by its module's clock and a number that nothing sets.

    The node's helpers are Python processes with long imports; where eight programs share a core they take longer.
    """
    node: Any = import_module("ray._private.node")
    before = getattr(node, "time", None)
    if before is not time:  # a Ray that does otherwise keeps its own patience
        yield
        return
    node.time = _SlowerTime()
    try:
        yield
    finally:
        node.time = before


class _SlowerTime:
    """The module ``time``, but its ``monotonic`` goes slower: who waits by it waits longer."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        return time.monotonic() / _PATIENCE


def _stay_on_the_loopback() -> None:
    """Ray binds to the loopback where clusters are off; a Ray imported earlier has read that already."""
    from ray._private import ray_constants

    if hasattr(ray_constants, "ENABLE_RAY_CLUSTER"):
        ray_constants.ENABLE_RAY_CLUSTER = False


def _object_store_bytes() -> int:
    return max(80 << 20, int(_OBJECT_STORE_SHARE * available_memory()))
