"""One case: a command is started, killed some times at random moments, resumed until it ends, and looked at."""

import random
import re
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .kinds import KINDS, file_names
from .process import Command, Launcher

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
_LONGEST = 180  # seconds of one start
_ORPHANS = 60  # seconds that processes may outlive what started them, as those of Ray do where the machine is busy
_MOST_RESUMES = 6  # after the last kill
_EARLY = 0.2  # share of kills before the real work
_RANDOM = re.compile(r"\.[a-z0-9_]{8}$")  # of a temporary file's name
_USER_FILES = {"notes.txt": b"mine\n", ".hidden": b"mine too\n", "model.pth.bak": b"\x00mine as well"}


@dataclass(frozen=True)
class Unbroken:
    """A run that nobody killed: its result, its files, and its seconds until the work starts and until its end."""

    result: dict
    names: Counter
    seconds: dict
    starts: dict


@dataclass
class Outcome:
    """What became of a case; ``faults`` is empty if all promises held."""

    kind: str
    signal: str
    seed: int
    number: int
    kills: list = field(default_factory=list)
    starts: int = 0
    refusals: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    seconds: float = 0.0


class Bench:
    """All cases of one kind: shared inputs, a launcher, the unbroken run; a context manager.

    Args:
        name: training, popularity, frames or sweep.
        folder: Where everything goes; kept where a case has faults.
        fresh: Share of starts in a fresh interpreter, imports included.
        launcher: One that has the kind's imports done; otherwise the bench starts, and ends, one of its own.
    """

    def __init__(self, name, folder, fresh=0.1, launcher=None):
        self.name, self.kind, self.fresh = name, KINDS[name], fresh
        self._launcher, self._own_launcher = launcher, None
        self.folder = Path(folder)
        self.inputs = self.folder / "inputs"

    def __enter__(self):
        if not self.inputs.is_dir():
            made = self.folder / "inputs-half-made"
            shutil.rmtree(made, ignore_errors=True)
            self.kind.write_inputs(made)
            made.rename(self.inputs)
        if self._launcher is None:
            self._launcher = self._own_launcher = Launcher(self.kind.modules).__enter__()
        self.unbroken = self._run_unbroken()
        return self

    def __exit__(self, *error):
        if self._own_launcher is not None:
            self._own_launcher.__exit__(*error)

    def _command(self, folder, resumes=False):
        words = (*self.kind.words(self.inputs, folder), *(self.kind.resume if resumes else ()))
        return Command(self.kind.entry, self.kind.program, words, folder, folder.parent / "output.txt")

    def _new_folder(self, name):
        folder = self.folder / name / "work"
        shutil.rmtree(folder.parent, ignore_errors=True)  # of a harness that was interrupted
        folder.mkdir(parents=True)
        self.kind.prepare(self.inputs, folder)
        return folder

    def _run_unbroken(self):
        seconds, starts = {}, {}
        for fresh in (True, False) if self.fresh else (False,):
            folder = self._new_folder(f"unbroken-{'fresh' if fresh else 'forked'}")
            running = self._launcher.start(self._command(folder), fresh)
            try:
                while not running.ended_within(0.01):
                    if fresh not in starts and next(folder.glob(self.kind.started), None):
                        starts[fresh] = time.monotonic() - running.started
                seconds[fresh] = time.monotonic() - running.started
            finally:
                running.clean_up()
            if running.code != 0:
                raise RuntimeError(f"The unbroken run failed: {last_lines(folder.parent / 'output.txt', 20)}")
        return Unbroken(self.kind.result(folder), file_names(folder), seconds, starts)

    def run(self, signal_name, seed, number, most_kills):
        """Kill a run up to ``most_kills`` times, resume it to its end, and compare."""
        outcome = Outcome(self.name, signal_name, seed, number)
        rng = random.Random(f"{seed} {self.name} {signal_name} {number}")
        folder = self._new_folder(f"{signal_name}-{number}")
        began = time.monotonic()
        try:
            _Case(self, outcome, rng, folder).run(rng.randint(1, most_kills))
        finally:
            outcome.seconds = round(time.monotonic() - began, 2)
        if not outcome.faults:
            shutil.rmtree(folder.parent)
        return outcome

    def start(self, folder, resumes, fresh):
        return self._launcher.start(self._command(folder, resumes), fresh)


