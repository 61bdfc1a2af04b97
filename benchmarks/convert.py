"""Measurement: MicroLens-100K-sized pairs to a data set, against a straightforward pandas script.

Imports are inside the functions, because they are a part of what is measured.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import time
from typing import Any

from benchmarks.common import Measurement, Options, Row, peak_rss_mb, run_child

_NAME = "microlens-100k"
_FIRST, _SPAN = 1_660_000_000_000, 60 * 86_400_000  # ms
_SIDES = {"ours": "ours", "plain": "pandas and matplotlib", "plain_files": "pandas, the atomic files only"}


def measure(options: Options) -> Measurement:
    """Convert the same file on all sides, in turns, each time in a fresh process, and compare the files."""
    result = Measurement("convert", "MicroLens-100K-sized pairs to a data set")
    path, n_rows = _make_pairs(options)
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in _SIDES}
    for _ in range(1 if options.small else 7):
        for side, outcomes in runs.items():
            out = str(options.folder / f"converted-by-{side}")
            outcomes.append(run_child(options, f"convert.{side}", path=str(path), out=out, spawned=time()))
    _compare(options.folder)
    result.raw = {"rows": n_rows, "bytes": path.stat().st_size, "runs": runs}
    medians = {side: {key: median(run[key] for run in out) for key in out[0]} for side, out in runs.items()}
    for side, seconds_goal, memory_goal in (("plain", 5.0, 1.0), ("plain_files", None, 1.0)):
        for key, what, unit, digits, goal in (
            ("seconds", "the whole command", "s", 2, seconds_goal),
            ("peak_mb", "peak memory", "MB", 0, memory_goal),
        ):
            mine, theirs = medians["ours"][key], medians[side][key]
            row = Row(
                f"{n_rows:,} pairs, {what}, against {_SIDES[side]}",
                f"{mine:,.{digits}f} {unit}",
                f"{theirs:,.{digits}f} {unit}",
                theirs / mine,
                goal,
            )
            result.rows.append(row)
    result.notes.append(
        f"Medians of {len(runs['ours'])} fresh processes each, in turns, imports included, the csv "
        f"({path.stat().st_size / 1e6:.0f} MB, rows in no order) warm in the page cache. All sides leave out copies, "
        "sort, and write the same .inter, .times.npy and .counts, byte for byte. Ours always writes a card with "
        "checksums, quartiles and three plots; pandas and matplotlib write one too, pandas alone does not."
    )
    return result


def _make_pairs(options: Options) -> tuple[Path, int]:
    """The csv of pairs, in a folder of its own, and its number of rows; times are random."""
    import numpy as np

    from benchmarks import microlens_shaped

    name = microlens_shaped.NAME
    table = np.loadtxt(
        options.folder / name / f"{name}.inter", delimiter="\t", skiprows=1, dtype=np.int64, usecols=(0, 1)
    )
    rng = np.random.default_rng(7)
    rows = np.column_stack([table, _FIRST + rng.integers(0, _SPAN, len(table))])[rng.permutation(len(table))]
    path = options.folder / "raw" / "MicroLens-100k_pairs.csv"
    path.parent.mkdir(exist_ok=True)
    np.savetxt(path, rows, "%d", delimiter=",", header="user,item,timestamp", comments="")
    return path, len(rows)


def _compare(folder: Path) -> None:
    """Refuse to report the time of a wrong result."""
    for suffix in (".inter", ".times.npy", ".counts"):
        mine = (folder / "converted-by-ours" / _NAME / f"{_NAME}{suffix}").read_bytes()
        for side in ("plain", "plain_files"):
            if (folder / f"converted-by-{side}" / f"{_NAME}{suffix}").read_bytes() != mine:
                raise AssertionError(f"{suffix} of {side} is not that of ours")


def ours(path: str, out: str, spawned: float) -> dict[str, Any]:
    """Run the command."""
    from recbole_video.dataset_tools.__main__ import main

    if main(["microlens", str(Path(path).parent), f"--out={out}", "--overwrite"]):
        raise RuntimeError("the conversion failed")
    return _outcome(spawned)


def plain(path: str, out: str, spawned: float) -> dict[str, Any]:
    """Convert with pandas, card and plots included."""
    return _convert_plainly(path, out, spawned, with_card=True)


def plain_files(path: str, out: str, spawned: float) -> dict[str, Any]:
    """Convert with pandas, without a card."""
    return _convert_plainly(path, out, spawned, with_card=False)


def _convert_plainly(path: str, out: str, spawned: float, with_card: bool) -> dict[str, Any]:
    import sys

    from benchmarks import plain_convert

    sys.modules["pyarrow"] = None  # type: ignore[assignment]  # pandas would import it, for nothing that is used here
    folder = Path(out)
    folder.mkdir(exist_ok=True)
    plain_convert.convert(Path(path), folder, _NAME, with_card)
    return _outcome(spawned)


def _outcome(spawned: float) -> dict[str, Any]:
    return {"seconds": time() - spawned, "peak_mb": peak_rss_mb()}
