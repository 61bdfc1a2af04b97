"""Finding the weights of a frozen model (a folder, ``weights/<name>``, or the hub and its cache), and loading them."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_video.errors import DataError
from recbole_video.files.raw import reading
from recbole_video.runtime import torchvision_compat
from recbole_video.runtime.dependencies import import_optional

WEIGHTS_FOLDER = Path("weights")
_CONFIGS = ("*.json", "*.txt", "*.model")
_SAFE, _PICKLED = ("*.safetensors",), ("*.bin",)
_BLOCK = 1 << 24  # bytes
RULES = "--frame_encoder=histogram (or random)."


@dataclass(frozen=True)
class Source:
    """Where the weights that are wanted can be found.

    Attributes:
        name: The model's short name.
        place: A folder, or a model's id on the hub.
        revision: Commit, tag or branch on the hub; None for the newest.
        licence: What must be agreed to on the hub before the weights can be had.
        megabytes: About how large they are; 0 where it is not known.
        dim: D, width of an embedding; 0 where it is not known.
        is_rule: Whether it is a rule, computed without weights.
        instead: The way that needs no such weights, a sentence.
        named_by: The options that name another folder.
        read_alone: Files beside the weights that are read of the folder; where they are named, no other changes the
            SHA-256, nor a second form of the weights.
    """

    name: str
    place: str
    revision: str | None = None
    licence: str = ""
    megabytes: int = 0
    dim: int = 0
    is_rule: bool = False
    instead: str = f"To try the way without weights: {RULES}"
    named_by: str = "--weights or --clip_weights"
    read_alone: tuple[str, ...] = ()

    def at(self, place: str | None, revision: str | None = None) -> Source:
        """The same model from another place or at another revision, where they are given."""
        if place is not None:
            return replace(self, place=place, revision=revision, licence="", megabytes=0, dim=0)
        return replace(self, revision=revision)


@dataclass(frozen=True)
class Weights:
    """Weights that were found.

    Attributes:
        name: The model's short name.
        folder: Where they are.
        place: The hub's id, or the folder's name.
        revision: Commit on the hub; empty for a folder.
        sha256: SHA-256 of the folder's configuration and weights.
        is_rule: Whether it is a rule, of which there is nothing to load.
    """

    name: str
    folder: Path
    place: str
    revision: str
    sha256: str
    is_rule: bool = False

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
    if source.is_rule:
        return Weights(source.name, Path(), source.place, "", hashlib.sha256(source.place.encode()).hexdigest(), True)
    for folder in (Path(source.place), WEIGHTS_FOLDER / source.name):
        if folder.is_dir() and (folder == Path(source.place) or source.revision is None):
            return Weights(source.name, folder, folder.resolve().name, "", _digest(folder, source))
    if source.place.count("/") != 1 or source.place.startswith((".", "/", "~")) or Path(source.place).parent.is_dir():
        raise DataError(
            f"There is no folder `{source.place}` with weights of `{source.name}`; put them there, or at "
            f"`{WEIGHTS_FOLDER / source.name}`."
        )
    folder = _from_hub(source)
    return Weights(source.name, folder, source.place, folder.name, _digest(folder, source))


def find_all(sources: Iterable[Source | None]) -> list[Weights | None]:
    """Find the weights of several models; None for none.

    Raises:
        DataError: As :func:`find_weights`; of all that are out of reach at once.
    """
    found: list[Weights | None] = []
    missing: list[OutOfReachError] = []
    for source in sources:
        try:
            found.append(find_weights(source) if source else None)
        except OutOfReachError as error:
            missing.append(error)
    if len(missing) == 1:
        raise missing[0]
    if missing:
        raise DataError(_all_out_of_reach([error.source for error in missing]))
    return found


def _from_hub(source: Source) -> Path:
    """The hub's snapshot in the local cache, downloaded if need be; its name is the commit."""
    refusal = "Getting weights needs huggingface_hub; uv pip install -e '.[video]' in the checkout."
    hub = import_optional("huggingface_hub", refusal)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    def fetch(patterns: tuple[str, ...]) -> Path:
        return Path(hub.snapshot_download(source.place, revision=source.revision, allow_patterns=list(patterns)))

    try:
        folder = fetch(_CONFIGS + _SAFE)
        if not any(folder.glob("*.safetensors")):
            folder = fetch(_CONFIGS + _PICKLED)
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise OutOfReachError(source, error) from error
    if not _weight_files(folder):
        raise OutOfReachError(source, None)
    return folder


