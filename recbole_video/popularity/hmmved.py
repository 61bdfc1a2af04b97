"""HMMVED (Xie et al., IEEE TMM 2021): a variational bottleneck whose prior follows from what is known of authors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from recbole_video.options.option import option, share_option, size_option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.layers import Expert, Gaussian, LastFrame, ModalityExperts, mlp, require, with_metadata
from recbole_video.popularity.public_code import PublicCodeOptions

_FEEDFORWARD = 256
_DECODER = 20  # width of the re-implementation's hidden layer
_OF_USERS = ("numeric", "categories")
_NO_USERS = (("variant", "reimplementation"),)


class HMMVED(PopularityModel):
    """Experts of frames and text, their product, and a linear regression of a draw from it.

    ``original``: before the first epoch a user stage learns popularity from the metadata U alone, through a latent
    vector of its own; what it says of a video is the prior of the latent vector in the video stage. Without metadata
    there is no user stage, and the prior is the standard normal distribution: that is MMVED, the predecessor.
    ``reimplementation``: MMVED with the sizes and the Transformer of public code, whose faults (attention across the
    videos of a batch, draws at test time) are not kept.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are neither frames nor text.
    """

    @dataclass(frozen=True)
    class Options(PublicCodeOptions):
        """HMMVED (IEEE Transactions on Multimedia, 2021)."""

        variant: Literal["original", "reimplementation"] = option(
            "original",
            "original: with a user stage where there is metadata; reimplementation: public code, without one.",
            section="HMMVED",
        )
        hidden_size: int = size_option(
            32, "Width of a layer before an expert; the re-implementation's second has half."
        )
        latent_size: int = size_option(8, "Width of the latent vector.")
        kl_weight: float = share_option(
            0.2, "Weight of the divergence; the re-implementation gives the rest to the loss."
        )
        attn_heads: int = option(
            8, "Attention heads of the re-implementation.", at_least=1, void_when=(("variant", "original"),)
        )
        user_epochs: int = option(50, "Epochs of the user stage.", at_least=1, void_when=_NO_USERS)
        metadata_in_head: bool = option(
            True,
            "U beside the latent vector too, as in all models here; False: as published, it gives the prior alone.",
            void_when=_NO_USERS,
        )
        learning_rate: float = option(5e-4, "As in the original code, where it falls.", at_least=0)
        lr_scheduler: Literal["constant", "linear", "cosine"] = option(
            "linear", "constant, linear or cosine, over all steps of all epochs."
        )
        epochs: int = option(100, at_least=1)
        train_batch_size: int = option(128, at_least=1)

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        require(inputs, "HMMVED")
        options = config.options(self.Options)
        self.is_original = options.variant == "original"
        width, latent_size = options.hidden_size, options.latent_size
        metadata = MetadataVector(inputs)
        self.metadata = metadata if options.metadata_in_head or not self.is_original else MetadataVector(InputShape())
        self.user: UserStage | None = None
        if self.is_original:
            self.experts = ModalityExperts(inputs, (width,), latent_size, is_bounded=True)
            self.decoder: nn.Module = nn.Linear(latent_size + self.metadata.width, 1)
            if metadata.width:
                self.user = UserStage(inputs, width, latent_size)
        else:
            frames = LastFrame(inputs.frame_dim, options.attn_heads, _FEEDFORWARD) if inputs.frame_dim else None
            self.experts = ModalityExperts(inputs, (width, max(1, width // 2)), latent_size, frames)
            self.decoder = mlp(latent_size + self.metadata.width, _DECODER, 1, last_is_linear=True)
        self.kl_weight: float = options.kl_weight
        self._of_user_stage = {"epochs": options.user_epochs, "rate": options.learning_rate, "seed": options.seed}
        self._batch_size: int = options.train_batch_size

    # -- prediction ----------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, of the mean of the latent vector, [B]."""
        return self._decoded(self.experts(batch).mean, batch)

    def _decoded(self, latent: Tensor, batch: Batch) -> Tensor:
        return self.decoder(with_metadata(self.metadata, batch, latent)).squeeze(-1)

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """That it is MMVED, where no user stage is in it."""
        return "" if result["parameters"].get("user_stage") else "without a user stage, which is MMVED"

    def parameter_counts(self) -> dict[str, int]:
        """Parameters of the whole model, and of the user stage in it, which is trained before."""
        counts = super().parameter_counts()
        if self.user is None:
            return counts
        n_user = sum(weights.numel() for weights in self.user.parameters())
        return {"model": counts["model"] + n_user, "user_stage": n_user}

    # -- training ------------------------------------------------------------------------------

    def before_epoch(self, epoch: int, batches: Iterable[Batch]) -> None:
        """Train the user stage on the training videos, once."""
        if self.user is None or self.user.is_trained:
            return
        kept = [
            ({name: batch[name] for name in _OF_USERS if name in batch}, self.scaled_labels(batch)) for batch in batches
        ]
        users = {name: torch.cat([fields[name] for fields, _ in kept]) for name in kept[0][0]}
        labels = torch.cat([labels for _, labels in kept])
        loss = self.user.train_on(users, labels, self.kl_weight, batch_size=self._batch_size, **self._of_user_stage)
        logging.getLogger().info(f"User stage on {len(labels):,} videos: loss of its last epoch {loss:.4f}")

    def calculate_loss(self, interaction: Batch) -> Tensor:
        """Regression on a draw of the latent vector, and divergence from the prior."""
        posterior = self.experts(interaction)
        values = self._decoded(posterior.sample(), interaction)
        loss = self.regression_loss(values, self.scaled_labels(interaction))
        divergence = posterior.divergence(None if self.user is None else self.user.prior(interaction)).mean()
        return (1 if self.is_original else 1 - self.kl_weight) * loss + self.kl_weight * divergence

    def loss_name(self) -> str:
        """The regression's, and the divergence."""
        return f"{super().loss_name()} + divergence"


