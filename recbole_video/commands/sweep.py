"""``--sweep`` on the command line: plan, run, report."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_video.commands import check_switches
from recbole_video.commands.options import sweep_options
from recbole_video.config import STOCK_PREFIX, Config, class_named, known_options
from recbole_video.errors import ConfigError, RecBoleVideoError
from recbole_video.options.parse import expand_home, parse_command_line, split_paths
from recbole_video.registries import ITEM_ENCODERS, MODEL_REGISTRIES
from recbole_video.registry import Trust, check_trusted
from recbole_video.reports.console import console_table, note_lines
from recbole_video.reports.write import write_report
from recbole_video.sweep.folder import FAILED, FINISHED, SweepFolder
from recbole_video.sweep.plan import Plan, count_control_trials, make_plan
from recbole_video.sweep.preparation import (
    demo_advice,
    frame_costs,
    hours_text,
    missing_data,
    missing_lines,
    n_published,
    refused_rows,
    require_data,
    total_lines,
    weights_needed,
)
from recbole_video.sweep.runner import Resources, all_states, n_parallel, run_sweep
from recbole_video.sweep.spec import Sweep, load_sweep, preset_names, with_search

_SHOWN_TRIALS = 60


def sweep_command(words: Sequence[str]) -> int:
    """Run a sweep and report on it.

    Args:
        words: The command line.

    Returns:
        Exit status: 0, or 1 if a trial failed, or would fail when its model is built.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
        KeyboardInterrupt: On Ctrl-C, after the report on what has finished.
    """
    own = sweep_options()
    given = parse_command_line(words, {**known_options(), **own})
    ours = {name: given.pop(name) for name in own if name in given}
    check_switches(ours, own)
    if ours["sweep"] in (True, None, ""):
        raise ConfigError(f"--sweep needs a name or a file: --sweep=NAME, one of {', '.join(preset_names())}.")
    ours |= {name: expand_home(ours[name]) for name, one in own.items() if one.rule.is_path and name in ours}
    sweep = load_sweep(str(ours["sweep"]), bool(ours.get("demo", False)))
    trust = given.pop("trust", False)
    if classes := _own_classes(sweep, given, trust, f"The sweep `{ours['sweep']}`"):
        sweep = load_sweep(str(ours["sweep"]), bool(ours.get("demo", False)), classes)
        again = parse_command_line(words, {**known_options([*sweep.classes(), *classes]), **own})
        given = {name: again[name] for name in given}
    first = _SHOWN_TRIALS if ours.get("dry_run") and not ours.get("resume") else None
    plan = make_plan(with_search(sweep, ours.get("search"), ours.get("n_trials")), _own_options(given, trust), first)
    resources = _resources(ours, plan.sweep)
    print(plan_text(plan, resources, bool(ours.get("verbose"))))
    if ours.get("dry_run"):
        return _dry_run(plan, _folder(plan, ours["resume"], words) if ours.get("resume") else None)
    require_data(plan)
    folder = _folder(plan, ours.get("resume", False), words)
    print(f"  Folder:     {folder.path}\n", flush=True)
    if not resources.address:
        print("Starting Ray, which takes some seconds, on a busy machine a minute …", flush=True)
    try:
        states = run_sweep(plan, folder, resources)
    except KeyboardInterrupt:
        _report_finished(folder, bool(ours.get("latex")))
        raise  # the command line says that it goes on with --resume
    content = write_report([folder.path], latex=bool(ours.get("latex")))
    print("\n\n".join([console_table(content.sections[0]), *note_lines(content.sections[0])]))
    failed = [name for name, state in states.items() if state.kind == FAILED]
    for name in failed:
        print(f"Failed: {name}: {states[name].detail}", file=sys.stderr)
    print(f"\nReport: {folder.path / 'report.html'} (also report.md, results.csv and figures)")
    return 1 if failed else 0


def _dry_run(plan: Plan, folder: SweepFolder | None) -> int:
    """Say what is missing, what goes on in a folder, and which rows would be refused; the exit status."""
    print(_preparation_text(plan))
    if folder is not None:
        print(f"  Goes on in: {folder.path}")
    refused = refused_rows(plan)
    for sentence in refused:
        print(f"Refused: {sentence}", file=sys.stderr)
    return 1 if refused else 0


def _own_classes(sweep: Sweep, given: dict[str, Any], trust: Trust, where: str) -> list[str]:
    """Classes, as ``module:Class``, that the sweep or the command line names, imported: their options are known then.

    Raises:
        ConfigError: If the sweep names one that is not trusted, or there is none of that name.
    """
    own = [name for name in sweep.classes() if ":" in name and not name.startswith(STOCK_PREFIX)]
    for name in sorted(own):
        check_trusted(name, (*MODEL_REGISTRIES, ITEM_ENCODERS), trust, where)
    own += [str(given[name]) for name in ("model", "item_encoder") if ":" in str(given.get(name))]
    own = [name for name in dict.fromkeys(own) if not name.startswith(STOCK_PREFIX)]
    for name in own:
        class_named(name)
    return own


def _preparation_text(plan: Plan) -> str:
    """What is missing before a sweep can run, and what it will take to make."""
    found = missing_data(plan)
    if not found:
        return "  Missing:    nothing"
    lines, costs = ["", "Before it can run:"], [cost for missing in found for cost in frame_costs(missing)]
    for missing in found:
        lines.append(f"  {missing.dataset}{missing.near}")
        lines += [f"    {line}" for line in missing_lines(missing)]
        if missing.need is None:
            lines.append("    check data_path, or make it with dataset_tools")
            continue
        lines.append(f"    download {missing.need.download}, then run")
        lines += [f"      {command}" for command in missing.commands]
        lines += [f"    {cost}" for cost in frame_costs(missing)]
    lines += [f"  {line}" for line in total_lines(costs)]
    weights = weights_needed(found)
    lines += ["  weights of frozen models", *(f"    {line}" for line in weights)] if weights else []
    return "\n".join([*lines, *filter(None, [demo_advice(plan.sweep)])])


def plan_text(plan: Plan, resources: Resources, lists_trials: bool = False) -> str:
    """What a sweep is about to do; its trials one by one where they are asked for."""
    sweep = plan.sweep
    parallel = n_parallel(resources, plan.n_trials)
    gpus = "one GPU where there is any" if resources.gpus is None else _counted(resources.gpus, "GPU")
    where = f"the Ray cluster at {resources.address}" if resources.address else "a local Ray"
    data = ", ".join(dataset.name for dataset in plan.datasets)
    lines = [
        f"{sweep.title}{' (demo)' if sweep.is_demo else ''}",
        f"  Trials:     {plan.n_trials:,} ({_factors(sweep, plan)})",
        f"  Data:       {data}",
        f"  Resources:  {_counted(resources.cpus, 'core')} per trial, {gpus}, on {where}"
        + ("" if resources.address else f"; {parallel} at a time on {os.cpu_count()} cores"),
        f"  Chosen by:  validation {plan.valid_metric}" + (", ASHA stops the worst" if sweep.asha else ""),
        f"  Time:       {_hours(plan, parallel) or 'shown as soon as the first trials have finished'}",
        *_beside(sweep),
    ]
    if not lists_trials:
        return "\n".join(lines)
    shown = [f"    {trial.label}, seed {trial.seed}" for trial in plan.trials[:_SHOWN_TRIALS]]
    more = plan.n_trials - len(shown) if shown else 0
    return "\n".join([*lines, *shown, *([f"    … and {more:,} more"] if more > 0 else [])])


def _hours(plan: Plan, parallel: int) -> str:
    return hours_text(plan, _root(plan), parallel)


def _beside(sweep: Sweep) -> list[str]:
    """What the numbers will stand beside."""
    published, rows = n_published(sweep)
    if not published or not sweep.source:
        return []
    return [f"  Beside:     {sweep.source}: published numbers of {published} of {rows} rows"]


def _counted(n: float, what: str) -> str:
    return f"{n:g} {what}{'' if n == 1 else 's'}"


def _factors(sweep: Sweep, plan: Plan) -> str:
    if sweep.search.kind == "optuna":
        return "chosen by Optuna"
    n_controls = count_control_trials(sweep)
    n_rows = sum(row.options is not None and not row.of_controls for row in sweep.rows)
    n_points = (plan.n_trials - n_controls) // (n_rows * len(sweep.columns) * len(sweep.seeds))
    parts = [(n_rows, "rows"), (len(sweep.columns), "columns"), (n_points, "points"), (len(sweep.seeds), "seeds")]
    named = [f"{n} {what if n > 1 else what[:-1]}" for n, what in parts if n > 1]
    return (" × ".join(named) or "one run") + (f", and {n_controls} of controls" if n_controls else "")


def _own_options(given: dict[str, Any], trust: Trust) -> dict[str, Any]:
    """Config files under the options of the command line, as in a run."""
    options: dict[str, Any] = {}
    files = split_paths(given.pop("config_files", None), "config_files")
    if files:
        options = dict(Config(config_file_list=files, trust=trust).file_options)
    return {**options, **given}


def _resources(ours: dict[str, Any], sweep: Sweep) -> Resources:
    cpus = ours.get("cpus_per_trial", sweep.cpus)
    gpus = ours.get("gpus_per_trial", sweep.gpus)
    most = ours.get("max_concurrent")
    for name, value in (("cpus_per_trial", cpus), ("gpus_per_trial", gpus), ("max_concurrent", most)):
        sweep_options()[name].check(value)
    address = ours.get("ray_address")
    if not address:
        _check_machine_has(cpus, gpus)
    return Resources(float(cpus), None if gpus is None else float(gpus), most, str(address) if address else None)


def _check_machine_has(cpus: float, gpus: float | None) -> None:
    import torch

    for name, wanted, here in (
        ("cpus_per_trial", cpus, os.cpu_count() or 1),
        ("gpus_per_trial", gpus or 0, torch.cuda.device_count()),
    ):
        if wanted > here:
            raise ConfigError(f"`{name}` is {wanted:g}, and this machine has {here}; lower it, or give a ray_address.")


def _root(plan: Plan) -> Path:
    """The folder that run folders are made in."""
    config = Config(config_dict={k: v for k, v in plan.sweep.base.items() if k == "checkpoint_dir"})
    return Path(config["checkpoint_dir"])


def _folder(plan: Plan, resume: bool | str, words: Sequence[str]) -> SweepFolder:
    root = _root(plan)
    if resume:
        return SweepFolder.to_resume(plan, root, resume)
    command = shlex.join(["python", "run_recbole_video.py", *words])
    return SweepFolder.create(plan, root, command)


def _report_finished(folder: SweepFolder, latex: bool) -> None:
    if any(state.kind == FINISHED for state in all_states(folder).values()):
        try:
            write_report([folder.path], latex=latex)
        except RecBoleVideoError as error:
            print(f"No report: {error}", file=sys.stderr)
        else:
            print(f"\nReport on what has finished: {folder.path / 'report.html'}")
