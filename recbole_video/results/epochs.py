"""How the epochs of a result are counted: from 1, and in those of earlier versions from 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def counted_from_one(result: Mapping[str, Any]) -> dict[str, Any]:
    """A stored result as it would be written today: one that counts from 0 begins its history with epoch 0.

    What has no history has no epochs either: its ``best_epoch`` is 0 then and now.
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
