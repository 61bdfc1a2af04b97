"""What a sweep shows while it runs: a bar, and a line per trial."""

from __future__ import annotations

import json
import sys
from time import perf_counter
from types import TracebackType

from tqdm import tqdm

from recbole_video.sweep.folder import FAILED, FINISHED, SweepFolder
from recbole_video.sweep.plan import Plan, Trial


class Progress:
    """A bar over trials, which knows of those that finished earlier.

    Args:
        plan: The sweep.
        folder: Where its trials are.
    """

    def __init__(self, plan: Plan, folder: SweepFolder) -> None:
        self.plan, self.folder = plan, folder
        self._epochs: dict[str, int] = {}

    def __enter__(self) -> Progress:
        self._before = self._done = len(list(self.folder.trials.glob("*/metrics.json")))
        self._began = perf_counter()
        self._bar = tqdm(
            total=self.plan.n_trials,
            initial=self._before,
            desc=self.plan.sweep.name,
            unit="trial",
            ncols=100,
            disable=None,  # lines alone where the output is no terminal
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def reached(self, trial: Trial, epoch: int, score: float | None) -> None:
        """A trial has finished an epoch."""
        self._epochs[trial.name] = epoch
        running = ", ".join(f"epoch {epoch} of {self.plan.epochs}" for epoch in list(self._epochs.values())[:4])
        self._bar.set_postfix_str(running)

    def died(self, trial: Trial, times: int) -> None:
        """A trial's process has died and another takes over."""
        self._bar.write(
            f"  {trial.label}, seed {trial.seed}: its process died; it goes on in another.", file=sys.stderr
        )

    def ended(self, trial: Trial) -> None:
        """A trial is over, one way or the other."""
        self._epochs.pop(trial.name, None)
        self._done += 1
        state = self.folder.state(trial)
        text = f"  {self._done}/{self.plan.n_trials}  {trial.label}, seed {trial.seed}: {state.kind}"
        if state.kind == FINISHED:
            text += f", {self._numbers(trial)}"
        elif state.detail:
            text += f": {state.detail}" if state.kind == FAILED else f" {state.detail}"
        self._bar.write(text + self._left(), file=sys.stderr)
        self._bar.update()

    def _left(self) -> str:
        """Time that the rest will take, judged by the trials so far."""
        n_left = self.plan.n_trials - self._done
        if n_left < 1:
            return ""
        seconds = (perf_counter() - self._began) / (self._done - self._before) * n_left
        return f" · about {seconds / 60:.0f} min left" if seconds >= 90 else f" · about {seconds:.0f} s left"

    def _numbers(self, trial: Trial) -> str:
        path = self.folder.trial_folder(trial) / "metrics.json"
        result = json.loads(path.read_text(encoding="utf-8"))
        shown = [(metric, metric.read(result)) for metric in self.plan.sweep.metrics]
        values = [f"{metric.name} {metric.write(value)}" for metric, value in shown if value is not None]
        return " · ".join([*values[:3], f"{result['seconds']:.0f} s"])
