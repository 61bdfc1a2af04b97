"""Frame embeddings on disk: a memory-mapped array beside the atomic files, and its manifest.

A store is two files, ``<name>.frames.npy`` (float16 [N, F, D]; rows of an item with fewer frames
end in zeros) and ``<name>.frames.json``, the manifest: format version, item tokens in row order,
frames per item, frame encoder (VFM), sampling, N, F, D and the SHA-256 of the array's bytes. Both are replaced
together (:mod:`recbole_video.files.replacement`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import open_memmap

from recbole_video.arguments.numbers import as_array
from recbole_video.arguments.tokens import ordered_tokens
from recbole_video.content.twins import Twins, find_twins, row_keys
from recbole_video.errors import ConfigError, DataError, counted
from recbole_video.files.atomic import MOST_WRITERS, shown, write_atomically, write_text
from recbole_video.files.names import expanded, is_plain_name
from recbole_video.files.reading import read_json
from recbole_video.files.replacement import Replacement, finish_replacements, pending_replacements
from recbole_video.files.values import plain, without_nan

FORMAT_VERSION = 1
SUFFIX = ".frames.npy"
_DIGEST_BLOCK = 1 << 24  # bytes
_WRITE_BLOCK = 1 << 21  # bytes; what is checked, converted and written while it is in the cache
_SURROGATE = re.compile("[\ud800-\udfff]")
_LARGEST = 1 << 31
# In `extra` of the manifest.
_TWINS = "identical_vectors"
FIT = "fit_sha256"  # of what was fitted to the content of some store, and made the rows of this one
SPACE_OF = "space_of_sha256"  # of the array of that store, where it is another one


@dataclass
class Manifest:
    """What a frame store holds and how it was made."""

    items: list[str]
    frame_counts: list[int]
    n_frames: int
    frame_dim: int
    vfm: str
    sampling: str
    sha256: str
    version: int = FORMAT_VERSION
    extra: dict[str, Any] = field(default_factory=dict)


_NEEDED = tuple(each.name for each in fields(Manifest) if each.name not in ("version", "extra"))


class FrameStore:
    """Read-only frame embeddings of a data set, memory-mapped.

    Args:
        path: The ``.frames.npy`` file; its manifest lies beside it.

    Attributes:
        frames: float16 [N, F, D], mapped from disk.
        frame_counts: int [N], frames that each item has; the rest of its row is padding.
        items: Item tokens in row order.

    Raises:
        DataError: If a file is missing, or the array does not match the manifest.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self.manifest, self.frames = _open(self.path)
        self._check_shape()
        self.frame_counts = np.asarray(self.manifest.frame_counts, dtype=np.int64)

    @property
    def items(self) -> list[str]:
        return self.manifest.items

    @property
    def frame_dim(self) -> int:
        """D, width of a frame embedding."""
        return self.manifest.frame_dim

    @property
    def n_frames(self) -> int:
        """F, the most frames that an item has."""
        return self.manifest.n_frames

    @property
    def made_by(self) -> str:
        """SHA-256 of the weights of the frozen model that made the rows; empty where the manifest says none."""
        extra = self.manifest.extra
        settings = extra.get("settings")  # of frames
        noted = settings.get("frame_encoder") if isinstance(settings, dict) else extra
        found = noted.get("sha256") if isinstance(noted, dict) else None
        return found if isinstance(found, str) else ""

    @property
    def nbytes(self) -> int:
        return self.frames.nbytes

    def rows_of(self, tokens: Sequence[str]) -> np.ndarray:
        """Row of each token, int64 [len(tokens)]; -1 for a token that the store does not hold."""
        row_of = {token: row for row, token in enumerate(self.items)}
        return np.fromiter((row_of.get(token, -1) for token in tokens), np.int64, len(tokens))

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Frames of some rows, float16 [k, F, D]; zeros behind the last frame of each, whatever the file holds there.

        Args:
            rows: Row numbers, int [k]; -1 gives zeros alone.
        """
        rows = np.asarray(rows, np.int64)
        if not len(self.frames):
            return np.zeros((len(rows), *self.frames.shape[1:]), np.float16)
        frames = np.array(self.frames[rows])
        frames[np.arange(self.n_frames) >= self.counts_of(rows)[:, None]] = 0
        return frames

    def counts_of(self, rows: np.ndarray) -> np.ndarray:
        """Frames that each row has, int64 [k]; 0 for row -1."""
        return np.where(rows < 0, 0, self.frame_counts[rows]) if len(self.frame_counts) else np.zeros_like(rows)

    def twins(self, rows: np.ndarray) -> Twins | None:
        """Items among some rows whose frames equal those of another one; None if there are none.

        Args:
            rows: Distinct row numbers, int [k]; -1 and rows without frames do not count.
        """
        rows = np.asarray(rows, np.int64)
        rows = rows[self.counts_of(rows) > 0]
        step = max(1, _WRITE_BLOCK // max(1, self.frames[:1].nbytes))
        keys = [row_keys(self.read(rows[start : start + step])) for start in range(0, len(rows), step)]
        return find_twins(
            np.concatenate([np.zeros(0, np.uint64), *keys]),
            lambda positions: self.read(rows[positions]),
            lambda position: self.items[rows[position]],
        )

    @property
    def noted_twins(self) -> Twins | None:
        """What the manifest says of items with identical frames; None where it says nothing."""
        note = self.manifest.extra.get(_TWINS)
        return Twins.from_plain(note) if note is not None else None

    def verify(self) -> None:
        """Compare the array's bytes with the manifest's checksum.

        Raises:
            DataError: If they differ: the file was changed or damaged.
        """
        if digest(self.frames) != self.manifest.sha256:
            raise DataError(
                f"The frame store `{self.path}` is damaged: its checksum is not the one in its manifest; make it anew."
            )

    def _check_shape(self) -> None:
        m = self.manifest
        expected = (len(m.items), m.n_frames, m.frame_dim)
        if self.frames.shape != expected:
            raise DataError(
                f"The frame store `{self.path}` has shape {self.frames.shape}, but its manifest says {expected} "
                "(items, frames, width); the two files do not belong together."
            )
        if self.frames.dtype != np.float16:
            raise DataError(f"The frame store `{self.path}` holds {self.frames.dtype}; it must be float16.")
        _refuse_items(m.items, self.path)
        if len(m.frame_counts) != len(m.items) or not all(0 <= count <= m.n_frames for count in m.frame_counts):
            raise _counts_error(self.path, len(m.items), m.n_frames)


def store_path(data_path: str | Path, dataset: str, name: str | None) -> Path:
    """Where the frame store of a data set lies.

    Args:
        data_path: Folder of the atomic files.
        dataset: Name of the data set.
        name: Empty for ``<dataset>.frames.npy``, a word for ``<dataset>.<name>.frames.npy``, or a
            path that ends in ``.npy``.

    Raises:
        ConfigError: If it is none of these.
    """
    if not name:
        return Path(data_path) / f"{dataset}{SUFFIX}"
    if str(name).endswith(".npy"):
        return expanded(name)
    if not is_plain_name(str(name)):
        raise ConfigError(
            f"The frame store `{name}` is neither a word, for `{dataset}.WORD{SUFFIX}` beside the data set, nor a path "
            f"that ends in `{SUFFIX}`."
        )
    return Path(data_path) / f"{dataset}.{name}{SUFFIX}"


def write_frame_store(
    path: str | Path,
    items: Sequence[str],
    frames: Any,
    frame_counts: Sequence[int] | np.ndarray | None = None,
    *,
    vfm: str,
    sampling: str,
    overwrite: bool = False,
    **extra: Any,
) -> FrameStore:
    """Write a frame store; array and manifest appear together, and until then an earlier store stays as it is.

    An earlier store of that name is replaced where it is of the same model; one of another model, which may have taken
    days to make, only with ``overwrite``.
    Warns of items with identical frames, which no model can tell apart.

    Args:
        path: The ``.frames.npy`` file.
        items: N item tokens, in row order.
        frames: [N, F, D] real numbers, an array, a tensor or nested lists; stored as float16.
        frame_counts: [N], frames that each item has; all F by default.
        vfm: The frozen vision model that made the embeddings.
        sampling: How the frames were chosen.
        overwrite: Replace a store of another model.
        extra: Further plain values for the manifest.

    Raises:
        DataError: If the shapes do not fit, a value is not finite in float16, the items have no order or one of them
            cannot be a token, or a file of that name is there that is no frame store, or is of another model.
    """
    if not overwrite:
        _refuse_other_model(expanded(path), vfm)
    items, frames = ordered_tokens(items), as_array("frames", frames)
    if frames.ndim != 3 or len(frames) != len(items):
        one_each = "; of one row each, give vectors[:, None]" if frames.ndim == 2 and len(frames) == len(items) else ""
        raise DataError(
            f"Frames of {counted(len(items), 'item')} must be [{len(items)}, F, D], not {list(frames.shape)}{one_each}."
        )
    counts = np.full(len(items), frames.shape[1]) if frame_counts is None else np.asarray(frame_counts)
    _check_counts(counts, len(items), frames.shape[1], expanded(path))
    n_rows = max(1, _WRITE_BLOCK // max(1, frames[:1].nbytes))
    starts = range(0, len(frames), n_rows)
    rows = np.arange(len(frames))
    blocks = (FrameBlock(rows[s : s + n_rows], frames[s : s + n_rows], counts[s : s + n_rows]) for s in starts)
    n_frames, frame_dim = frames.shape[1:]
    return write_frame_blocks(path, items, n_frames, frame_dim, blocks, vfm=vfm, sampling=sampling, **extra)


def _refuse_other_model(path: Path, vfm: str) -> None:
    """Keep the store of another model from being replaced by a slip.

    Raises:
        DataError: If there is one.
    """
    if not path.is_file() or not _manifest_path(path).is_file():
        return
    try:
        found = FrameStore(path).manifest.vfm
    except DataError:
        return  # nothing can be read of it
    if isinstance(vfm, str) and found != vfm:  # of anything else it is told below
        raise DataError(
            f"`{path}` holds frames of `{found}`, not of `{vfm}`; write to another name, such as DATASET.mine{SUFFIX} "
            "(which frame_store=mine reads), or give overwrite=True."
        )


@dataclass(frozen=True)
class FrameBlock:
    """Some rows of a frame store that is being written.

    Attributes:
        rows: Their row numbers, int [k].
        frames: [k, f, D] float, with f at most F.
        counts: Frames that each has, int [k].
    """

    rows: np.ndarray
    frames: np.ndarray
    counts: np.ndarray


def write_frame_blocks(
    path: str | Path,
    items: Sequence[str],
    n_frames: int,
    frame_dim: int,
    blocks: Iterable[FrameBlock],
    *,
    vfm: str,
    sampling: str,
    beside: Mapping[str, bytes | None] | None = None,
    **extra: Any,
) -> FrameStore:
    """Write a frame store from blocks of rows, holding one block at a time; see :func:`write_frame_store`.

    Args:
        path: The ``.frames.npy`` file.
        items: N item tokens, in row order.
        n_frames: F, the most frames that an item has.
        frame_dim: D, the width of an embedding.
        blocks: Every row exactly once, in any order.
        vfm: The frozen vision model that made the embeddings.
        sampling: How the frames were chosen.
        beside: Further files that appear together with the store, content by name; None lets one vanish.
        extra: Further plain values for the manifest.

    Raises:
        DataError: As :func:`write_frame_store`, or if a row is missing or given twice.
    """
    path = expanded(path)
    if not path.name.endswith(SUFFIX):
        raise DataError(f"A frame store's name must end in `{SUFFIX}`, which `{path.name}` does not.")
    tokens = ordered_tokens(items)
    _refuse_items(tokens, path)
    refuse_other_file(path)
    rows = _RowWriter(path, tokens, n_frames, frame_dim)
    with Replacement(path.parent, path.name) as new:
        array = new.file(path.name)
        write_atomically(array, lambda file: rows.write(file, blocks))
        frames = _map_array(array)
        manifest = Manifest(
            items=tokens,
            frame_counts=[int(c) for c in rows.counts],
            n_frames=n_frames,
            frame_dim=frame_dim,
            vfm=vfm,
            sampling=sampling,
            sha256=digest(frames),
            extra={**plain(extra), **_noted_twins(frames, rows.keys, rows.counts, tokens, path)},
        )
        _write_manifest(array, manifest)
        for name, content in (beside or {}).items():
            _put(new, name, content)
    return FrameStore(path)


def _put(new: Replacement, name: str, content: bytes | None) -> None:
    if content is None:
        new.remove(name)
    else:
        write_atomically(new.file(name), lambda file: file.write(content))


class _RowWriter:
    """Writes the rows of a store in any order, and keeps of each its frame count and a key of its vectors."""

    def __init__(self, path: Path, tokens: list[str], n_frames: int, frame_dim: int) -> None:
        self._path, self._tokens, self._n_frames, self._frame_dim = path, tokens, n_frames, frame_dim
        self.counts = np.full(len(tokens), -1)  # of rows not given yet
        self.keys = np.zeros(len(tokens), np.uint64)

    def write(self, file: IO[bytes], blocks: Iterable[FrameBlock]) -> None:
        shape = (len(self._tokens), self._n_frames, self._frame_dim)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        offset = file.tell()
        for block in blocks:
            stored = _stored(block, self._tokens, self._n_frames, self._frame_dim, self._path)
            _write_rows(file, offset, block.rows, stored)
            _note_counts(self.counts, block, self._path)
            self.keys[block.rows] = row_keys(stored)
        if (missing := int((self.counts < 0).sum())) > 0:
            raise DataError(f"No frames were given for {missing} of the items of `{self._path}`.")


def refuse_other_file(path: Path) -> None:
    """Refuse to replace what is no frame store; a damaged one, with a manifest or what is left of it, may be replaced.

    Raises:
        DataError: If there is such a file.
    """
    finish_replacements(path.parent)
    manifest_path = _manifest_path(path)
    other = manifest_path if manifest_path.exists() and not _may_be_manifest(manifest_path) else None
    if path.exists() and not manifest_path.exists():
        other = path
    if other is not None:
        raise DataError(
            f"`{other}` is there and is not of a frame store, which has a manifest `{manifest_path.name}`; move it "
            "away, or choose another name."
        )


def _may_be_manifest(path: Path) -> bool:
    try:
        content = read_json(path)
    except DataError:  # damaged
        return path.is_file()
    return isinstance(content, dict) and not content.keys().isdisjoint(_NEEDED)


def _noted_twins(
    frames: np.ndarray, keys: np.ndarray, counts: np.ndarray, tokens: list[str], path: Path
) -> dict[str, Any]:
    """What the manifest says of items with identical frames, and a warning; nothing where there are none."""
    rows = np.flatnonzero(counts > 0)
    twins = find_twins(keys[rows], lambda positions: frames[rows[positions]], lambda position: tokens[rows[position]])
    if twins is None:
        return {}
    logging.getLogger(__name__).warning(twins.sentence(shown(path)))
    return {_TWINS: twins.as_plain()}


def _write_manifest(path: Path, manifest: Manifest) -> None:
    """Write one line per entry, which is readable and, unlike indented JSON, fast for many items."""
    content = {**vars(manifest), "extra": without_nan(manifest.extra)}
    if problem := _problem(manifest):
        raise DataError(f"The manifest of `{shown(path)}` cannot be written: {problem}.")
    lines = (f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False, allow_nan=False)}" for k, v in content.items())
    write_text(_manifest_path(path), "{\n" + ",\n".join(lines) + "\n}\n")


def _stored(block: FrameBlock, tokens: list[str], n_frames: int, frame_dim: int, path: Path) -> np.ndarray:
    """The block's frames as they are stored, float16 [k, F, D] with zeros behind the last frame."""
    frames, counts = as_array("frames", block.frames), np.asarray(block.counts)
    if frames.ndim != 3 or len(frames) != len(block.rows) or frames.shape[1] > n_frames or frames.shape[2] != frame_dim:
        raise DataError(
            f"Frames of {counted(len(block.rows), 'item')} of `{path}` must be [{len(block.rows)}, at most {n_frames}, "
            f"{frame_dim}], not {list(frames.shape)}."
        )
    _check_counts(counts, len(frames), frames.shape[1], path)
    with np.errstate(over="ignore"):
        given = frames.astype(np.float16, copy=False)
    finite = np.isfinite(given).all(axis=(1, 2))
    if not finite.all():
        row = int((~finite).argmax())
        item = tokens[block.rows[row]]
        if np.isfinite(frames[row]).all():
            raise DataError(f"The frames of item `{item}` hold values beyond float16, 65,504; scale them down.")
        raise DataError(f"The frames of item `{item}` hold NaN or infinity; make these embeddings anew.")
    if frames.shape[1] == n_frames and (counts == n_frames).all():
        return np.ascontiguousarray(given)
    stored = np.zeros((len(frames), n_frames, frame_dim), np.float16)
    stored[:, : frames.shape[1]] = given
    stored[np.arange(n_frames) >= counts[:, None]] = 0
    return stored


