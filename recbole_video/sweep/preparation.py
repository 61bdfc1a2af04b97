"""What a sweep needs before it runs, and what it will take: data, weights, disk, hours."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from recbole_video.config import Config
from recbole_video.content.items import content_stores
from recbole_video.content.store import store_path
from recbole_video.errors import ConfigError, DataError, MissingDependencyError, counted, nearest
from recbole_video.files.reading import read_json
from recbole_video.sweep.plan import Dataset, Plan
from recbole_video.sweep.spec import Need, Row, Sweep

_DEFAULT_SAMPLER, _DEFAULT_FRAMES = "resample", 5  # of dataset_tools frames
_BYTES = 2  # of a stored number, float16
_SECONDS_PER_HOUR = 3600
_MOST_FILES = 3  # that are missing of a data set and named on lines of their own
# Measured on two cores of a server without a GPU, videos of 8 to 29 seconds: benchmarks/results.
_RESAMPLED_PER_SECOND = 0.25


@dataclass(frozen=True)
class Missing:
    """A data set that a sweep reads and that is not there, or not whole.

    Attributes:
        dataset: Its name.
        files: What is not there.
        need: Where it comes from; None where the sweep does not say.
        commands: What makes it, once it has been downloaded.
        near: The data set that may have been meant, as a remark; empty for none.
    """

    dataset: str
    files: tuple[Path, ...]
    need: Need | None
    commands: tuple[str, ...]
    near: str = ""


@dataclass(frozen=True)
class FrameCost:
    """What the frames of a store take.

    Attributes:
        store: What it is called in a line.
        size: How large its parts are, in words; empty where that is not known.
        gigabytes: Its size at most; 0 where it is not known.
        hours: How long it takes; 0 where that was not measured.
    """

    store: str
    size: str
    gigabytes: float
    hours: float

    def __str__(self) -> str:
        disk = f"{self.size}: up to {_gigabytes(self.gigabytes)}" if self.size else ""
        hours = f"about {self.hours:,.0f} hours" if self.hours else ""
        return f"{self.store}: {', '.join(filter(None, [disk, hours]))}"


@dataclass(frozen=True)
class Weights:
    """Weights of a frozen model that a command needs.

    Attributes:
        place: Their id on the hub.
        megabytes: About how large they are; 0 where it is not known.
        licence: What must be agreed to before they can be had; empty for nothing.
        name: Of the folder under ``weights/`` that is taken in their place.
    """

    place: str
    megabytes: int
    licence: str
    name: str


# -- data --------------------------------------------------------------------------------------


def missing_data(plan: Plan) -> tuple[Missing, ...]:
    """Every data set that is not there, bundled ones aside, which are made on first use."""
    from recbole_video.dataset_tools import BUNDLED

    needs = {need.dataset: need for need in plan.sweep.needs}
    found = (_missing(dataset, needs.get(dataset.name)) for dataset in plan.datasets if dataset.name not in BUNDLED)
    return tuple(one for one in found if one is not None)


def _missing(dataset: Dataset, need: Need | None) -> Missing | None:
    inter = dataset.folder / f"{dataset.name}.inter"
    stores = {name: store_path(dataset.folder, dataset.name, name) for name in dataset.stores}
    files = tuple(path for path in [inter, *stores.values()] if not path.is_file())
    if not files:
        return None
    if need is None:
        return Missing(dataset.name, files, None, (), "" if inter.is_file() else _near(dataset))
    commands = [] if inter.is_file() else list(need.commands)
    commands += [
        f"python -m recbole_video.dataset_tools frames --videos=RAW/videos --name={shlex.quote(dataset.name)} "
        f"{need.stores[name]} --store={shlex.quote(name)}"
        for name, path in stores.items()
        if not path.is_file() and name in need.stores
    ]
    return Missing(dataset.name, files, need, tuple(commands or need.commands))


def _near(dataset: Dataset) -> str:
    """A data set that is there, or is made on first use, whose name is like that of one that is not."""
    from recbole_video.dataset_tools import BUNDLED

    there = {path.stem for path in dataset.folder.parent.glob("*/*.inter") if path.stem == path.parent.name}
    return nearest(dataset.name, {*there, *BUNDLED})


def missing_lines(missing: Missing) -> list[str]:
    """What is not there of a data set, a line each; many files in one line, with their names if no command has them."""
    first, *others = missing.files
    if len(others) < _MOST_FILES:
        return [f"there is no {path}" for path in missing.files]
    names = ", ".join(path.name for path in others)
    return [f"there is no {first}, nor {names if missing.need is None else counted(len(others), 'other file')}"]


def demo_advice(sweep: Sweep) -> str:
    """A last line for those who lack the data; empty where the sweep has no demo size."""
    return "or add --demo for the same sweep on bundled data." if sweep.has_demo and not sweep.is_demo else ""


def require_data(plan: Plan) -> None:
    """Refuse to start without the data.

    Raises:
        DataError: With what to download and which commands convert it, for each data set.
    """
    if found := missing_data(plan):
        sentences = "\n".join(_sentence(one, plan.sweep.name) for one in found)
        raise DataError("\n".join([sentences, *filter(None, [demo_advice(plan.sweep)])]))


def _sentence(missing: Missing, sweep: str) -> str:
    more = counted(len(missing.files) - 1, "other file") if len(missing.files) > 1 else ""
    message = f"The sweep `{sweep}` reads `{missing.dataset}`, and there is no `{missing.files[0]}`"
    message += f" (nor {more})" if more else ""
    if missing.need is None:
        return f"{message}{missing.near}; check data_path, or make it with dataset_tools."
    lines = "\n".join(f"  {command}" for command in missing.commands)
    return f"{message}. Download {missing.need.download}, then run\n{lines}"


# -- models ------------------------------------------------------------------------------------


def refused_rows(plan: Plan) -> list[str]:
    """What runs will refuse when they build their models, a sentence for each row whose data set is there.

    The models are built by the widths of the stores, as the runs build them, and thrown away.
    """
    from recbole_video.tasks import task_of

    found: dict[str, str] = {}
    for trial, config in plan.checked:
        if trial.row in found or not _is_there(config):
            continue
        try:
            task_of(config).try_to_build(config)
        except (ConfigError, DataError, MissingDependencyError) as error:
            found[trial.row] = f"{trial.label}: {error}"
    return list(found.values())


def _is_there(config: Config) -> bool:
    """Whether the data set of a run is there, with all that its model reads of the items."""
    reads = config.inputs_read
    stores = [path for name, path in content_stores(config).items() if name in reads] if reads else []
    inter = Path(config["data_path"], f"{config['dataset']}.inter")
    return all(path.is_file() for path in [inter, *stores])


# -- what it will take -------------------------------------------------------------------------


def frame_costs(missing: Missing) -> list[FrameCost]:
    """What the frames of a data set take, by store: disk, and hours where they were measured."""
    videos = None if missing.need is None else missing.need.videos
    frames = [arguments for command in missing.commands if (arguments := _arguments(command, "frames")) is not None]
    costs = [_frame_cost(arguments, videos) for arguments in frames if videos]
    return [cost for cost in costs if cost.size or cost.hours]


def total_lines(costs: Sequence[FrameCost]) -> list[str]:
    """What several frame stores take together, and at which rate hours are told."""
    sizes, hours = [cost.gigabytes for cost in costs if cost.size], [cost.hours for cost in costs if cost.hours]
    parts = [f"up to {_gigabytes(sum(sizes))}{_of_some(sizes, costs)}"] if sizes else []
    parts += [f"about {sum(hours):,.0f} hours{_of_some(hours, costs)}"] if hours else []
    total = [f"all {len(costs)} frame stores: {', '.join(parts)}"] if len(costs) > 1 else []
    rate = f"hours are at {_RESAMPLED_PER_SECOND} videos a second, as measured on two cores"
    return [*total, *([rate] if hours else [])]


def _of_some(values: Sequence[float], costs: Sequence[FrameCost]) -> str:
    return f" for {len(values)} of them" if len(values) < len(costs) else ""


def weights_needed(found: Sequence[Missing]) -> list[str]:
    """The weights of frozen models that make some data sets, a line each: size, and the way to gated ones."""
    return [_weights_line(weights) for weights in _weights(chain.from_iterable(one.commands for one in found))]


def _arguments(command: str, tool: str) -> dict[str, str] | None:
    """The arguments of a command of ``dataset_tools``, if it is of that tool."""
    words = shlex.split(command)
    if tool not in words:
        return None
    pairs = (word.removeprefix("--").partition("=") for word in words if word.startswith("--"))
    return {name: value for name, _, value in pairs}


def _frame_cost(arguments: dict[str, str], videos: int) -> FrameCost:
    from recbole_video.dataset_tools.video.frame_encoders import KNOWN_PLACES

    n = int(arguments.get("n_frames", _DEFAULT_FRAMES))
    source = KNOWN_PLACES.get(_place_of(arguments))
    is_measured = arguments.get("sampler", _DEFAULT_SAMPLER) == _DEFAULT_SAMPLER
    return FrameCost(
        f"frame store {arguments['store']}" if arguments.get("store") else "frame store",
        "" if source is None else f"{videos:,} videos, at most {n} frames of {source.dim} numbers",
        0 if source is None else videos * n * source.dim * _BYTES / 1e9,
        videos / _RESAMPLED_PER_SECOND / _SECONDS_PER_HOUR if is_measured else 0,
    )


def _gigabytes(size: float) -> str:
    return f"{size:.2g} GB" if size < 10 else f"{size:,.0f} GB"


def _place_of(arguments: dict[str, str]) -> str:
    from recbole_video.dataset_tools.video.frame_encoders import FRAME_ENCODERS

    source = FRAME_ENCODERS.get(arguments.get("frame_encoder", "dinov2"))
    return arguments.get("weights") or ("" if source is None else source.place)


def _weights(commands: Iterable[str]) -> list[Weights]:
    """The weights that some commands need, each once."""
    from recbole_video.dataset_tools.video.frame_encoders import CLIP, KNOWN_PLACES
    from recbole_video.dataset_tools.video.texts import UAE

    found: dict[str, Weights] = {}
    for command in commands:
        frames, text = _arguments(command, "frames"), _arguments(command, "embed-text")
        places = []
        if frames is not None:
            places.append((_place_of(frames), frames.get("frame_encoder", "dinov2")))
            places += [(CLIP.place, CLIP.name)] * (frames.get("sampler", _DEFAULT_SAMPLER) == _DEFAULT_SAMPLER)
        if text is not None and text.get("encoder") != "tfidf":
            places.append((text.get("weights", UAE.place), UAE.name))
        known = {**KNOWN_PLACES, UAE.place: UAE}
        for place, name in places:
            source = known.get(place)
            megabytes, licence = (0, "") if source is None else (source.megabytes, source.licence)
            found[place] = Weights(place, megabytes, licence, name)
    return list(found.values())


def _weights_line(weights: Weights) -> str:
    size = f", {weights.megabytes / 1000:.1f} GB" if weights.megabytes else ""
    if not weights.licence:
        return f"{weights.place}{size}"
    return (
        f"{weights.place}{size}: agree to {weights.licence} on its page and log in with `hf auth login`, or put "
        f"the folder at weights/{weights.name}, or take --frame_encoder=dinov2, which needs neither"
    )


def published_seconds(sweep: Sweep) -> list[float]:
    """Seconds of a run, as the paper gives them for the rows that will run."""
    rows = [row for row in sweep.rows if row.options is not None]
    return [values["seconds"] for row in rows for values in row.published.values() if "seconds" in values]


def n_published(sweep: Sweep) -> tuple[int, int]:
    """Of the rows of the table, how many have published numbers, and how many there are without the controls."""
    rows: list[Row] = [row for row in sweep.rows if not row.of_controls]
    return sum(bool(row.published) for row in rows), len(rows)


def seconds_before(plan: Plan, root: Path) -> list[float]:
    """Seconds of the finished trials of earlier runs of the sweep under ``root``, the folder of run folders."""
    name = escape(f"{plan.sweep.name}{'-demo' if plan.sweep.is_demo else ''}")
    results = (root / "sweeps").glob(f"{name}-*/trials/*/metrics.json")
    seconds = (_seconds_of(path) for path in sorted(results))
    return [value for value in seconds if value is not None]


def _seconds_of(path: Path) -> float | None:
    result: Any = read_json(path)
    value = result.get("seconds") if isinstance(result, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _length(hours: float) -> str:
    """``0.5 h``, or minutes where that would be 0.0 or 0.1."""
    return f"{hours:.1f} h" if hours >= 0.2 else f"{max(1, round(60 * hours))} min"


def hours_text(plan: Plan, root: Path, parallel: int) -> str:
    """How long the trials will take, by those that ran before and by the paper's seconds; empty if neither is known."""
    parts = []
    if before := seconds_before(plan, root):
        hours = fmean(before) * plan.n_trials / parallel / _SECONDS_PER_HOUR
        ran = f"{counted(len(before), 'trial')} that ran here took {fmean(before):,.0f} s on average"
        parts.append(f"{ran}: about {_length(hours)} for all, {parallel} at a time")
    published = [] if plan.sweep.is_demo else published_seconds(plan.sweep)
    if published:
        low, high, total = min(published), max(published), sum(published) / _SECONDS_PER_HOUR
        parts.append(f"published: {low:,.0f} to {high:,.0f} s a run, {_length(total)} in all, on the paper's GPUs")
    return "; ".join(parts)
