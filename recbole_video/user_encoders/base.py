"""How a RecBole sequential model becomes a recommender over item vectors.

:class:`VideoRecommender` is a mixin put before RecBole's class. It swaps the item tower in for
the id table and owns the loss; a model's own part is how it turns a batch into queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequence_loaders import SEQUENCE, TARGET_LIST, PrefixLoader, SequenceLoader
from recbole_video.errors import ConfigError
from recbole_video.item_encoders import ID, ITEM_ENCODERS
from recbole_video.item_encoders.fusion import build_content_encoder
from recbole_video.item_encoders.id_fusion import IdFusion
from recbole_video.recommendation import losses
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.recommendation.tower import ItemTower, StepVectors
from recbole_video.runtime.trainable import Trainable

# On a CPU the rows of a batch, sorted by length, are processed in parts of this many at least,
# each cut to its longest row: padding costs time there. On a GPU one part is faster.
_PART_ROWS = 32
_MAX_PARTS = 6


@dataclass(frozen=True)
class Queries:
    """What a training step scores.

    Attributes:
        vectors: [Q, d] user states.
        targets: [Q] item id that each should rank first.
        rows: [Q] row of the batch that each belongs to.
    """

    vectors: Tensor
    targets: Tensor
    rows: Tensor


class VideoRecommender(Trainable, SequentialRecommender):
    """Mixin: ``class STAMP(VideoRecommender, recbole's STAMP): pass`` is a complete adapter.

    As it stands, the model trains on prefix rows (RecBole's augmentation) with the last position
    as target, and scores with RecBole's own ``predict`` and ``full_sort_predict``, which read item
    vectors where they read the id table.

    Attributes:
        loader: The training batches that the model wants.
        ignores_padding: Whether scores are the same however much padding follows a history.
        width_option: The option that sets d, for which RecBole's models have two names.
    """

    Options: type[RecommendationOptions] = RecommendationOptions
    is_video_model = True
    loader: type[SequenceLoader] = PrefixLoader
    ignores_padding = False
    width_option = "embedding_size"
    memory_advice = "lower train_batch_size, or use loss_type=in_batch"
    item_embedding: Any  # RecBole's table at first, then the ItemTower
    log_popularity: Tensor
    train_counts: Tensor

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config.host(**self._instead(config, dataset)), dataset)
        self.content_dims = dict(dataset.content_dims)
        self.loss_type = config["loss_type"]
        self.item_embedding = _build_tower(config, dataset, self.item_embedding)
        self.negatives = config["train_neg_sample_args"]
        popularity = losses.popularity_log(torch.as_tensor(dataset.train_counts), config["logq_power"])
        self.register_buffer("log_popularity", popularity, persistent=False)
        self.register_buffer("train_counts", torch.as_tensor(dataset.train_counts), persistent=False)

    @classmethod
    def _instead(cls, config: Any, dataset: Catalogue) -> dict[str, Any]:
        """What RecBole's constructor is told in the place of some options.

        It knows two values of ``loss_type``; and where the item encoder keeps the content's width, d follows that.

        Raises:
            ConfigError: If another width was asked for.
        """
        instead = {"loss_type": "CE"} if config["loss_type"] == "in_batch" else {}
        if not config.keeps_frame_dim:
            return instead
        option, (frame_dim, *_) = cls.width_option, dataset.content_dims.values()
        if config[option] not in (None, frame_dim):
            raise ConfigError(
                f"`{option}` is {config[option]}, but {config['item_encoder']} keeps the frames' width, {frame_dim}; "
                f"leave out `{option}` or choose another item encoder."
            )
        return {**instead, option: frame_dim}

    def check_scoring(self) -> None:
        """Refuse a model that does not score by a dot product with the item vectors, as the loss does.

        Compares RecBole's own ``full_sort_predict`` with it on random vectors, which leave the random numbers of
        training as they are.

        Raises:
            ConfigError: If they differ.
        """
        device = self.log_popularity.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            agrees = self._scores_by_product(device)
        if not agrees:
            raise ConfigError(
                f"{type(self).__name__} does not rank by the dot product of a user vector with item vectors, on "
                "which losses and retrieval here rest; override user_vectors, or choose another model."
            )

    def _scores_by_product(self, device: torch.device) -> bool:
        tower = self.item_embedding
        history = torch.randint(1, self.n_items, (3, self.max_seq_length), device=device)
        length = torch.full((3,), self.max_seq_length, device=device)
        batch = Interaction({self.USER_ID: length, self.ITEM_SEQ: history, self.ITEM_SEQ_LEN: length})
        self.eval()
        with torch.no_grad():
            tower.set_catalogue(torch.randn(tower.num_embeddings, tower.embedding_dim, device=device))
            want = self.full_sort_predict(batch)[:, 1:]
            bias = self.item_bias()
            got = self.user_vectors(batch) @ tower.weight[1 : self.n_items].T
            got = got if bias is None else got + bias[1:]
            agrees = want.shape == got.shape and torch.allclose(want, got, rtol=1e-3, atol=1e-3)
        self.train()
        return agrees

    # -- what an adapter may override --------------------------------------------------------

    def user_vectors(self, interaction: Interaction) -> Tensor:
        """The last state of each history, [B, d]."""
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    def queries(self, interaction: Interaction) -> Queries:
        """What a training step scores; called inside the tower's ``encode_once``."""
        targets = interaction[self.POS_ITEM_ID]
        rows = torch.arange(len(targets), device=targets.device)
        return Queries(self.user_vectors(interaction), targets, rows)

    def item_bias(self) -> Tensor | None:
        """Bias that the model adds to the score of each item, [n_items], or None."""
        return None

    def penalty(self) -> Tensor | float:
        """Regularisation that the model adds to its loss."""
        return 0.0

    # -- what a run asks ---------------------------------------------------------------------

    def parameter_counts(self) -> dict[str, int]:
        """Trainable parameters of the model, and those of its item encoder."""
        return {
            "model": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "item_encoder": sum(p.numel() for p in self.item_embedding.encoder.parameters()),
        }

    def parts_to_compile(self) -> list[nn.Module]:
        """The item encoder and the user encoder's blocks."""
        tower = self.item_embedding
        blocks = [part for part in self.children() if part is not tower and any(True for _ in part.children())]
        return [tower.encoder, *blocks]

    def state_for_use(self) -> dict[str, Any]:
        """The item vectors, so that the catalogue need not be encoded to recommend from it."""
        if not self.item_embedding.reads_frames:
            return {}
        with torch.no_grad():
            return {"item_vectors": self.item_embedding.weight.detach()}

    # -- the loss ------------------------------------------------------------------------------

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Loss of a training batch, a scalar in nats; each distinct item is encoded once."""
        sequences = interaction[SEQUENCE]
        items, occurrences = torch.unique(sequences, return_counts=True)
        real = items > 0
        items, occurrences = items[real], occurrences[real]
        if self.loss_type == "CE":
            items = torch.arange(1, self.n_items, device=items.device)
        with self.item_embedding.encode_once(items) as step:
            queries = self.queries(interaction)
            if self.loss_type == "CE":
                catalogue = step.table[: self.n_items]
                loss = losses.full_softmax(queries.vectors, queries.targets, catalogue, self.item_bias())
            elif self.loss_type == "BPR":
                loss = self._bpr(queries, sequences)
            else:
                loss = self._in_batch(queries, step, sequences, occurrences)
        return loss + self.penalty()

    def _in_batch(self, queries: Queries, step: StepVectors, sequences: Tensor, occurrences: Tensor) -> Tensor:
        target_weight = -self.log_popularity[step.ids]
        owned = torch.zeros(len(sequences), len(step.ids) + 1, dtype=torch.bool, device=sequences.device)
        owned.scatter_(1, step.column(sequences) + 1, True)  # padding lands in column 0
        bias = self.item_bias()
        return losses.in_batch(
            queries.vectors,
            step.column(queries.targets),
            queries.rows,
            owned[:, 1:],
            step.vectors,
            target_weight + torch.log(occurrences.float()),
            target_weight,
            None if bias is None else bias[step.ids],
        )

    def _bpr(self, queries: Queries, sequences: Tensor) -> Tensor:
        sampled = self._sample_negatives(sequences[queries.rows])
        distinct, inverse = torch.unique(sampled, return_inverse=True)
        vectors = self.item_embedding.encode(distinct)[inverse]  # [Q, S, d]
        negative = losses.scores(queries.vectors, vectors)
        positive = (queries.vectors.float() * self.item_embedding(queries.targets).float()).sum(dim=1, keepdim=True)
        bias = self.item_bias()
        if bias is not None:
            positive, negative = positive + bias[queries.targets][:, None], negative + bias[sampled]
        return losses.bpr(positive, negative)

    def _sample_negatives(self, own: Tensor) -> Tensor:
        """Items that the user's sequence ``own: [Q, W]`` does not hold, [Q, sample_num]."""
        weight = torch.ones(self.n_items, device=own.device)
        if self.negatives["distribution"] == "popularity":
            weight = self.train_counts.float() ** self.negatives.get("alpha", 1.0)
        weight[0] = 0
        sampled = torch.multinomial(weight, len(own) * self.negatives["sample_num"], replacement=True)
        sampled = sampled.view(len(own), -1)
        for _ in range(20):  # by then no user of a sensible catalogue has a hit left
            hit = (sampled[:, :, None] == own[:, None, :]).any(dim=2)
            if not hit.any():
                break
            sampled[hit] = torch.multinomial(weight, int(hit.sum()), replacement=True)
        return sampled


class CausalVideoRecommender(VideoRecommender):
    """Mixin for models whose state at a position depends on earlier positions only.

    They train on all positions of one row per user. An adapter writes :meth:`states` alone.
    """

    loader = SequenceLoader
    ignores_padding = True

    def states(self, item_seq: Tensor) -> Tensor:
        """User state after each position of ``item_seq: [B, L]``: [B, L, d]."""
        raise NotImplementedError

    def queries(self, interaction: Interaction) -> Queries:
        targets = interaction[TARGET_LIST]
        rows, positions = torch.nonzero(targets, as_tuple=True)
        vectors = self.real_states(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return Queries(vectors, targets[rows, positions], rows)

    def real_states(self, item_seq: Tensor, length: Tensor) -> Tensor:
        """User states [T, d] after each of the T real positions, row by row.

        Args:
            item_seq: [B, L] item ids; padding is least where rows are sorted by length.
            length: [B] real positions of each row.
        """
        vectors = []
        for part in self._parts(length):
            width = int(length[part].max()) if item_seq.device.type == "cpu" else item_seq.shape[1]
            real = torch.arange(width, device=item_seq.device) < length[part, None]
            vectors.append(self.states(item_seq[part, :width])[real])
        return torch.cat(vectors)

    @staticmethod
    def _parts(length: Tensor) -> list[slice]:
        n_parts = 1
        if length.device.type == "cpu":
            n_parts = max(1, min(_MAX_PARTS, len(length) // _PART_ROWS))
        edges = torch.linspace(0, len(length), n_parts + 1).round().long().tolist()
        return [slice(edges[i], edges[i + 1]) for i in range(n_parts)]


def _build_tower(config: Any, dataset: Catalogue, replaced: nn.Embedding) -> ItemTower:
    """Make the tower that takes the place of the table, with its width and its extra rows."""
    item_dim, n_items = replaced.embedding_dim, dataset.item_num
    encoder_class = ITEM_ENCODERS.get(config["item_encoder"])
    fusion = None
    if encoder_class is ID:
        encoder: nn.Module = ID(_item_rows(replaced, n_items))
    else:
        options = config.encoder_options()
        encoder = build_content_encoder(
            lambda dim: encoder_class(dim, item_dim, **options),
            dataset.content_dims,
            item_dim,
            config["content_fusion"],
            config["content_width"],
        )
        if config["id_fusion"] != "none":
            fusion = IdFusion(n_items, item_dim, config["id_fusion"], config["id_dropout"], dataset.is_trained)
    extra = replaced.weight.detach()[n_items:].clone()
    return ItemTower(encoder, dataset.content, n_items, item_dim, extra, fusion, config["encode_chunk"])


def _item_rows(table: nn.Embedding, n_items: int) -> nn.Embedding:
    """The table's rows for items; row 0 zero, which RecBole's initialisers overwrite with noise."""
    rows = table.weight.detach()[:n_items].clone()
    rows[0] = 0
    return nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=0)
