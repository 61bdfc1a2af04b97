"""The videos of a data set with labels, splits, authors and features: one row per labelled video."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.utils import set_color

from recbole_video.content.items import ItemContent, content_stores, has_any, no_store_error, refuse_missing
from recbole_video.content.store import FrameStore
from recbole_video.content.table import ContentTable, missing_frames_error
from recbole_video.data.atomic_file import FLOAT, read_columns, read_header
from recbole_video.data.metadata import (
    DERIVED,
    PAST,
    Metadata,
    MetadataEncoder,
    chosen_columns,
    is_made,
    raw_columns,
)
from recbole_video.data.text import read_titles, sidecar_path
from recbole_video.data.times import UNITS_PER_SECOND
from recbole_video.errors import ConfigError, DataError, counted, nearest
from recbole_video.files.raw import load_array
from recbole_video.files.reading import read_json
from recbole_video.files.values import file_digest

SPLITS = ("train", "valid", "test")
_USE = {"train": "train", "valid": "validate", "test": "test"}
_SUFFIX = ".popularity"
# What is done with videos that a store lacks; of another modality they are masked.
_MISSING = {"frames": "missing_items", "text": "missing_text"}
# What to do where a whole split lacks one.
_REMEDY = {
    "frames": "embed its videos by `dataset_tools frames`, or set use_frames=False",
    "text": "embed the titles by `dataset_tools embed-text`, or set use_text=False",
}


class PopularityDataset:
    """Labelled videos, read from what a converter, ``dataset_tools label`` and the video tools leave.

    A store that the model does not read, as no control does, still decides which videos are left out, so that all
    models see the same ones; where it is not there, no video is left out on its account.

    Args:
        config: The run's configuration.
        passed_over: Stores that leave no video out unless they are read, though the options have them do so: of a run
            that was made before they were there.
        encoder: Makes the metadata, that of a trained model; by default one that is fitted to the training rows.

    Attributes:
        items: Item tokens, object [N].
        labels: float64 [N].
        rows: Rows of each split, int64.
        authors: Author tokens, object [N]; None where ``.inter`` is not one row per video.
        content: What is read of ``frames``, ``text`` and other modalities, by row + 1.
        absent: Stores that are wanted, not read, and not there.
        read_as_zeros: Of each modality that is read, videos of each split that have none.
        metadata: The metadata of all rows; None without any.
        metadata_encoder: What made it.

    Raises:
        ConfigError: If the label is not named where there are several, or a metadata column is unknown.
        DataError: If a file is missing or malformed, a split is empty or lacks all its text, or training labels
            are all the same.
    """

    def __init__(self, config: Any, passed_over: Collection[str] = (), encoder: MetadataEncoder | None = None) -> None:
        self.config = config
        self._passed_over = passed_over
        self.name: str = config["dataset"]
        self.folder = Path(config["data_path"])
        self.label_path = find_label(self.folder, self.name, config["label"])
        self.dropped: Counter[str] = Counter()
        self.absent: list[Path] = []
        table = self._read_labels()
        stores = {kind: self._open(kind, path) for kind, path in content_stores(config).items()}
        for kind, store in stores.items():
            table = self._filter_missing(table, store, self._missing_policy(kind), kind)
        read = {kind: store for kind, store in stores.items() if store is not None and kind in config.inputs_read}
        table = self._filter_without_content(table, read)
        self.items = table["item_id"].to_numpy(dtype=object)
        self.labels = table["label"].to_numpy(dtype=np.float64)
        self.rows = self._split(table["split"].to_numpy(dtype=object))
        self.read_as_zeros = {kind: self._count_missing(store) for kind, store in read.items()}
        for kind, store in read.items():
            self._check_splits_have(kind, store)
        self._inter = self._read_inter()
        self._check_labels_are_current()
        self.authors = self._find_authors()
        self.content = self._content(read)
        self.metadata_encoder = MetadataEncoder([], [])
        reads_metadata = config["use_metadata"] and "metadata" in config.inputs_read
        self.metadata = self._make_metadata(encoder) if reads_metadata else None
        if not read and self.metadata is None and config.inputs_read - {"metadata"}:
            raise self._no_input_error()

    @property
    def frames(self) -> ContentTable | None:
        """Frame embeddings by row + 1; None if they are switched off or not read."""
        return self.content.tables.get("frames")

    @property
    def text(self) -> ContentTable | None:
        """Text embeddings by row + 1; None if they are switched off or not read."""
        return self.content.tables.get("text")

    @property
    def all_authors(self) -> np.ndarray:
        """The author of every video of ``.inter``, labelled or not, object [videos]."""
        return self._inter["user_id"].to_numpy(dtype=object)

    def __len__(self) -> int:
        return len(self.items)

    def __str__(self) -> str:
        """A few lines for the log; :meth:`summary` has all that results keep."""
        label = self.label_path.name[len(self.name) + 1 : -len(_SUFFIX)]
        authors = "" if self.authors is None else f", by {counted(len(set(self.authors.tolist())), 'author')}"
        left_out = [f"{n:,} {why}" for why, n in self.dropped.items() if n]
        facts = {
            "Label": f"{label}{_made_by(self._label_settings().get('settings'))}",
            "Videos": ", ".join(f"{len(self.rows[split]):,} to {_USE[split]}" for split in SPLITS) + authors,
            "Inputs": ", ".join(self._inputs_in_words()) or "none",
            "Left out": ", ".join(left_out) or "no video",
        }
        lines = [f"{set_color(name, 'blue')}: {value}" for name, value in facts.items()]
        return "\n".join([set_color(self.name, "pink"), *lines])

    def _inputs_in_words(self) -> list[str]:
        """What is read of a video: width of each modality, with the most rows that one has, and columns."""
        tables = self.content.tables.items()
        rows = {name: f"at most {table.store.n_frames} of " * (table.store.n_frames > 1) for name, table in tables}
        found = [f"{name} ({rows[name]}width {table.frame_dim})" for name, table in tables]
        if self.metadata is not None:
            columns = [self.metadata_encoder.numeric, self.metadata_encoder.categorical]
            of_kinds = zip(columns, (("number", "numbers"), ("category", "categories")), strict=True)
            told = [counted(len(names), *words) for names, words in of_kinds if names]
            found.append(f"metadata ({', '.join(told)})")
        return found

    def column(self, name: str) -> np.ndarray:
        """A number of each video or its author, as the files have it, float64 [N].

        Raises:
            ConfigError: If no file has such a column.
        """
        return self._read_raw({name})[name].to_numpy(dtype=np.float64, na_value=np.nan)

    def summary(self) -> dict[str, Any]:
        """Plain values about the data for result files."""
        inputs: dict[str, Any] = self.content.describe()
        if self.metadata is not None:
            inputs["metadata"] = {k: self.metadata_encoder.state()[k] for k in ("numeric", "categorical", "log1p")}
        return {
            "dataset": self.name,
            "label": {
                "name": self.label_path.name[len(self.name) + 1 : -len(_SUFFIX)],
                "sha256": file_digest(self.label_path),
                "settings": self._label_settings().get("settings"),
            },
            "rows": {split: len(rows) for split, rows in self.rows.items()},
            "authors": None if self.authors is None else len(set(self.authors.tolist())),
            "inputs": inputs,
            "dropped": dict(self.dropped),
            "read_as_zeros": self.read_as_zeros,
        }

    def _check_labels_are_current(self) -> None:
        """Labels remember of which interactions they were made."""
        made_of = self._label_settings().get("inter_sha256")
        path = self.folder / f"{self.name}.inter"
        if made_of is not None and file_digest(path) != made_of:
            raise DataError(
                f"`{self.label_path}` was made of another `{path.name}` than the one there is; make the labels anew by "
                "`dataset_tools label ... --overwrite`."
            )

    def _label_settings(self) -> dict[str, Any]:
        """What `label` wrote beside the labels; empty for labels of one's own."""
        record = self.label_path.with_name(f"{self.label_path.name}.json")
        settings = read_json(record) if record.is_file() else {}
        if not isinstance(settings, dict):
            raise DataError(f"`{record}` is not what `label` writes; make the labels anew by `label ... --overwrite`.")
        return settings

    def on(self, config: Any) -> PopularityDataset:
        """The same for a run of other options, with the features where it wants them."""
        moved = copy.copy(self)
        moved.config = config
        moved.content = self.content.on(config["device"], config["frames_on_device"])
        return moved

    def shareable(self) -> PopularityDataset:
        """The same without the configuration, which every run has of its own."""
        shared = copy.copy(self)
        shared.config = None
        return shared

    # -- rows ------------------------------------------------------------------------------------

    def _read_labels(self) -> pd.DataFrame:
        table = read_columns(
            self.label_path, {"item_id", "label", "split"}, set(), may_be_empty=lambda field: field != "item_id"
        )
        self._check_split_names(table)
        if repeated := table["item_id"][table["item_id"].duplicated()].tolist():
            raise DataError(f"`{self.label_path}` lists item `{repeated[0]}` twice; keep one row of each.")
        unlabelled = table["label"].isna()
        self.dropped["without a label"] = int(unlabelled.sum())
        no_split = ~unlabelled & ~table["split"].isin(SPLITS)
        self.dropped["without a split"] = int(no_split.sum())
        return table[~unlabelled & ~no_split].reset_index(drop=True)

    def _check_split_names(self, table: pd.DataFrame) -> None:
        """An empty split leaves a video out; one of another name is a mistake, or a part that would be lost."""
        unknown = ~table["split"].isin([*SPLITS, ""]).to_numpy()
        if unknown.any():
            row = int(unknown.argmax())
            item, name = table["item_id"].iloc[row], table["split"].iloc[row]
            raise DataError(
                f"`{self.label_path}`, line {row + 2}, column `split`: `{name}` of item `{item}` is none of "
                f"{', '.join(SPLITS)}{nearest(name, SPLITS)}; rename it, or empty the cell to leave the video out."
            )

    def _filter_missing(self, table: pd.DataFrame, store: FrameStore | None, missing: str, kind: str) -> pd.DataFrame:
        """Deal with the videos that a store lacks, as the option says."""
        if store is None or missing == "zero":
            return table
        has = has_any({kind: store}, table["item_id"].tolist())
        if not has.all() and missing == "error":
            tokens = table["item_id"][~has].tolist()
            if kind == "frames":
                raise missing_frames_error(store, tokens)
            raise DataError(
                f"{counted(len(tokens), 'video has', 'videos have')} no text in `{store.path}` (first: "
                f"`{tokens[0]}`); embed it, or set "
                "missing_text to drop or zero."
            )
        self.dropped[f"without {kind}"] = int((~has).sum())
        return table[has].reset_index(drop=True)

    def _filter_without_content(self, table: pd.DataFrame, read: dict[str, FrameStore]) -> pd.DataFrame:
        """Deal with the videos of which no store that is read has anything, as ``missing_items`` says.

        Frames and text have options of their own, which were heeded before; a further modality is masked where a video
        has another one.
        """
        missing = self.config["missing_items"]
        if set(read) <= set(_MISSING) or missing == "zero":
            return table
        tokens = table["item_id"].tolist()
        if missing == "error":
            refuse_missing(read, tokens)
        has = has_any(read, tokens)
        self.dropped["without content"] = int((~has).sum())
        return table[has].reset_index(drop=True)

    def _count_missing(self, store: FrameStore) -> dict[str, int]:
        """Videos of each split that a store lacks."""
        has = has_any({"": store}, self.items.tolist())
        return {split: int((~has[rows]).sum()) for split, rows in self.rows.items()}

    def _check_splits_have(self, kind: str, store: FrameStore) -> None:
        """Zeros for a whole split are text embedded for other videos, not some videos without text."""
        for split, n_missing in self.read_as_zeros[kind].items():
            if n_missing == len(self.rows[split]):
                what = _REMEDY.get(kind, f"write a store with them, or leave `{kind}` out of content")
                raise DataError(f"No video of the split `{split}` has {kind} in `{store.path}`; {what}.")

    def _split(self, split: np.ndarray) -> dict[str, np.ndarray]:
        rows = {name: np.flatnonzero(split == name) for name in SPLITS}
        for name, found in rows.items():
            if not len(found):
                raise DataError(
                    f"`{self.label_path}` has no video with a label in the split `{name}`; change the split."
                )
        share, n_all = self.config["train_share"], len(rows["train"])
        if share < 1:
            n_kept = max(1, round(share * n_all))
            rng = np.random.default_rng(self.config["seed"])
            rows["train"] = np.sort(rng.permutation(rows["train"])[:n_kept])
        if np.ptp(self.labels[rows["train"]]) == 0:
            if share < 1:
                raise DataError(
                    f"`train_share` is {share}, which leaves {len(rows['train']):,} of {n_all:,} training videos and a "
                    "single label: there is nothing to learn; raise it."
                )
            raise DataError(f"All training labels of `{self.label_path}` are the same: there is nothing to learn.")
        return rows

    # -- inputs ----------------------------------------------------------------------------------

    def _missing_policy(self, kind: str) -> str:
        """What is done with videos that lack a modality: error, drop or zero."""
        return self.config[_MISSING[kind]] if kind in _MISSING else "zero"

    def _open(self, kind: str, path: Path) -> FrameStore | None:
        """A store that is read, or that may leave videos out."""
        is_read = kind in self.config.inputs_read
        if not is_read and (self._missing_policy(kind) == "zero" or kind in self._passed_over):
            return None
        if not path.is_file() and not is_read:
            self.absent.append(path)
            return None
        if not path.is_file():
            raise self._missing_store_error(kind, path)
        return FrameStore(path)

    def _missing_store_error(self, kind: str, path: Path) -> DataError:
        what = f"write it by write_frame_store, or leave `{kind}` out of content"
        if kind in _MISSING:
            command = "frames" if kind == "frames" else "embed-text"
            what = f"make it by `dataset_tools {command}`, or set use_{kind}=False to do without"
        return no_store_error(self.config, kind, path, what)

    def _no_input_error(self) -> ConfigError:
        """What the model reads is not there, switched off, or not what ``content`` names."""
        reads = self.config.inputs_read
        off = [f"use_{kind}" for kind in sorted(reads - {"metadata"}) if not self.config.get(f"use_{kind}", True)]
        why = ["there is no metadata column"] if "metadata" in reads else []
        if len(off) == len(reads - {"metadata"}):
            why.append(f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} False")
        else:
            why.append(f"content names nothing of what {self.config['model']} reads ({', '.join(sorted(reads))})")
        return ConfigError(f"No input is left: {', and '.join(why)}.")

    def _content(self, stores: dict[str, FrameStore]) -> ItemContent:
        tokens = np.array(["[PAD]", *self.items], dtype=object)
        device, on_device = self.config["device"], self.config["frames_on_device"]
        return ItemContent.of(stores, tokens, device, on_device, zero_missing=True)

    def _read_inter(self) -> pd.DataFrame:
        """Author and video of each interaction."""
        path = self.folder / f"{self.name}.inter"
        if not path.is_file():
            raise DataError(f"There is no `{path}`; check --dataset and --data_path.")
        return read_columns(path, {"user_id", "item_id"}, set())

    def _find_authors(self) -> np.ndarray | None:
        """The author of each video, where each video has one interaction: that of its author."""
        if self._inter["item_id"].duplicated().any():
            return None
        author = self._inter.set_index("item_id")["user_id"].reindex(self.items)
        return None if author.isna().any() else author.to_numpy(dtype=object)

    def _make_metadata(self, encoder: MetadataEncoder | None) -> Metadata | None:
        numeric, categorical = chosen_columns(self.config)
        if not numeric and not categorical:
            return None
        self._refuse_clashes([*numeric, *({"time"} & {*categorical})])
        raw, train = self._raw_metadata(), self.rows["train"]
        self.metadata_encoder = encoder or MetadataEncoder(numeric, categorical, self.config["metadata_log1p"])
        if encoder is None:
            self.metadata_encoder.fit(raw.iloc[train], self.labels[train])
        return self.metadata_encoder.transform(raw)

    def encoded_by(self, encoder: MetadataEncoder) -> PopularityDataset:
        """The same with the metadata as another encoder, that of a trained model, has them.

        Raises:
            DataError: If a column that it reads is missing.
        """
        encoded = copy.copy(self)
        encoded.metadata_encoder, encoded.metadata = encoder, encoder.transform(self._raw_metadata())
        return encoded

    def _raw_metadata(self) -> pd.DataFrame:
        """What the metadata are made of, a row per video."""
        numeric, categorical = chosen_columns(self.config)
        text = {*categorical, *({"title"} - {*numeric})}
        read_exactly = raw_columns([name for name in numeric if name not in PAST], categorical)
        raw = self._read_raw(read_exactly, text)
        if set(PAST) & set(numeric):
            raw = raw.assign(user_id=self._known_authors())
            raw = raw if "time" in raw else raw.assign(time=self._times_in_order())
        return raw

    def _known_authors(self) -> np.ndarray:
        """The author of each video, for what they have posted before."""
        if self.authors is None:
            raise ConfigError(
                f"Author history needs the author of each video, and `{self.name}.inter` has not one row for each; set "
                "author_history=False."
            )
        return self.authors

    def _times_in_order(self) -> np.ndarray:
        """Times that tell what came before what, float64 [N]: the exact ones, or as ``.inter`` has them."""
        if (self.folder / f"{self.name}.times.npy").is_file():
            return self._exact_times()
        path, field = self.folder / f"{self.name}.inter", self.config["TIME_FIELD"]
        if field not in {one.name for one in read_header(path)}:
            raise ConfigError(
                f"Author history needs times, and there is neither `{self.name}.times.npy` nor a column `{field}` in "
                f"`{path}`; name the column by TIME_FIELD, or set author_history=False."
            )
        times = read_columns(path, {"item_id", field}, set(), may_be_empty=_other_than("item_id"))
        return times.groupby("item_id")[field].min().reindex(self.items).to_numpy(dtype=np.float64, na_value=np.nan)

    def _refuse_clashes(self, names: Sequence[str]) -> None:
        """Refuse a column of a file that is also the name of a derived feature, or that of the exact times."""
        for suffix, is_read in ((".item", True), (".user", self.authors is not None)):
            path = self.folder / f"{self.name}{suffix}"
            fields = {field.name for field in read_header(path)} if is_read and path.is_file() else set()
            if clash := [name for name in names if name in fields and (is_made(name) or name == "time")]:
                own = "derived from others" if is_made(clash[0]) else "the time of the interaction"
                raise ConfigError(
                    f"`{clash[0]}` is a column of `{path}`, and as a number of the metadata it is {own}; give the "
                    "column another name where the data set is made."
                )

    def _read_raw(self, wanted: set[str], text: set[str] | None = None) -> pd.DataFrame:
        """Columns of ``.item``, ``.user``, exact times and titles, a row per video."""
        found = pd.DataFrame(index=range(len(self.items)))
        left = set(wanted)
        if "time" in left:
            found["time"] = self._exact_times()
            left.discard("time")
        for suffix, key, tokens in ((".item", "item_id", self.items), (".user", "user_id", self.authors)):
            path = self.folder / f"{self.name}{suffix}"
            if tokens is None or not path.is_file():
                continue
            fields = {field.name: field for field in read_header(path)}
            here = left & (fields.keys() - {key})
            if here:
                table = read_columns(path, {*here, key}, set(), may_be_empty=_other_than(key))
                table = table.drop_duplicates(key).set_index(key).reindex(tokens)
                for name in here:
                    if fields[name].type != FLOAT and name not in (text or ()):
                        raise ConfigError(f"`{name}` of `{path}` is not a number; name it in metadata_categorical.")
                    found[name] = table[name].to_numpy()
                left -= here
        if "title" in left:
            found["title"] = self._titles()
            left.discard("title")
        if left:
            raise self._unknown_column_error(min(left))
        return found

    def _unknown_column_error(self, name: str) -> ConfigError:
        known = {"title", "time", *DERIVED}
        for suffix in (".item", ".user"):
            path = self.folder / f"{self.name}{suffix}"
            if path.is_file():
                known |= {field.name for field in read_header(path)}
        why = "" if self.authors is not None else " (authors are not known, so .user is not read)"
        return ConfigError(
            f"The metadata column `{name}`{nearest(name, known)} is neither in `{self.name}.item` nor in "
            f"`{self.name}.user`{why}."
        )

    def _exact_times(self) -> np.ndarray:
        """Unix time of each video's first interaction in seconds, which the converter kept."""
        path = self.folder / f"{self.name}.times.npy"
        if not path.is_file():
            raise ConfigError(
                f"`hour` and `weekday` need the exact times of `{path}`, which converters write; leave them out."
            )
        times, items = load_array(path), self._inter["item_id"].to_numpy()
        if times.shape != items.shape or times.dtype.kind != "i":
            raise DataError(f"`{path}` is not a time for each row of `{self.name}.inter`; convert the data set anew.")
        first = pd.Series(times).groupby(items).min()
        return first.reindex(self.items).to_numpy(dtype=np.float64) / UNITS_PER_SECOND[self._time_unit()]

    def _time_unit(self) -> str:
        """The unit of the exact times, from the card of the data set."""
        path = self.folder / f"{self.name}.card.json"
        card = read_json(path)
        facts = card.get("interactions") if isinstance(card, dict) else None
        unit = facts.get("time_unit") if isinstance(facts, dict) else None
        if not isinstance(unit, str) or unit not in UNITS_PER_SECOND:
            raise DataError(f"`{path}` does not tell the unit of the times; convert the data set anew.")
        return unit

    def _titles(self) -> np.ndarray:
        path = sidecar_path(self.folder, self.name)
        if not path.is_file():
            raise DataError(f"There is no `{path}`, from which title statistics are made; leave them out.")
        titles = self.titles()
        return np.array([titles.get(item, "") for item in self.items], dtype=object)

    def titles(self) -> dict[str, str]:
        """As :func:`~recbole_video.data.text.read_titles`."""
        return read_titles(self.folder, self.name)


