"""The file that the SMP Challenge takes (as its page had it in 2025), from the predictions of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from recbole_video.errors import DataError
from recbole_video.files.atomic import write_json
from recbole_video.files.reading import read_json
from recbole_video.results.per_case import PREDICTIONS, read_result_table

_VERSION = "VERSION 1.2"


def write_submission(path: str | Path, post_ids: Iterable[str], scores: Iterable[float], details: str = "") -> int:
    """Write predictions in the challenge's form: every post with its score, and what else than its data was used.

    Args:
        path: The file to write.
        post_ids: Id of each post, as the challenge has them.
        scores: Its predicted popularity.
        details: Which other data or pre-trained models were used; empty for none.

    Returns:
        How many posts there are.

    Raises:
        DataError: If a post is there twice, a score is not finite, there is not one for each post, or another file is
            in the place.
    """
    _refuse_other_file(Path(path))
    posts, values = [str(post) for post in post_ids], np.asarray(list(scores), dtype=np.float64)
    if len(posts) != len(values):
        raise DataError(f"There are {len(posts):,} posts and {len(values):,} scores; give one for each.")
    if not np.isfinite(values).all():
        raise DataError(f"The score of post `{posts[int((~np.isfinite(values)).argmax())]}` is not finite.")
    if len(set(posts)) < len(posts):
        raise DataError(f"Post `{next(post for post in posts if posts.count(post) > 1)}` is there twice; keep one.")
    result = [{"post_id": post, "popularity_score": float(value)} for post, value in zip(posts, values, strict=True)]
    used = {"used": "true" if details else "false", "details": details}
    write_json(path, {"version": _VERSION, "result": result, "external_data": used})
    return len(posts)


def _refuse_other_file(path: Path) -> None:
    """A submission may be replaced, and nothing else.

    Raises:
        DataError: If there is anything else.
    """
    if not path.exists():
        return
    try:
        found = read_json(path)
    except DataError:
        found = None
    if not isinstance(found, dict) or found.keys() != {"version", "result", "external_data"}:
        raise DataError(f"`{path}` is there and is no submission; name another file, or remove it.")


def submission_of_run(run: Path, path: str | Path, details: str | None = None) -> int:
    """Write the predictions of a run's test videos in the challenge's form.

    Args:
        run: Folder of the run, with ``predictions.tsv``.
        path: The file to write.
        details: As in :func:`write_submission`; by default the models that made the run's embeddings.

    Returns:
        How many posts there are.

    Raises:
        DataError: If the run keeps no predictions, or :func:`write_submission` would raise it.
    """
    predictions, metrics = run / PREDICTIONS, run / "metrics.json"
    if not predictions.is_file() or not metrics.is_file():
        raise DataError(f"`{run}` has no `predictions.tsv` of a finished run; train a popularity model there first.")
    table = read_result_table(predictions)
    if not {"item_id", "prediction"} <= set(table):
        raise DataError(f"`{predictions}` has no columns `item_id` and `prediction`; train the model again.")
    told = _models_of(read_json(metrics)) if details is None else details
    return write_submission(path, table["item_id"], table["prediction"], told)


def _models_of(result: Any) -> str:
    """The models that embedded what the run read: ``frames: clip; text: ...``."""
    data = result.get("data") if isinstance(result, dict) else None
    inputs = data.get("inputs") if isinstance(data, dict) else None
    stores = inputs.items() if isinstance(inputs, dict) else ()
    return "; ".join(f"{name}: {store['vfm']}" for name, store in stores if isinstance(store, dict) and "vfm" in store)
