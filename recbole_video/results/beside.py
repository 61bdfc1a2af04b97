"""Finished runs beside a run, in the same folder, that were judged on the same data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from recbole_video.errors import RecBoleVideoError
from recbole_video.files.reading import read_json
from recbole_video.files.values import plain

_OF_METADATA = ("metadata", "author_history")  # a model that reads none is the same whatever they are
_MOST_READ = 20  # runs of a model, the last to finish: the end of a run waits for them


@dataclass(frozen=True)
class Beside:
    """A run of another model.

    Attributes:
        model: Its name.
        score: Its metric on the validation data, by which runs are chosen.
        value: The same metric on the test.
        folder: Its folder.
        differing: Options of the inputs that it has otherwise.
    """

    model: str
    score: float
    value: float
    folder: Path
    differing: tuple[str, ...] = ()

    def told(self, metric: str, value: str, what: str = "Best control here") -> str:
        """A line on it, with its metric as it is shown."""
        verb = "is" if len(self.differing) == 1 else "are"
        differing = f", whose {', '.join(self.differing)} {verb} not this run's" if self.differing else ""
        return f"{what}: {self.model}, {metric} {value} ({self.folder}){differing}"


def runs_beside(
    run: Path,
    models: Sequence[str],
    data: Mapping[str, Any],
    metric: str,
    bigger: bool,
    options: Mapping[str, Any] | None = None,
) -> list[Beside]:
    """The runs of these models beside a run, on its data set, label and split; what validates best comes first.

    Args:
        run: Folder of the run; others are found by the names that runs are given.
        models: Names of models.
        data: What the result of the run says of its data.
        metric: Key of a metric.
        bigger: Whether more of it is better.
        options: Of the run, what its inputs and its judgement depend on.
    """
    found: list[Beside] = []
    for model in models:
        files = run.parent.glob(f"{escape(model)}-{escape(data['dataset'])}-*/metrics.json")
        newest = sorted((path for path in files if path.parent != run), key=_time_of)[-_MOST_READ:]
        found += [one for path in newest for one in _read(path, model, data, metric, options or {})]
    return sorted(found, key=lambda one: (-one.score if bigger else one.score, bool(one.differing)))


def first_alike(found: Sequence[Beside]) -> Beside | None:
    """The first that differs in none of the options that were asked about; None without one."""
    return next((one for one in found if not one.differing), None)


def _read(path: Path, model: str, data: Mapping[str, Any], metric: str, options: Mapping[str, Any]) -> Iterator[Beside]:
    """The result in a file, if it is one of these data; a damaged file is passed over."""
    with suppress(RecBoleVideoError, LookupError, TypeError, ValueError, AttributeError):
        stored = read_json(path)
        about = stored["data"]
        values = float(stored["best_valid_result"][metric]), float(stored["test_result"][metric])
        if _judged_on(about) == _judged_on(data) and all(map(math.isfinite, values)):
            theirs = stored.get("config") or {}
            reads_metadata = "metadata" in (about.get("inputs") or {})
            names = [name for name in options if reads_metadata or not name.startswith(_OF_METADATA)]
            differing = [name for name in names if name in theirs and plain(options[name]) != theirs[name]]
            yield Beside(model, *values, path.parent, tuple(differing))


def _judged_on(data: Mapping[str, Any]) -> list[Any]:
    """What makes the results of two runs comparable: of popularity the labels and splits, else actions and protocol."""
    label = data.get("label")
    kinds = ("rows",) if label else ("inter_sha256", "protocol", "test_users", "items", "temporal")
    return [data["dataset"], label["sha256"] if label else None, *(data.get(name) for name in kinds)]


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
