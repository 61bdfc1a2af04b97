"""The folder of a sweep: a run folder per trial, what became of each, and the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole.utils import get_local_time

from recbole_video.data.files import try_lock, write_json, write_text
from recbole_video.errors import CheckpointError, ConfigError, RunFolderError
from recbole_video.provenance import provenance
from recbole_video.sweep.plan import Plan, Trial
from recbole_video.sweep.spec import Sweep

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

    record = property(lambda self: self.path / "sweep.json")
    trials = property(lambda self: self.path / "trials")
    ray = property(lambda self: self.path / ".ray")

    @classmethod
    def create(cls, plan: Plan, root: Path, command: str = "") -> SweepFolder:
        """Make a new folder named after the sweep and the time; ``command`` is what makes it again.

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
            write_text(folder.path / "sweep.yaml", plan.sweep.text)
            about = {"fingerprint": fingerprint(plan), "command": command, **describe(plan), "made_by": provenance()}
            write_json(folder.record, about)
            return folder
        raise RunFolderError(f"A thousand sweeps named `{name}` exist in `{root}`; move some away.")

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
            if folder._fingerprint() != fingerprint(plan):
                raise ConfigError(
                    f"The sweep in `{folder.path}` was planned otherwise; resume it with its own options."
                )
            return folder
        wanted = fingerprint(plan)
        found = [cls(path.parent) for path in (root / "sweeps").glob("*/sweep.json")]
        found = [folder for folder in found if folder._fingerprint() == wanted]
        if not found:
            raise CheckpointError(
                f"There is no sweep `{plan.sweep.name}` of these options in `{root / 'sweeps'}` to resume; leave out "
                "--resume."
            )
        return max(found, key=lambda folder: folder.record.stat().st_mtime)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder.

        Raises:
            RunFolderError: If another sweep writes it.
        """
        with self.record.open("rb") as handle:
            if not try_lock(handle):
                raise RunFolderError(
                    f"The sweep in `{self.path}` is being written by another process; start another without --resume."
                )
            yield

    def trial_folder(self, trial: Trial) -> Path:
        """Run folder of a trial."""
        return self.trials / trial.name

    def state(self, trial: Trial) -> TrialState:
        """What has become of a trial."""
        return trial_state(self.trial_folder(trial))

    def _fingerprint(self) -> str | None:
        try:
            return json.loads(self.record.read_text(encoding="utf-8")).get("fingerprint")
        except (OSError, ValueError):
            return None


def trial_state(folder: Path) -> TrialState:
    """What has become of the trial in a folder."""
    if (folder / "metrics.json").is_file():
        return TrialState(FINISHED)
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return TrialState(UNFINISHED)
    return TrialState(status["kind"], status.get("detail", ""), status.get("score"))


def note_trial(folder: Path, trial: Trial) -> None:
    """Write down which trial a folder is of, before it runs."""
    write_json(folder / "trial.json", trial.as_plain())


def note_state(folder: Path, state: TrialState) -> None:
    """Write down that a trial was stopped or failed; the results of a finished one say so themselves."""
    write_json(folder / "status.json", vars(state))


def note_failure(folder: Path, trial: Trial, reason: str, traceback: str = "") -> None:
    """Write down why a trial failed; on a full disk it stays unfinished, which ``--resume`` takes up."""
    with suppress(OSError, RunFolderError):
        note_trial(folder, trial)  # a run that had nothing to keep has taken its folder away
        note_state(folder, TrialState(FAILED, reason))
        if traceback:
            write_text(folder / "traceback.txt", traceback)


def forget_state(folder: Path) -> None:
    """Before a trial runs again."""
    (folder / "status.json").unlink(missing_ok=True)


def fingerprint(plan: Plan) -> str:
    """A digest of what the sweep runs."""
    text = json.dumps(describe(plan), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe(plan: Plan) -> dict[str, Any]:
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
