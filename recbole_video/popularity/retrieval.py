"""What models share that look up similar training videos and read how popular those became."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_video.errors import ConfigError, DataError
from recbole_video.files.atomic import write_text
from recbole_video.options.option import option, size_option
from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.options import PopularityOptions
from recbole_video.popularity.training_memory import TrainingMemory

FILE = "memory.tsv"  # in the folder of a run
_STATE = "memory._extra_state"  # PyTorch's name of what the memory's get_extra_state gives


@dataclass(frozen=True)
class RetrievalOptions(PopularityOptions):
    """Popularity models that look up similar training videos."""

    hidden_size: int | None = option(
        None, "d; empty: the width of the frames. Frames and text of another width are mapped to it.", at_least=1
    )
    n_neighbours: int = size_option(10, "K, training videos that each video is given; never itself.")
    memory_frames: int = size_option(10, "Frames of a video that are read, at most, evenly chosen.")
    memory_max_videos: int = size_option(
        16384, "Look up at most so many training videos, drawn by the seed; they lie in the checkpoint."
    )

    def check(self) -> None:
        super().check()
        if self.memory_max_videos <= self.n_neighbours:
            raise ConfigError(
                f"`memory_max_videos` is {self.memory_max_videos}, which must be more than `n_neighbours`, "
                f"{self.n_neighbours}."
            )


@dataclass(frozen=True)
class Neighbour:
    """A training video that was looked up.

    Attributes:
        label: Its item token, or its row in the data set where that is not known.
        popularity: Its popularity on the labels' scale.
        details: How similar it is, and by what.
    """

    label: str
    popularity: float
    details: str

    @property
    def items(self) -> tuple[str, ...]:
        """The video itself."""
        return (self.label,)


class RetrievalModel(PopularityModel):
    """Base of the models that look up training videos: a memory that is filled before the first epoch.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.
        widths: Width of each modality that is kept of the training videos, by its name.
        n_first: Of modalities of which the first vectors are kept and not their mean, how many.

    Attributes:
        memory: The training videos.
        n_neighbours: K.

    Raises:
        ConfigError: If there are no frames or no text.
    """

    Options = RetrievalOptions
    files_written = (FILE,)

    def __init__(
        self, config: Any, inputs: InputShape, widths: Mapping[str, int], n_first: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(config, inputs)
        for name, width in (("frames", inputs.frame_dim), ("text", inputs.text_dim)):
            if not width:
                raise ConfigError(
                    f"{type(self).__name__} joins frames and text, and there is no {name}; make a store of it (docs/"
                    f"video.md), or leave out use_{name}=False."
                )
        self.n_neighbours: int = config["n_neighbours"]
        self.n_shown_between_epochs = config["memory_max_videos"]
        self.memory = TrainingMemory(widths, config["memory_frames"], n_first)
        self._tokens: Sequence[str] = ()

    def before_epoch(self, epoch: int, batches: Iterable[Batch]) -> None:
        """Fill the memory, once."""
        if len(self.memory):
            return
        self.memory.fill(batches, self.scaled_labels, self.n_neighbours)
        logging.getLogger().info(
            f"Memory: {len(self.memory):,} training videos, {self.memory.n_bytes / 1e6:,.1f} MB, which each checkpoint "
            "holds"
        )

    def look_inside(
        self, batches: Callable[[str], Iterable[Batch]], items: np.ndarray, best_epoch: int, folder: Path | None
    ) -> dict[str, Any]:
        """How large the memory is; which videos are in it, as a table."""
        memory = self.memory
        if folder is not None:
            popularity = (memory.labels * self.label_std + self.label_mean).tolist()
            _write_videos(folder / FILE, items[memory.rows.cpu().numpy()], popularity)
        return {"memory": {"videos": len(memory), "bytes": memory.n_bytes}}

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Check the memory of a checkpoint."""
        super().check_state(state, path)
        self.memory.check_state(state.get(_STATE), self.n_neighbours, path)

    def after_load(self, evaluated: Sequence[str], folder: Path) -> None:
        """Read which videos are in the memory, where the run says so."""
        tokens = _read_videos(folder / FILE)
        self._tokens = tokens if len(tokens) == len(self.memory) else ()

    def neighbour(self, place: int, details: str) -> Neighbour:
        """A video of the memory, for an explanation."""
        label = self._tokens[place] if self._tokens else f"training video {int(self.memory.rows[place])}"
        popularity = self.memory.labels[place] * self.label_std + self.label_mean
        return Neighbour(label, float(popularity), details)


def _write_videos(path: Path, items: np.ndarray, popularity: list[float]) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerow(["item_id", "popularity"])
    writer.writerows((item, f"{value:.6g}") for item, value in zip(items, popularity, strict=True))
    write_text(path, file.getvalue())


def _read_videos(path: Path) -> list[str]:
    """Item tokens of the videos in the memory; none if there is no such file.

    Raises:
        DataError: If the file is malformed.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        try:
            return [row["item_id"] for row in rows]
        except (csv.Error, KeyError, UnicodeDecodeError) as error:
            raise DataError(f"`{path}`, line {rows.line_num}: not a line of a table of videos.") from error
