"""Measurement: a csv in the size of Short-Video to a data set: time, memory, and memory as titles grow."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from benchmarks.common import Measurement, Options, Row, peak_rss_mb, run_child
from benchmarks.shortvideo_shaped import Shape, make

_LIMIT_SECONDS, _LIMIT_MB = 60.0, 2048.0
_FLAWS = ("multi_line", "bare_commas", "broken_quotes")
_SMALL = Shape(n_users=200, n_items=3_000, n_exposures=20_000)


def measure(options: Options) -> Measurement:
    """Convert the csv, and read it with Python's csv module alone for comparison."""
    result = Measurement("convert-shortvideo", "Short-Video-sized csv to atomic files")
    shape = _SMALL if options.small else Shape()
    found = _prepare(options, "shortvideo_shaped", shape)
    ours = run_child(
        options,
        "convert_shortvideo.convert",
        folder=str(options.folder),
        file=found["name"],
        name="sv",
    )
    plain = run_child(options, "convert_shortvideo.read_with_csv_module", path=str(options.folder / found["name"]))
    grown = [_peak_with_titles(options, shape, factor) for factor in (1, 10)]
    result.raw = {"file": found, "ours": ours, "csv module": plain, "peak with titles of length 1, 10": grown}
    _check(ours, found)
    result.rows += [
        Row(
            f"{found['rows']:,} rows, {found['bytes'] / 1e9:.2f} GB, to a data set",
            f"{ours['seconds']:.1f} s",
            f"{_LIMIT_SECONDS:.0f} s (limit)",
            _LIMIT_SECONDS / ours["seconds"],
            1.0,
        ),
        Row(
            "the same, beside Python's csv module that reads the file and keeps nothing",
            f"{ours['seconds']:.1f} s",
            f"{plain['seconds']:.1f} s",
            plain["seconds"] / ours["seconds"],
        ),
        Row(
            "peak memory of the process",
            f"{ours['peak_mb']:,.0f} MB",
            f"{_LIMIT_MB:,.0f} MB (limit)",
            _LIMIT_MB / ours["peak_mb"],
            1.0,
        ),
        Row(
            f"peak memory as titles grow ten times as long (file: {grown[1]['bytes'] / grown[0]['bytes']:.1f} times)",
            f"{grown[1]['peak_mb']:,.0f} MB",
            f"{grown[0]['peak_mb']:,.0f} MB with usual titles",
            grown[0]["peak_mb"] / grown[1]["peak_mb"],
        ),
    ]
    result.notes.append(_note(found, plain))
    return result


def _note(found: dict, plain: dict) -> str:
    flaws = ", ".join(f"{found[flaw]:,} rows with {flaw.replace('_', ' ')}" for flaw in _FLAWS)
    return (
        f"Synthetic; {found['exposures']:,} exposures; {flaws}. The converter found them all and counted them right. "
        f"The csv module alone makes {plain['records']:,} records of the {found['rows']:,} rows: broken quotes swallow "
        "the others. Time is that of the command in a fresh process, checksums and imports "
        "included; the file is warm in the page cache."
    )


def _prepare(options: Options, name: str, shape: Shape) -> dict:
    path = options.folder / f"{name}.csv"
    return {**make(path, shape), "name": path.name, "bytes": path.stat().st_size}


def _peak_with_titles(options: Options, shape: Shape, factor: int) -> dict:
    """Peak of converting a fifth of the file with longer titles."""
    smaller = Shape(**{**asdict(shape), "n_exposures": shape.n_exposures // 5, "title_factor": factor})
    found = _prepare(options, f"shortvideo_titles_{factor}", smaller)
    name = f"sv-titles-{factor}"
    ours = run_child(
        options,
        "convert_shortvideo.convert",
        folder=str(options.folder),
        file=found["name"],
        name=name,
    )
    _check(ours, found)
    for path in (options.folder / found["name"], (options.folder / found["name"]).with_suffix(".json")):
        path.unlink()
    return {"bytes": found["bytes"], "peak_mb": ours["peak_mb"], "seconds": ours["seconds"]}


def _check(ours: dict, found: dict) -> None:
    """Refuse to report the time of a wrong result."""
    wrong = {k: (ours[k], found[k]) for k in ("rows", "exposures", *_FLAWS) if ours[k] != found[k]}
    if wrong:
        raise AssertionError(f"the converter found other numbers than were written: {wrong}")


def convert(folder: str, file: str, name: str) -> dict[str, float]:
    """Run the command; returns its time, its peak memory and what it found."""
    from recbole_video.dataset_tools.__main__ import main

    started = perf_counter()
    if main(["shortvideo", f"{folder}/{file}", f"--out={folder}", f"--name={name}", "--overwrite"]):
        raise RuntimeError("the conversion failed")
    seconds = perf_counter() - started
    card = json.loads(Path(folder, name, f"{name}.card.json").read_text())
    [fold] = [step for step in card["steps"] if step["name"] == "rows to exposures"]
    reading = {flaw: card["notes"]["reading"][flaw] for flaw in _FLAWS}
    return {"seconds": seconds, "peak_mb": peak_rss_mb(), "rows": fold["before"], "exposures": fold["after"], **reading}


def read_with_csv_module(path: str) -> dict[str, float]:
    """Read the file with Python's csv module and keep nothing."""
    csv.field_size_limit(1 << 30)
    started = perf_counter()
    with Path(path).open(encoding="utf-8", newline="") as file:
        records = sum(1 for _ in csv.reader(file)) - 1
    return {"seconds": perf_counter() - started, "records": records}
