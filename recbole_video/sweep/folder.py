"""The folder of a sweep: a run folder per trial, what became of each, and the report."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole.utils import get_local_time

from recbole_video.errors import CheckpointError, ConfigError, RunFolderError
from recbole_video.files.atomic import clear_leftovers, write_json, write_text
from recbole_video.files.folder_lock import LOCK_NAME, FolderLock
from recbole_video.files.reading import read_json
from recbole_video.runtime.provenance import provenance
from recbole_video.sweep.plan import Plan, Trial
from recbole_video.sweep.space import as_key
from recbole_video.sweep.spec import Sweep

# Files that are replaced as a sweep goes on.
_WRITTEN = r"sweep\.(?:yaml|json)|report\.(?:md|html)|(?:results|failures)\.(?:csv|tex)|[\w.-]+\.png"
FINISHED, STOPPED, FAILED, UNFINISHED = "finished", "stopped early", "failed", "unfinished"


@dataclass(frozen=True)
class TrialState:
    """What has become of a trial.

    Attributes:
        kind: finished, stopped early (by ASHA), failed or unfinished.
        detail: Why it failed, or where it was stopped.
        score: Best validation score of one that was stopped.
    """

    kind: str
    detail: str = ""
    score: float | None = None


class SweepFolder:
    """``<checkpoint_dir>/sweeps/<name>-<time>``: ``sweep.json``, ``trials/<name>/`` and the report's files.

    Each trial's folder is an ordinary run folder with two files more: ``trial.json``, its place in the table, and
    ``status.json`` where it was stopped or failed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = FolderLock(self.path)
        self._is_made_here = False

    record = property(lambda self: self.path / "sweep.json")
    trials = property(lambda self: self.path / "trials")
    ray = property(lambda self: self.path / ".ray")

    @classmethod
    def create(cls, plan: Plan, root: Path, command: str = "") -> SweepFolder:
        """Make a new folder, and hold it, named after the sweep and the time; ``command`` is what makes it again.

        Raises:
            RunFolderError: If it cannot be made.
        """
        name = f"{plan.sweep.name}{'-demo' if plan.sweep.is_demo else ''}-{get_local_time()}"
        for attempt in range(1, 1000):
            folder = cls(root / "sweeps" / (name if attempt == 1 else f"{name}-{attempt}"))
            try:
                folder.trials.mkdir(parents=True, exist_ok=False)
            except FileExistsError:
                continue
            except OSError as error:
                raise RunFolderError(
                    f"The sweep's folder `{folder.path}` cannot be made: {error.strerror}; set checkpoint_dir to a "
                    "folder that can be written."
                ) from error
            folder._begin(plan, command)
            return folder
        raise RunFolderError(f"A thousand sweeps named `{name}` exist in `{root}`; move some away.")

    def _begin(self, plan: Plan, command: str) -> None:
        """Hold the new folder before there is a record in it, by which others would find it."""
        self._is_made_here = True
        self._acquire()
        try:
            write_text(self.path / "sweep.yaml", plan.sweep.text)
            about = {
                "fingerprint": plan_fingerprint(plan),
                "command": command,
                **describe_plan(plan),
                "made_by": provenance(),
            }
            write_json(self.record, about)
        except BaseException:
            self.discard_if_unused()
            raise

    @classmethod
    def to_resume(cls, plan: Plan, root: Path, resume: bool | str) -> SweepFolder:
        """The sweep that ``resume`` names, or the newest of this plan for ``True``.

        Raises:
            CheckpointError: If there is none.
            ConfigError: If the one named is of another plan.
        """
        if resume is not True:
            folder = cls(str(resume))
            if not folder.record.is_file():
                raise CheckpointError(
                    f"There is nothing to resume in `{folder.path}`: it is not the folder of a sweep."
                )
            if folder._recorded_fingerprint() != plan_fingerprint(plan):
                raise ConfigError(
                    f"The sweep in `{folder.path}` was planned otherwise; resume it with its own options"
                    f"{folder._as_begun()}."
                )
            return folder
        wanted = plan_fingerprint(plan)
        found = [cls(path.parent) for path in (root / "sweeps").glob("*/sweep.json")]
        found = [folder for folder in found if folder._recorded_fingerprint() == wanted]
        if not found:
            raise CheckpointError(
                f"There is no sweep `{plan.sweep.name}` of these options in `{root / 'sweeps'}` to resume; leave out "
                "--resume."
            )
        return max(found, key=lambda folder: folder.record.stat().st_mtime)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes, and release it at the end.

        Raises:
            RunFolderError: If another sweep writes it.
        """
        self._acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _acquire(self) -> None:
        if self._lock.is_held:
            return
        if not self._lock.acquire():
            raise RunFolderError(
                f"The sweep in `{self.path}` is being written by another process; start another without --resume."
            )
        clear_leftovers(self.path, _WRITTEN)

    def discard_if_unused(self) -> None:
        """Remove the folder of a sweep that could not begin, if this object made it and nothing else is in it."""
        ours = {LOCK_NAME, "sweep.yaml", "sweep.json", "trials"}
        if not self._is_made_here or not {path.name for path in self.path.iterdir()} <= ours:
            return
        if self.trials.is_dir() and any(self.trials.iterdir()):
            return
        for path in (self.path / "sweep.yaml", self.record):
            path.unlink(missing_ok=True)
        self._lock.release()
        with suppress(OSError):  # somebody has put something into it meanwhile
            self.trials.rmdir()
            self.path.rmdir()

    def trial_folder(self, trial: Trial) -> Path:
        """Run folder of a trial."""
        return self.trials / trial.name

    def state(self, trial: Trial) -> TrialState:
        """What has become of a trial."""
        return trial_state(self.trial_folder(trial))

    def _recorded_fingerprint(self) -> str | None:
        return self._recorded().get("fingerprint")

    def _as_begun(self) -> str:
        """The command that began this sweep, to be typed again."""
        command = self._recorded().get("command")
        return f": {command} --resume={shlex.quote(str(self.path))}" if command else ""

    def _recorded(self) -> dict[str, Any]:
        try:
            record = read_json(self.record, CheckpointError)
        except CheckpointError:
            return {}
        return record if isinstance(record, dict) else {}


def trial_state(folder: Path) -> TrialState:
    """What has become of the trial in a folder."""
    if (folder / "metrics.json").is_file():
        return TrialState(FINISHED)
    try:
        status = read_json(folder / "status.json", CheckpointError)
    except CheckpointError:
        return TrialState(UNFINISHED)
    if not isinstance(status, dict) or status.get("kind") not in (STOPPED, FAILED):
        return TrialState(UNFINISHED)
    return TrialState(status["kind"], str(status.get("detail", "")), _number(status.get("score")))


def read_trial(folder: Path) -> Trial:
    """The trial whose run is in a folder.

    Raises:
        CheckpointError: If ``trial.json`` cannot be read or is not of a trial.
    """
    path = folder / "trial.json"
    noted = read_json(path, CheckpointError)
    kinds = {"row": str, "column": str, "point": dict, "seed": int, "options": dict}
    if not isinstance(noted, dict) or set(noted) != set(kinds):
        raise CheckpointError(f"`{path}` is not of a trial; it has {', '.join(kinds)}.")
    for name, kind in kinds.items():
        if not isinstance(noted[name], kind):
            raise CheckpointError(f"`{path}`: `{name}` is `{noted[name]}`, which is not of a trial.")
    return Trial(**noted)


def best_score(folder: Path) -> float | None:
    """Best validation score of a finished or stopped trial.

    Raises:
        CheckpointError: If ``metrics.json`` cannot be read.
    """
    metrics = folder / "metrics.json"
    if not metrics.is_file():
        return trial_state(folder).score
    result = read_json(metrics, CheckpointError)
    return _number(result.get("best_valid_score")) if isinstance(result, dict) else None


def _number(value: Any) -> float | None:
    """The value if it is a number."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def write_trial(folder: Path, trial: Trial) -> None:
    """Write down which trial a folder is of, before it runs."""
    write_json(folder / "trial.json", trial.as_plain())


