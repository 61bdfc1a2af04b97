"""``--leak_report`` on the command line: what a split lets training know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_video.errors import ConfigError
from recbole_video.options.option import declared
from recbole_video.options.parse import parse_command_line, split_paths
from recbole_video.options.run import CommandOptions
from recbole_video.quick_start import make_config
from recbole_video.tasks import task_of
from recbole_video.tasks.task import prepare_bundled


def leak_command(words: Sequence[str]) -> int:
    """Print what the split of a data set lets training know of the time after its test targets; nothing is trained.

    Args:
        words: The command line: ``--leak_report`` and the options of a run.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    if "--leak_report" not in words:
        raise ConfigError("--leak_report takes no value: write it alone, and the data set as --dataset=NAME.")
    words = [word for word in words if word != "--leak_report"]
    files = split_paths(parse_command_line(words, declared(CommandOptions)).get("config_files"), "config_files")
    config = make_config(config_file_list=files, command_line=words)
    prepare_bundled(config)
    print(leaks_text(config["dataset"], task_of(config).leaks(config)))
    return 0


def leaks_text(dataset: str, found: Mapping[str, Any]) -> str:
    """The leak report of a split as people read it."""
    shares = [
        ("whose item has a training action later", "item_trained_later"),
        ("whose user has a training action later", "user_trained_later"),
        ("after which anybody has a training action", "trained_later"),
        ("on an item that the user had acted on before", "repeats"),
        ("at the same time as a neighbouring action of the user", "equal_times"),
    ]
    width = max(len(label) for label, _ in shares)
    lines = [f"{dataset}, protocol {found['protocol']}: {found['targets']:,} test targets; times: {found['times']}", ""]
    for label, name in shares:
        lines.append(f"  {label:{width}}  {'-' if found[name] is None else f'{found[name]:.2%}'.rjust(7)}")
    if "cuts" in found:
        lines.append(f"  {'on items unseen before the first cut':{width}}  {found['of_cold_items']:7,}")
        lines.append(f"  {'of users unseen before the first cut':{width}}  {found['of_cold_users']:7,}")
        lines.append(
            f"  {'left out, since nothing stands before them':{width}}  {found['targets_without_history']['test']:7,}"
        )
    return "\n".join(lines)