def _write_rows(file: IO[bytes], offset: int, rows: np.ndarray, stored: np.ndarray) -> None:
    """Write rows to their places; neighbours in one go."""
    if not stored.size:
        return
    for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
        file.seek(offset + int(rows[run[0]]) * stored[0].nbytes)
        file.write(stored[run[0] : run[-1] + 1].data)


def _note_counts(counts: np.ndarray, block: FrameBlock, path: Path) -> None:
    if (counts[block.rows] >= 0).any() or len(np.unique(block.rows)) < len(block.rows):
        raise DataError(f"Frames of an item of `{path}` were given twice; give every row once.")
    counts[block.rows] = block.counts


def _check_counts(counts: np.ndarray, n_items: int, n_frames: int, path: Path) -> None:
    if (
        counts.shape != (n_items,)
        or counts.dtype.kind not in "iu"
        or (len(counts) and (counts.min() < 0 or counts.max() > n_frames))
    ):
        raise _counts_error(path, n_items, n_frames)


def _counts_error(path: Path, n_items: int, n_frames: int) -> DataError:
    return DataError(
        f"The frame store `{path}` needs one frame count between 0 and {n_frames} for each of its "
        f"{counted(n_items, 'item')}."
    )


def _refuse_items(items: list[str], path: Path) -> None:
    """Refuse items that are listed twice, or whose token no file of text can hold."""
    seen: set[str] = set()
    for token in items:
        if not token or not _is_unicode(token):
            raise DataError(f"The frame store `{path}` cannot hold an item named `{token}`; tokens are text in UTF-8.")
        if token in seen:
            raise DataError(f"The frame store `{path}` lists item `{token}` twice; keep one row per item.")
        seen.add(token)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not _SURROGATE.search(text)


