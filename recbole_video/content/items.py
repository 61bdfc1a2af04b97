"""The content of a data set's items: named modalities, each a table by item id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_video.content.store import FIT, SPACE_OF, SUFFIX, FrameStore, store_path
from recbole_video.content.table import ContentTable, MeanTable, missing_frames_error
from recbole_video.content.twins import Twins
from recbole_video.errors import DataError, counted, nearest
from recbole_video.files.replacement import finish_replacements
from recbole_video.options.content import FRAMES, chosen_content
from recbole_video.runtime.checkpoint_checks import Fields


class ContentRows(NamedTuple):
    """One modality of N items.

    Attributes:
        values: [N, R, D] float32, zero where the mask is false.
        mask: [N, R] bool, true where an item has a row; of content that was averaged, float32: how many rows each one
            is the mean of.
    """

    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Origin:
    """What a checkpoint remembers of a modality.

    Attributes:
        dim: D, width of a row.
        vfm: The model that made the rows.
        sampling: How what they show was chosen.
        sha256: Of the array in the store.
    """

    dim: int
    vfm: str | None = None
    sampling: str | None = None
    sha256: str | None = None


class GatheredContent:
    """Named tables over the same items, from which rows are gathered by item id; id 0 is padding.

    Args:
        tables: Name -> table, in the order in which they are read.
    """

    def __init__(self, tables: Mapping[str, ContentTable | MeanTable]) -> None:
        self._tables = dict(tables)

    @property
    def device(self) -> torch.device:
        """Where rows are gathered to."""
        return next(iter(self._tables.values())).device

    def gather(self, ids: Tensor, read: Mapping[str, Tensor] | None = None) -> dict[str, ContentRows]:
        """What some items have, by modality.

        Args:
            ids: [N] int on the content's device.
            read: What :meth:`read` gave for them, on the content's device; what is not there is gathered.
        """
        read = read or {}
        return {name: ContentRows(*table.gather(ids, read.get(name))) for name, table in self._tables.items()}

    def read(self, ids: np.ndarray) -> dict[str, Tensor]:
        """Read from disk what is not held on the device, by modality: rows of ``ids: [N]``, float16 [N, R, D]."""
        on_disk = {n: t for n, t in self._tables.items() if isinstance(t, ContentTable) and not t.is_on_device}
        return {name: table.read(ids) for name, table in on_disk.items()}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Plain values for the results of a run; ``averaged``: the mean of an item's rows is read in their place."""
        described = {}
        for name, table in self._tables.items():
            origin = _origin(table.store)
            described[name] = {
                "file": table.store.path.name,
                "sha256": origin.sha256,
                "vfm": origin.vfm,
                "sampling": origin.sampling,
                "on_device": table.is_on_device,
                **({"averaged": True} if isinstance(table, MeanTable) else {}),
            }
        return described

    def in_words(self) -> str:
        """What is read of an item, for the log: each modality with its file, its model, its rows and their width."""
        told = []
        for name, table in self._tables.items():
            rows = f"at most {table.store.n_frames} of " * (table.store.n_frames > 1)
            told.append(f"{name} ({table.store.path.name}: {_origin(table.store).vfm}, {rows}width {table.frame_dim})")
        return ", ".join(told)


