"""Writing a data set: atomic files, sidecars and card, made aside and moved in together."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from recbole_video.dataset_tools.card.card import FLOAT32_EXACT, Card
from recbole_video.dataset_tools.card.page import page
from recbole_video.dataset_tools.cleaning.interactions import as_times, codes_of, positions, sort_order
from recbole_video.dataset_tools.output.atomic import write_atomic_file
from recbole_video.dataset_tools.output.background import background
from recbole_video.dataset_tools.output.columns import typed_columns
from recbole_video.dataset_tools.output.tokens import (
    as_objects,
    check_ids,
)
from recbole_video.dataset_tools.raw.times import far_time

from recbole_video.data.times import UNITS_PER_SECOND
from recbole_video.errors import DataError, RunFolderError
from recbole_video.files.atomic import write_atomically, write_json, write_text
from recbole_video.files.names import check_file_name
from recbole_video.files.replacement import Replacement

# What a conversion writes: of these, an earlier conversion may have left any.
OUTPUTS = (".inter", ".item", ".user", ".times.npy", ".text.jsonl", ".counts", ".card.json", ".card.html")
_COMMON_ARGUMENTS = ("out", "overwrite", "command")


class DatasetWriter:
    """Writes one data set into ``<folder>/<name>/``.

    Used as ``with DatasetWriter(...) as out:``. Files are made in a folder aside and appear together when
    the block ends without error; otherwise nothing changes.

    Args:
        folder: The ``data_path`` of a run, ``dataset`` by default on the command line.
        name: Name of the data set.
        overwrite: Replace what an earlier conversion left.

    Attributes:
        card: Collects what the card reports.
        items: Items of the interactions that were written, ascending.

    Raises:
        DataError: If outputs exist and ``overwrite`` is false, when it begins or when it ends; the message names them.
    """

    def __init__(self, folder: Path, name: str, overwrite: bool = False) -> None:
        check_file_name(name, "a data set (--name)")
        self.folder = Path(folder) / name
        self.name = name
        self.card = Card(name)
        self.overwrite = overwrite
        self._new = Replacement(self.folder, name)
        self._aside = Path()
        self._is_new = False
        self._distinct: dict[str, np.ndarray] = {}
        self._described: set[Path] = set()
        self._pending: list[Future[None]] = []
        self.items = np.empty(0, dtype=object)
        for suffix in OUTPUTS:
            self._check_absent(suffix)

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> DatasetWriter:
        """A writer for the options of :func:`add_output_arguments`; the card notes all other options."""
        writer = cls(arguments.out, arguments.name, arguments.overwrite)
        chosen = {k: v for k, v in vars(arguments).items() if k not in _COMMON_ARGUMENTS and v is not None}
        writer.card.note("options", {k: v.name if isinstance(v, Path) else v for k, v in chosen.items()})
        return writer

    def __enter__(self) -> DatasetWriter:
        try:
            self._is_new = not self.folder.exists()
            self._aside = self._new.open().folder
        except RunFolderError as error:
            raise RunFolderError(f"{str(error).removesuffix('.')}; give another --out.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            wait(self._pending)
            self._new.close()
            if self._is_new and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def file(self, suffix: str) -> Path:
        """Where to make one more output, ``<name><suffix>``; it is moved in with the others.

        Raises:
            DataError: If it exists and ``overwrite`` is false, or this conversion has made it already.
        """
        self._check_absent(suffix)
        path = self._aside / f"{self.name}{suffix}"
        if path.exists():
            raise DataError(f"`{path.name}` would be made twice; give each of its sources a name of its own.")
        return path

    def write_interactions(self, frame: Any, time_unit: str, types: Mapping[str, str] | None = None) -> None:
        """Write ``.inter``, sorted by user, time and original row, and ``.times.npy``.

        ``timestamp`` is in whole seconds since the first event of the data set. Without times it is the
        position in the user's sequence, the order of the rows.

        Args:
            frame: DataFrame, or dict of arrays, with ``user_id`` and ``item_id`` (whole numbers or text),
                ``time`` (int64, raw) where known, and the columns named in ``types``.
            time_unit: Of ``time``: ``s``, ``ms``, ``us`` or ``ns``.
            types: Further columns -> ``token``, ``token_seq``, ``float`` or ``float_seq``.

        Raises:
            DataError: If there is no interaction, a time is missing or in another unit, or an id cannot be a token.
        """
        if time_unit not in UNITS_PER_SECOND:
            raise DataError(f"The time unit must be one of {', '.join(UNITS_PER_SECOND)}, not `{time_unit}`.")
        users, items = (self._codes(key, frame[key]) for key in ("user_id", "item_id"))
        times = _times(frame, time_unit)
        self.items = self._distinct["item_id"]
        order = sort_order(users, times)
        users, items = users[order], items[order]
        if times is None:
            offsets = positions(users)
            self.card.note("timestamp", "position in the user's sequence: the raw data have no times")
        else:
            times = times[order]
            offsets = (times - times.min()) // UNITS_PER_SECOND[time_unit]
            self._save_times(times, int(offsets.max()))
        columns = {
            "user_id:token": self._distinct["user_id"][users],
            "item_id:token": self.items[items],
            "timestamp:float": offsets,
        }
        columns.update(typed_columns(frame, types or {}, self.card, order))
        self._write_table(".inter", columns)
        self.card.describe_interactions(users, items, times, offsets, time_unit)

    def write_items(self, frame: Any, types: Mapping[str, str]) -> None:
        """Write ``.item``: column ``item_id``, then those named in ``types``, as in :meth:`write_interactions`.

        An item that has interactions and no row here gets one of empty cells: RecBole leaves out the
        interactions of items (and users) that such a file does not list.

        Raises:
            DataError: If an item has two rows.
        """
        self._write_features(".item", "item_id", frame, types)

    def write_users(self, frame: Any, types: Mapping[str, str]) -> None:
        """Write ``.user``: column ``user_id``, then those named in ``types``."""
        self._write_features(".user", "user_id", frame, types)

    def write_counts(self, frame: Any) -> None:
        """Write ``.counts``: column ``item_id`` and numbers that include what happened in the test period."""
        self._write_features(".counts", "item_id", frame, {name: "float" for name in frame if name != "item_id"})

    def write_text(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write ``.text.jsonl``, one object per row, as the rows come.

        Raises:
            DataError: If a row has no ``item_id``, or two rows have the same.
        """
        write_atomically(self._aside / f"{self.name}.text.jsonl", lambda file: _write_json_lines(file, rows))

    def _codes(self, key: str, values: Any) -> np.ndarray:
        """Number the users (items) of all interactions, whose ids are remembered."""
        codes, distinct = codes_of(values)
        if not len(codes):
            raise DataError(f"No interaction of `{self.name}` is left; check the raw file and the filters.")
        _check_distinct(key, distinct)
        self._distinct[key] = distinct
        return codes

    def _write_table(self, suffix: str, columns: Mapping[str, Any]) -> None:
        path = self._aside / f"{self.name}{suffix}"
        write_atomic_file(path, columns)
        self._described.add(path)
        self.card.add_output(path)  # its checksum is taken while the rest is written

    def _write_features(self, suffix: str, key: str, frame: Any, types: Mapping[str, str]) -> None:
        ids = np.asarray(frame[key])
        distinct = codes_of(ids)[1]
        _check_distinct(key, distinct)
        if len(distinct) != len(ids):
            values, counts = np.unique(ids.astype(str), return_counts=True)
            twice = values[counts > 1][0]
            raise DataError(f"`{self.name}{suffix}` would hold {key} `{twice}` twice; keep one row of each.")
        columns = typed_columns(frame, types, self.card)
        missing = self._without_row(key, distinct) if suffix != ".counts" else []
        if missing:
            what = f"{len(missing):,} of {len(self._distinct[key]):,} {key.removesuffix('_id')}s with interactions"
            self.card.warn(
                f"{what} have no features (first: {missing[0]}): they get a row of empty cells, without which RecBole "
                "would drop their interactions."
            )
            ids = as_objects([*ids, *missing])
            columns = {name: as_objects([*cells, *[None] * len(missing)]) for name, cells in columns.items()}
        self._write_table(suffix, {f"{key}:token": ids, **columns})

    def _without_row(self, key: str, listed: np.ndarray) -> list[Any]:
        """Users (items) with interactions that are not listed."""
        known = set(map(str, listed.tolist()))
        return [token for token in self._distinct.get(key, np.empty(0)).tolist() if str(token) not in known]

    def _save_times(self, times: np.ndarray, last: int) -> None:
        path = self._aside / f"{self.name}.times.npy"
        self._pending.append(background().submit(write_atomically, path, lambda file: np.save(file, times)))
        if last > FLOAT32_EXACT:
            self.card.warn(
                f"The interactions span {last / 86_400:,.0f} days: RecBole keeps time as float32, which rounds late "
                f"ones to {2 ** (last.bit_length() - 24)} s. The order is kept, because the rows are sorted and "
                "RecBole's sort is stable; exact times are in the .times.npy file."
            )

    def _check_absent(self, suffix: str) -> None:
        path = self.folder / f"{self.name}{suffix}"
        if path.exists() and not self.overwrite:
            existing = [s for s in dict.fromkeys((*OUTPUTS, suffix)) if (self.folder / f"{self.name}{s}").exists()]
            raise DataError(
                f"`{self.folder}` already holds {', '.join(f'`{self.name}{s}`' for s in existing)}; give --overwrite "
                "to make them anew, or another --name."
            )

    def _finish(self) -> None:
        for pending in self._pending:
            pending.result()
        for suffix in OUTPUTS:  # of another conversion of this name that was under way as this one began
            self._check_absent(suffix)
        for path in sorted(self._new.files()):
            if path not in self._described:
                self.card.add_output(path)
        content = self.card.content()
        write_text(self._aside / f"{self.name}.card.html", page(content))
        write_json(self._aside / f"{self.name}.card.json", content)
        if self.overwrite:
            self._remove_earlier()
        self._new.commit()
        labels = sorted(path.name for path in self.folder.glob(f"{escape(self.name)}.*.popularity"))
        if self.overwrite and labels:
            print(f"Warning: {', '.join(labels)} were made of the earlier files; make them anew by `label`.")

    def _remove_earlier(self) -> None:
        """Remove what an earlier conversion left and this one does not make."""
        made = {path.name for path in self._new.files()}
        for earlier in (f"{self.name}{suffix}" for suffix in OUTPUTS):
            if earlier not in made:
                self._new.remove(earlier)


