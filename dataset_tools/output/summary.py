"""The last words of a conversion: what there is, what was left out, where that is told, what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.output.writer import DatasetWriter

from recbole_video.content.store import SUFFIX, FrameStore, store_path
from recbole_video.data.atomic_file import read_columns
from recbole_video.errors import DataError

_MOST_STEPS = 3


def print_summary(out: DatasetWriter, remark: str = "", next_command: str | None = None) -> None:
    """Print where a data set is and its sizes, what was left out, the card's path, and the next command.

    Args:
        out: The writer that made it.
        remark: A sentence about how the raw files were read.
        next_command: What is typed next; by default a training on what the folder holds.
    """
    sizes = out.card.interactions
    print(
        f"{out.name} is in {out.folder}: {sizes['interactions']:,} interactions of {sizes['users']:,} users on "
        f"{sizes['items']:,} items.{f' {remark}' if remark else ''}"
    )
    print(f"{_left_out(out.card)} Card: {out.folder / out.name}.card.html")
    print(f"Next: {next_command or training_command(out.folder, out.name)}")


def label_command(out: DatasetWriter, *settings: str) -> str:
    """The command that makes popularity labels by these settings of ``label``: a preset, or sources and the like."""
    return tool_command("label", out.name, *settings, *place(out.folder))


def tool_command(*words: str) -> str:
    """A command of the data tools as it is typed."""
    return shlex.join(["python", "-m", "recbole_video.dataset_tools", *words])


def place(folder: Path, option: str = "data_path") -> list[str]:
    """The option that says where the data sets are, if it is needed."""
    return [] if folder.parent == Path("dataset") else [f"--{option}={folder.parent}"]


def _left_out(card: Card) -> str:
    """The filters that dropped most, and how many warnings there are."""
    dropped = sorted((step for step in card.steps if step["dropped"]), key=lambda step: -step["dropped"])
    named = [f"{step['dropped']:,} of {step['before']:,} by {step['name']}" for step in dropped[:_MOST_STEPS]]
    if len(dropped) > _MOST_STEPS:
        named.append(f"more by {len(dropped) - _MOST_STEPS} other filters")
    left_out = f"Left out: {', '.join(named)}." if named else "Nothing was left out."
    n = len(card.warnings)
    return f"{left_out} {n} warning{'s' if n > 1 else ''}." if n else left_out


def is_of_popularity(folder: Path, name: str) -> bool:
    """Whether a data set has counts, of which popularity labels are made."""
    return (folder / f"{name}.counts").is_file()


def training_command(folder: Path, name: str, store: str = "", *options: str) -> str:
    """Train on a store, or else on the content that is there; without any, on ids.

    Items of interactions that have no row in the store are left out, which is an option of its own; further options
    stand before those of the store.
    """
    words = ["python", "run_recbole_video.py", f"--dataset={name}", *place(folder), *options]
    stores = sorted(path.name for path in folder.glob(f"*{SUFFIX}"))
    if not stores:
        content = "   # or make content first, by `frames` of videos, `embed-text` of titles or `vectors`"
        return shlex.join([*words, "--item_encoder=ID"]) + content
    if not store and f"{name}{SUFFIX}" not in stores:
        store = stores[0].removeprefix(f"{name}.").removesuffix(SUFFIX)
    if store:
        words.append(f"--frame_store={store}")
    if _lacks_items(store_path(folder, name, store), folder / f"{name}.inter"):
        words.append("--missing_items=drop")
    return shlex.join(words)


def _lacks_items(store: Path, inter: Path) -> bool:
    """Whether an item of the interactions has no row in a store."""
    if not inter.is_file():
        return False
    try:
        opened = FrameStore(store)
    except DataError:  # the training says what is wrong with it
        return False
    wanted = read_columns(inter, {"item_id"}, set())["item_id"].unique().tolist()
    held = {item for item, count in zip(opened.items, opened.frame_counts.tolist(), strict=True) if count}
    return not held.issuperset(wanted)
