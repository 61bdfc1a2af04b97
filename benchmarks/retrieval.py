"""Routing over the memory bank's slots beside exact search among N stored videos, by brute force and by FAISS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import ROOT, Measurement, Options, Row, medians, run_child, time_each

_WIDTH, _PARTITIONS, _CLUSTERS, _TOP_K, _QUERIES = 128, 6, 32, 5, 32
_STORED = (10_000, 100_000, 1_000_000, 10_000_000)
_PICTURE = ROOT / "benchmarks" / "results" / "retrieval.png"
_ROUTING, _BRUTE, _FAISS = "routing over slots", "brute force", "FAISS, exact"


def measure(options: Options) -> Measurement:
    """Time 32 queries by each method at each N."""
    result = Measurement(
        "retrieval", f"Retrieval for {_QUERIES} videos: {_PARTITIONS} x {_CLUSTERS} slots, or N videos"
    )
    sizes = _STORED[:2] if options.small else _STORED
    runs = {n: run_child(options, "retrieval.time_search", n_stored=n, threads=options.threads) for n in sizes}
    result.raw = {str(n): run for n, run in runs.items()}
    seconds = {n: medians(run["seconds"]) for n, run in runs.items()}
    slots_mb = 4 * _PARTITIONS * _CLUSTERS * _WIDTH / 1e6
    for n in sizes:
        for name in (_BRUTE, _FAISS):
            if name in seconds[n]:
                ours, other = seconds[n][_ROUTING], seconds[n][name]
                what = f"N = {n:,}, against {name} ({4e-6 * n * _WIDTH:,.0f} MB)"
                result.rows.append(Row(what, f"{1000 * ours:.3f} ms", f"{1000 * other:.2f} ms", other / ours))
    spread = max(s[_ROUTING] for s in seconds.values()) / min(s[_ROUTING] for s in seconds.values())
    result.rows.append(
        Row(
            f"routing, largest N / smallest N: time; memory is {slots_mb:.2f} MB",
            f"{spread:.2f}",
            "1",
            goal="flat in N",
            met=spread < 2,
        )
    )
    if not options.small:
        _draw(seconds, _PICTURE)
    result.notes.append(
        f"Top {_TOP_K}, vectors of {_WIDTH} numbers, {options.threads} threads, no gradients; brute force is one "
        "product and topk, FAISS a flat index of inner products. Curves and crossover: [retrieval.png](retrieval.png)."
    )
    return result


def time_search(n_stored: int, threads: int) -> dict[str, Any]:
    """Seconds of each call by method."""
    from recbole_video.popularity.stap.memory_bank import MemoryBank

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    bank = MemoryBank(_WIDTH, _PARTITIONS, _CLUSTERS, _TOP_K).eval()
    queries = torch.tanh(torch.randn(_QUERIES, _WIDTH))
    stored = torch.randn(n_stored, _WIDTH)

    @torch.no_grad()
    def route() -> None:
        bank(queries)

    @torch.no_grad()
    def brute() -> torch.Tensor:
        return (queries @ stored.T).topk(_TOP_K).indices

    methods: dict[str, Any] = {_ROUTING: route, _BRUTE: brute}
    try:
        import faiss
    except ImportError:
        pass
    else:
        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatIP(_WIDTH)
        index.add(stored.numpy())
        if not np.array_equal(index.search(queries.numpy(), _TOP_K)[1], brute().numpy()):
            raise RuntimeError("FAISS and brute force find other neighbours.")
        methods[_FAISS] = lambda: index.search(queries.numpy(), _TOP_K)
    calls = {_ROUTING: 50, _BRUTE: 1, _FAISS: 1}
    return {"seconds": time_each(methods, 7, {name: calls[name] for name in methods})}


def _draw(seconds: dict[int, dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.add_subplot()
    for name in (_ROUTING, _BRUTE, _FAISS):
        points = [(n, 1000 * s[name]) for n, s in seconds.items() if name in s]
        axis.loglog(*zip(*points, strict=True), marker="o", label=name)
    axis.set_xlabel("stored videos N")
    axis.set_ylabel(f"{_QUERIES} queries, ms")
    axis.legend()
    figure.savefig(path, dpi=120)