def add_output_arguments(parser: argparse.ArgumentParser, name: str | None = None) -> None:
    """Add ``--out``, ``--name`` and ``--overwrite``, which all converters share.

    Args:
        parser: The command's parser.
        name: Default of ``--name``; None makes the converter choose.
    """
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)")
    group.add_argument("--name", default=name, help=f"name of the data set (default: {name or 'from the raw files'})")
    group.add_argument("--overwrite", action="store_true", help="replace the files of an earlier conversion")


def _check_distinct(key: str, distinct: np.ndarray) -> None:
    """Check ids that are text; whole numbers are always read back."""
    check_ids(key, distinct if distinct.dtype == object else ())


def _times(frame: Any, unit: str) -> np.ndarray | None:
    """The raw times, int64 [rows]; None where there are none."""
    times = as_times(frame["time"]) if "time" in frame else None
    if times is not None and (far := far_time(times, unit)):
        raise DataError(f"The time {times[far[0]]} {far[1]}; check the times of the raw file.")
    return times


def _write_json_lines(file: IO[bytes], rows: Iterable[Mapping[str, Any]]) -> None:
    row: dict[str, Any] = {}
    try:
        for row in _checked(rows):
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
    except UnicodeEncodeError as error:
        raise DataError(
            f"The text of item `{row['item_id']}` holds half of a surrogate pair, which is no text; mend the raw file."
        ) from error


def _checked(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        token = str(row.get("item_id", ""))
        if not token or token in seen:
            problem = f"`{token}` a second time" if token else "no item_id"
            raise DataError(f"Row {number} of the text has {problem}; give each item one row.")
        seen.add(token)
        yield {**row, "item_id": token}
