"""MicroLens pairs to atomic files and a card as one would write it with pandas and matplotlib."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path


def convert(path: Path, folder: Path, name: str, with_card: bool) -> None:
    """Write ``.inter``, ``.times.npy`` and ``.counts``, and if asked for the card with its three plots."""
    import numpy as np
    import pandas as pd

    raw = pd.read_csv(path)
    table = raw.drop_duplicates().sort_values(["user", "timestamp"], kind="stable")
    np.save(folder / f"{name}.times.npy", table["timestamp"].to_numpy())
    inter = pd.DataFrame(
        {
            "user_id:token": table["user"],
            "item_id:token": table["item"],
            "timestamp:float": (table["timestamp"] - table["timestamp"].min()) // 1000,
        }
    )
    inter.to_csv(folder / f"{name}.inter", sep="\t", index=False)
    counts = table["item"].value_counts().sort_index()
    counts = counts.rename_axis("item_id:token").reset_index(name="interactions:float")
    counts.to_csv(folder / f"{name}.counts", sep="\t", index=False)
    if with_card:
        _write_card(path, folder, name, raw, table)


def _write_card(path: Path, folder: Path, name: str, raw, table) -> None:
    import pandas as pd

    per_user, per_item = table["user"].value_counts(), table["item"].value_counts()
    dates = pd.to_datetime(table["timestamp"], unit="ms")
    card = {
        "rows": len(raw),
        "interactions": len(table),
        "per_user": per_user.describe().to_dict(),
        "per_item": per_item.describe().to_dict(),
        "repeats": int(table.duplicated(["user", "item"]).sum()),
        "first": str(dates.min()),
        "last": str(dates.max()),
        "sha256": {file.name: _sha256(file) for file in (path, *sorted(folder.iterdir()))},
    }
    (folder / f"{name}.card.json").write_text(json.dumps(card, indent=2))
    plots = [_plot(per_user, "length"), _plot(per_item, "popularity"), _plot(dates, "time")]
    (folder / f"{name}.card.html").write_text(f"<h1>{name}</h1><pre>{json.dumps(card, indent=2)}</pre>{''.join(plots)}")


def _plot(values, title: str) -> str:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.hist(values, bins=60)
    axes.set_title(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