class UserStage(nn.Module):
    """Popularity from metadata alone: an expert of U, and a linear regression of a draw from it.

    It is trained by itself, and fixed from then on; the trainer's optimiser never sees it.

    Args:
        inputs: Sizes of the inputs.
        width: Of the layer before the expert.
        latent_size: n.
    """

    trained: Tensor

    def __init__(self, inputs: InputShape, width: int, latent_size: int) -> None:
        super().__init__()
        self.metadata = MetadataVector(inputs)
        self.encoder = mlp(self.metadata.width, width)
        self.expert = Expert(width, latent_size, is_bounded=True)
        self.decoder = nn.Linear(latent_size, 1)
        self.register_buffer("trained", torch.tensor(False))
        self.requires_grad_(False)

    @property
    def is_trained(self) -> bool:
        """Whether it has been trained."""
        return bool(self.trained)

    def prior(self, batch: Batch) -> Gaussian:
        """What it says of the latent vector of each video."""
        return self.expert(self.encoder(self.metadata(batch)))

    def train_on(
        self, users: Batch, labels: Tensor, kl_weight: float, epochs: int, rate: float, seed: int, batch_size: int
    ) -> float:
        """Train by Adam on squared error and divergence from the standard normal distribution.

        It draws by a generator of its own, so that what follows does not depend on it.

        Args:
            users: ``numeric`` [N, n] and ``categories`` [N, m].
            labels: On the model's scale, [N].
            kl_weight: Weight of the divergence.
            epochs: Passes over the videos.
            rate: Learning rate.
            seed: Of order and draws.
            batch_size: Videos per step.

        Returns:
            The mean loss of the last epoch.
        """
        generator = torch.Generator().manual_seed(seed)
        self.requires_grad_(True)
        with torch.enable_grad():
            optimizer = torch.optim.Adam(self.parameters(), lr=rate)
            for _ in range(epochs):
                losses = []
                for rows in torch.randperm(len(labels), generator=generator).to(labels.device).split(batch_size):
                    one = {name: values[rows] for name, values in users.items()}
                    loss = self._loss(one, labels[rows], kl_weight, generator)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach() * len(rows))
        self.requires_grad_(False)
        self.zero_grad(set_to_none=True)
        self.trained.fill_(True)
        return float(torch.stack(losses).sum()) / len(labels)

    def _loss(self, batch: Batch, labels: Tensor, kl_weight: float, generator: torch.Generator) -> Tensor:
        latent = self.prior(batch)
        noise = torch.randn(latent.mean.shape, generator=generator).to(labels.device)
        values = self.decoder(latent.sample(noise)).squeeze(-1)
        return mse_loss(values, labels) + kl_weight * latent.divergence().mean()
