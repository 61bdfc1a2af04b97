"""Results of earlier versions, as they would be written today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NO_CONTROLS = frozenset(["SVR", "HyFea", "MFTM", "MVP", "TMALL"])  # fitted in one go, and once called controls


def as_of_today(result: Mapping[str, Any]) -> dict[str, Any]:
    """A stored result with epochs that are counted from 1, and controls that are ones."""
    return _called_a_fit(_counted_from_one(result))


def _counted_from_one(result: Mapping[str, Any]) -> dict[str, Any]:
    """One that counts from 0 begins its history with epoch 0; without a history ``best_epoch`` is 0 then and now."""
    history = result.get("history")
    if not history or history[0]["epoch"] != 0:
        return dict(result)
    best = result.get("best_epoch")
    return {
        **result,
        **({"best_epoch": best + 1} if isinstance(best, int) else {}),
        "history": [{**record, "epoch": record["epoch"] + 1} for record in history],
    }


def _called_a_fit(result: dict[str, Any]) -> dict[str, Any]:
    """What a baseline says of its fit stood under ``control``, as if others were to be read against it."""
    config = result.get("config") or {}
    if "control" not in result or config.get("model") not in _NO_CONTROLS:
        return result
    return {("fit" if name == "control" else name): value for name, value in result.items()}