def refuse_non_finite(frames: np.ndarray, token_of: Callable[[int], str], path: str | Path) -> None:
    """Raise a DataError that names the first item with NaN or infinity in ``frames: [N, F, D]``."""
    if np.isfinite(frames.sum(dtype=np.float32)):
        return
    bad = ~np.isfinite(frames).all(axis=(1, 2))
    if bad.any():
        raise DataError(
            f"The frame store `{path}` has NaN or infinite values in {counted(int(bad.sum()), 'item')} (first: "
            f"`{token_of(int(bad.argmax()))}`); make these embeddings anew."
        )


def digest(frames: np.ndarray) -> str:
    """SHA-256 of the array's bytes in row order, read in blocks."""
    sha = hashlib.sha256()
    rows = max(1, _DIGEST_BLOCK // max(1, frames[:1].nbytes))
    for start in range(0, len(frames), rows):
        sha.update(np.ascontiguousarray(frames[start : start + rows]).data)
    return sha.hexdigest()


def _manifest_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _open(path: Path) -> tuple[Manifest, np.ndarray]:
    """Manifest and array of one and the same store, even while another process replaces it."""
    for _ in range(MOST_WRITERS):
        finish_replacements(path.parent)
        before = _identities(path)
        opened = _read_manifest(path), _map_array(path)
        if not pending_replacements(path.parent) and _identities(path) == before:
            return opened
    raise DataError(f"The frame store `{path}` is replaced again and again; read it when that is over.")


def _identities(path: Path) -> list[tuple[int, int, int]]:
    """Which files are there now."""
    try:
        found = [file.stat() for file in (path, _manifest_path(path))]
    except OSError:  # reading says what is missing
        return []
    return [(status.st_ino, status.st_size, status.st_mtime_ns) for status in found]


def _read_manifest(path: Path) -> Manifest:
    """Read a manifest, and check every value of it that anything is done with."""
    manifest_path = _manifest_path(path)
    for needed in (path, manifest_path):
        if not needed.is_file():
            raise DataError(
                f"There is no `{needed}`. `python -m recbole_video.dataset_tools frames` makes it from videos, "
                "`embed-text` from titles, `vectors` from vectors of your own."
            )
    content = read_json(manifest_path, nan_is_missing=True)  # as earlier versions wrote it
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version != FORMAT_VERSION:
        raise DataError(f"`{manifest_path}` has format version {version}; this package reads {FORMAT_VERSION}.")
    problem = _wrong_keys(content)
    manifest = None if problem else Manifest(**content)
    if manifest is None or (problem := _problem(manifest)):
        raise DataError(f"`{manifest_path}` is not the manifest of a frame store: {problem}.")
    return manifest


def _wrong_keys(content: Any) -> str | None:
    """What is wrong with the keys of a manifest; None if nothing is."""
    if not isinstance(content, dict):
        return "it is no set of names and values"
    if missing := [name for name in _NEEDED if name not in content]:
        return f"it lacks {', '.join(f'`{name}`' for name in missing)}"
    known = {each.name for each in fields(Manifest)}
    unknown = [name for name in content if name not in known]
    return f"it has `{unknown[0]}`, which no manifest has" if unknown else None


def _problem(manifest: Manifest) -> str | None:
    """What is wrong with the types of a manifest's values; None if nothing is."""
    for name in ("n_frames", "frame_dim", "version"):
        value = getattr(manifest, name)
        if type(value) is not int or not 0 <= value < _LARGEST:
            return f"its {name} is no whole number from 0 to {_LARGEST:,}"
    for name in ("vfm", "sampling", "sha256"):
        if not isinstance(getattr(manifest, name), str):
            return f"its {name} is no text"
    if not isinstance(manifest.items, list) or not all(isinstance(token, str) for token in manifest.items):
        return "its items are not a list of texts"
    if not isinstance(manifest.frame_counts, list) or not all(type(count) is int for count in manifest.frame_counts):
        return "its frame_counts are not a list of whole numbers"
    return None if isinstance(manifest.extra, dict) else "its extra is no set of names and values"


def _map_array(path: Path) -> np.ndarray:
    try:
        return open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise DataError(f"The frame store `{path}` cannot be read ({error}); make it anew.") from error
