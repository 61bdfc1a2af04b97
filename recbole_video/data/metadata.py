"""The metadata vector U: numbers and categories of a video and its author, fitted to the training videos."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from recbole_video.data.author_history import AuthorHistory
from recbole_video.errors import CheckpointError, ConfigError, DataError, counted, nearest

_DAY, _HOUR = 86_400, 3_600  # seconds
_SMPD = ("following", "follower", "likes", "video", "digg", "heart", "friend")
_SMPD_COUNTS = tuple(f"user_{name}_count" for name in _SMPD)
_INFORMS_COUNTS = (
    "author_follower_count",
    "author_following_count",
    "author_total_heart_count",
    "author_total_video_count",
)
_TITLE = ("title_characters", "title_words", "title_has_special", "title_has_digit", "title_mean_word_length")


@dataclass(frozen=True)
class Derived:
    """A number that is made of columns.

    Attributes:
        columns: What it is made of.
        make: From these columns, each [N], to [N] float64.
    """

    columns: tuple[str, ...]
    make: Callable[..., np.ndarray]


def _log(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.maximum(x, 0))


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Quotient; 0 where there is nothing to divide by."""
    over, under = np.maximum(over, 0), np.maximum(under, 0)
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0) + 0 * under  # NaN stays NaN


def _words(titles: np.ndarray) -> list[list[str]]:
    return [str(title).split() for title in titles]


