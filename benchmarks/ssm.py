"""STAP's state space block: its scans beside its own products and beside a plain loop; cost by number of frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ROOT, Measurement, Options, Row, medians, run_child, time_each

_BATCH, _FRAMES, _WIDTH, _STATE = 32, 100, 128, 1536  # d_h of Table S1
_LENGTHS = (25, 50, 100, 200, 400)
_PICTURE = ROOT / "benchmarks" / "results" / "ssm.png"
# Time per frame at 400 frames over that at 25 beyond which the cost would not be linear.
_LINEAR = 1.5
_ALL_AT_ONCE = 2**62  # bytes: the block without its parts


def measure(options: Options) -> Measurement:
    """Forward and backward at T = 100, then the block at five lengths."""
    result = Measurement("ssm", f"SSM block, forward and backward: B = {_BATCH}, d = {_WIDTH}, d_h = {_STATE}")
    lengths = _LENGTHS[:3] if options.small else _LENGTHS
    run = run_child(options, "ssm.time_block", gpu=True, lengths=lengths, repeats=3 if options.small else 9)
    result.raw = run
    seconds = medians(run["seconds"])
    scan, products, loop = seconds["scan"], seconds["products"], seconds["loop"]
    on_gpu = run["device"] != "cpu"
    result.rows += [
        Row("both scans / both products of the block", _ms(scan), _ms(products), products / scan, 1.0),
        Row("both scans / the same by a loop over frames", _ms(scan), _ms(loop), loop / scan, 5.0 if on_gpu else 1.0),
        Row("the whole block, of which neither", _ms(seconds["block"]), _ms(seconds["block"] - scan - products)),
    ]
    by_length, all_at_once = (
        {int(n): min(values) for n, values in run[name].items()} for name in ("by_length", "all_at_once")
    )
    first, last = lengths[0], lengths[-1]
    growth, before = ((times[last] / last) / (times[first] / first) for times in (by_length, all_at_once))
    result.rows += [
        Row(
            f"the whole block, {n} frames, against all videos at once",
            f"{_ms(by_length[n])}, {_per_frame(by_length[n], n)}",
            f"{_ms(all_at_once[n])}, {_per_frame(all_at_once[n], n)}",
            all_at_once[n] / by_length[n],
        )
        for n in lengths
    ]
    result.rows.append(
        Row(
            f"time per frame, {last} / {first} frames, against all videos at once",
            f"{growth:.2f}",
            f"{before:.2f}",
            goal="linear in T",
            met=growth < _LINEAR,
        )
    )
    if not options.small:
        _draw(by_length, _PICTURE)
    result.notes.append(
        f"On {run['device']}. Scans run over [T, B, d_h] decays and inputs, forwards and backwards in time, products "
        "are the maps from d to d_h and back. The loop is the same recurrence under autograd; both give the same "
        "numbers (float64, tests). Times by number of frames are the least of their repeats. The curve is in "
        "[ssm.png](ssm.png)."
    )
    return result


def time_block(lengths: list[int], repeats: int) -> dict[str, Any]:
    """Seconds of each part at T = 100, and of the block by number of frames."""
    from recbole_video.popularity.stap.scan import linear_scan, loop_scan

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = (_FRAMES, _BATCH, _STATE)
    decay = torch.rand(shape, device=device, requires_grad=True)
    inputs = torch.randn(shape, device=device, requires_grad=True)
    grad = torch.randn(shape, device=device)
    into, out = (torch.nn.Linear(*s, bias=False, device=device) for s in ((_WIDTH, _STATE), (_STATE, _WIDTH)))
    frames = torch.randn(_FRAMES, _BATCH, _WIDTH, device=device, requires_grad=True)

    def both(scan: Callable[..., torch.Tensor]) -> None:
        for reverse in (False, True):
            scan(decay, inputs, reverse).backward(grad)

    steps = {
        "scan": lambda: both(linear_scan),
        "loop": lambda: both(loop_scan),
        "products": lambda: out(into(frames)).sum().backward(),
        "block": _block(_FRAMES, device),
    }
    by_length = {str(n): _block(n, device) for n in lengths}
    all_at_once = {f"{n} at once": _block(n, device, _ALL_AT_ONCE) for n in lengths}
    whole = by_length | all_at_once
    of_whole = time_each(_waiting(whole, device), repeats, dict.fromkeys(whole, 1))
    return {
        "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(),
        "seconds": time_each(_waiting(steps, device), repeats, dict.fromkeys(steps, 1)),
        "by_length": {n: of_whole[n] for n in by_length},
        "all_at_once": {str(n): of_whole[f"{n} at once"] for n in lengths},
    }


def _block(n_frames: int, device: torch.device, bytes_at_once: int | None = None) -> Callable[[], None]:
    from recbole_video.popularity.stap.ssm import SSMBlock

    block = SSMBlock(_WIDTH, _STATE).to(device)
    block.bytes_at_once = bytes_at_once or block.bytes_at_once
    x = torch.randn(_BATCH, n_frames, _WIDTH, device=device, requires_grad=True)
    weights = torch.rand(_BATCH, n_frames, device=device)
    anchor = torch.tanh(torch.randn(_BATCH, _WIDTH, device=device))
    mask = torch.ones(_BATCH, n_frames, dtype=torch.bool, device=device)
    return lambda: block(x, weights, anchor, mask).sum().backward()


def _waiting(steps: dict[str, Callable[[], None]], device: torch.device) -> dict[str, Callable[[], None]]:
    """The steps, each until the device is through."""
    if device.type == "cpu":
        return steps

    def wait(step: Callable[[], None]) -> None:
        step()
        torch.cuda.synchronize()

    return {name: (lambda step=step: wait(step)) for name, step in steps.items()}


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _per_frame(seconds: float, n_frames: int) -> str:
    return f"{1e6 * seconds / n_frames:,.0f} µs per frame"


def _draw(by_length: dict[int, float], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.add_subplot()
    axis.plot(list(by_length), [1000 * value for value in by_length.values()], marker="o")
    axis.set_xlim(0)
    axis.set_ylim(0)
    axis.set_xlabel("frames T")
    axis.set_ylabel("forward and backward, ms")
    figure.savefig(path, dpi=120)
