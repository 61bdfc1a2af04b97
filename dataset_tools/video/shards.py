"""Shards: finished videos on disk, from which a run that was killed goes on.

A run's folder of shards holds ``settings.json``, shards, and the journal of the videos that are in no shard yet. A
finished video is appended to the journal at once; a shard is written whole or not at all, and takes the place of the
journal. What is stored of a video depends neither on its shard nor on the order of the work.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from recbole_video.dataset_tools.video.failures import Failure
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.samples import Finished, Sample

from recbole_video.errors import DataError, RunFolderError
from recbole_video.files.atomic import write_atomically, write_json
from recbole_video.files.locks import try_lock
from recbole_video.files.reading import NO_NPZ, read_json

_MAX_VIDEOS = 64
_JOURNAL = ".journal"
_LENGTH = 8  # bytes before each entry of a journal


class ShardFolder:
    """The folder of shards of a run that has not ended.

    Args:
        folder: Where; made if it is missing.
        settings: Whatever the results depend on, as plain values.
        discard: Throw away shards that were made with other settings, instead of stopping.

    Raises:
        DataError: If there are shards that were made with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], discard: bool = False) -> None:
        self.folder = folder
        self._settings_path = folder / "settings.json"
        self._remove_leftovers()
        settings = json.loads(json.dumps(settings))  # as it reads back
        before = self._settings_before()
        if before is None and self.shards():
            raise DataError(f"`{folder}` holds shards and no `settings.json`, so that nobody knows of what; delete it.")
        if before is not None and before != settings:
            if not discard:
                raise self._other_settings(before, settings)
            self.remove()
        write_json(self._settings_path, settings)

    @staticmethod
    def are_of(folder: Path, settings: dict[str, Any]) -> bool:
        """Whether the folder holds shards that were made with these settings."""
        path = folder / "settings.json"
        try:
            return path.is_file() and read_json(path) == json.loads(json.dumps(settings))
        except DataError:
            return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, so that no other process works on the same shards.

        Raises:
            DataError: If another one does.
        """
        with (self.folder / "lock").open("wb") as handle:
            if not try_lock(handle):
                raise DataError(f"Another process is writing `{self.folder}`; wait until it is through.")
            yield

    def recover(self) -> None:
        """Make shards of the journals that a killed run left."""
        for journal in sorted(self.folder.glob(f"*{_JOURNAL}")):
            if videos := read_journal(journal):
                self.write(videos)
            journal.unlink(missing_ok=True)

    def write(self, videos: list[Finished]) -> None:
        """Write a shard, whole or not at all."""
        name = f"{len(self.shards()):08d}-{uuid.uuid4().hex[:8]}.npz"  # two runs at once share no name
        write_atomically(self.folder / name, lambda file: _write_shard(file, videos))

    def shards(self) -> list[Path]:
        """The shards in the folder, the oldest first."""
        return sorted(self.folder.glob("*.npz"))

    def find(self, videos: Iterable[VideoFile], again: bool = False) -> dict[str, tuple[Path, int]]:
        """Where the records of videos are, as the videos are now.

        Args:
            videos: The videos.
            again: Leave out videos whose decoder died or took too long, which may go well another time.

        Returns:
            Item token -> shard and position in it, for the videos that are done with.
        """
        sizes = {video.item_id: video.size for video in videos}
        found: dict[str, tuple[Path, int]] = {}
        for shard in self.shards():
            for position, record in enumerate(read_shard(shard, with_embeddings=False)):
                if sizes.get(record.item_id) == record.size and not (again and record.may_pass):
                    found[record.item_id] = (shard, position)
        return found

    def remove(self) -> None:
        """Delete the folder; a name of its own first, so that no half of it is taken for the whole."""
        if self.folder.is_dir():
            doomed = self.folder.rename(self.folder.with_name(f".{self.folder.name}.{uuid.uuid4().hex[:8]}"))
            shutil.rmtree(doomed)

    def _remove_leftovers(self) -> None:
        """Remove what :meth:`remove` left of earlier shards when its process was killed."""
        doomed = re.compile(rf"\.{re.escape(self.folder.name)}\.[0-9a-f]{{8}}")
        if self.folder.parent.is_dir():
            for path in self.folder.parent.iterdir():
                if doomed.fullmatch(path.name) and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)

    def _settings_before(self) -> dict[str, Any] | None:
        if not self._settings_path.is_file():
            return None
        try:
            settings = read_json(self._settings_path)
        except DataError as error:
            raise DataError(f"{str(error).removesuffix('.')}; delete the folder it is in.") from error
        if not isinstance(settings, dict):
            raise DataError(f"`{self._settings_path}` is damaged; delete the folder it is in.")
        return settings

    def _other_settings(self, before: dict[str, Any], now: dict[str, Any]) -> DataError:
        names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        changed = "; ".join(f"{name} was {_short(before.get(name))}, is {_short(now.get(name))}" for name in names)
        return DataError(
            f"`{self.folder}` holds the parts of an unfinished run with other settings ({changed}); repeat that run's "
            "settings, or pass --overwrite to throw its parts away."
        )


class ShardWriter:
    """Collects finished videos and writes them in shards; a context manager.

    Args:
        shards: Where the shards of the run are.
        max_videos: Videos per shard; until then they are in the journal.
    """

    def __init__(self, shards: ShardFolder, max_videos: int = _MAX_VIDEOS) -> None:
        self._shards = shards
        self._max_videos = max_videos
        self._waiting: list[Finished] = []
        self._journal = shards.folder / f"{uuid.uuid4().hex}{_JOURNAL}"

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()

    def add(self, finished: Finished) -> None:
        """Take a finished video, which outlives the process from here on."""
        self._waiting.append(finished)
        self._note(finished)
        if len(self._waiting) >= self._max_videos:
            self.flush()

    def flush(self) -> None:
        """Write the videos that are in no shard yet."""
        if self._waiting:
            self._shards.write(self._waiting)
            self._journal.unlink(missing_ok=True)
            self._waiting = []

    def _note(self, finished: Finished) -> None:
        """Append to the journal: length of a shard of one, and the shard."""
        entry = BytesIO()
        _write_shard(entry, [finished])
        try:
            with self._journal.open("ab") as file:
                file.write(len(entry.getvalue()).to_bytes(_LENGTH, "little") + entry.getvalue())
        except OSError as error:
            raise RunFolderError(f"`{self._journal}` cannot be written: {error.strerror or error}.") from error


def read_journal(path: Path) -> list[Finished]:
    """The videos of a journal; the last entry may have been cut off when its run was killed, and is left out."""
    content = path.read_bytes()
    videos, start = [], 0
    while start + _LENGTH <= len(content):
        end = start + _LENGTH + int.from_bytes(content[start : start + _LENGTH], "little")
        if end > len(content):
            break
        try:
            videos += _read(BytesIO(content[start + _LENGTH : end]), with_embeddings=True)
        except NO_NPZ as error:
            raise DataError(
                f"The journal `{path}` is damaged ({error}); delete it, and its videos are done again."
            ) from error
        start = end
    return videos


def _write_shard(file: IO[bytes], videos: list[Finished]) -> None:
    records = [{**asdict(video), "embeddings": None} for video in videos]
    arrays: dict[str, Any] = {
        f"e{i}": video.embeddings for i, video in enumerate(videos) if video.embeddings is not None
    }
    np.savez(file, records=np.frombuffer(json.dumps(records).encode(), np.uint8), **arrays)


def read_shard(path: Path, with_embeddings: bool = True) -> list[Finished]:
    """Read the videos of a shard.

    Args:
        path: The shard.
        with_embeddings: Read their embeddings too.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        return _read(path, with_embeddings)
    except NO_NPZ as error:
        raise DataError(
            f"The shard `{path}` is damaged ({error}); delete it, and its videos are done again."
        ) from error


def _read(file: Path | IO[bytes], with_embeddings: bool) -> list[Finished]:
    with np.load(file) as content:
        records = json.loads(content["records"].tobytes())
        embeddings = {name: content[name] for name in content.files if with_embeddings and name != "records"}
    return [_finished(record, embeddings.get(f"e{i}")) for i, record in enumerate(records)]


def _finished(record: dict[str, Any], embeddings: np.ndarray | None) -> Finished:
    sample = Sample(**record["sample"]) if record["sample"] else None
    failure = Failure(**record["failure"]) if record["failure"] else None
    return Finished(record["item_id"], record["size"], sample, embeddings, failure)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
