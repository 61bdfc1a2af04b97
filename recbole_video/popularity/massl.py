"""MASSL (Zhang et al., ICCIP 2022): a variational autoencoder whose decoder gives popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from recbole_video.options.option import option, share_option, size_option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.layers import LastFrame, ModalityExperts, require, with_metadata
from recbole_video.popularity.public_code import PublicCodeOptions

_FEEDFORWARD = 256
_DROPOUT = 0.2
_FEWEST = 39  # numbers that a decoder's convolutions and poolings leave one of


class MASSL(PopularityModel):
    """Experts of frames and text, their product, and a convolutional decoder of a draw from it.

    Of the paper only the abstract could be read: this is the public re-implementation, whose faults are not kept. The
    Transformer attends along the frames of a video and not across the videos of a batch, a prediction is made from the
    mean of the latent vector and not from a draw, and no dropout cuts off the output.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are neither frames nor text.
    """

    @dataclass(frozen=True)
    class Options(PublicCodeOptions):
        """MASSL (ICCIP 2022), as it is known from a public re-implementation."""

        hidden_size: int = size_option(512, "Width of the first layer of each modality; the second has half of it.")
        latent_size: int = option(256, "Width of the latent vector, which is convolved.", at_least=_FEWEST)
        attn_heads: int = size_option(8, "Attention heads of the layer over frames.")
        kl_weight: float = share_option(0.05, "Weight of the divergence; that of the regression is the rest.")

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        require(inputs, "MASSL")
        width, latent_size = config["hidden_size"], config["latent_size"]
        frames = LastFrame(inputs.frame_dim, config["attn_heads"], _FEEDFORWARD) if inputs.frame_dim else None
        self.experts = ModalityExperts(inputs, (width, max(1, width // 2)), latent_size, frames)
        self.metadata = MetadataVector(inputs)
        self.decoder = ConvolutionalDecoder(latent_size + self.metadata.width, latent_size)
        self.kl_weight: float = config["kl_weight"]

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, of the mean of the latent vector, [B]."""
        return self._decoded(self.experts(batch).mean, batch)

    def _decoded(self, latent: Tensor, batch: Batch) -> Tensor:
        return self.decoder(with_metadata(self.metadata, batch, latent))

    def calculate_loss(self, interaction: Batch) -> Tensor:
        """Regression on a draw of the latent vector, and divergence from the standard normal distribution."""
        posterior = self.experts(interaction)
        values = self._decoded(posterior.sample(), interaction)
        loss = self.regression_loss(values, self.scaled_labels(interaction))
        return (1 - self.kl_weight) * loss + self.kl_weight * posterior.divergence().mean()

    def loss_name(self) -> str:
        """The regression's, and the divergence."""
        return f"{super().loss_name()} + divergence"


class ConvolutionalDecoder(nn.Module):
    """Two linear layers, then convolutions and poolings over what they give as a signal of one channel.

    Args:
        n_inputs: Width of what it reads.
        length: Of the signal, at least 39.
    """

    def __init__(self, n_inputs: int, length: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, length), nn.Dropout(_DROPOUT), nn.ReLU(), nn.Linear(length, length), nn.ReLU()
        )
        self.convolutions = nn.Sequential(
            *(_halving(), _pool()), *(_halving(), _pool()), _halving(), _halving(), *(_halving(), _pool())
        )
        self.out = nn.Linear(_length_after(length), 1)

    def forward(self, latent: Tensor) -> Tensor:
        """One number for each row of [B, n_inputs], [B]."""
        return self.out(self.convolutions(self.layers(latent)[:, None])).flatten()


def _halving() -> nn.Conv1d:
    return nn.Conv1d(1, 1, kernel_size=3, stride=2, padding=1)


def _pool() -> nn.MaxPool1d:
    return nn.MaxPool1d(kernel_size=2, stride=1)


def _length_after(length: int) -> int:
    """Length of a signal behind the convolutions, each of which halves it, and poolings, which take one off."""
    for pools in (True, True, False, False, True):
        length = (length + 1) // 2 - pools
    return length
