"""Popularity labels of a converted data set, by a named preset or by settings of one's own.

Writes <name>.<label name>.popularity: item_id, label, raw (the count), time (of the item's first interaction) and
split. An item without a label keeps an empty label and an empty split. <...>.popularity.json holds all settings, what
the scaling was fitted to, and how many items have no label and why.

  label microlens-100k --preset mmra
  label microlens-100k --source views --transform log2_1p --split temporal --shares 0.8 0.1 0.1
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from recbole_video.dataset_tools.output.atomic import write_atomic_file
from recbole_video.dataset_tools.output.summary import place
from recbole_video.dataset_tools.popularity.labels import SCALINGS, TRANSFORMS, Labels, LabelSettings, make_labels
from recbole_video.dataset_tools.popularity.presets import PRESETS
from recbole_video.dataset_tools.popularity.splits import KINDS, SplitSettings

from recbole_video import __version__
from recbole_video.data.atomic_file import FLOAT, read_columns, read_header
from recbole_video.data.text import read_titles
from recbole_video.errors import ConfigError, DataError, counted, nearest
from recbole_video.files.atomic import write_json
from recbole_video.files.names import is_plain_name
from recbole_video.files.replacement import Replacement
from recbole_video.files.values import file_digest, plain

if TYPE_CHECKING:
    import pandas as pd

HELP = "popularity labels from the counts of a converted data set"
_SETTINGS = ("sources", "transform", "scaling", "top", "cap", "fitted_on")
_SPLIT_SETTINGS = {"split": "kind", "shares": "shares", "seed": "seeds", "drawn_first": "drawn_first"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("name", nargs="?", help="the data set")
    parser.add_argument(
        "--data_path", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)"
    )
    parser.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)}; further options change it")
    parser.add_argument("--list_presets", action="store_true", help="print what each preset is and where it comes from")
    parser.add_argument("--label_name", help="in the name of the files (default: the preset, or source and transform)")
    parser.add_argument("--overwrite", action="store_true", help="replace labels of this name")
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--source", dest="sources", nargs="+", metavar="COUNT", help="columns of .counts; of several, the mean counts"
    )
    group.add_argument("--transform", choices=tuple(TRANSFORMS), help="of each source (default: raw)")
    group.add_argument("--scaling", choices=SCALINGS, help="of each source (default: none)")
    group.add_argument("--top", type=float, help="minmax: what the largest value becomes (default: 1)")
    group.add_argument("--cap", type=float, help="labels above it become it")
    group.add_argument("--fitted_on", choices=("train", "all"), help="what the scaling is fitted to (default: train)")
    group.add_argument("--split", choices=KINDS, help="default: random")
    group.add_argument(
        "--shares", type=float, nargs=3, metavar="SHARE", help="of train, valid, test (default: 0.8 0.1 0.1)"
    )
    group.add_argument("--seed", type=int, nargs="+", help="one; two for two_stage (default: 42)")
    group.add_argument("--drawn_first", choices=("valid", "test"), help="two_stage: what the second draw returns first")


def run(arguments: argparse.Namespace) -> None:
    """Make the labels and write them beside the data set."""
    if arguments.list_presets:
        print(describe_presets())
        return
    if not arguments.name:
        raise ConfigError("Name a data set, or give --list_presets.")
    settings = settings_of(arguments)
    if not is_plain_name(arguments.name):
        raise ConfigError(f"`{arguments.name}` cannot be the name of a data set; the folder is what --data_path names.")
    folder = arguments.data_path / arguments.name
    label_name = arguments.label_name or arguments.preset or f"{'-'.join(settings.sources)}-{settings.transform}"
    path = _free_path(folder, arguments.name, label_name, arguments.overwrite)
    labels = label_items(folder, arguments.name, label_name, settings, arguments.preset)
    _report(path, labels, settings.split.kind)
    print(f"Next: {_training_command(folder, arguments.name, label_name)}")


def _training_command(folder: Path, name: str, label_name: str) -> str:
    """The trees on what the files say of a video: a control, to be exceeded by what looks at videos."""
    kept = [path for path in (folder / f"{name}.item", folder / f"{name}.user") if path.is_file()]
    numbers = [field.name for path in kept for field in read_header(path) if field.type == FLOAT]
    inter = folder / f"{name}.inter"
    is_timed = (folder / f"{name}.times.npy").is_file()
    if is_timed and not read_columns(inter, {"item_id"}, set())["item_id"].duplicated().any():  # the time of a post
        numbers += ["hour", "weekday"]
    if any(read_titles(folder, name).values()):
        numbers.append("title_words")
    words = ["python", "run_recbole_video.py", f"--dataset={name}", *place(folder), f"--label={label_name}"]
    if not numbers:
        return shlex.join([*words, "--model=Constant"])
    return f'{shlex.join([*words, "--model=MetadataGBDT"])} --metadata_numeric="[{", ".join(numbers)}]"'


def _free_path(folder: Path, name: str, label_name: str, overwrite: bool) -> Path:
    """Where labels go, once it is checked that they may."""
    if not is_plain_name(label_name):
        raise ConfigError(f"`{label_name}` cannot be a label's name: it becomes part of a file's name.")
    path = label_path(folder, name, label_name)
    existing = [file.name for file in (path, _record(path)) if file.exists()]
    if existing and not overwrite:
        raise DataError(f"`{folder}` already holds `{existing[0]}`; give --overwrite, or another --label_name.")
    return path


def label_path(folder: Path, name: str, label_name: str) -> Path:
    """Where the labels of a data set are."""
    return folder / f"{name}.{label_name}.popularity"


def label_items(folder: Path, name: str, label_name: str, settings: LabelSettings, preset: str | None = None) -> Labels:
    """Make labels and write them, with their settings beside them, into the folder of the data set."""
    path = label_path(folder, name, label_name)
    items, columns = read_counts(folder, name, settings.sources)
    times = read_times(folder / f"{name}.inter", items)
    official = read_official(folder / f"{name}.item", items) if settings.split.kind == "official" else None
    labels = make_labels(columns, times, official, settings)
    with Replacement(folder, path.name) as new:  # labels with the settings of others would be taken for theirs
        write_labels(new.file(path.name), items, labels, times)
        write_json(new.file(_record(path).name), describe_labels(name, preset, label_name, settings, labels, folder))
    return labels


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def settings_of(arguments: argparse.Namespace) -> LabelSettings:
    """The preset, if one is named, with what the options change.

    Raises:
        ConfigError: If there is no such preset, or neither preset nor source is given.
    """
    given = _given(arguments, {key: key for key in _SETTINGS})
    split = _given(arguments, _SPLIT_SETTINGS)
    if arguments.preset is None:
        if "sources" not in given:
            raise ConfigError("Give --source or --preset; --list_presets prints what there is.")
        return LabelSettings(**given, split=SplitSettings(**split))
    if arguments.preset not in PRESETS:
        close = nearest(arguments.preset, PRESETS)
        raise ConfigError(f"There is no preset `{arguments.preset}`{close}; there are {', '.join(PRESETS)}.")
    preset = PRESETS[arguments.preset].settings
    if split.get("kind", preset.split.kind) != preset.split.kind:
        return replace(preset, **given, split=SplitSettings(**split))
    return replace(preset, **given, split=replace(preset.split, **split))


def _given(arguments: argparse.Namespace, names: Mapping[str, str]) -> dict[str, Any]:
    """The options that were given, each under its second name; several values are a tuple."""
    values = {new: getattr(arguments, old) for old, new in names.items()}
    return {new: tuple(v) if isinstance(v, list) else v for new, v in values.items() if v is not None}


def describe_presets() -> str:
    """The presets, one paragraph each."""
    paragraphs = []
    for name, preset in PRESETS.items():
        s = preset.settings
        scaling = "" if s.scaling == "none" else f", {s.scaling} fitted on {s.fitted_on}"
        what = f"{s.transform} of {' + '.join(s.sources)}{scaling}; split {s.split.kind}"
        paragraphs.append("\n  ".join(filter(None, (f"{name} ({preset.data}): {what}", preset.source, preset.remark))))
    return "\n\n".join(paragraphs)


def read_counts(folder: Path, name: str, sources: tuple[str, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Item tokens [N] and their counts; ``interactions`` are counted in ``.inter`` where ``.counts`` has none."""
    path = folder / f"{name}.counts"
    if not (folder / f"{name}.inter").is_file():
        raise DataError(f"There is no data set `{name}` in `{folder.parent}`; convert it first, or set --data_path.")
    if path.is_file():
        numbers = {field.name for field in read_header(path) if field.type == FLOAT}
        table = read_columns(path, {"item_id", *numbers}, set(), may_be_empty=lambda field: field != "item_id")
        _check_once(path, table["item_id"])
        return table["item_id"].to_numpy(), {name: table[name].to_numpy() for name in table if name in numbers}
    if sources != ("interactions",):
        raise DataError(f"There is no `{path}`{_where_else(folder / f'{name}.item', sources)}.")
    counts = read_columns(folder / f"{name}.inter", {"item_id"}, set())["item_id"].value_counts(sort=False)
    return counts.index.to_numpy(dtype=object), {"interactions": counts.to_numpy(dtype=np.float64)}


