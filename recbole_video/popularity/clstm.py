"""CLSTM (Ghosh et al., 2016): a recurrent network over frames, with the text as context of every gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recbole_video.options.option import option, size_option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.layers import last_state, mean_of, mlp, require, with_metadata
from recbole_video.popularity.public_code import PublicCodeOptions

_HEAD = 200


class CLSTM(PopularityModel):
    """Popularity from the state after the last frame.

    ``clstm``: frames are the sequence, and the mean text stands beside each frame. A gate's ``W_x [x_t; tau]`` is
    ``W_xx x_t + W_tau tau``, which is the contextual LSTM. ``clstm_plain``, the public re-implementation: one LSTM
    over the frames and one over the text, without a context, and a head without a nonlinearity.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are no frames; in ``clstm_plain``, if there is no text either.
    """

    @dataclass(frozen=True)
    class Options(PublicCodeOptions):
        """CLSTM (Ghosh et al., 2016)."""

        variant: Literal["clstm", "clstm_plain"] = option(
            "clstm",
            "clstm: text is the context of every gate; clstm_plain: two LSTMs without context, as in public code.",
            section="CLSTM",
        )
        hidden_size: int = size_option(50, "Width of a recurrent state.")

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        width, is_plain = config["hidden_size"], config["variant"] == "clstm_plain"
        require(inputs, "CLSTM", ("frames", "text") if is_plain else ("frames",))
        context = 0 if is_plain else inputs.text_dim
        self.has_context = context > 0
        self.frames = nn.LSTM(inputs.frame_dim + context, width, batch_first=True) if inputs.frame_dim else None
        self.text = nn.LSTM(inputs.text_dim, width, batch_first=True) if is_plain and inputs.text_dim else None
        self.metadata = MetadataVector(inputs)
        n_states = (self.frames is not None) + (self.text is not None)
        n_inputs = n_states * width + self.metadata.width
        if is_plain:
            self.head = nn.Sequential(nn.Linear(n_inputs, _HEAD), nn.Linear(_HEAD, 1))
        else:
            self.head = mlp(n_inputs, _HEAD, 1, last_is_linear=True)

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        states = []
        if self.text is not None:
            states.append(last_state(self.text, batch["text"], batch["text_mask"]))
        if self.frames is not None:
            states.append(last_state(self.frames, self._steps(batch), batch["frame_mask"]))
        return self.head(with_metadata(self.metadata, batch, *states)).squeeze(-1)

    def _steps(self, batch: Batch) -> Tensor:
        """Frames, with the context beside each of them, [B, T, d_v + d_t]."""
        frames = batch["frames"]
        if not self.has_context:
            return frames
        context = mean_of(batch, "text")[:, None].expand(-1, frames.shape[1], -1)
        return torch.cat([frames, context], dim=-1)
