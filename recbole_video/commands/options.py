"""What ``--sweep`` and ``--report`` take beside the options of runs; a run that is given one says whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_video.options.option import Option, declared, option
from recbole_video.options.run import RunOptions


@dataclass(frozen=True)
class SweepOptions:
    """What ``--sweep`` takes beside the options of its trials."""

    sweep: str | None = option(None, "Name of a sweep, or its YAML file.", is_path=True)
    demo: bool = option(False, "The same table on bundled data, in minutes.")
    dry_run: bool = option(False, "What would run, and what is missing; nothing runs.")
    verbose: bool = option(False, "With dry_run: each trial.")
    resume: bool | str = option(False, "Go on with the newest sweep of this plan, or with this one.", is_path=True)
    search: str | None = option(None, "grid, random or optuna, in place of the sweep's own.")
    n_trials: int | None = option(None, "How many trials of such a search.")
    cpus_per_trial: float = option(1.0, "Cores of a trial.", above=0)
    gpus_per_trial: float | None = option(
        None, "GPUs of a trial, or a share of one; one where there is any.", at_least=0
    )
    max_concurrent: int | None = option(None, "Trials at a time, at most.", at_least=1)
    latex: bool = option(False, "Tables as .tex, too.")


@dataclass(frozen=True)
class ReportOptions:
    """What ``--report`` takes."""

    report: str | None = option(None, "Folders of runs and sweeps, separated by spaces.", is_path=True)
    out: str | None = option(None, "Folder of the report.", is_path=True)
    latex: bool = option(False, "Tables as .tex, too.")
    correction: str | None = option(None, "holm or fdr: of the p-values of a table, for several tests.")


# The flag that each of them stands beside.
OF_COMMANDS: dict[str, type] = {"--sweep=NAME_OR_YAML": SweepOptions, "--report=FOLDERS": ReportOptions}


def sweep_options() -> dict[str, Option]:
    """What ``--sweep`` reads itself; where Ray is, a run declares."""
    return {**declared(SweepOptions), "ray_address": declared(RunOptions)["ray_address"]}
