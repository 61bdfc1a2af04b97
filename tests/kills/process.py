"""Commands that run in sessions of their own, and their ends."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import psutil

from .server import READY

ROOT = Path(__file__).parents[2]
_AGENTS_OF_RAY = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # they end a minute after what they serve
MARK = "RECBOLE_VIDEO_KILLED_CASE"


@dataclass(frozen=True)
class Command:
    """What is run.

    Attributes:
        entry: ``module:function`` that takes its words from ``sys.argv``.
        program: Words for a fresh interpreter, which come to the same.
        words: Its options.
        folder: The working folder.
        log: Where its output goes.
    """

    entry: str
    program: tuple
    words: tuple
    folder: Path
    log: Path


class Running:
    """A command that has been started; once it has ended, ``code`` is its exit status and ``seconds`` its time."""

    def __init__(self, pid, wait, mark):
        self.pid, self.mark, self.code, self.seconds = pid, mark, None, None
        self.started = time.monotonic()
        self._thread = Thread(target=self._watch, args=(wait,), daemon=True)
        self._thread.start()

    def _watch(self, wait):
        code = wait()
        self.seconds = time.monotonic() - self.started
        self.code = code

    def ended_within(self, seconds):
        self._thread.join(max(0.0, seconds))
        return self.code is not None

    def send(self, number, to_group):
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if to_group else os.kill)(self.pid, number)

    def others(self):
        """Processes of its session, or with its mark in their environment, that outlive it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if process.status() != psutil.STATUS_ZOMBIE and process.pid != self.pid and self._is_ours(process):
                    found.append(process)
        return found

    def _is_ours(self, process):
        return os.getsid(process.pid) == self.pid or process.environ().get(MARK) == self.mark

    def outlived_by(self, seconds):
        """Names of processes that are still there after so many seconds; Ray's agents, which hold nothing, apart."""
        end = time.monotonic() + seconds
        while (left := self._names_of_others()) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def _names_of_others(self):
        names = []
        for process in self.others():
            with contextlib.suppress(psutil.Error):
                names.append(process.name())
        return [name for name in names if not name.startswith(_AGENTS_OF_RAY)]

    def clean_up(self):
        """End whatever is left of it."""
        if self.code is None:
            self.send(signal.SIGKILL, to_group=True)
            self._thread.join()
        for process in self.others():
            with contextlib.suppress(psutil.Error):
                process.kill()


class Launcher:
    """Starts commands in forks of a process that has imported ``modules``, or afresh; a context manager.

    With ``shared``, the place of a socket, that process is one that another Launcher of the same place has started, if
    any has; the imports take longer than most commands.
    """

    def __init__(self, modules, threads=1, shared=None):
        self._modules, self._shared = modules, shared
        count = str(threads)
        self._environment = {
            **os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count,
            "CUDA_VISIBLE_DEVICES": "", "RAY_AUTH_MODE": "disabled", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        self._n_started = 0

    def __enter__(self):
        self._temporary = tempfile.mkdtemp(prefix="k-")  # short: the names of sockets have a longest length
        self._server = None
        place = self._shared or Path(self._temporary, "socket")
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._connect(place):
                self._start_server(place)
                if not self._connect(place):
                    raise RuntimeError(f"{' '.join(self._modules)} cannot be imported.")
        return self

    def _connect(self, place):
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(place))
            except OSError:
                return False
            self._answers, self._questions = connection.makefile("r"), connection.makefile("w")
        return self._answers.readline() == READY

    def _start_server(self, place):
        place.unlink(missing_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.server", str(place), *self._modules], cwd=ROOT, env=self._environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._server.stdout.readline()

    def __exit__(self, *error):
        self._questions.close()
        self._answers.close()
        if self._server is not None:
            self._end_server()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _end_server(self):
        """Nobody connects any more; those who have a server keep it."""
        self._server.stdin.close()
        try:
            self._server.wait(5)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server.stdout.close()
        if self._shared is not None:
            self._shared.unlink(missing_ok=True)
            self._shared.with_suffix(".lock").unlink(missing_ok=True)

    def start(self, command, fresh=False, environment=()):
        self._n_started += 1
        mark = f"{os.getpid()}-{id(self)}-{self._n_started}"
        own = {MARK: mark, "TMPDIR": self._temporary, "RAY_TMPDIR": self._temporary, **dict(environment)}
        return self._start_fresh(command, own, mark) if fresh else self._fork(command, own, mark)

    def _start_fresh(self, command, own, mark):
        environment = {**self._environment, **own}
        with command.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command.program, *command.words], cwd=command.folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return Running(process.pid, process.wait, mark)

    def _fork(self, command, own, mark):
        request = {
            "entry": command.entry, "program": command.program[-1], "words": command.words,
            "folder": str(command.folder), "log": str(command.log), "environment": own,
        }  # fmt: skip
        self._questions.write(json.dumps(request) + "\n")
        self._questions.flush()
        return Running(int(self._answers.readline()), lambda: int(self._answers.readline()), mark)