class OutOfReachError(DataError):
    """Weights that are neither on this machine nor to be had from the hub."""

    def __init__(self, source: Source, error: Any) -> None:
        why = f" ({type(error).__name__})" if error is not None else ""
        super().__init__(
            f"The weights of `{source.name}`{_size(source)} are neither here nor to be had from the hub{why}: where "
            f"the hub can be reached, {_agree(source)}run `{_download(source)}`, and put that folder at "
            f"`{WEIGHTS_FOLDER / source.name}` here, or name another folder with {source.named_by}. {source.instead}"
        )
        self.source = source


def _all_out_of_reach(sources: list[Source]) -> str:
    named = " and ".join(f"`{source.name}`{_size(source)}" for source in sources)
    lines = "".join(f"\n  {_download(source)}" for source in sources)
    agree = "".join(_agree(source) for source in sources)
    return (
        f"The weights of {named} are neither here nor to be had from the hub: where the hub can be reached, {agree}"
        f"run{lines}\nand put these folders into `{WEIGHTS_FOLDER}` here, or name others with --weights and "
        "--clip_weights. Without CLIP: --sampler uniform. Without any weights, to try the way alone: --frame_encoder "
        "histogram, or random."
    )


def _size(source: Source) -> str:
    return f" ({source.megabytes:,} MB)" if source.megabytes else ""


def _agree(source: Source) -> str:
    return f"agree to {source.licence} on its page, log in with `hf auth login`, " if source.licence else ""


def _download(source: Source) -> str:
    return f"hf download {source.place} --local-dir {WEIGHTS_FOLDER / source.name}"


def _weight_files(folder: Path) -> list[Path]:
    return [path for pattern in _SAFE + _PICKLED for path in sorted(folder.glob(pattern))]


def _digest(folder: Path, source: Source) -> str:
    """SHA-256 of the names and contents of everything in the folder that a model is loaded from.

    Raises:
        DataError: If there are no weights.
    """
    weights = _weight_files(folder)
    if not weights:
        raise DataError(f"`{folder}` holds no weights (*.safetensors or *.bin); download the model's whole folder.")
    configs = [path for pattern in _CONFIGS for path in sorted(folder.glob(pattern))]
    sha = hashlib.sha256()
    if source.read_alone:
        sha.update(f"{source.name}\n".encode())  # the same weights make something else by another name
        configs = [path for name in source.read_alone if (path := folder / name).is_file()]
        weights = [path for path in weights if path.suffix == ".safetensors"] or weights
    for path in [*configs, *weights]:
        sha.update(f"{path.name}\n".encode())
        with reading(path), path.open("rb") as file:
            while block := file.read(_BLOCK):
                sha.update(block)
    return sha.hexdigest()


def load_transformers_model(weights: Weights) -> Any:
    """Load a model of ``transformers`` in float32, for inference.

    Raises:
        DataError: If the folder does not hold one.
        MissingDependencyError: Without ``transformers``.
    """
    import torch

    torchvision_compat.apply()
    refusal = "Encoding needs transformers; uv pip install -e '.[video]' in the checkout."
    transformers = import_optional("transformers", refusal)
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModel.from_pretrained(weights.folder, local_files_only=True, dtype=torch.float32)
    except _loading_errors() as error:
        raise DataError(f"`{weights.folder}` holds no model that transformers can load: {error}.") from error
    return model.eval()


def load_clip_model(weights: Weights, device: str) -> tuple[Any, Any]:
    """Load a CLIP model of ``open_clip``, for inference; returns it and its tokenizer.

    Raises:
        DataError: If the folder does not hold one.
        MissingDependencyError: Without ``open_clip``.
    """
    torchvision_compat.apply()
    open_clip = import_optional("open_clip", "CLIP needs open_clip; uv pip install -e '.[video]' in the checkout.")
    name = f"local-dir:{weights.folder.resolve()}"
    try:
        with _without_logging():
            return open_clip.create_model(name, device=device).eval(), open_clip.get_tokenizer(name)
    except _loading_errors() as error:
        raise DataError(f"`{weights.folder}` holds no CLIP model that open_clip can load: {error}.") from error


def _loading_errors() -> tuple[type[Exception], ...]:
    """What libraries raise on files that are not the weights they take them for."""
    from safetensors import SafetensorError

    wrong = OSError, EOFError, ValueError, LookupError, RuntimeError, TypeError, AttributeError
    return *wrong, SafetensorError, pickle.UnpicklingError


@contextmanager
def _without_logging() -> Iterator[None]:
    """Without the dozen lines that open_clip logs about each model."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
