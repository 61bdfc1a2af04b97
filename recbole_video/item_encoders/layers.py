"""Building blocks shared by the item encoders (pre-norm Perceiver blocks with GEGLU)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class GEGLU(nn.Module):
    """Linear layer whose halves a and g give a · GELU(g): [..., in_dim] -> [..., out_dim]."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_dim, 2 * out_dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Sequential):
    """GEGLU to ``expansion`` times the width, then a linear layer: [..., in_dim] -> [..., out_dim]."""

    def __init__(self, in_dim: int, out_dim: int | None = None, expansion: int = 4) -> None:
        out_dim = out_dim or in_dim
        super().__init__(GEGLU(in_dim, expansion * out_dim), nn.Linear(expansion * out_dim, out_dim))


class SelfAttention(nn.Module):
    """Multi-head self-attention over latents: [N, R, width] -> [N, R, width].

    With a single latent the softmax over one key is 1, so the result is ``out(value(x))``: queries
    and keys, which receive no gradient then, are not computed. Output and all other gradients are
    the same.
    """

    def __init__(self, width: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.inner_dim = n_heads * head_dim
        self.query = nn.Linear(width, self.inner_dim, bias=False)
        self.key_value = nn.Linear(width, 2 * self.inner_dim, bias=False)
        self.out = nn.Linear(self.inner_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            return self.out(F.linear(x, self.key_value.weight[self.inner_dim :]))
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self.out(attend(self.query(x), key, value, self.n_heads))


class CrossAttention(nn.Module):
    """Attention from queries to a context, pre-norm on both sides: [N, Q, width] -> [N, Q, width].

    A query without any context gets zeros before the output layer, not NaN.
    """

    def __init__(self, width: int, context_dim: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        inner_dim = n_heads * head_dim
        self.norm = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(context_dim)
        self.query = nn.Linear(width, inner_dim, bias=False)
        self.key_value = nn.Linear(context_dim, 2 * inner_dim, bias=False)
        self.out = nn.Linear(inner_dim, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from ``x: [N, Q, width]`` to ``context: [N, F, context_dim]`` where ``mask: [N, F]``."""
        query = self.query(self.norm(x))
        key, value = self.key_value(self.norm_context(context)).chunk(2, dim=-1)
        return self.out(attend(query, key, value, self.n_heads, mask))


def attend(query: Tensor, key: Tensor, value: Tensor, n_heads: int, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention: [N, Q, h·w], [N, F, h·w] -> [N, Q, h·w], over keys where ``mask``."""
    query, key, value = (t.unflatten(-1, (n_heads, -1)).transpose(1, 2) for t in (query, key, value))
    if mask is None:
        mixed = F.scaled_dot_product_attention(query, key, value)
    else:
        some = mask.any(dim=1)
        # A row without a key would give NaN in value and gradient: let it attend, then blank it.
        allowed = (mask | ~some[:, None])[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        mixed = mixed.masked_fill(~some[:, None, None, None], 0.0)
    return mixed.transpose(1, 2).flatten(-2)


class LatentBlock(nn.Module):
    """Self-attention, then feed-forward, each pre-norm with a residual (CVA, Eq. 3)."""

    def __init__(self, width: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = SelfAttention(width, n_heads, head_dim)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.feed_forward(self.norm_feed_forward(x))