class _Case:
    def __init__(self, bench, outcome, rng, folder):
        self.bench, self.outcome, self.rng, self.folder = bench, outcome, rng, folder
        self.kind, self.unbroken = bench.kind, bench.unbroken
        self.log = folder.parent / "output.txt"
        self.mine = {}  # files of the user -> bytes
        self.worked = 0.0  # seconds of real work so far
        self.started = []

    def run(self, n_kills):
        attempts = [True] * n_kills + [False] * _MOST_RESUMES
        try:
            is_through = any(self._attempt(kills) or self.outcome.faults for kills in attempts)
        finally:
            for running in self.started:
                running.clean_up()
        if not is_through:
            self._fault("it does not end, however often it is resumed")
        if not self.outcome.faults:
            self._compare()

    def _attempt(self, kills):
        """Start once; True if the command came to its end."""
        fresh, to_group, waits = (self.rng.random() < share for share in (self.bench.fresh, 0.5, 0.5))
        delay = self._moment(fresh) if kills else _LONGEST
        running = self.bench.start(self.folder, self.outcome.starts > 0, fresh)
        self.started.append(running)
        self.outcome.starts += 1
        if not running.ended_within(delay):
            running.send(getattr(signal, self.outcome.signal if kills else "SIGKILL"), to_group)
            if not kills or not running.ended_within(_LONGEST):
                self._fault(f"it hangs (start {self.outcome.starts})")
                return False
            if running.code != 0:
                self._note_kill(delay, running.code, to_group, fresh)
                if waits:
                    self._wait_for_orphans(running)
                return False
        if self.outcome.starts == 1:  # the machine may be quicker or slower than it was
            factor = (1 + running.seconds / self.unbroken.seconds[fresh]) / 2
            self.unbroken.seconds[fresh] *= factor
            self.unbroken.starts[fresh] *= factor
        self._wait_for_orphans(running)
        return running.code == 0 or self._is_through_in_spite(running.code)

    def _moment(self, fresh):
        start, end = self.unbroken.starts[fresh], self.unbroken.seconds[fresh]
        if self.rng.random() < _EARLY:
            return self.rng.uniform(0, start)
        return self.rng.uniform(start, max(start, end - self.worked) * 1.02)

    def _note_kill(self, delay, code, to_group, fresh):
        self.outcome.kills.append({"after": round(delay, 3), "group": to_group, "fresh": fresh, "code": code})
        self.worked += max(0.0, delay - self.unbroken.starts[fresh])
        if "Traceback (most recent call last)" in self.log.read_text(errors="replace"):
            self._fault("a traceback is shown")
        self._leave_files_of_the_user()

    def _wait_for_orphans(self, running):
        left = running.outlived_by(_ORPHANS)
        if left:
            self._fault(f"processes outlive it by {_ORPHANS} s: {dict(Counter(left))}")

    def _leave_files_of_the_user(self):
        """After a kill, in every folder that the run has made and that is not its own alone."""
        for folder in [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]:
            parts = folder.relative_to(self.folder).parts
            if any(
                part in ("log", "log_tensorboard") or part.startswith(".") or part.endswith(".parts") for part in parts
            ):
                continue
            for name, content in _USER_FILES.items():
                path = folder / name
                if not path.exists() and path not in self.mine:
                    path.write_bytes(content)
                    self.mine[path] = content

    def _is_through_in_spite(self, code):
        """A start that was refused: the results may be complete, or orphans of the last one hold the folder."""
        said = last_lines(self.log)
        self.outcome.refusals.append(said)
        if "Traceback (most recent call last)" in self.log.read_text(errors="replace"):
            self._fault(f"a traceback is shown: {said}")
        return not self.kind.resume and self.kind.result(self.folder) == self.unbroken.result

    def _compare(self):
        found, wanted = self.kind.result(self.folder), self.unbroken.result
        if extra := sorted(set(found) - set(wanted)):
            self._fault(f"there is more than one result, such as {extra[0]}")
        for name, value in wanted.items():
            if found.get(name) != value:
                self._fault(f"{name} differs from the unbroken run's")
        for path, content in self.mine.items():
            if not path.is_file() or path.read_bytes() != content:
                self._fault(f"a file of the user is gone or changed: {path.name}")
        names = file_names(self.folder)
        names.subtract(file_names(self.folder, self.mine))
        names.subtract(self.unbroken.names)
        for name in file_names(self.folder, self._folders_of_the_user_alone()):
            names[name] -= names[name] > 0  # it cannot be removed
        for what, odd in (("left over", +names), ("missing", -names)):
            for name in odd:
                if str(Path(name).parent) not in odd:  # a folder stands for what is in it
                    self._fault(f"{what}: {_RANDOM.sub('.RANDOM', name)}")

    def _folders_of_the_user_alone(self):
        folders = [path for path in self.folder.rglob("*") if path.is_dir()]
        return [path for path in folders if (files := set(path.glob("*"))) and files <= self.mine.keys()]

    def _fault(self, text):
        if text not in self.outcome.faults:
            self.outcome.faults.append(text)


def last_lines(log, n=1):
    """The end of what a command has printed."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return "\n".join(lines[-n:])