def write_state(folder: Path, state: TrialState) -> None:
    """Write down that a trial was stopped or failed; the results of a finished one say so themselves."""
    write_json(folder / "status.json", vars(state))


def write_failure(folder: Path, trial: Trial, reason: str, traceback: str = "") -> None:
    """Write down why a trial failed; on a full disk it stays unfinished, which ``--resume`` takes up."""
    with suppress(OSError, RunFolderError):
        write_trial(folder, trial)  # its process may have died before it did
        write_state(folder, TrialState(FAILED, reason))
        if traceback:
            write_text(folder / "traceback.txt", traceback)


def clear_state(folder: Path) -> None:
    """Remove the record of how the last attempt at a trial ended, before the trial runs again."""
    (folder / "status.json").unlink(missing_ok=True)


def plan_fingerprint(plan: Plan) -> str:
    """A digest of all that a sweep runs, by which ``--resume`` finds its folder."""
    return hashlib.sha256(as_key(describe_plan(plan)).encode()).hexdigest()[:16]


def describe_plan(plan: Plan) -> dict[str, Any]:
    """A plan as plain values."""
    sweep: Sweep = plan.sweep
    return {
        "sweep": sweep.name,
        "demo": sweep.is_demo,
        "base": sweep.base,
        "space": {option: list(values) for option, values in sweep.space.items()},
        "search": vars(sweep.search),
        "asha": None if sweep.asha is None else vars(sweep.asha),
        "seeds": list(sweep.seeds),
        "metrics": [{"name": metric.name, "key": metric.key} for metric in sweep.metrics],
        "n_trials": plan.n_trials,
        "trials": [trial.name for trial in plan.trials],
    }
