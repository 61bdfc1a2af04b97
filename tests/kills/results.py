"""What came of all cases: a file that grows, and a table."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from threading import Lock

from recbole_video.files.atomic import write_json
from recbole_video.runtime.provenance import provenance


@dataclass(frozen=True)
class Next:
    """A case to run: by which signal, its number, and how many kills are missing."""

    signal: str
    number: int
    n_missing: int


class Results:
    """The outcomes of one seed, kept in a file; jobs share it."""

    def __init__(self, path, seed):
        self.path, self.seed = path, seed
        self.outcomes = json.loads(path.read_text())["cases"] if path.is_file() else []
        self._begun = Counter((o["kind"], o["signal"]) for o in self._of_seed())
        self._lock = Lock()
        self._is_stopped = False

    def stop(self):
        """Begin no other case."""
        self._is_stopped = True

    def _of_seed(self, **wanted):
        return [o for o in self.outcomes if o["seed"] == self.seed and all(o[k] == v for k, v in wanted.items())]

    def n_kills(self, kind, signal):
        return sum(len(o["kills"]) for o in self._of_seed(kind=kind, signal=signal))

    def n_faults(self):
        return sum(bool(o["faults"]) for o in self._of_seed())

    def next_case(self, kind, signals, n):
        """The next case by the signal that lacks most kills; None where all have ``n``."""
        with self._lock:
            missing, signal = max((n - self.n_kills(kind, signal), signal) for signal in signals)
            if missing <= 0 or self._is_stopped:
                return None
            number = self._begun[kind, signal]
            self._begun[kind, signal] += 1
            return Next(signal, number, missing)

    def add(self, outcome):
        with self._lock:
            self.outcomes.append(asdict(outcome))
            write_json(self.path, {"made_by": provenance(), "cases": self.outcomes})

    def table(self):
        """A line per kind and signal."""
        heads = ["", "signal", "kills", "runs", "starts", "whole", "faults", "seconds"]
        rows = [self._row(kind, signal) for kind, signal in sorted({(o["kind"], o["signal"]) for o in self._of_seed()})]
        widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows]
        ]
        faults = Counter(fault for o in self._of_seed() for fault in o["faults"])
        return "\n".join([*lines, "", *(f"{n} x {fault}" for fault, n in faults.most_common())])

    def _row(self, kind, signal):
        cases = self._of_seed(kind=kind, signal=signal)
        numbers = (
            sum(len(o["kills"]) for o in cases), len(cases), sum(o["starts"] for o in cases),
            sum(not o["faults"] for o in cases), sum(bool(o["faults"]) for o in cases),
            round(sum(o["seconds"] for o in cases)),
        )  # fmt: skip
        return [kind, signal, *map(str, numbers)]
