"""Reading the files of SMPD-Video: JSON lines or parquet, one table per file or all stacked into one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.output.tokens import id_problem, refused_id
from recbole_video.dataset_tools.raw.text_spool import TextSpool
from tqdm import tqdm

from recbole_video.data.text import is_media_path
from recbole_video.errors import DataError, counted
from recbole_video.files.raw import check_no_repeats, filled_lines, guarded
from recbole_video.files.reading import parse_json
from recbole_video.runtime.dependencies import import_optional

SPLITS = ("train", "test")
USER_COUNTS = tuple(
    f"user_{name}_count" for name in ("following", "follower", "likes", "video", "digg", "heart", "friend")
)
VIDEO_NUMBERS = ("video_height", "video_width", "video_duration", "music_duration")
VIDEO_TOKENS = ("video_ratio", "video_format")
# A record belongs to each table whose mark it has, and not null: a mirror may have stacked the tables into one.
_MARKS = {"posts": "post_time", "users": "user_follower_count", "videos": "video_height", "scores": "popularity"}
_KEYS = {"posts": "pid", "users": "uid", "videos": "pid", "scores": "pid"}
_SEPARATORS = re.compile(r"[,\s]+")
_LARGEST_COUNT = 2**53  # beyond it a float is no exact whole number


@dataclass
class Tables:
    """The records of a download without their texts.

    Attributes:
        rows: Table (``posts``, ``users``, ``videos``, ``scores``) -> key -> columns; missing numbers are None.
        copies: Table -> records that repeat an earlier one.
        contradictions: Table -> records that contradict an earlier one with the same key, which is kept.
        keyless: Table -> records whose key is null; they are left out.
    """

    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in _MARKS})
    copies: Counter[str] = field(default_factory=Counter)
    contradictions: Counter[str] = field(default_factory=Counter)
    keyless: Counter[str] = field(default_factory=Counter)

    def add(self, table: str, key: str | None, row: dict[str, Any]) -> bool:
        """Add a record; returns whether it is the first with its key."""
        if not key:
            self.keyless[table] += 1
            return False
        first = self.rows[table].setdefault(key, row)
        if first is not row:
            same = {**first, "split": ""} == {**row, "split": ""}
            (self.copies if same else self.contradictions)[table] += 1
        return first is row


def read_download(folder: Path, spool: TextSpool, empty_text: str, card: Card) -> Tables:
    """Read all files of a download.

    The train split comes first: of a user that both splits have, its record is kept.

    Args:
        folder: The folder of the download.
        spool: Receives ``title``, ``media`` and ``music`` of each post.
        empty_text: Title of a post without caption and suggested words.
        card: Receives the inputs and the counts of what was odd.

    Raises:
        DataError: If there is no file or no post, or a file cannot be read.
    """
    tables = Tables()
    for path, split in tqdm(find_split_files(folder), "files", disable=None):
        card.add_input(path)
        for place, record in read_records(path):
            _add_record(tables, record, split, place, spool, empty_text)
    if not tables.rows["posts"]:
        raise DataError(f"The files of `{folder}` hold no post: no record has a `post_time`.")
    card.note("records", {table: len(rows) for table, rows in tables.rows.items()})
    card.note("exact copies left out", dict(tables.copies))
    for table, count in tables.keyless.items():
        card.warn(f"Left out: {counted(count, 'record')} of {table} without {_KEYS[table]}.")
    for table, count in tables.contradictions.items():
        card.warn(
            f"In {table}, {counted(count, 'record contradicts', 'records contradict')} an earlier one with the same "
            "key; the first is kept."
        )
    return tables


def find_split_files(folder: Path) -> list[tuple[Path, str]]:
    """The data files under a folder and their splits, train before test.

    Raises:
        DataError: If there are none, or a file's split cannot be told from its path.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jsonl", ".parquet"))
    if not paths:
        raise DataError(f"`{folder}` holds no .jsonl and no .parquet file; give the folder of the download.")
    found = []
    for path in paths:
        words = re.findall(r"[a-z]+", str(path.relative_to(folder)).lower())
        splits = [split for split in SPLITS if split in words]
        if len(splits) != 1:
            raise DataError(
                f"The split of `{path}` is unknown: its path must hold the word `train` or `test`, not both."
            )
        found.append((path, splits[0]))
    return sorted(found, key=lambda pair: SPLITS.index(pair[1]))


