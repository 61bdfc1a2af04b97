"""``python -m tests.kills``: kill runs at random moments, resume them, compare with unbroken ones; prints a table.

By default 50 SIGKILLs, SIGTERMs and SIGINTs each of training for both tasks, of ``frames`` and of a sweep. The results
file grows case by case, and what it holds already is not done again: the same command goes on after an interruption.
A case that breaks a promise keeps its folder.
"""

import argparse
import os
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from .case import SIGNALS, Bench
from .kinds import KINDS
from .results import Results


def main():
    asked = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs is ended first
    # A shell lets what it starts in the background ignore Ctrl-C, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    results = Results(asked.out, asked.seed)
    print(f"seed {asked.seed}, results in {asked.out}, folders in {folder}", file=sys.stderr)
    for kind in asked.only:
        n_missing = sum(max(0, asked.n - results.n_kills(kind, name)) for name in asked.signals)
        if n_missing:
            with tqdm(total=n_missing, desc=kind, unit="kill", disable=None) as bar:
                _kill(kind, folder / kind, asked, results, bar)
    print(results.table())
    return 1 if results.n_faults() else 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=50, help="kills of each kind by each signal (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS), help="what is killed")
    parser.add_argument("--signals", nargs="+", choices=SIGNALS, default=list(SIGNALS))
    parser.add_argument("--most", type=int, default=3, help="kills of one run, at most (default: 3)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cases at a time (default: one per core)")
    parser.add_argument("--out", type=Path, default=Path("kills.json"), help="results (default: kills.json)")
    parser.add_argument("--folder", type=Path, help="where the runs are (default: a new folder among temporary files)")
    return parser


def _kill(kind, folder, asked, results, bar):
    """Run cases of a kind until enough kills have landed."""

    def work(job):
        with Bench(kind, folder / f"job-{job}") as bench:
            while (case := results.next_case(kind, asked.signals, asked.n)) is not None:
                outcome = bench.run(case.signal, asked.seed, case.number, min(asked.most, case.n_missing))
                results.add(outcome)
                bar.update(len(outcome.kills))
                for fault in outcome.faults:
                    bar.write(f"{kind}, {case.signal}, case {case.number}: {fault} ({bench.folder})", file=sys.stderr)

    n_jobs = max(1, min(asked.jobs, KINDS[kind].n_at_once))
    with ThreadPoolExecutor(n_jobs) as pool:
        try:
            for _ in pool.map(work, range(n_jobs)):
                pass
        except BaseException:  # Ctrl-C, or a job that cannot go on: the cases that run end, and no other begins
            results.stop()
            raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on.")
