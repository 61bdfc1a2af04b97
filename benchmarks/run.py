"""Measure speed and memory against RecBole and plain implementations, on one machine, in one run.

    python benchmarks/run.py [--only=step,epoch,...] [--out=benchmarks/results]

Prints each table and writes <machine>.md and <machine>.json after it. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script, Python looks for modules beside it only
    sys.path.insert(0, str(ROOT))

from benchmarks import machine, microlens_shaped, report  # noqa: E402
from benchmarks.common import Measurement, Options  # noqa: E402

MEASUREMENTS = (
    "step",
    "ladder",
    "large_catalogue",
    "epoch",
    "startup",
    "evaluation",
    "ml-100k",
    "peers",
    "memory",
    "gpu",
    "convert",
    "convert-shortvideo",
    "decode",
    "frame-store-io",
    "encode",
    "ssm",
    "retrieval",
    "stap",
    "sweep",
)


def main() -> None:
    """Run the chosen measurements and write the results."""
    arguments = _parse()
    given = arguments.data
    places = ("--out", "--data")  # of no interest to a reader of the results
    command = " ".join(["python benchmarks/run.py", *(word for word in sys.argv[1:] if not word.startswith(places))])
    about = machine.describe()
    with nullcontext(given) if given else tempfile.TemporaryDirectory() as folder:
        options = Options(
            folder=Path(folder).resolve(),
            threads=arguments.threads,
            seconds=arguments.seconds,
            epochs=arguments.epochs,
            small=arguments.small,
        )
        shape = microlens_shaped.Shape(2_000, 14_388, 1_000) if options.small else None
        microlens_shaped.make(options.folder, shape)
        for name in arguments.only:  # written one by one: an hour's work outlives the end of the last
            path = report.write(arguments.out, about, [_measure(name, options)], command)
    print(f"\nWritten: {path} and {path.with_suffix('.json').name}")


def _measure(name: str, options: Options) -> Measurement:
    print(f"\n== {name}", flush=True)
    started = perf_counter()
    with machine.OtherLoad() as load:
        measurement = import_module(f"benchmarks.{name.replace('-', '_')}").measure(options)
    measurement.raw["other_load"] = round(load.share, 3)
    measurement.raw["seconds_taken"] = round(perf_counter() - started, 1)
    print(report.as_text(measurement))
    print(
        f"  ({measurement.raw['seconds_taken']} s; other programs used {load.share:.0%} of the processors)", flush=True
    )
    return measurement


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_names, default=MEASUREMENTS, help=f"of {','.join(MEASUREMENTS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the result files")
    parser.add_argument("--data", type=Path, help="folder to keep the data in; a temporary one by default")
    parser.add_argument("--threads", type=int, default=machine.usable_cores(), help="threads of every process")
    parser.add_argument("--seconds", type=float, default=120.0, help="ml-100k: wall time that each side trains")
    parser.add_argument("--epochs", type=int, default=2, help="gpu: epochs to time, of the 30 that are reported")
    parser.add_argument("--small", action="store_true", help="tiny data, to try the programs out: no figure counts")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = set(names) - set(MEASUREMENTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no measurement named {sorted(unknown)[0]}; choose of {MEASUREMENTS}")
    return names


if __name__ == "__main__":
    main()
