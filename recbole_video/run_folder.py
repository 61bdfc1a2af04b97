"""The folder of a run: everything that came of it and what made it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from recbole.utils import get_local_time

from recbole_video.config import Config
from recbole_video.data.files import try_lock, write_json, write_text
from recbole_video.errors import CheckpointError, ConfigError, RunFolderError
from recbole_video.provenance import provenance

# Options that do not change what a run computes: a resumed run may set them anew.
_FREE_ON_RESUME = frozenset([
    "resume", "show_progress", "state", "log_dir", "tensorboard_dir", "checkpoint_dir", "log_wandb", "wandb_project",
    "gpu_id", "use_gpu", "eval_batch_size", "eval_memory_mb", "frames_on_device", "save_per_user", "eval_groups",
    "data_path", "figures", "save_predictions", "n_popularity_groups", "cold_author_threshold", "cold_author_count",
    "cold_author_column",
])  # fmt: skip


class RunFolder:
    """Paths and records of one run under ``checkpoint_dir``.

    Holds ``config.yaml`` (all options, fit for ``--config_files``), ``run.json`` (versions, commit,
    machine), ``last.pth`` (to resume), ``model.pth`` (the best epoch), ``metrics.json``,
    ``curve.png`` and ``run.log``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    config = property(lambda self: self.path / "config.yaml")
    record = property(lambda self: self.path / "run.json")
    last = property(lambda self: self.path / "last.pth")
    best = property(lambda self: self.path / "model.pth")
    metrics = property(lambda self: self.path / "metrics.json")
    curve = property(lambda self: self.path / "curve.png")
    log = property(lambda self: self.path / "run.log")
    per_user = property(lambda self: self.path / "per_user.tsv")
    predictions = property(lambda self: self.path / "predictions.tsv")
    slots = property(lambda self: self.path / "slots.tsv")

    @property
    def is_finished(self) -> bool:
        return self.metrics.is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, so that no other process resumes a run that is alive.

        Raises:
            RunFolderError: If another process holds it.
        """
        with self.record.open("rb") as handle:
            if not try_lock(handle):
                raise RunFolderError(f"The run in `{self.path}` is being written by another process.")
            yield

    def discard_if_empty(self) -> None:
        """Remove the folder of a run that failed before it had anything to keep."""
        if not (self.last.exists() or self.best.exists() or self.metrics.exists()):
            shutil.rmtree(self.path, ignore_errors=True)

    @classmethod
    def create(cls, config: Config) -> RunFolder:
        """Make a new folder named after model, item encoder, data set and time.

        Raises:
            RunFolderError: If it cannot be made.
        """
        root = Path(config["checkpoint_dir"])
        parts = [config["model"], *([config["item_encoder"]] if config.is_video_model else []), config["dataset"]]
        name = "-".join(str(part).replace(":", ".").replace("/", ".") for part in [*parts, get_local_time()])
        for attempt in range(1, 1000):
            path = root / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                path.mkdir(parents=True, exist_ok=False)
            except FileExistsError:
                if root.exists() and not root.is_dir():
                    raise RunFolderError(f"`{root}` is a file; set checkpoint_dir to a folder.") from None
                continue
            except OSError as error:
                raise RunFolderError(
                    f"The run folder `{path}` cannot be made: {error.strerror}; set checkpoint_dir to a folder "
                    "that can be written."
                ) from error
            folder = cls(path)
            folder._describe(config)
            return folder
        raise RunFolderError(f"A thousand runs named `{name}` exist in `{root}`; move some away.")

    @classmethod
    def at(cls, path: str | Path, config: Config) -> RunFolder:
        """The run in this very folder: a new one, or one of the same options that goes on or is finished.

        Raises:
            ConfigError: If it holds a run of other options.
            RunFolderError: If it cannot be made.
        """
        folder = cls(path)
        known = folder._fingerprint()
        if known is not None and known != fingerprint(config):
            raise ConfigError(f"`{path}` holds a run of other options; choose another folder.")
        if known is None:
            try:
                folder.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunFolderError(f"The run folder `{path}` cannot be made: {error.strerror}.") from error
            folder._describe(config)
        return folder

    def _describe(self, config: Config) -> None:
        write_text(self.config, yaml.safe_dump(config.to_options(), sort_keys=True, allow_unicode=True))
        write_json(self.record, {"fingerprint": fingerprint(config), **provenance()})

    @classmethod
    def to_resume(cls, config: Config) -> RunFolder | None:
        """The run that ``resume`` names, or for ``resume=True`` the newest unfinished one of these options.

        Returns:
            None if ``resume=True`` finds no unfinished run: there is nothing to continue.

        Raises:
            CheckpointError: If the named folder holds no run.
            ConfigError: If the named run was made with other options.
        """
        if config["resume"] is True:
            runs = [cls(path.parent) for path in Path(config["checkpoint_dir"]).glob("*/run.json")]
            wanted = fingerprint(config)
            unfinished = [r for r in runs if not r.is_finished and r._fingerprint() == wanted and not r._is_held()]
            return max(unfinished, key=lambda run: run.record.stat().st_mtime, default=None)
        folder = cls(config["resume"])
        if not folder.record.is_file():
            raise CheckpointError(f"There is nothing to resume in `{folder.path}`: it is not the folder of a run.")
        if folder._fingerprint() != fingerprint(config):
            raise ConfigError(
                f"The run in `{folder.path}` was made with other options; leave out all options but --resume "
                "to continue it as it was."
            )
        return folder

    def _is_held(self) -> bool:
        with self.record.open("rb") as handle:
            return not try_lock(handle)

    def _fingerprint(self) -> str | None:
        try:
            return json.loads(self.record.read_text(encoding="utf-8")).get("fingerprint")
        except (OSError, ValueError):
            return None


def fingerprint(config: Config) -> str:
    """A digest of all options that change what a run computes."""
    options = {k: v for k, v in config.to_options().items() if k not in _FREE_ON_RESUME}
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:16]
