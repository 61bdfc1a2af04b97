"""Finding a frozen model's weights: a folder that is named, ``weights/<name>``, or the hub and its cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_video.errors import DataError, MissingDependencyError

WEIGHTS_FOLDER = Path("weights")
_CONFIGS = ("*.json", "*.txt", "*.model")
_SAFE, _PICKLED = ("*.safetensors",), ("*.bin",)
_BLOCK = 1 << 24  # bytes


@dataclass(frozen=True)
class Source:
    """Which weights are wanted.

    Attributes:
        name: The model's short name.
        place: A folder, or a model's id on the hub.
        revision: Commit, tag or branch on the hub; None for the newest.
        licence: What must be agreed to on the hub before the weights can be had.
    """

    name: str
    place: str
    revision: str | None = None
    licence: str = ""

    def at(self, place: str | None, revision: str | None = None) -> Source:
        """The same model from another place or at another revision, where they are given."""
        if place is not None:
            return Source(self.name, place, revision)
        return replace(self, revision=revision)


@dataclass(frozen=True)
class Weights:
    """Weights that were found.

    Attributes:
        name: The model's short name.
        folder: Where they are.
        place: The hub's id, or the folder's name.
        revision: Commit on the hub; empty for a folder.
        sha256: Of the folder's configuration and weights.
    """

    name: str
    folder: Path
    place: str
    revision: str
    sha256: str

    def here(self) -> Weights:
        """The same on this machine: weights of the hub are in each machine's own cache.

        Raises:
            DataError: If they are not within this machine's reach.
        """
        if self.folder.is_dir():
            return self
        if not self.revision:
            raise DataError(f"There is no `{self.folder}` here; put weights where all machines of a cluster see them.")
        return find_weights(Source(self.name, self.place, self.revision))

    def as_plain(self) -> dict[str, str]:
        """What a manifest records: nothing that differs between machines."""
        return {"weights": self.place, "revision": self.revision, "sha256": self.sha256}


def find_weights(source: Source) -> Weights:
    """Find weights on this machine, or get them from the hub.

    Raises:
        DataError: If they are not within reach; the message says what to download and where to put it.
        MissingDependencyError: Without huggingface_hub, where it is needed.
    """
    for folder in (Path(source.place), WEIGHTS_FOLDER / source.name):
        if folder.is_dir() and (folder == Path(source.place) or source.revision is None):
            return Weights(source.name, folder, folder.resolve().name, "", _digest(folder))
    if source.place.count("/") != 1 or source.place.startswith((".", "/", "~")):
        raise DataError(f"There is no folder `{source.place}` with weights of `{source.name}`.")
    folder = _from_hub(source)
    return Weights(source.name, folder, source.place, folder.name, _digest(folder))


def _from_hub(source: Source) -> Path:
    """The hub's snapshot in the local cache, downloaded if need be; its name is the commit."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
    except ImportError as error:
        raise MissingDependencyError(
            "Getting weights needs huggingface_hub; uv pip install -e '.[video]' in the checkout."
        ) from error

    def fetch(patterns: tuple[str, ...]) -> Path:
        return Path(snapshot_download(source.place, revision=source.revision, allow_patterns=list(patterns)))

    try:
        folder = fetch(_CONFIGS + _SAFE)
        if not any(folder.glob("*.safetensors")):
            folder = fetch(_CONFIGS + _PICKLED)
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise _out_of_reach(source, error) from error
    if not _weight_files(folder):
        raise _out_of_reach(source, None)
    return folder


def _out_of_reach(source: Source, error: Any) -> DataError:
    why = f" ({type(error).__name__})" if error is not None else ""
    agree = f"agree to {source.licence} on its page, log in with `hf auth login`, " if source.licence else ""
    return DataError(
        f"The weights of `{source.name}` are neither here nor to be had from the hub{why}: where the hub can be "
        f"reached, {agree}run `hf download {source.place} --local-dir {WEIGHTS_FOLDER / source.name}`, and put that "
        f"folder at `{WEIGHTS_FOLDER / source.name}` here, or name another folder with --weights or --clip_weights."
    )


def _weight_files(folder: Path) -> list[Path]:
    return [path for pattern in _SAFE + _PICKLED for path in sorted(folder.glob(pattern))]


def _digest(folder: Path) -> str:
    """SHA-256 of the names and contents of everything in the folder that a model is loaded from.

    Raises:
        DataError: If there are no weights.
    """
    if not _weight_files(folder):
        raise DataError(f"`{folder}` holds no weights (*.safetensors or *.bin); download the model's whole folder.")
    sha = hashlib.sha256()
    for path in [*(p for pattern in _CONFIGS for p in sorted(folder.glob(pattern))), *_weight_files(folder)]:
        sha.update(f"{path.name}\n".encode())
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    sha.update(block)
        except OSError as error:
            raise DataError(f"`{path}` cannot be read: {error.strerror or error}.") from error
    return sha.hexdigest()
