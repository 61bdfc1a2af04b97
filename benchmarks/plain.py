"""What this package's training step is compared with: the same mathematics, written plainly.

Both recommenders below take the weights of one of ours and compute what it computes, as a
straightforward implementation would: self-attention in full, every occurrence of an item encoded
(or the whole catalogue, for a softmax over it), one column of logits for each, and user states at
all positions of the padded batch.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender.sasrec import SASRec as RecBoleSASRec
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_video.data.sequence_loaders import SEQUENCE, TARGET_LIST


class GEGLU(nn.Module):
    """[..., in_dim] -> [..., out_dim]."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_dim, 2 * out_dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class Attention(nn.Module):
    """Self-attention, [N, R, width] -> [N, R, width], queries and keys computed whatever R is."""

    def __init__(self, width: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(width, n_heads * head_dim, bias=False)
        self.key_value = nn.Linear(width, 2 * n_heads * head_dim, bias=False)
        self.out = nn.Linear(n_heads * head_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        key, value = self.key_value(x).chunk(2, dim=-1)
        heads = (t.unflatten(-1, (self.n_heads, -1)) for t in (self.query(x), key, value))  # [N, R, heads, head_dim]
        query, key, value = (t.transpose(1, 2).flatten(0, 1) for t in heads)
        # With one latent, PyTorch's fused attention is slower on a CPU than these products.
        weight = (torch.einsum("bid,bjd->bij", query, key) * query.shape[-1] ** -0.5).softmax(dim=-1)
        mixed = torch.einsum("bij,bjd->bid", weight, value)
        return self.out(mixed.unflatten(0, (-1, self.n_heads)).transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward with residuals, [N, R, width] -> [N, R, width]."""

    def __init__(self, width: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, n_heads, head_dim)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(GEGLU(width, 4 * width), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.feed_forward(self.norm_feed_forward(x))


class PlainCVA(nn.Module):
    """CVA with the parameter names of this package's, [N, F, D] and mask [N, F] -> [N, d]."""

    def __init__(self, frame_dim: int, item_dim: int, width: int, depth: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        self.compress = GEGLU(frame_dim, width)
        self.blocks = nn.Sequential(*(Block(width, n_heads, head_dim) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, item_dim)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        weight = mask[:, :, None].float()
        mean = (frames * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        latents = self.blocks(self.compress(mean)[:, None, :])
        return self.out(self.norm(latents.mean(dim=1)))


class PlainRecommender(nn.Module):
    """SASRec + CVA that encodes every occurrence and scores each as a column of its own.

    Args:
        ours: The model whose weights are taken.
        config: Its configuration, with a ``loss_type`` that RecBole knows.
        catalogue: What it was built from.
        encodes_padding: Encode padded positions too, as code does that stacks a batch's frames; False
            to pick out the real ones.
    """

    def __init__(self, ours: Any, config: Any, catalogue: Any, encodes_padding: bool = True) -> None:
        super().__init__()
        self.host = RecBoleSASRec(config, catalogue)
        del self.host.item_embedding  # the encoder takes its place
        state = ours.state_dict()
        self.host.load_state_dict({k: v for k, v in state.items() if not k.startswith("item_embedding")})
        options = (config[f"encoder_{name}"] for name in ("latent_dim", "depth", "n_heads", "head_dim"))
        self.encoder = PlainCVA(catalogue.content_dims["frames"], config["hidden_size"], *options)
        self.encoder.load_state_dict(ours.item_embedding.encoder.state_dict())
        self.frames = catalogue.content.tables["frames"]
        self.n_items = catalogue.item_num
        self.log_popularity = ours.log_popularity
        self.encodes_padding = encodes_padding

    def calculate_loss(self, interaction: Any) -> Tensor:
        """In-batch softmax with logQ correction over all occurrences in the batch, a scalar."""
        sequence = interaction[SEQUENCE]  # [B, W]
        vectors = self.encode_sequence(sequence)
        history, targets = interaction[self.host.ITEM_SEQ], interaction[TARGET_LIST]
        states = self.states(history, vectors[:, :-1])  # [B, L, d]
        row, position = torch.nonzero(targets, as_tuple=True)
        columns = sequence.flatten()  # [B * W] item of each column
        logits = states[row, position] @ vectors.flatten(0, 1).T - self.log_popularity[columns]
        logits = logits.masked_fill(self._hidden(sequence, columns)[row], -torch.inf)
        own = row * sequence.shape[1] + position + 1  # the column of each query's target
        target_score = (states[row, position] * vectors[row, position + 1]).sum(dim=1)
        target_score = target_score - self.log_popularity[columns[own]]
        logits = logits.scatter(1, own[:, None], target_score[:, None])
        return F.cross_entropy(logits, own)

    def encode(self, ids: Tensor) -> Tensor:
        """Encode ``ids: [N]`` as vectors [N, d], scaled as this package's item tower does."""
        return self.encoder(*self.frames.gather(ids)) * self.host.hidden_size**-0.5

    def encode_sequence(self, sequence: Tensor) -> Tensor:
        """Vectors of every position of ``sequence: [B, W]``, zero for padding: [B, W, d]."""
        real = sequence > 0
        if self.encodes_padding:
            return self.encode(sequence.flatten()).view(*sequence.shape, -1) * real[:, :, None]
        vectors = torch.zeros(*sequence.shape, self.host.hidden_size)
        vectors[real] = self.encode(sequence[real])
        return vectors

    def states(self, history: Tensor, vectors: Tensor) -> Tensor:
        """RecBole's SASRec on ``vectors: [B, L, d]`` of ``history: [B, L]``: [B, L, d]."""
        host = self.host
        positions = torch.arange(history.shape[1], device=history.device)
        x = host.dropout(host.LayerNorm(vectors + host.position_embedding(positions)))
        return host.trm_encoder(x, host.get_attention_mask(history), output_all_encoded_layers=True)[-1]

    @staticmethod
    def _hidden(sequence: Tensor, columns: Tensor) -> Tensor:
        """Columns that are no negatives for a row: its own items and padding, bool [B, B * W]."""
        own = (sequence[:, :, None] == columns).any(dim=1)
        return own | (columns == 0)


class FullCatalogueRecommender(PlainRecommender):
    """The same, but the whole catalogue is encoded in every step, for the softmax over it."""

    def calculate_loss(self, interaction: Any) -> Tensor:
        vectors = self.encode(torch.arange(1, self.n_items))
        table = F.pad(vectors, (0, 0, 1, 0))  # [n_items, d], padding's row zero
        history, targets = interaction[self.host.ITEM_SEQ], interaction[TARGET_LIST]
        states = self.states(history, F.embedding(history, table))
        row, position = torch.nonzero(targets, as_tuple=True)
        return F.cross_entropy(states[row, position] @ table.T, targets[row, position])