def _where_else(item_path: Path, sources: tuple[str, ...]) -> str:
    """How to come by the counts that were asked for, where there is no ``.counts``."""
    fields = {field.name: field.type for field in read_header(item_path)} if item_path.is_file() else {}
    if there := [name for name in sources if fields.get(name) == FLOAT]:
        return (
            f", and `{there[0]}` is a column of `{item_path.name}`, which holds what is known before a video is seen: "
            f"copy it and item_id into the missing file, with the header `item_id:token`, tab, `{there[0]}:float`"
        )
    if others := [name for name, kind in fields.items() if kind == FLOAT and sources != ("interactions",)]:
        return (
            f", which would hold `{sources[0]}`; the numbers in `{item_path.name}` (`{'`, `'.join(others)}`) are "
            "what is known before a video is seen: if one of them is a count, put it into a file of that name, with "
            f"the header `item_id:token`, tab, `{others[0]}:float`, and give --source={others[0]}"
        )
    return (
        ", a table of item_id:token and counts, each a column name:float; without it there is one count, how often "
        "an item occurs: --source=interactions"
    )


def _check_once(path: Path, items: pd.Series) -> None:
    twice = items.duplicated()
    if twice.any():
        raise DataError(f"`{path}` has two rows of item `{items[twice].iloc[0]}`; keep one.")


