"""What a sweep shows while it runs: a bar, and a line per trial."""

from __future__ import annotations

import sys
from statistics import fmean
from time import perf_counter
from types import TracebackType

from tqdm import tqdm

from recbole_video.files.reading import read_json
from recbole_video.results.earlier_versions import as_of_today
from recbole_video.sweep.folder import FINISHED, STOPPED, SweepFolder, trial_state
from recbole_video.sweep.plan import Plan, Trial


class SweepProgress:
    """A bar over trials, which knows of those that finished earlier.

    Args:
        plan: The sweep.
        folder: Where its trials are.
    """

    def __init__(self, plan: Plan, folder: SweepFolder) -> None:
        self.plan, self.folder = plan, folder
        self._epochs: dict[str, int] = {}
        self._began: dict[str, float] = {}
        self._seconds: dict[bool, list[float]] = {True: [], False: []}  # of controls, and of what is trained
        self._controls = {row.name for row in plan.sweep.rows if row.of_controls}
        self._parallel = 1

    def __enter__(self) -> SweepProgress:
        places = [path.parent for path in self.folder.trials.glob("*/trial.json")]
        self._over = {place.name for place in places if trial_state(place).kind in (FINISHED, STOPPED)}
        self._done = len(self._over)
        self._bar = tqdm(
            total=self.plan.n_trials,
            initial=self._done,
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

    def started(self, trial: Trial) -> None:
        """Note that a trial has begun to run."""
        self._began[trial.name] = perf_counter()
        self._parallel = max(self._parallel, len(self._began))

    def reached(self, trial: Trial, epoch: int, score: float | None) -> None:
        """Show that a trial has finished an epoch."""
        self._epochs[trial.name] = epoch
        running = ", ".join(f"epoch {epoch} of {self.plan.epochs}" for epoch in list(self._epochs.values())[:4])
        self._bar.set_postfix_str(running)

    def died(self, trial: Trial, times: int) -> None:
        """A trial's process has died and another takes over."""
        self._bar.write(
            f"  {trial.label}, seed {trial.seed}: its process died; it goes on in another.", file=sys.stderr
        )

    def ended(self, trial: Trial, reason: str = "") -> None:
        """A trial is over, one way or the other; ``reason`` where it failed."""
        self._epochs.pop(trial.name, None)
        seconds = perf_counter() - self._began.pop(trial.name, perf_counter())
        self._seconds[trial.row in self._controls].append(seconds)
        self._over.add(trial.name)
        self._done += 1
        state = self.folder.state(trial)
        text = f"  {self._done}/{self.plan.n_trials}  {trial.label}, seed {trial.seed}: {state.kind}"
        if state.kind == FINISHED:
            text += f", {self._numbers(trial)}"
        elif reason:
            text += f": {reason}"
        elif state.detail:
            text += f" {state.detail}"
        self._bar.write(text + self._left(), file=sys.stderr)
        self._bar.update()

    def _left(self) -> str:
        """Time that the rest will take, judged by the trials of its kind so far and how many run at a time.

        Controls take seconds: nothing is said of what is trained before the first of it is over.
        """
        n_controls = sum(trial.row in self._controls and trial.name not in self._over for trial in self.plan.trials)
        n_left = {True: n_controls, False: self.plan.n_trials - self._done - n_controls}
        kinds = [kind for kind, n in n_left.items() if n > 0]
        if not kinds or not all(self._seconds[kind] for kind in kinds):
            return ""
        seconds = sum(fmean(self._seconds[kind]) * n_left[kind] for kind in kinds) / self._parallel
        return f" · about {seconds / 60:.0f} min left" if seconds >= 90 else f" · about {seconds:.0f} s left"

    def _numbers(self, trial: Trial) -> str:
        result = as_of_today(read_json(self.folder.trial_folder(trial) / "metrics.json"))
        shown = [(metric, metric.read(result)) for metric in self.plan.sweep.metrics]
        values = [f"{metric.name} {metric.write(value)}" for metric, value in shown if value is not None]
        return " · ".join([*values[:3], f"{result['seconds']:.0f} s"])
