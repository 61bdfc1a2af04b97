"""Cross-attention between frames and text (STAP, Eq. 12)."""

from __future__ import annotations

from torch import Tensor, nn

from recbole_video.popularity.stap.temporal import sequence_mean


class FrameTextAttention(nn.Module):
    """Text asks the frames for ``V*``, frames ask the text for ``T*``; both are averaged over their queries.

    Each layer is multi-head attention, residual on the query stream, layer norm. With a single text vector the
    attention over text is trivial; it attends as soon as text comes as tokens.

    Args:
        width: d of both.
        n_layers: L_ca.
        heads: Attention heads of each layer.
        dropout: Probability of dropout, of the attention's weights and of its output.
    """

    def __init__(self, width: int, n_layers: int = 2, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.to_text = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(n_layers))
        self.to_frames = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(n_layers))

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
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        attended, _ = self.attention(queries, keys, keys, key_padding_mask=~mask, need_weights=False)
        return self.norm(queries + self.dropout(attended))
