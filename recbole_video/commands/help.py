"""What ``recbole-video COMMAND --help`` prints of the commands that are flags, too; the others print their own."""

from __future__ import annotations

_OPTIONS = """\
  --OPTION=VALUE          any option of RecBole and of this package: recbole-video options SASRec
  --config_files="a.yaml b.yaml"
                          files of options; the last one wins, and the command line over all
  --trust[=MODULE:CLASS]  load a class of your own that a file names as module:Class
"""
HELP = {
    "run": f"""\
usage: recbole-video run [--model=SASRec] [--item_encoder=CVA] [--dataset=microvideo-demo] [--OPTION=VALUE ...]

Trains a model, evaluates it, and writes a run folder into saved/.

  --model=NAME            a sequential model, a control or a popularity model: recbole-video list
  --item_encoder=NAME     CVA, PerceiverIO, MLP, Pooling or ID
  --dataset=NAME          a folder below dataset/, or a bundled data set
  --preset=NAME           settings of the authors or of a paper's table
  --resume[=RUN_FOLDER]   go on with the newest unfinished run of these options, or with this one
{_OPTIONS}""",
    "sweep": f"""\
usage: recbole-video sweep NAME_OR_YAML [--demo] [--dry_run] [--resume[=SWEEP_FOLDER]] [--OPTION=VALUE ...]

Runs the trials of a paper's table or figure, or of a yaml file of your own, and writes a report.
`recbole-video list` prints the names.

  --demo                  the same table on bundled data, in minutes
  --dry_run               what would run, what is missing and where it comes from, hours, disk; nothing runs
  --verbose               with --dry_run: each trial
  --resume[=SWEEP_FOLDER] go on with the newest sweep of this plan, or with this one; what has finished is kept
  --seed=N                this seed alone
  --max_concurrent=N      trials at a time
  --cpus_per_trial=1      cores of a trial
  --gpus_per_trial=0.5    share of a GPU of a trial
  --search=random|optuna  search the sweep's space in place of its grid; grid is the default
  --n_trials=N            how many trials of such a search
  --ray_address=HOST:PORT a Ray cluster in place of this machine
  --latex                 tables as .tex, too
{_OPTIONS}""",
    "report": """\
usage: recbole-video report FOLDER [FOLDER ...] [--out=FOLDER] [--latex] [--correction=holm|fdr]

Writes tables and figures of finished runs and sweeps: report.html, report.md, results.csv.
`*` in a folder's name stands for anything.

  --out=FOLDER            where to; by default a sweep's own folder, of several runs reports/<time> beside the first
  --latex                 tables as .tex, too
  --correction=holm|fdr   of the p-values of a table, for several tests
""",
    "leaks": f"""\
usage: recbole-video leaks [--dataset=NAME] [--protocol=NAME] [--OPTION=VALUE ...]

Prints what a split lets training know of the time after its test targets; nothing is trained.

  --dataset=NAME          a folder below dataset/, or a bundled data set
  --protocol=NAME         microlens, recbole, temporal, ...: recbole-video options SASRec
{_OPTIONS}""",
    "completion": """\
usage: recbole-video completion bash|zsh

Prints a script for Tab completion: `recbole-video completion bash > FILE`, then `source FILE` in ~/.bashrc.
""",
    "list": """\
usage: recbole-video list

Prints the models, item encoders, controls, bundled data sets and sweeps that there are.
""",
    "options": """\
usage: recbole-video options NAME

Prints the options of a model, an item encoder or a control, with their defaults and what they do.
""",
}
