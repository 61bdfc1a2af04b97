"""Finished runs beside a run, in the same folder, that were judged on the same labels."""

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

_MOST_READ = 20  # runs of a model, the last to finish: the end of a run waits for them


@dataclass(frozen=True)
class Beside:
    """A run of another model.

    Attributes:
        model: Its name.
        score: Its metric on the validation data, by which runs are chosen.
        value: The same metric on the test.
        folder: Its folder.
    """

    model: str
    score: float
    value: float
    folder: Path


def best_beside(run: Path, models: Sequence[str], data: Mapping[str, Any], metric: str, bigger: bool) -> Beside | None:
    """The run of these models that validates best among those beside a run, on its data set, label and split.

    Args:
        run: Folder of the run; others are found by the names that runs are given.
        models: Names of models.
        data: What the result of the run says of its data.
        metric: Key of a metric.
        bigger: Whether more of it is better.
    """
    found: list[Beside] = []
    for model in models:
        files = run.parent.glob(f"{escape(model)}-{escape(data['dataset'])}-*/metrics.json")
        newest = sorted((path for path in files if path.parent != run), key=_time_of)[-_MOST_READ:]
        found += [one for path in newest for one in _read(path, model, data, metric)]
    return max(found, key=lambda one: one.score if bigger else -one.score, default=None)


def _read(path: Path, model: str, data: Mapping[str, Any], metric: str) -> Iterator[Beside]:
    """The result in a file, if it is one of these data; a damaged file is passed over."""
    with suppress(RecBoleVideoError, LookupError, TypeError, ValueError, AttributeError):
        stored = read_json(path)
        about = stored["data"]
        same = about["dataset"] == data["dataset"] and about["label"]["sha256"] == data["label"]["sha256"]
        values = float(stored["best_valid_result"][metric]), float(stored["test_result"][metric])
        if same and about["rows"] == data["rows"] and all(map(math.isfinite, values)):
            yield Beside(model, *values, path.parent)


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