# Formulas of the released code of STAP (arXiv 2604.20311), natural logarithms.
DERIVED: dict[str, Derived] = {
    "engagement_smpd": Derived(
        ("user_follower_count", "user_likes_count", "user_video_count", "user_heart_count"),
        lambda followers, likes, videos, hearts: (
            _log(followers) + 0.5 * _log(_ratio(likes, videos)) + 0.3 * _log(_ratio(hearts, videos))
        ),
    ),
    "influence_smpd": Derived(
        ("user_follower_count", "user_following_count", "user_likes_count", "user_heart_count", "user_digg_count"),
        lambda followers, following, likes, hearts, diggs: (
            _log(_ratio(followers, following)) + 0.3 * _log(likes + hearts + diggs)
        ),
    ),
    "engagement_informs": Derived(
        ("author_follower_count", "author_total_heart_count", "author_total_video_count"),
        lambda followers, hearts, videos: _log(followers) + 0.5 * _log(_ratio(hearts, videos)),
    ),
    "influence_informs": Derived(
        ("author_follower_count", "author_following_count"),
        lambda followers, following: _log(_ratio(followers, following)),
    ),
    "hour": Derived(("time",), lambda time: time % _DAY // _HOUR),
    "weekday": Derived(("time",), lambda time: (time // _DAY + 3) % 7),  # 1970-01-01 was a Thursday; Monday is 0
    "title_characters": Derived(("title",), lambda titles: np.array([len(str(t)) for t in titles], float)),
    "title_words": Derived(("title",), lambda titles: np.array([len(w) for w in _words(titles)], float)),
    "title_has_special": Derived(
        ("title",),
        lambda titles: np.array([any(not c.isalnum() and not c.isspace() for c in str(t)) for t in titles], float),
    ),
    "title_has_digit": Derived(
        ("title",), lambda titles: np.array([any(c.isdigit() for c in str(t)) for t in titles], float)
    ),
    "title_mean_word_length": Derived(
        ("title",), lambda titles: np.array([np.mean([len(w) for w in ws]) if ws else 0.0 for ws in _words(titles)])
    ),
}  # fmt: skip
# Numbers of the author's training videos before each video, and what they are made of, beside the training labels.
PAST_VIDEOS, PAST_LABEL = "author_past_videos", "author_past_label"
PAST = (PAST_VIDEOS, PAST_LABEL)
_OF_PAST = ("user_id", "time")
_IN_WORDS = {
    PAST_VIDEOS: "number of the author's earlier videos",
    PAST_LABEL: "mean of the author's earlier videos",
    "hour": "hour (UTC)",
}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LARGEST_LOG, _LAST_SECOND = 700.0, 253_402_300_799.0  # of a number in double precision, of the year 9999
_DIGITS = 5  # after the point: single precision of a logarithm keeps no more
_EMPTY, _UNSEEN = "empty", "in no training video"  # of a category that has no code
_SAME = ", as in all training videos"
_AS_TEXT = frozenset(["title"])
_AS_TIME = frozenset(["time"])
_MOST_YEARS = 20  # between a video and those of the training, before its time is taken for one in another unit
_YEAR = 365.25 * _DAY
# What columns hold that derived features are made of, for messages.
_MEANING = {"time": "Unix time in seconds", "title": "text", "user_id": "the author"}

# The vectors of the released code; numbers, then categories.
METADATA_PRESETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "none": ((), ()),
    "stap-smpd": ((*_SMPD_COUNTS, "engagement_smpd", "influence_smpd"), ()),
    "stap-informs": ((*_INFORMS_COUNTS, "engagement_informs", "influence_informs"), ()),
    "stap-microlens": (_TITLE, ("category",)),
}


@dataclass(frozen=True)
class Metadata:
    """The metadata of some videos.

    Attributes:
        numeric: Standardised numbers, float32 [N, n].
        codes: Categories as whole numbers, 0 for one that no training video has, int64 [N, m].
        n_categories: Values of each categorical column, 0 included.
        known: Whether a cell holds something, numbers before categories, bool [N, n + m]: an empty one is a mean in
            ``numeric``, and 0 in ``codes``.
    """

    numeric: np.ndarray
    codes: np.ndarray
    n_categories: tuple[int, ...]
    known: np.ndarray


def chosen_columns(config: Any) -> tuple[list[str], list[str]]:
    """Numeric and categorical columns that the options name.

    Raises:
        ConfigError: If there is no such preset.
    """
    check_preset(config["metadata"])
    numeric, categorical = METADATA_PRESETS[config["metadata"]]
    past = PAST if config["author_history"] else ()
    columns = [*numeric, *config["metadata_numeric"], *past], [*categorical, *config["metadata_categorical"]]
    return list(dict.fromkeys(columns[0])), list(dict.fromkeys(columns[1]))


def check_preset(name: str) -> None:
    """Refuse a name of no preset of columns.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in METADATA_PRESETS:
        raise ConfigError(
            f"`metadata` is `{name}`{nearest(str(name), METADATA_PRESETS)}; it must be one of "
            f"{', '.join(METADATA_PRESETS)}, to which metadata_numeric and metadata_categorical add."
        )


def raw_columns(numeric: Sequence[str], categorical: Sequence[str]) -> set[str]:
    """The columns of files that these columns are made of."""
    return {raw for name in numeric for raw in made_of(name)} | set(categorical)


def number_columns(numeric: Sequence[str]) -> set[str]:
    """The columns of files that these numbers of the metadata are made of and that hold numbers themselves."""
    return {raw for name in numeric if name not in PAST for raw in made_of(name)} - _AS_TEXT - _AS_TIME


def made_of(name: str) -> tuple[str, ...]:
    """The columns that a number of the metadata is made of; itself, where it is a column."""
    if name in PAST:
        return _OF_PAST
    return DERIVED[name].columns if name in DERIVED else (name,)


def is_made(name: str) -> bool:
    """Whether a number of the metadata is made of others, and is no column."""
    return name in DERIVED or name in PAST


class MetadataEncoder:
    """Makes the metadata vector: fitted to the training videos, applied to any.

    Numbers are clipped at 0 and their log1p is taken, but for derived ones, which have their own form; all are
    standardised by training mean and spread. An empty cell counts as the mean.

    A column ``time`` holds Unix time in seconds, or points in time, of which those without a time zone are UTC. What
    the author had posted before (:data:`PAST`) is counted among the training videos.

    Args:
        numeric: Columns, or names of :data:`DERIVED`.
        categorical: Columns.
        log1p: Take the logarithm of numbers.
    """

    def __init__(self, numeric: Sequence[str], categorical: Sequence[str], log1p: bool = True) -> None:
        self.numeric, self.categorical, self.log1p = list(numeric), list(categorical), log1p
        self._mean: np.ndarray = np.zeros(len(self.numeric))
        self._sd: np.ndarray = np.ones(len(self.numeric))
        self._values: list[dict[str, int]] = [{} for _ in self.categorical]
        self._times: list[float] = []  # first and last of training, where times are read and there are any
        self._constant: list[bool] = [False] * (len(self.numeric) + len(self.categorical))
        self._history: AuthorHistory | None = None

    def fit(self, table: pd.DataFrame, labels: np.ndarray | None = None) -> MetadataEncoder:
        """Fit to the training videos.

        Args:
            table: A row per video, with all raw columns.
            labels: Their popularity, float64 [N], for what the author had posted before.

        Raises:
            DataError: If a column is missing or holds an infinite number.
        """
        if labels is not None and set(PAST) & set(self.numeric):
            self._check_columns_exist(table)
            self._history = AuthorHistory(_texts(table, "user_id"), _floats(table, "time"), labels)
        numbers = self._numbers(table)
        known = ~np.isnan(numbers)
        counts = known.sum(axis=0)
        for name in np.array(self.numeric, dtype=object)[counts == 0]:
            logging.getLogger().warning(f"No training video has a `{name}`: it is 0 in the metadata of all videos.")
        safe = np.maximum(counts, 1)
        self._mean = np.where(known, numbers, 0).sum(axis=0) / safe
        self._sd = np.sqrt(np.where(known, (numbers - self._mean) ** 2, 0).sum(axis=0) / safe)
        self._sd[self._sd == 0] = 1
        for i, name in enumerate(self.categorical):
            distinct = sorted(set(_texts(table, name)) - {""})
            self._values[i] = {value: code for code, value in enumerate(distinct, start=1)}
        self._constant = [bool(len(column) and (column == column[0]).all()) for column in numbers.T]  # NaN is no number
        self._constant += [_is_one_word(_texts(table, name)) for name in self.categorical]
        self._warn_of_constants(numbers, table)
        times = self._known_times(table)
        self._times = [float(times.min()), float(times.max())] if len(times) else []
        return self

    def _warn_of_constants(self, numbers: np.ndarray, table: pd.DataFrame) -> None:
        """Tell of columns that are the same for all training videos; numbers [N, n] are NaN for empty cells."""
        columns = zip(self.numeric, numbers.T, strict=True)
        names = [name for name, column in columns if len(np.unique(column[~np.isnan(column)])) == 1]
        names += [name for name in self.categorical if len(set(_texts(table, name))) == 1]
        if names:
            logging.getLogger().warning(
                f"The same in all training videos: {', '.join(f'`{name}`' for name in names)}; nothing can be learned "
                "from that, leave it out of the metadata."
            )

    def transform(self, table: pd.DataFrame) -> Metadata:
        """The metadata of the videos of ``table``.

        Raises:
            DataError: If a column is missing or holds an infinite number.
        """
        numbers = (self._numbers(table) - self._mean) / self._sd
        shape = len(self.categorical), len(table)
        texts = np.array([*map(partial(self._category, table), range(shape[0]))], dtype=object).reshape(shape).T
        codes = [[values.get(text, 0) for text in column] for values, column in zip(self._values, texts.T, strict=True)]
        return Metadata(
            numeric=np.nan_to_num(numbers, nan=0.0).astype(np.float32),
            codes=np.array(codes, dtype=np.int64).reshape(shape).T.copy(),
            n_categories=tuple(len(values) + 1 for values in self._values),
            known=np.concatenate([~np.isnan(numbers), texts != ""], axis=1),
        )

    def _category(self, table: pd.DataFrame, i: int) -> np.ndarray:
        return _texts(table, self.categorical[i], self._values[i])

    def in_words(self, metadata: Metadata, row: int) -> list[tuple[str, str]]:
        """Name and value of each column for one video, as they were before :meth:`transform`, numbers first.

        Args:
            metadata: What :meth:`transform` made.
            row: Of the video in it.
        """
        numbers = metadata.numeric[row].astype(np.float64) * self._sd + self._mean
        codes, known = metadata.codes[row].tolist(), metadata.known[row].tolist()
        values = [self._number_in_words(i, number, known[i]) for i, number in enumerate(numbers.tolist())]
        if set(PAST) <= set(self.numeric) and round(numbers[self.numeric.index(PAST_VIDEOS)], 3) == 0:
            values[self.numeric.index(PAST_LABEL)] = "none"
        of_categories = known[len(self.numeric) :]
        values += [self._category_in_words(i, *one) for i, one in enumerate(zip(codes, of_categories, strict=True))]
        names = [*(_IN_WORDS.get(name, name) for name in self.numeric), *self.categorical]
        return list(zip(names, values, strict=True))

    def _number_in_words(self, i: int, number: float, is_known: bool) -> str:
        """A number in its own unit; an empty cell was read as the mean."""
        name = self.numeric[i]
        same = _SAME if self._constant[i] and math.isclose(number, self._mean[i], rel_tol=1e-9, abs_tol=1e-9) else ""
        if name == PAST_VIDEOS or (self.log1p and not is_made(name)):
            number = max(0.0, round(math.expm1(min(number, _LARGEST_LOG)), _DIGITS))
        elif abs(number) <= np.finfo(np.float32).eps * (abs(self._mean[i]) + self._sd[i]):
            number = 0.0  # what single precision leaves of it
        if not is_known:
            return f"not known, read as the mean ({_short(number)})"
        if name in _AS_TIME:
            return str(np.datetime64(round(min(number, _LAST_SECOND)), "s")).replace("T", " ") + same
        return (_WEEKDAYS[round(number) % 7] if name == "weekday" else _short(number)) + same

    def _category_in_words(self, i: int, code: int, is_known: bool) -> str:
        """A category as it is written; without a code, whether its cell is empty."""
        if not code:
            return _UNSEEN if is_known else _EMPTY
        return list(self._values[i])[code - 1] + (_SAME if self._constant[len(self.numeric) + i] else "")

    def unseen(self, table: pd.DataFrame) -> list[tuple[str, str]]:
        """Column and value of each category that no training video has; empty cells are none."""
        return [
            (name, value)
            for name, values in zip(self.categorical, self._values, strict=True)
            for value in dict.fromkeys(_texts(table, name, values))
            if value and value not in values
        ]

    def gaps(self, table: pd.DataFrame) -> list[str]:
        """A sentence on each column with empty cells, and one on authors without a past, for who asks a prediction."""
        n, raw = len(table), sorted(raw_columns(self.numeric, self.categorical) - _AS_TEXT)
        told = []
        for name in raw:
            if n_empty := int((_texts(table, name) == "").sum()):
                read = "no known category" if name in self.categorical else "the mean of the training videos"
                read = "having no past" if name == "user_id" and name not in self.categorical else read
                told.append(f"`{name}` is empty for {n_empty:,} of {counted(n, 'video')}, read as {read}.")
        if self._history is None:
            return told
        authors = _texts(table, "user_id", self._history)
        counts, _ = self._history.before(authors, _floats(table, "time"))
        n_new = int(((authors != "") & (counts == 0)).sum())
        lack = counted(n_new, "video is of an author", "videos are of authors")
        return [*told, f"{lack} without an earlier training video: their past is empty."] if n_new else told

    def state(self) -> dict[str, Any]:
        """Plain values that :meth:`from_state` reads."""
        return {
            "numeric": self.numeric,
            "categorical": self.categorical,
            "log1p": self.log1p,
            "mean": self._mean.tolist(),
            "sd": self._sd.tolist(),
            "values": [list(values) for values in self._values],
            **({"times": self._times} if self._times else {}),
            **({"constant": self._constant} if any(self._constant) else {}),
            **({"history": self._history.state()} if self._history is not None else {}),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MetadataEncoder:
        """An encoder as it was when :meth:`state` was called.

        Raises:
            CheckpointError: If the values are not of that form, or do not agree with each other.
        """
        _check_state(state)
        encoder = cls(state["numeric"], state["categorical"], state["log1p"])
        encoder._mean, encoder._sd = np.array(state["mean"], float), np.array(state["sd"], float)
        encoder._values = [{value: i for i, value in enumerate(values, start=1)} for values in state["values"]]
        encoder._times = [float(time) for time in state.get("times", [])]
        encoder._constant = state.get("constant", encoder._constant)  # not told by earlier versions
        if set(PAST) & set(encoder.numeric):
            encoder._history = AuthorHistory.from_state(state.get("history"))
        return encoder

    def check_times(self, table: pd.DataFrame) -> None:
        """Refuse times that are decades away from those of the training: they count from elsewhere, or in another unit.

        Raises:
            DataError: If there are such, or :meth:`transform` would raise it.
        """
        self._check_columns_exist(table)
        times = self._known_times(table)
        if not self._times or not len(times):
            return
        first, last = self._times
        away = np.maximum(first - times, times - last)
        if last < _DAY and away.max() > _MOST_YEARS * _YEAR:
            raise DataError(
                f"The metadata column `time` holds {times[away.argmax()]:.15g}, and the training videos have no times "
                f"but numbers that tell their order, {first:.15g} to {last:.15g}; give {last + 1:.15g} for a video "
                "that came after them."
            )
        if away.max() > _MOST_YEARS * _YEAR:
            raise DataError(
                f"The metadata column `time` holds {times[away.argmax()]:.15g}, and as Unix time in seconds, which it "
                f"must be, that is more than {_MOST_YEARS} years away from the training videos ({first:.15g} to "
                f"{last:.15g}); give seconds since 1970-01-01 UTC."
            )

    def _known_times(self, table: pd.DataFrame) -> np.ndarray:
        """Unix times of the videos that have one, float64; empty where no column is made of times."""
        if not raw_columns(self.numeric, []) & _AS_TIME:
            return np.zeros(0)
        times = _floats(table, "time")
        return times[~np.isnan(times)]

    def _numbers(self, table: pd.DataFrame) -> np.ndarray:
        """Numbers before they are standardised, float64 [N, n]; NaN for empty cells."""
        self._check_columns_exist(table)
        columns = [self._number(table, name) for name in self.numeric]
        return np.stack(columns, axis=1) if columns else np.zeros((len(table), 0))

    def _number(self, table: pd.DataFrame, name: str) -> np.ndarray:
        if name in PAST and self._history is not None:
            counts, means = self._history.before(_texts(table, "user_id", self._history), _floats(table, "time"))
            return _log(counts) if name == PAST_VIDEOS else means
        if name in DERIVED:
            derived = DERIVED[name]
            return derived.make(*(_texts(table, c) if c in _AS_TEXT else _floats(table, c) for c in derived.columns))
        values = _floats(table, name)
        return _log(values) if self.log1p else values

    def _check_columns_exist(self, table: pd.DataFrame) -> None:
        missing = sorted(raw_columns(self.numeric, self.categorical) - set(table.columns))
        if missing:
            raise DataError(f"The metadata lack {', '.join(map(self._told, missing))}; the model was trained on it.")

    def _told(self, column: str) -> str:
        """A column, and where options name what is made of it, what that is and what the column must hold."""
        made = [name for name in self.numeric if is_made(name) and column in made_of(name)]
        if not made or column in (*self.numeric, *self.categorical):
            return f"`{column}`"
        made_of_it = " and ".join(f"`{name}`" for name in made)
        meaning = _MEANING.get(column, "a number")
        return f"`{column}` ({meaning}, of which {made_of_it} {'is' if len(made) == 1 else 'are'} made)"


def _is_one_word(texts: np.ndarray) -> bool:
    """Whether all cells of a column hold the same word, none of them empty."""
    return len(set(texts)) == 1 and texts[0] != ""


def _short(number: float) -> str:
    """A number with the digits that single precision keeps of its logarithm."""
    number = float(f"{number:.5g}")
    return f"{number:,.0f}" if number.is_integer() else f"{number:,.5g}"


def _check_state(state: Mapping[str, Any]) -> None:
    """What a checkpoint holds may have been written by anybody."""
    try:
        times = state.get("times", [])
        numbers = [float(value) for values in (state["mean"], state["sd"], times) for value in values]
        names = [*state["numeric"], *state["categorical"], *(word for words in state["values"] for word in words)]
        lengths = len(state["mean"]), len(state["sd"]), len(state["values"])
        agrees = lengths == (len(state["numeric"]), len(state["numeric"]), len(state["categorical"]))
        constant = state.get("constant", [False] * (lengths[0] + lengths[2]))
        agrees = agrees and len(times) in (0, 2) and len(constant) == lengths[0] + lengths[2]
        agrees = agrees and all(isinstance(one, bool) for one in constant)
        is_sound = all(map(math.isfinite, numbers)) and all(isinstance(name, str) for name in names)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError("The metadata of the checkpoint are not of the form that a run writes.") from error
    if not agrees or not is_sound or not isinstance(state["log1p"], bool):
        raise CheckpointError("The metadata of the checkpoint do not agree with each other; it is damaged.")


def _floats(table: pd.DataFrame, name: str) -> np.ndarray:
    """The numbers of a column, float64 [N]; NaN for empty cells.

    Raises:
        DataError: If it holds anything else, or an infinite number; points and spans of time, which have no unit by
            which they are numbers, are something else, but for points in a column of times.
    """
    column = table[name]
    if column.dtype.kind == "M" and name in _AS_TIME:
        column = (pd.to_datetime(column, utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    if column.dtype.kind in "Mmc":
        what = {"M": "points in time", "m": "spans of time", "c": "complex numbers"}[column.dtype.kind]
        raise DataError(f"The metadata column `{name}` holds {what}; give real numbers.")
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        if name in _AS_TIME:
            return _seconds(column)
        raise DataError(f"The metadata column `{name}` holds something other than numbers: {error}.") from error
    if np.isinf(values).any():
        raise DataError(
            f"The metadata column `{name}` holds an infinite number in row {int(np.isinf(values).argmax())}."
        )
    return values


def _seconds(column: pd.Series) -> np.ndarray:
    """Unix times of points in time in ISO 8601, float64 [N]; NaN for empty cells.

    Raises:
        DataError: If there is something else.
    """
    filled = column.where(column.notna() & (column != ""), None)
    try:
        points = pd.to_datetime(filled, utc=True, format="ISO8601")
    except (TypeError, ValueError, OverflowError) as error:
        said = str(error).partition("\n")[0]
        raise DataError(
            f"The metadata column `{column.name}` holds something that is no time ({said}); give Unix time in seconds "
            "or points in time such as 2024-01-31T10:00:00Z."
        ) from error
    return ((points - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(np.float64)


def _texts(table: pd.DataFrame, name: str, known: Container[str] = ()) -> np.ndarray:
    """Words of a column, object [N], empty for empty cells.

    A number with a fraction's type, as a column of whole numbers with a gap has it, is the whole number: 1.0 and 1 are
    one, but where the known words have it as 1.0.
    """
    values = table[name]
    if values.dtype.kind not in "fO" or pd.api.types.infer_dtype(values, skipna=True) == "string":
        return values.fillna("").astype(str).to_numpy(dtype=object)
    return np.array([_text(value, known) for value in values], dtype=object)


def _text(value: Any, known: Container[str]) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if not isinstance(value, (float, np.floating)):
        return str(value)
    return str(value) if str(value) in known and f"{value:.15g}" not in known else f"{value:.15g}"
