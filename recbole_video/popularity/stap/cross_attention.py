"""Cross-attention between frames and text (STAP, Eq. 12)."""

from __future__ import annotations

from torch import Tensor, nn

from recbole_video.popularity.stap.temporal import sequence_mean


class FrameTextAttention(nn.Module):
    """Text asks the frames for ``V*``, frames ask the text for ``T*``; both are averaged over their queries.

    Each layer is multi-head attention, residual on the query stream, layer norm; Eq. 12 as printed has neither of the
    last two. With a single text vector the attention over text is trivial: as printed, ``T*`` is then a function of the
    text alone, and with the residual it is mostly the frames. It attends as soon as text comes as tokens.

    Args:
        width: d of both.
        n_layers: L_ca.
        heads: Attention heads of each layer.
        dropout: Probability of dropout, of the attention's weights and of its output.
        residual: Whether each layer adds its queries to what it attends to.
        norm: Whether each layer ends in a layer norm.
    """

    def __init__(
        self,
        width: int,
        n_layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        residual: bool = True,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.to_text, self.to_frames = (
            nn.ModuleList(_Layer(width, heads, dropout, residual, norm) for _ in range(n_layers)) for _ in range(2)
        )

    def forward(self, frames: Tensor, frame_mask: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            frames: [B, T, d]; at least one of each video must be masked true.
            frame_mask: [B, T] bool.
            text: [B, L, d], likewise.
            text_mask: [B, L] bool.

        Returns:
            ``V*`` [B, d] and ``T*`` [B, d].
        """
        asking_frames, asking_text = text, frames
        for to_frames, to_text in zip(self.to_frames, self.to_text, strict=True):
            asking_frames = to_frames(asking_frames, frames, frame_mask)
            asking_text = to_text(asking_text, text, text_mask)
        return sequence_mean(asking_frames, text_mask), sequence_mean(asking_text, frame_mask)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float, residual: bool, norm: bool) -> None:
        super().__init__()
        self.residual = residual
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        attended, _ = self.attention(queries, keys, keys, key_padding_mask=~mask, need_weights=False)
        attended = self.dropout(attended)
        return self.norm(queries + attended if self.residual else attended)
