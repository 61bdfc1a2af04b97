"""The folder of a run: everything that came of it and what made it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recbole.utils import get_local_time

from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError, RecBoleVideoError, RunFolderError
from recbole_video.files.atomic import clear_leftovers, leftovers, write_json, write_text
from recbole_video.files.folder_lock import LOCK_NAME, FolderLock
from recbole_video.files.names import expanded
from recbole_video.files.reading import dump_yaml, read_json, read_yaml
from recbole_video.files.values import plain
from recbole_video.options.content import ordered_as, stores_by_name
from recbole_video.options.effects import OF_GROUPS, OF_NO_NUMBER
from recbole_video.results.per_case import PER_USER, PREDICTIONS
from recbole_video.runtime.checkpoint import read_checkpoint
from recbole_video.runtime.checkpoint_checks import upgraded
from recbole_video.runtime.provenance import provenance

# Files of any run that are replaced as it goes on; RecBole's trainer names its checkpoint after model and time.
_WRITTEN = (
    r"config\.yaml|run\.json|last\.pth|model\.pth|metrics\.json|curve\.png|per_user\.tsv|predictions\.(?:tsv|png)"
    r"|trial\.json|status\.json|traceback\.txt|\w+-\w{3}-\d\d-\d{4}_\d\d-\d\d-\d\d\.pth"
)
_MADE_NAME = re.compile(r"-\w{3}-\d\d-\d{4}_\d\d-\d\d-\d\d(-\d+)?$")  # of a folder that was made for a run
_SHOWN_OPTIONS = 3  # of those in which a run differs
# What a folder may hold before a run begins in it: what a sweep notes of a trial.
_AS_A_SWEEP = ", but of a sweep, which goes on by the command that began it and this --resume"
_OF_A_SWEEP = frozenset(["trial.json", "status.json", "traceback.txt"])


class RunFolder:
    """Paths and records of one run under ``checkpoint_dir``.

    Holds ``config.yaml`` (all options, fit for ``--config_files``), ``run.json`` (versions, commit,
    machine), ``last.pth`` (to resume; until it has ended), ``model.pth`` (the best epoch), ``metrics.json``,
    ``curve.png`` and ``run.log``.

    A folder is locked, for one process at a time, before anything in it is touched; what is removed from it is only
    what this very object has written, and what a killed run left half-written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self._lock = FolderLock(self.path)
        self._is_made_here = False
        self._written: list[Path] = []

    config = property(lambda self: self.path / "config.yaml")
    record = property(lambda self: self.path / "run.json")
    last = property(lambda self: self.path / "last.pth")
    best = property(lambda self: self.path / "model.pth")
    metrics = property(lambda self: self.path / "metrics.json")
    curve = property(lambda self: self.path / "curve.png")
    log = property(lambda self: self.path / "run.log")
    per_user = property(lambda self: self.path / PER_USER)
    predictions = property(lambda self: self.path / PREDICTIONS)

    @property
    def is_finished(self) -> bool:
        return self.metrics.is_file()

    # -- its lock ------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, so that no other process writes a run that is alive, and release it at the end.

        Raises:
            RunFolderError: If another process holds it.
        """
        self._acquire()
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Release the folder's lock, so that other processes may write there."""
        self._lock.release()

    def _acquire(self) -> None:
        if not (self._lock.is_held or self._try_to_acquire()):
            raise RunFolderError(f"The run in `{self.path}` is being written by another process.")

    def _try_to_acquire(self) -> bool:
        """Lock the folder, and remove what a killed run left half-written; False if another process has it."""
        if not self._lock.acquire():
            return False
        clear_leftovers(self.path, _WRITTEN)
        return True

    def discard_if_empty(self) -> None:
        """Of a run that failed before it had anything to keep, remove what it wrote, and the folder if it made that.

        Whatever else is in the folder stays, and then all does.
        """
        written = {path.name for path in self._written}
        if not self._is_made_here:
            written |= _OF_A_SWEEP
        if not self.path.is_dir() or not {path.name for path in self.path.iterdir()} <= written | {LOCK_NAME}:
            return
        for path in self._written:
            path.unlink(missing_ok=True)
        self.release()
        if self._is_made_here:
            with suppress(OSError):  # somebody has put something into it meanwhile
                self.path.rmdir()

    # -- a new run -----------------------------------------------------------------------------

    @classmethod
    def create(cls, config: Config) -> RunFolder:
        """Make a new folder, and lock it, named after model, item encoder, data set and time.

        Raises:
            RunFolderError: If it cannot be made.
        """
        root = Path(config["checkpoint_dir"])
        cls._remove_unstarted(root)
        parts = [part for part in (config["model"], config.get("item_encoder"), config["dataset"]) if part is not None]
        name = "-".join(str(part).replace(":", ".").replace("/", ".") for part in [*parts, get_local_time()])
        for attempt in range(1, 1000):
            folder = cls(root / (name if attempt == 1 else f"{name}-{attempt}"))
            try:
                folder.path.mkdir(parents=True, exist_ok=False)
            except (FileExistsError, NotADirectoryError) as error:
                if root.exists() and not root.is_dir():
                    raise RunFolderError(f"`{root}` is a file; set checkpoint_dir to a folder.") from None
                if isinstance(error, NotADirectoryError):
                    raise folder._cannot_be_made(error) from error
                continue
            except OSError as error:
                raise folder._cannot_be_made(error) from error
            folder._is_made_here = True
            folder._begin(config)
            return folder
        raise RunFolderError(f"A thousand runs named `{name}` exist in `{root}`; move some away.")

    @classmethod
    def _remove_unstarted(cls, root: Path) -> None:
        """Remove what a kill has left of folders that :meth:`create` made, before a run's first file was whole.

        A folder into which somebody else has put something stays, with that.
        """
        for lock in root.glob(f"*/{LOCK_NAME}"):
            folder = cls(lock.parent)
            if _MADE_NAME.search(folder.path.name) and folder._is_unstarted() and folder._acquire_if_free():
                if folder._is_unstarted():
                    clear_leftovers(folder.path, _WRITTEN)
                folder.release()
                with suppress(OSError):  # it holds something
                    folder.path.rmdir()

    def _is_unstarted(self) -> bool:
        of_a_run = re.compile(rf"{_WRITTEN}|{re.escape(self.log.name)}")
        return not any(of_a_run.fullmatch(path.name) for path in self.path.iterdir())

    def _cannot_be_made(self, error: OSError) -> RunFolderError:
        return RunFolderError(
            f"The run folder `{self.path}` cannot be made: {error.strerror}; set checkpoint_dir to a folder that can "
            "be written."
        )

    @classmethod
    def at(cls, path: str | Path, config: Config) -> RunFolder:
        """The run in this very folder: a new one, or one of the same options that goes on, locked, or is finished.

        Raises:
            ConfigError: If it holds a run of other options.
            RunFolderError: If it cannot be made, holds what is not of a run, or is held by another process.
        """
        folder = cls(path)
        folder._check_is_usable(config)
        if folder.is_finished:
            return folder
        try:
            folder._is_made_here = not folder.path.is_dir()
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"The run folder `{path}` cannot be made: {error.strerror}.") from error
        folder._begin(config)
        return folder

    def _check_is_usable(self, config: Config) -> None:
        """Refuse a folder with a run of other options, or with files that no run has written."""
        if not self.path.is_dir():
            return
        if self._recorded_fingerprint() is None:
            self._check_no_foreign_files(config)
        elif not self._is_of(config):
            raise ConfigError(f"`{self.path}` holds a run of other options; choose another folder.")

    def _check_no_foreign_files(self, config: Config) -> None:
        """Refuse what a run killed as it began, or a sweep that is about to begin one, cannot have left."""
        allowed = {*_OF_A_SWEEP, *(path.name for path in leftovers(self.path, _names_written(config)))}
        if self._has_options_of(config):
            if _MADE_NAME.search(self.path.name):
                return  # made for a run of these options, which was killed before `run.json`; others came later
            allowed.add(self.config.name)
        lock = self.path / LOCK_NAME
        if lock.is_file() and lock.stat().st_size == 0:
            allowed.add(LOCK_NAME)
        others = sorted({path.name for path in self.path.iterdir()} - allowed)
        if others:
            raise RunFolderError(
                f"`{self.path}` holds files that are not of a run (first: `{others[0]}`); choose a new or an empty "
                "folder."
            )

    def _begin(self, config: Config) -> None:
        self._acquire()
        try:
            clear_leftovers(self.path, _names_written(config))
            self._check_is_usable(config)  # again, now that nobody else writes here
            self._describe(config)
        except BaseException:
            self.discard_if_empty()
            self.release()
            raise

    def _describe(self, config: Config) -> None:
        self._written += [path for path in (self.config, self.record, self.log) if not path.exists()]
        if self.config in self._written:
            write_text(self.config, dump_yaml(config.to_options()))
        if self.record in self._written:
            write_json(self.record, {"fingerprint": config_fingerprint(config), **provenance()})

    # -- a run that is there already -----------------------------------------------------------

    @classmethod
    def to_resume(cls, config: Config) -> RunFolder | None:
        """The run that ``resume`` names, or for ``resume=True`` the newest of these options.

        Returns:
            For ``resume=True`` the newest unfinished run that no other process holds, else the newest finished one,
            else None: there is nothing to continue. An unfinished run is locked.

        Raises:
            CheckpointError: If the named folder holds no run.
            ConfigError: If the named run was made with other options.
            RunFolderError: If another process holds the named run.
        """
        if config["resume"] is True:
            return cls._newest(config)
        folder = cls(config["resume"])
        if not (folder.record.is_file() or folder.config.is_file()):
            raise CheckpointError(
                f"There is nothing to resume in `{folder.path}`: it is not the folder of a run"
                f"{_AS_A_SWEEP if (folder.path / 'sweep.json').is_file() else ''}."
            )
        if not folder._is_of(config):
            raise ConfigError(
                f"The run in `{folder.path}` was made with other options; leave out all options but --resume "
                "to continue it as it was."
            )
        if not folder.is_finished:
            folder._begin(config)
        return folder

    @classmethod
    def _newest(cls, config: Config) -> RunFolder | None:
        root = Path(config["checkpoint_dir"])
        cls._remove_unstarted(root)
        places = {path.parent for name in ("run.json", "config.yaml") for path in root.glob(f"*/{name}")}
        runs = [run for run in sorted(map(cls, places), key=cls._time_of, reverse=True) if run._can_be_of(config)]
        for run in runs:
            if not run.is_finished and run._acquire_if_free():
                run._begin(config)
                return run
        return next((run for run in runs if run.is_finished), None)

    @classmethod
    def nearest(cls, config: Config) -> str:
        """The run of the same model and data whose options differ least, and how, in words; empty where there is none.

        For who thought to go on with it: ``resume=True`` goes on with a run of exactly these options.
        """
        ours = plain(config.to_options())
        found: list[tuple[int, float, str]] = []
        for run in map(cls, sorted(path.parent for path in Path(config["checkpoint_dir"]).glob("*/config.yaml"))):
            theirs = run._stored_options() or {}
            if any(theirs.get(name) != ours.get(name) for name in ("model", "dataset", "item_encoder")):
                continue
            names = [name for name in theirs if name not in OF_NO_NUMBER | OF_GROUPS and theirs[name] != ours.get(name)]
            told = ", ".join(f"{name}={theirs[name]}" for name in names[:_SHOWN_OPTIONS])
            if names:
                found.append(
                    (len(names), -run._time_of(), f"`{run.path}` has {told}{', …' * (len(names) > _SHOWN_OPTIONS)}")
                )
        return min(found)[2] if found else ""

    def _acquire_if_free(self) -> bool:
        """Lock the folder if no other process holds it, and it is still there; whether it is locked now."""
        try:
            return self._try_to_acquire()
        except RunFolderError:  # taken away by a run that had nothing to keep, or not ours to write
            return False

    def _time_of(self) -> float:
        times = [path.stat().st_mtime for path in (self.record, self.config) if path.is_file()]
        return max(times, default=0.0)

    def _can_be_of(self, config: Config) -> bool:
        """Whether the run is of these options; a damaged one that nobody has named is passed over."""
        try:
            self._check_is_usable(config)
        except RecBoleVideoError:
            return False
        return self._is_of(config)

    def _is_of(self, config: Config) -> bool:
        """Whether it holds a run of these options; one killed as it began may have written ``config.yaml`` alone."""
        recorded = self._recorded_fingerprint()
        if recorded == config_fingerprint(config):
            return self.content_as_trained() is None  # else it was made in another order, by an earlier version
        return self._has_options_of(config, recorded)

    def _has_options_of(self, config: Config, recorded: str | None = None) -> bool:
        """Whether ``config.yaml`` is what this package, or an earlier version of it, writes of these options.

        Options that it lacks, which came later, are then what they are by default.

        Args:
            config: The options.
            recorded: The fingerprint of what ``config.yaml`` must hold.
        """
        options = self._stored_options()
        if options is None or recorded not in (None, _digest(options)):
            return False
        content, named = options.get("content"), stores_by_name(config.get("content"))
        if isinstance(content, dict) and content == named:  # in whatever order
            trained = self._names_trained(content)  # not those that the run switched off
            is_same = [name for name in named if name in trained] == trained
            options["content"] = ordered_as(content, list(named) if is_same else trained)
        later = {name: plain(config.defaults.get(name)) for name in config.to_options() if name not in options}
        return _digest({**later, **options}) == config_fingerprint(config)

    def _stored_options(self) -> dict[str, Any] | None:
        """What ``config.yaml`` holds; None where it is not there or not of a run."""
        try:
            options = read_yaml(self.config, ConfigError) if self.config.is_file() else None
        except ConfigError:
            return None
        return options if isinstance(options, dict) else None

    def content_as_trained(self) -> Any:
        """``content`` in the order of the run, where ``config.yaml`` has it in another one; else None.

        Earlier versions wrote names with stores there in the order of the names; a checkpoint has them in that of the
        model.

        Raises:
            CheckpointError: If the checkpoint cannot be read.
        """
        content = (self._stored_options() or {}).get("content")
        if not isinstance(content, dict):
            return None
        ordered = ordered_as(content, self._names_trained(content))
        return None if ordered == content else ordered

    def _names_trained(self, content: dict[str, Any]) -> list[str]:
        """The modalities in the order in which a checkpoint has them; none without one, or where there is no order."""
        path = next((path for path in (self.last, self.best) if path.is_file()), None)
        if path is None or len(content) < 2:
            return []
        data = upgraded(read_checkpoint(path).get("data"))
        return list(data.get("content") or ()) if isinstance(data, dict) else []

    def _recorded_fingerprint(self) -> str | None:
        """The fingerprint of the options that ``run.json`` records; None where there is none, or another program's.

        Raises:
            CheckpointError: If it cannot be read.
        """
        if not self.record.is_file():
            return None
        record = read_json(self.record, CheckpointError)
        found = record.get("fingerprint") if isinstance(record, dict) else None
        return found if isinstance(found, str) else None


def _names_written(config: Config) -> str:
    """Regular expression of the names of the files that a run writes: those of any run, and its model's own."""
    own: Iterable[str] = getattr(config.model_class, "files_written", ())  # a model of RecBole's has none
    return "|".join([_WRITTEN, *map(re.escape, own)])


def config_fingerprint(config: Config) -> str:
    """A digest of all options that change what a run computes."""
    return _digest(config.to_options())


def _digest(options: dict[str, Any]) -> str:
    kept = {k: v for k, v in options.items() if k not in OF_NO_NUMBER | OF_GROUPS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]