def read_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a file, each after its place (``file, line n``).

    Raises:
        DataError: If the file cannot be read; for JSON lines, naming the first line that is no object.
    """
    yield from (_parquet_rows(path) if path.suffix == ".parquet" else _json_objects(path))


def _json_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in filled_lines(path):
        place = f"`{path}`, line {number}"
        record = parse_json(line, place, nan_is_missing=True)
        if not isinstance(record, dict):
            raise DataError(f"{place}: this is no JSON object.")
        yield place, record


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import_optional("pyarrow", "Parquet files need pyarrow; run: uv pip install -e '.[data]' in the checkout.")
    for number, record in enumerate(guarded(_parquet_records(path), path, "parquet"), start=1):
        yield f"`{path}`, row {number}", record


def _parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        check_no_repeats(path, dict.fromkeys(names), names)
        for batch in file.iter_batches(batch_size=1024):
            yield from batch.to_pylist()


def _add_record(
    tables: Tables, record: Mapping[str, Any], split: str, place: str, spool: TextSpool, empty_text: str
) -> None:
    for table, mark in _MARKS.items():
        if record.get(mark) is None:
            continue
        key = _key(record, _KEYS[table], place)
        if tables.add(table, key, {"split": split, **_READERS[table](record, place)}):
            text = _TEXTS[table](record, empty_text, place) if table in _TEXTS else {}
            if text:
                spool.put(key, {**spool.get(key), **text})


def _read_post(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {
        "user_id": _key(record, "uid", place),
        "time": parse_time(record["post_time"], place),
        "location": _text(record, "post_location", place),
        "language": _text(record, "post_text_language", place),
    }


def _read_user(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {name: _count(record, name, place) for name in USER_COUNTS}


def _read_video(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    numbers = {name: _number(record, name, place) for name in VIDEO_NUMBERS}
    return {**numbers, **{name: _text(record, name, place) for name in VIDEO_TOKENS}}


def _read_score(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {"score": _number(record, "popularity", place)}


def _post_text(record: Mapping[str, Any], empty_text: str, place: str) -> dict[str, str]:
    media = _text(record, "video_path", place)
    if media and not is_media_path(media):
        raise DataError(f"{place}, `video_path`: `{media}` is no path inside the archive of videos.")
    text = {"title": assemble_text(record, empty_text, place), "media": media}
    return {key: value for key, value in text.items() if value}


def _video_text(record: Mapping[str, Any], empty_text: str, place: str) -> dict[str, str]:
    music = _text(record, "music_title", place)
    return {"music": music} if music.strip() else {}


_READERS = {"posts": _read_post, "users": _read_user, "videos": _read_video, "scores": _read_score}
_TEXTS = {"posts": _post_text, "videos": _video_text}


def _key(record: Mapping[str, Any], name: str, place: str) -> str | None:
    """An id as text; None where there is none."""
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise DataError(f"{place}, `{name}`: `{value}` is no id, which is text or a whole number.")
    if problem := id_problem(value):
        raise DataError(f"{place}: the id {refused_id(str(value), name, problem)}")
    return str(value)


def _text(record: Mapping[str, Any], name: str, place: str) -> str:
    """A cell of text, or of one number; empty where there is none."""
    value = record.get(name)
    if value is not None and not isinstance(value, (str, int, float)):
        raise DataError(f"{place}, `{name}`: `{value}` is no text.")
    return "" if value is None or value != value else str(value)


def _number(record: Mapping[str, Any], name: str, place: str) -> float | None:
    value = record.get(name)
    if value is None or value != value:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{place}, `{name}`: {value!r} is no number.") from error
    if number != number:
        return None
    if math.isinf(number):
        raise DataError(f"{place}, `{name}`: `{value}` is beyond what a float holds.")
    return number


def _count(record: Mapping[str, Any], name: str, place: str) -> float | None:
    number = _number(record, name, place)
    if number is not None and (number != int(number) or abs(number) > _LARGEST_COUNT):
        raise DataError(f"{place}, `{name}`: `{record[name]}` is no count.")
    return number


def parse_time(value: Any, place: str) -> int:
    """Unix seconds of a timestamp, or of a text ``YYYY-MM-DD HH:MM`` with or without seconds; UTC without a zone.

    Raises:
        DataError: If it is neither.
    """
    if not isinstance(value, datetime):
        try:
            value = datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{place}: the post_time {value!r} is not of the form `YYYY-MM-DD HH:MM`.") from error
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())


def assemble_text(record: Mapping[str, Any], empty_text: str = "", place: str = "The record") -> str:
    """A post's caption with spaces for commas, then each suggested word after a ``#``.

    Args:
        record: With ``post_content`` (text, or a list of words) and ``post_suggested_words`` (a list, or text).
        empty_text: Returned where both are empty.
        place: Where the record stands, for errors.

    Raises:
        DataError: If one is neither text nor a list of words.
    """
    caption = " ".join(_words(record, "post_content", place))
    words = _words(record, "post_suggested_words", place)
    parts = [_SEPARATORS.sub(" ", caption).strip(), *(f"#{word}" for word in words if word)]
    return " ".join(part for part in parts if part) or empty_text


def _words(record: Mapping[str, Any], name: str, place: str) -> list[str]:
    value = record.get(name)
    words = [value] if isinstance(value, str) else value or []
    if not isinstance(words, list) or not all(isinstance(word, (str, int, float)) for word in words):
        raise DataError(f"{place}, `{name}`: `{value}` is neither text nor a list of words.")
    return [str(word) for word in words]
