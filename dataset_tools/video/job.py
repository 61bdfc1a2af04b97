"""What a run is asked to do: the plan for each video, the videos, and where the results go."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.video.failures import Failure
from recbole_video.dataset_tools.video.frame_encoders import Placement, read_shape
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.samplers import RESAMPLE, Sampling
from recbole_video.dataset_tools.video.samples import ChosenFrames
from recbole_video.dataset_tools.video.titles import Titles
from recbole_video.dataset_tools.video.weights import Source, Weights, find_all

from recbole_video.content.store import store_path
from recbole_video.errors import ConfigError

# Pixels of a decoded picture's shorter side, unless a model wants more.
_SHORT_SIDE = 256


@dataclass(frozen=True)
class FramePlan:
    """What is done to each video.

    Attributes:
        sampling: How its frames are chosen.
        encoder: The frame encoder; None where frames are only chosen.
        scorer: The CLIP model that scores frames; None where none is needed.
        placement: Where and how the models run.
        short_side: Pixels of a decoded picture's shorter side.
        title_noise: Length of the noise on a title's embedding, in lengths of that embedding.
        accept_truncated: Take what a truncated file holds for the whole.
        contact_sheets: Folder for contact sheets; None for none.
    """

    sampling: Sampling
    encoder: Weights | None
    scorer: Weights | None
    placement: Placement
    short_side: int
    title_noise: float
    accept_truncated: bool
    contact_sheets: Path | None

    def sampling_settings(self, titles: Titles) -> dict[str, Any]:
        """What the choice of frames depends on, as plain values that do not differ between machines."""
        settings: dict[str, Any] = {
            **asdict(self.sampling),
            "short_side": self.short_side,
            "accept_truncated": self.accept_truncated,
        }
        if self.sampling.sampler == RESAMPLE:
            settings["titles"] = {"condition": titles.condition, "noise": self.title_noise, "sha256": titles.sha256}
        if self.scorer is not None:
            settings["clip"] = self._settings_of(self.scorer)
        return settings

    def encoding_settings(self) -> dict[str, Any]:
        """What the embeddings depend on beyond the choice of frames; nothing without an encoder."""
        if self.encoder is None:
            return {}
        return {"frame_encoder": self._settings_of(self.encoder), "short_side": self.short_side}

    def _settings_of(self, weights: Weights) -> dict[str, Any]:
        """A model, and what the last digits of its embeddings depend on."""
        placement = self.placement
        return {**weights.as_plain(), "precision": placement.precision, "batch_size": placement.pictures_per_pass}


def make_frame_plan(
    sampling: Sampling,
    encoder: Source | None,
    clip: Source | None,
    placement: Placement | None = None,
    title_noise: float = 0.0,
    accept_truncated: bool = False,
    contact_sheets: Path | None = None,
    min_short_side: int = _SHORT_SIDE,
) -> FramePlan:
    """Find the weights that are needed and settle what follows from them.

    Args:
        sampling: How frames are chosen.
        encoder: The frame encoder; None to choose frames only.
        clip: The model that scores frames; None where none are scored.
        placement: Where and how the models run.
        title_noise: As in :class:`FramePlan`, and so are the two that follow.
        accept_truncated: Whether truncated files count.
        contact_sheets: Folder for contact sheets.
        min_short_side: Least number of pixels of a decoded picture's shorter side.

    Raises:
        DataError: If weights are not within reach.
        ConfigError: If frames would be scored on larger pictures because of the encoder: the choice must not depend
            on it.
    """
    wanted, scorer = find_all([encoder, clip])
    return FramePlan(
        sampling=sampling,
        encoder=wanted,
        scorer=scorer,
        placement=(placement or Placement()).resolved(),
        short_side=_short_side(wanted, scorer, min_short_side),
        title_noise=title_noise,
        accept_truncated=accept_truncated,
        contact_sheets=contact_sheets,
    )


def _short_side(encoder: Weights | None, scorer: Weights | None, least: int) -> int:
    """Pixels of a decoded picture's shorter side: what the models need, for nothing to be scaled up."""
    sides = [read_shape(weights).preprocessing.short_side for weights in (encoder, scorer) if weights]
    if encoder and scorer and sides[0] > max(least, sides[1]):
        raise ConfigError(
            f"`{encoder.name}` wants pictures of {sides[0]} pixels, larger than those that frames are scored on, "
            f"{max(least, sides[1])}; choose frames by `sample` first, and then embed them by `embed`."
        )
    return max([least, *sides])


@dataclass(frozen=True)
class Outputs:
    """The files of a run's results.

    Attributes:
        folder: Folder of the data set.
        name: Name of the data set.
        store: Name of the frame store within it; empty for the default one.
    """

    folder: Path
    name: str
    store: str = ""

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{f'.{self.store}' if self.store else ''}{suffix}"

    @property
    def frames(self) -> Path:
        return store_path(self.folder, self.name, self.store)

    @property
    def samples(self) -> Path:
        return self._file(".samples.jsonl")

    @property
    def failures(self) -> Path:
        return self._file(".failures.csv")

    @property
    def parts(self) -> Path:
        return self._file(".parts")


@dataclass(frozen=True)
class Job:
    """All that a run is asked to do.

    Attributes:
        videos: The videos, sorted by item token.
        plan: What is done to each.
        titles: Their titles.
        outputs: Where the results go.
        chosen: Frames that were chosen before, of every video; None to choose now.
        failed: Videos that failed before and are not among ``videos``.
        overwrite: Replace results that are there.
    """

    videos: list[VideoFile]
    plan: FramePlan
    titles: Titles
    outputs: Outputs
    chosen: ChosenFrames | None = None
    failed: list[Failure] = field(default_factory=list)
    overwrite: bool = False

    @property
    def sampling_settings(self) -> dict[str, Any]:
        """How frames are chosen, or were."""
        return self.plan.sampling_settings(self.titles) if self.chosen is None else self.chosen.settings

    def results(self) -> list[Path]:
        """The files that the run makes, the report of failures apart."""
        made = [self.outputs.samples] if self.chosen is None else []
        return [*made, self.outputs.frames, self.outputs.frames.with_suffix(".json")] if self.plan.encoder else made