def _made_by(settings: Any) -> str:
    """How ``label`` made the labels, in brackets; empty for labels of one's own."""
    if not isinstance(settings, dict) or not isinstance(settings.get("sources"), list):
        return ""
    split = settings.get("split")
    kind = f"; split {split['kind']}" if isinstance(split, dict) and "kind" in split else ""
    return f" ({settings.get('transform')} of {', '.join(map(str, settings['sources']))}{kind})"


def _other_than(key: str) -> Callable[[str], bool]:
    return lambda field: field != key


def find_label(folder: Path, name: str, label: str | None) -> Path:
    """The file of labels that is named, or the only one there is.

    Raises:
        ConfigError: If there are several and none is named, or there is none of that name.
        DataError: If there is none at all.
    """
    found = {
        path.name[len(name) + 1 : -len(_SUFFIX)]: path for path in sorted(folder.glob(f"{escape(name)}.*{_SUFFIX}"))
    }
    if not found:
        raise DataError(
            f"`{folder}` holds no popularity labels; make them by `python -m recbole_video.dataset_tools label {name} "
            "--preset ...`, which --list_presets explains."
        )
    if label is None:
        if len(found) > 1:
            raise ConfigError(f"`{folder}` holds several labels; choose one by --label: {', '.join(found)}.")
        return next(iter(found.values()))
    if label not in found:
        raise ConfigError(f"`{folder}` holds no label `{label}`{nearest(label, found)}; it holds {', '.join(found)}.")
    return found[label]
