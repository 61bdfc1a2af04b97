"""Results of earlier versions, as they would be written today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_of_today(result: Mapping[str, Any]) -> dict[str, Any]:
    """A stored result whose epochs are counted from 1.

    One that counts from 0 begins its history with epoch 0; without a history ``best_epoch`` is 0 then and now.
    """
    history = result.get("history")
    if not history or history[0]["epoch"] != 0:
        return dict(result)
    best = result.get("best_epoch")
    return {
        **result,
        **({"best_epoch": best + 1} if isinstance(best, int) else {}),
        "history": [{**record, "epoch": record["epoch"] + 1} for record in history],
    }
