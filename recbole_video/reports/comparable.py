"""What a run is judged on: the results of two are comparable where all of it that both tell agrees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recbole_video.reports.collect import Record

COUNTS = ("number of test users", "number of items that are ranked")  # which differ where runs leave out other videos


def judged_on(result: Mapping[str, Any]) -> dict[str, str]:
    """What a result's test is made of, by a name for it that people read; what the result does not tell is left out."""
    data, config = result.get("data") or {}, result.get("config") or {}
    label, how = data.get("label"), config.get("eval_args")
    per_batch = config.get("metric_batching") == "batch_mean"
    told = {
        "data set": data.get("dataset"),
        "interactions": data.get("inter_sha256"),
        "protocol": data.get("protocol"),
        "times": data.get("temporal"),
        **dict(zip(COUNTS, (data.get("test_users"), data.get("items")), strict=True)),
        "label": label.get("sha256") if isinstance(label, dict) else None,
        "mask_history": config.get("mask_history"),
        "candidates": how.get("mode") if isinstance(how, dict) else None,
        "metric_batching": [config.get("metric_batch_size")] if per_batch else config.get("metric_batching"),
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def difference(a: Iterable[Record], b: Iterable[Record]) -> str | None:
    """The first thing that two rows are judged on differently, by its name; None where their results are comparable."""
    ours, others = ([judged_on(record.result) for record in side] for side in (a, b))
    pairs = ((one, other) for one in ours for other in others)
    return next((name for one, other in pairs for name in one if one[name] != other.get(name, one[name])), None)