def read_times(path: Path, items: np.ndarray) -> np.ndarray:
    """Time of each item's first interaction, float64 [N], in seconds since the first of all; NaN without any."""
    table = read_columns(path, {"item_id", "timestamp"}, set())
    first = table.groupby("item_id")["timestamp"].min()
    return first.reindex(items).to_numpy(dtype=np.float64)


def read_official(path: Path, items: np.ndarray) -> np.ndarray | None:
    """The authors' split of each item, [N] str; None if the ``.item`` file has none.

    Raises:
        DataError: If an item of ``.counts`` has no row.
    """
    if not path.is_file() or "split" not in {field.name for field in read_header(path)}:
        return None
    table = read_columns(path, {"item_id", "split"}, set())
    _check_once(path, table["item_id"])
    split = table.set_index("item_id")["split"].reindex(items)
    if split.isna().any():
        raise DataError(f"`{path}` has no row for item `{items[split.isna().argmax()]}` of the counts.")
    return split.to_numpy(dtype=object)


def write_labels(path: Path, items: np.ndarray, labels: Labels, times: np.ndarray) -> None:
    """Write the ``.popularity`` table, items in the order of ``.counts``."""
    columns: dict[str, Any] = {
        "item_id:token": items,
        "label:float": labels.label,
        "raw:float": labels.raw,
        "time:float": times,
        "split:token": labels.split,
    }
    write_atomic_file(path, columns)


def describe_labels(
    name: str, preset_name: str | None, label_name: str, settings: LabelSettings, labels: Labels, folder: Path
) -> dict[str, Any]:
    """All there is to know about the labels, as plain values."""
    preset = PRESETS.get(preset_name or "")
    as_preset = preset is not None and preset.settings == settings
    counts = folder / f"{name}.counts"
    return plain(
        {
            "data_set": name,
            "label_name": label_name,
            "made_by": f"recbole_video {__version__}",
            "preset": preset_name,
            "preset_changed": preset is not None and not as_preset,
            "source": preset.source if preset else None,
            "remark": preset.remark if preset else None,
            "settings": asdict(settings),
            "fitted": labels.fitted,
            "labels": labels.summary(),
            "unlabelled": labels.unlabelled,
            "warnings": labels.warnings,
            "counts_sha256": file_digest(counts) if counts.is_file() else None,
            "inter_sha256": file_digest(folder / f"{name}.inter"),
        }
    )


def _report(path: Path, labels: Labels, split: str) -> None:
    for warning in labels.warnings:
        print(f"Warning: {warning}")
    for reason, number in labels.unlabelled.items():
        print(f"{counted(number, 'item has', 'items have')} no label: {reason}.")
    for part, numbers in labels.summary().items():
        if numbers["items"]:
            moments = f"mean {numbers['mean']:.4f}, sd {numbers['sd']:.4f}"
            print(f"{part:<6} {numbers['items']:>8,} items, {moments}, {numbers['min']:.4f} to {numbers['max']:.4f}")
    print(f"Written: {path} and {path.name}.json; split: {split}")
