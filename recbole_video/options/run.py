"""The options of every run, and those that are of no run but of any command that makes some."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

from recbole_video.errors import ConfigError
from recbole_video.options.option import declared, option, shown_value, unquoted
from recbole_video.options.parse import convert_words

LARGEST_SEED = 2**32 - 1  # NumPy's
_CLASSES = re.compile(r"[\w.]+:[\w.]+(?:[\s,]+[\w.]+:[\w.]+)*")


@dataclass(frozen=True)
class RunOptions:
    """Every run, ours or RecBole's own models."""

    # RecBole's options that would do nothing here, and of what kind of models: to accept them would be to mislead.
    without_effect: ClassVar[frozenset[str]] = frozenset()
    models: ClassVar[str] = "RecBole's models"
    # What only a training reads, of models that have none because they are fitted in one go.
    of_training: ClassVar[frozenset[str]] = frozenset()

    seed: int = option(42, "Random seed.", by_hand=True)
    reproducibility: bool = option(True, "Whether to make results reproducible.")
    metrics: list[str] = option(
        ["Hit", "NDCG"], "Any of RecBole's ranking metrics; Hit is the papers' HR.", by_hand=True
    )
    topk: list[int] = option([10, 20], "Cut-offs of the metrics.", by_hand=True)
    valid_metric: str = option(
        "NDCG@10",
        "The metric of early stopping and of the best checkpoint; by default at 10, or else the first of topk.",
    )
    metric_decimal_place: int = option(5, "Decimals of a metric: 5, so that 9.737 % can be read off.")
    checkpoint_dir: str = option("saved", "Holds one folder per run.", is_path=True)
    log_dir: str = option("log", "Holds <model>/<model>-<dataset>-<time>-<hash>.log, as in RecBole.", is_path=True)
    tensorboard_dir: str = option("log_tensorboard", "Holds the TensorBoard event files.", is_path=True)
    nproc: int = option(1, "Processes on this machine that train together, with a GPU each if it has some.", at_least=1)
    ray_address: str | None = option(
        None,
        "HOST:PORT of a Ray cluster, or auto: the processes of nproc, or the trials of a sweep, run on its machines.",
    )
    eval_args: dict[str, Any] = option(
        {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
        "As in RecBole; its own default for general models is a random split.",
    )

    def check(self) -> None:
        """Refuse values that contradict each other, or whose kind no single type says.

        Raises:
            ConfigError: On the first such value.
        """
        if not self.metrics:
            raise ConfigError("`metrics` is empty; name at least one.")
        top = self.topk if isinstance(self.topk, list) else [self.topk]
        if not top or not all(is_whole(k) for k in top):
            raise ConfigError(
                f"`topk` is {shown_value(self.topk)}; it is a list of whole numbers, such as [10, 20]"
                f"{unquoted(self.topk)}."
            )
        if not (is_whole(self.nproc) and self.nproc >= 1):
            raise ConfigError(
                f"`nproc` is {shown_value(self.nproc)}; it must be a whole number of at least 1{unquoted(self.nproc)}."
            )
        if self.ray_address and self.nproc == 1:
            raise ConfigError("`ray_address` says where the processes of a run are: set nproc too, or leave it out.")
        if not (is_whole(self.seed) and 0 <= self.seed <= LARGEST_SEED):
            raise ConfigError(
                f"`seed` is {shown_value(self.seed)}; it must be a whole number from 0 to {LARGEST_SEED}"
                f"{unquoted(self.seed)}."
            )


@dataclass(frozen=True)
class CommandOptions:
    """What any command of runs may name beside their options; a sweep and a report declare their own."""

    config_files: list[str] | None = option(None, "YAML files with options, the last one winning.")
    trust: str | bool = option(
        False, "Classes that a file may name as module:Class; alone, whatever it names.", is_notation=True
    )


def add_trust(parser: ArgumentParser) -> None:
    """Give a command with arguments of its own the ``--trust`` of the others; :func:`trust_told` goes before."""
    one = declared(CommandOptions)["trust"]
    parser.add_argument(
        "--trust", nargs="?", const=True, default=one.default, type=_trusted, metavar="MODULE:CLASS", help=one.rule.help
    )


def _trusted(text: str) -> Any:
    return convert_words({"trust": text}, declared(CommandOptions))["trust"]


def trust_told(words: Sequence[str]) -> list[str]:
    """The words of a command line, ``--trust`` alone as ``--trust=True``: a folder behind it is no class."""
    return [
        "--trust=True" if word == "--trust" and not _CLASSES.fullmatch(following) else word
        for word, following in zip_longest(words, words[1:], fillvalue="")
    ]


def warmup_option(must: str) -> Any:
    """``lr_warmup`` of a task; ``must`` is what the message about another value says of it."""
    return option(0.0, "Share of all steps over which the rate rises from 0.", at_least=0, at_most=1, must=must)


def resume_option() -> Any:
    """``resume`` of a task whose runs go on from checkpoints of this package."""
    return option(
        False,
        "Continue the newest unfinished run of these options, or the named run folder; show the result of a finished "
        "one.",
        is_path=True,
        section="Run",
    )


def keep_last_option() -> Any:
    """``keep_last_checkpoint`` of a task whose runs go on from checkpoints of this package."""
    return option(
        False,
        "Keep last.pth, most of a run folder's size, when the run has ended; until then --resume needs it.",
        section="Run",
    )


def check_processes(nproc: int, most: int, remedy: str, what: str = "") -> None:
    """Refuse more processes than there are parts of a step.

    Args:
        nproc: How many are asked for.
        most: Parts of a step.
        remedy: The option to raise.
        what: The parts, in words; rows by default.

    Raises:
        ConfigError: If some would have nothing to do.
    """
    if nproc > most:
        raise ConfigError(
            f"`nproc` is {nproc}, and a step has {what or f'{most} rows'}; lower nproc or raise {remedy}."
        )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
