"""What a model would predict for a video that lacked one of its inputs: a what-if, and no attribution."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import torch

from recbole_video.data.labelled_loader import mask_name
from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.explanation import WhatIf

_NEVER_LACKING = "which every training video had"


def without_each(model: PopularityModel, batch: Batch, never_lacking: Collection[str] = ()) -> list[WhatIf]:
    """What a trained model predicts of a video without each of the inputs that it has.

    An input is taken away as training takes away what a video lacks: zeros that are masked; of the metadata, cells that
    are empty. One without which the model makes no finite prediction is passed over.

    Args:
        model: The model, in evaluation.
        batch: One video.
        never_lacking: Modalities that no training video was without.
    """
    found = []
    for name, remark, changed in _lacking_each(model.inputs, batch):
        value = float(model.predict(changed)[0])
        if math.isfinite(value):
            found.append(WhatIf(name, value, _NEVER_LACKING if name in never_lacking else remark))
    return found


def _lacking_each(inputs: InputShape, batch: Batch) -> Iterator[tuple[str, str, Batch]]:
    """Each input that a model reads and the video has: its name, how it is taken away, and the batch without it."""
    own = dict(batch)
    widths = {"frames": inputs.frame_dim, "text": inputs.text_dim, **inputs.other_dims}
    for name, width in widths.items():
        mask = mask_name(name)
        if width and own[mask].any():
            yield name, "", {**own, name: torch.zeros_like(own[name]), mask: torch.zeros_like(own[mask])}
    sizes = {"numeric": inputs.n_numeric, "categories": len(inputs.n_categories)}
    parts = [name for name, size in sizes.items() if size]
    if any(own[name].any() for name in parts):
        emptied = {"numeric": "numbers at the training mean", "categories": "categories not known"}
        remark = " and ".join(emptied[name] for name in parts)
        yield "metadata", remark, {**own, **{name: torch.zeros_like(own[name]) for name in parts}}
