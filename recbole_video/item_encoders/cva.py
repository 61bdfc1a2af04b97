"""Compressed Video Aggregator (arXiv 2605.08810, Section 3, Eq. 1-5)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from recbole_video.content.mean import masked_mean
from recbole_video.item_encoders.layers import GEGLU, LatentBlock
from recbole_video.options.option import MOST_LAYERS, Rule


class CVA(nn.Module):
    """Compress the frames to their mean, then refine it in a few latents.

    Mean over the frames -> GEGLU -> R copies -> M blocks -> mean over the copies -> LayerNorm ->
    linear. Parameters at D = d = 384, H = 256: 296,320 + M · 1,052,160.

    Args:
        frame_dim: D, width of a frame embedding.
        item_dim: d, width of an item vector.
        latent_dim: H, width of the latents.
        depth: M, number of blocks.
        n_latents: R, number of latents; with 1, queries and keys need no computing.
        n_heads: Heads of the self-attention.
        head_dim: Width of a head.
    """

    begins_with_mean = True

    def __init__(
        self,
        frame_dim: int,
        item_dim: int,
        *,
        latent_dim: Annotated[int, Rule("H, width of the latents.", at_least=1)] = 256,
        depth: Annotated[int, Rule("M, self-attention blocks.", at_least=0, at_most=MOST_LAYERS)] = 4,
        n_latents: Annotated[int, Rule("R, latents after the repeat.", at_least=1)] = 1,
        n_heads: Annotated[int, Rule("Heads of the self-attention.", at_least=1)] = 4,
        head_dim: Annotated[int, Rule("Width of a head.", at_least=1)] = 64,
    ) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.compress = GEGLU(frame_dim, latent_dim)
        self.blocks = nn.Sequential(*(LatentBlock(latent_dim, n_heads, head_dim) for _ in range(depth)))
        self.norm = nn.LayerNorm(latent_dim)
        self.out = nn.Linear(latent_dim, item_dim)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Encode ``frames: [N, F, D]`` float with ``mask: [N, F]`` bool as item vectors [N, d]."""
        latent = self.compress(masked_mean(frames, mask))
        latents = latent[:, None, :].expand(-1, self.n_latents, -1)
        latents = self.blocks(latents)
        return self.out(self.norm(latents.mean(dim=1)))
