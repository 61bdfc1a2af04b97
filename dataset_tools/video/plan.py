"""What a run does to each video: everything its results depend on, in one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.video.frame_encoders import Placement, read_shape
from recbole_video.dataset_tools.video.samplers import RESAMPLE, Sampling
from recbole_video.dataset_tools.video.titles import Titles
from recbole_video.dataset_tools.video.weights import Source, Weights, find_weights

from recbole_video.errors import ConfigError

# Pixels of a decoded picture's shorter side, unless a model wants more.
_SHORT_SIDE = 256


@dataclass(frozen=True)
class Plan:
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
            settings["clip"] = {**self.scorer.as_plain(), "precision": self.placement.precision}
        return settings

    def encoding_settings(self) -> dict[str, Any]:
        """What the embeddings depend on beyond the choice of frames; nothing without an encoder."""
        if self.encoder is None:
            return {}
        encoder = {**self.encoder.as_plain(), "precision": self.placement.precision}
        return {"frame_encoder": encoder, "short_side": self.short_side}


def make_plan(
    sampling: Sampling,
    encoder: Source | None,
    clip: Source | None,
    placement: Placement | None = None,
    title_noise: float = 0.0,
    accept_truncated: bool = False,
    contact_sheets: Path | None = None,
    min_short_side: int = _SHORT_SIDE,
) -> Plan:
    """Find the weights that are needed and settle what follows from them.

    Args:
        sampling: How frames are chosen.
        encoder: The frame encoder; None to choose frames only.
        clip: The model that scores frames; None where none are scored.
        placement: Where and how the models run.
        title_noise: See :class:`Plan`.
        accept_truncated: See :class:`Plan`.
        contact_sheets: See :class:`Plan`.
        min_short_side: Least number of pixels of a decoded picture's shorter side.

    Raises:
        DataError: If weights are not within reach.
        ConfigError: If frames would be scored on larger pictures because of the encoder: the choice must not depend
            on it.
    """
    wanted = find_weights(encoder) if encoder else None
    scorer = find_weights(clip) if clip else None
    sides = [read_shape(weights).preprocessing.short_side for weights in (wanted, scorer) if weights]
    if wanted and scorer and sides[0] > max(min_short_side, sides[1]):
        raise ConfigError(
            f"`{wanted.name}` wants pictures of {sides[0]} pixels, larger than those that frames are scored on, "
            f"{max(min_short_side, sides[1])}; choose frames by `sample` first, and then embed them by `embed`."
        )
    return Plan(
        sampling=sampling,
        encoder=wanted,
        scorer=scorer,
        placement=(placement or Placement()).resolved(),
        short_side=max([min_short_side, *sides]),
        title_noise=title_noise,
        accept_truncated=accept_truncated,
        contact_sheets=contact_sheets,
    )