class ItemContent(GatheredContent):
    """The content of a data set as its stores have it.

    An item that one modality lacks is masked there.

    Args:
        tables: Name -> table, in the order in which they are read.
    """

    def __init__(self, tables: Mapping[str, ContentTable]) -> None:
        super().__init__(tables)
        self.tables = dict(tables)

    @classmethod
    def of(
        cls,
        stores: Mapping[str, FrameStore],
        tokens: np.ndarray,
        device: torch.device,
        on_device: str | bool = "auto",
        zero_missing: bool = False,
    ) -> ItemContent:
        """The content of some items; arguments as those of :class:`ContentTable`.

        Raises:
            DataError: If an item is in no store and ``zero_missing`` is False, or a store is damaged.
        """
        if not zero_missing:
            refuse_missing(stores, [str(token) for token in tokens[1:]])
        read = (tokens, device, on_device, True, len(stores))
        return cls({name: ContentTable(store, *read) for name, store in stores.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities."""
        return tuple(self.tables)

    @property
    def dims(self) -> dict[str, int]:
        """D, width of a row, of each modality."""
        return {name: table.frame_dim for name, table in self.tables.items()}

    def averaged(self) -> GatheredContent:
        """The mean of an item's rows in the place of the rows, see :meth:`ContentTable.averaged`."""
        return GatheredContent({name: table.averaged() for name, table in self.tables.items()})

    def on(self, device: torch.device, on_device: str | bool = "auto") -> ItemContent:
        """The same for another device, see :meth:`ContentTable.on`."""
        return ItemContent({name: table.on(device, on_device) for name, table in self.tables.items()})

    def twins(self) -> dict[Path, Twins]:
        """Store -> items that it cannot tell apart; with several modalities another may tell them apart."""
        if len(self.tables) > 1:
            return {}
        return {table.store.path: twins for table in self.tables.values() if (twins := table.twins()) is not None}

    def origins(self) -> dict[str, dict[str, Any]]:
        """Plain values for a checkpoint, see :class:`Origin`."""
        return {name: asdict(_origin(table.store)) for name, table in self.tables.items()}


def _origin(store: FrameStore) -> Origin:
    manifest = store.manifest
    return Origin(store.frame_dim, manifest.vfm, manifest.sampling, manifest.sha256)


# -- stores ------------------------------------------------------------------------------------


def content_stores(config: Any) -> dict[str, Path]:
    """Name of each modality that a run may read -> its file, whichever options named it.

    A name alone is ``<dataset>.<name>.frames.npy``, and so is the word of a store; ``frames`` is
    ``<dataset>.frames.npy``, unless only the longer name is there, or that was asked for by its word.

    Raises:
        ConfigError: If a store is neither a word nor the path of a file ``.npy``.
    """
    folder, dataset = Path(config["data_path"]), config["dataset"]
    return {name: _store_of(name, store, folder, dataset) for name, store in chosen_content(config).items()}


def _store_of(name: str, store: str | None, folder: Path, dataset: str) -> Path:
    named = store_path(folder, dataset, store or name)
    if (store or name) != FRAMES:
        return named
    main = store_path(folder, dataset, None)
    return named if named.is_file() and (store or not main.is_file()) else main


def open_stores(config: Any) -> dict[str, FrameStore]:
    """The stores of all modalities of a run.

    Raises:
        DataError: If one is missing or damaged.
    """
    paths = content_stores(config)
    for name, path in paths.items():
        finish_replacements(path.parent)
        if not path.is_file():
            raise no_store_error(config, name, path)
    return {name: FrameStore(path) for name, path in paths.items()}


def no_store_error(config: Any, name: str, path: Path, else_what: str = "") -> DataError:
    """The error for a modality whose store is not there: which options ask for it, and which stores there are.

    Args:
        config: The run's options.
        name: The modality.
        path: Where its store should be.
        else_what: What to do, where that is not to name another store or to write this one.
    """
    known = _stores_there(Path(config["data_path"]), config["dataset"])
    there = f"there is {', '.join(known)}"
    if config["content"] is None:
        what = else_what or "frame embeddings come from dataset_tools, or set frame_store"
        return DataError(f"There is no `{path}`; {what}{f' ({there})' if known else ''}.")
    store = chosen_content(config).get(name) or name
    of_store = "" if store == name else f", of the store `{store}`"
    what = else_what or "name what is there, or write the store by dataset_tools or write_frame_store"
    return DataError(
        f"`content` names `{name}`{of_store}{nearest(store, known)}, and there is no `{path}`"
        f"{f'; {there}' if known else ''}: {what}."
    )


def _stores_there(folder: Path, dataset: str) -> list[str]:
    """The words of the stores that a data set has, ``frames`` for the one that needs none."""
    names = {file.name[len(dataset) + 1 : -len(SUFFIX)] for file in folder.glob(f"{escape(dataset)}.*{SUFFIX}")}
    return sorted(names | {FRAMES} if (folder / f"{dataset}{SUFFIX}").is_file() else names)


def has_any(stores: Mapping[str, FrameStore], tokens: Sequence[str]) -> np.ndarray:
    """Whether a store, of those given, has anything of each item, bool [N]."""
    found = np.zeros(len(tokens), dtype=bool)
    for store in stores.values():
        found |= store.counts_of(store.rows_of(tokens)) > 0
    return found


def refuse_missing(stores: Mapping[str, FrameStore], tokens: Sequence[str]) -> None:
    """Refuse items of which no store has anything.

    Raises:
        DataError: With their number, and the first of them.
    """
    without = [token for token, has in zip(tokens, has_any(stores, tokens), strict=True) if not has]
    if not without:
        return
    if len(stores) == 1:
        [(name, store)] = stores.items()
        raise missing_frames_error(store, without, name)
    shown = ", ".join(f"`{store.path.name}`" for store in stores.values())
    first = ", ".join(f"`{token}`" for token in without[:5])
    raise DataError(
        f"{counted(len(without), 'item has', 'items have')} no content in any of {shown} (first: {first}); add it, or "
        "set missing_items=drop to leave out their interactions or missing_items=zero to give them zeros."
    )


def refuse_other_space(store: FrameStore, origin: Origin) -> None:
    """Refuse rows that were fitted to other content than the training's: their numbers mean something else.

    Raises:
        DataError: If they are.
    """
    extra = store.manifest.extra
    if FIT not in extra or origin.sha256 in (None, store.manifest.sha256, extra.get(SPACE_OF)):
        return
    raise DataError(
        f"`{store.path}` was fitted to other texts than those of the training, so that its vectors mean something "
        "else; make it by `embed-text --new` from the store that the model was trained on."
    )


# -- checkpoints -------------------------------------------------------------------------------


def checked_origins(data: Fields, wanted: Mapping[str, int | None]) -> dict[str, Origin]:
    """What a checkpoint says of the content that its model reads, in the order of ``wanted``.

    Args:
        data: The ``data`` of a checkpoint, of today's form.
        wanted: The modalities that the model reads; their widths, where they are known from elsewhere.

    Raises:
        CheckpointError: If it tells of others, or a value is not as it must be.
    """
    content = data.inner("content")
    if set(content.names()) != set(wanted):
        raise data.refusal("`content`", f"about {', '.join(wanted) or 'nothing'}, which the model reads")
    return {name: _checked_origin(content.inner(name), dim) for name, dim in wanted.items()}


def _checked_origin(values: Fields, dim: int | None) -> Origin:
    texts = {name: values.text_or_none(name) for name in ("vfm", "sampling", "sha256")}
    return Origin(values.whole("dim", 1) if dim is None else values.whole("dim", dim, dim), **texts)
