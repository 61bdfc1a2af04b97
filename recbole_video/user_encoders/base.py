"""How a RecBole sequential model becomes a recommender over item vectors.

:class:`VideoRecommender` is a mixin put before RecBole's class. It swaps the item tower in for
the id table and owns the loss; a model's own part is how it turns a batch into queries.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from recbole_video.content.items import GatheredContent
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.protocols import PROTOCOLS
from recbole_video.data.sequence_loaders import PrefixLoader, SequenceLoader
from recbole_video.data.step_plan import (
    COUNTS,
    GROUP,
    IS_QUERY,
    ITEMS,
    NEGATIVES,
    QUERY_POSITION,
    QUERY_ROW,
    QUERY_TARGET,
    SEQUENCE,
    Part,
    StepPlan,
)
from recbole_video.errors import ConfigError
from recbole_video.item_encoders import ID, ITEM_ENCODERS
from recbole_video.item_encoders.fusion import begins_with_mean, build_content_encoder
from recbole_video.item_encoders.id_fusion import IdFusion
from recbole_video.options.content import LATE
from recbole_video.recommendation import losses
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.recommendation.tower import ItemTower, StepVectors
from recbole_video.runtime.precision import full_precision
from recbole_video.runtime.trainable import Trainable, beside
from recbole_video.runtime.virtual_tables import virtual_tables


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
        is_read = config["item_encoder"] == "ID"
        with nullcontext() if is_read else virtual_tables(dataset.item_num):
            super().__init__(config.host(**self._instead(config, dataset)), dataset)
        self.is_recorded = config["cuda_graph"]
        self.content_dims = dict(dataset.content_dims)
        self.loss_type = config["loss_type"]
        self.item_embedding = _build_tower(config, dataset, self.item_embedding)
        self.negatives = config["train_neg_sample_args"]
        of_encoder = {"lr": config["item_encoder_learning_rate"], "weight_decay": config["item_encoder_weight_decay"]}
        self._encoder_settings = {name: value for name, value in of_encoder.items() if value is not None}
        self.knows_later_items = PROTOCOLS[config["protocol"]].knows_later_items
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

    def user_vectors(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """The last state of each history, [B, d]."""
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    def queries(self, plan: StepPlan) -> Queries:
        """What a training step scores; called inside the tower's ``encode_once``."""
        return Queries(self.user_vectors(plan), plan[QUERY_TARGET], plan[QUERY_ROW])

    def item_bias(self) -> Tensor | None:
        """Bias that the model adds to the score of each item, [n_items], or None."""
        return None

    def penalty(self) -> Tensor | float:
        """Regularisation that the model adds to its loss."""
        return 0.0

    # -- what a run asks ---------------------------------------------------------------------

    @property
    def content(self) -> GatheredContent | None:
        """The content of the items as it is read; None of ids."""
        return self.item_embedding.content

    def before_ranking(self) -> None:
        """Called before the catalogue is ranked, by all processes: each encodes a part of it."""
        self.item_embedding.encode_catalogue_together()

    def parameter_counts(self) -> dict[str, int]:
        """Trainable parameters of the model, and those of what stands for its id table: encoder, and ids beside it."""
        tower = self.item_embedding
        of_items = [tower.encoder] if tower.fusion is None else [tower.encoder, tower.fusion]
        return {
            "model": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "item_encoder": sum(p.numel() for module in of_items for p in module.parameters()),
        }

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The item encoder apart where it has a learning rate or weight decay of its own; one for ids is one, too."""
        of_encoder = list(self.item_embedding.encoder.parameters())
        if not (of_encoder and self._encoder_settings):
            return super().parameter_groups(learning_rate)
        return [
            {"params": beside(self.parameters(), of_encoder)},
            {"params": of_encoder, **self._encoder_settings},
        ]

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

    def calculate_loss(self, interaction: StepPlan) -> Tensor:
        """Loss of a training batch, a scalar in nats; each distinct item is encoded once."""
        items, weight = interaction[ITEMS], interaction.get(IS_QUERY)
        if self.loss_type == "CE":
            items = torch.arange(1, self.n_items, device=items.device)
        with self.item_embedding.encode_once(items, interaction.content, interaction.gathered) as step:
            queries = self.queries(interaction)
            if self.loss_type == "CE":
                catalogue = step.table[: self.n_items]
                loss = losses.full_softmax(queries.vectors, queries.targets, catalogue, self._softmax_bias(), weight)
            elif self.loss_type == "BPR":
                loss = self._bpr(queries, step, interaction[NEGATIVES], weight)
            else:
                loss = self._in_batch(queries, step, interaction)
        return loss + self.penalty()

    def _softmax_bias(self) -> Tensor | None:
        """The bias of each item under ``CE``; none is offered that the protocol says training cannot know."""
        bias = self.item_bias()
        if self.knows_later_items:
            return bias
        hidden = torch.where(self.train_counts > 0, 0.0, -torch.inf)
        return hidden if bias is None else bias + hidden

    def _in_batch(self, queries: Queries, step: StepVectors, plan: StepPlan) -> Tensor:
        sequences, counts = plan[SEQUENCE], plan[COUNTS]
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
            target_weight + torch.log(counts.float()),
            target_weight,
            None if bias is None else bias[step.ids],
            plan[GROUP] if len(counts) > 1 else None,
            plan.get(IS_QUERY),
        )

    def _bpr(self, queries: Queries, step: StepVectors, negatives: Tensor, weight: Tensor | None) -> Tensor:
        """BPR of the queries against ``negatives: [Q, S]``."""
        negative = losses.scores(queries.vectors, step.lookup(negatives))
        positive = (queries.vectors.float() * step.lookup(queries.targets).float()).sum(dim=1, keepdim=True)
        bias = self.item_bias()
        if bias is not None:
            positive, negative = positive + bias[queries.targets][:, None], negative + bias[negatives]
        return losses.bpr(positive, negative, weight)


class CausalVideoRecommender(VideoRecommender):
    """Mixin for models whose state at a position depends on earlier positions only.

    They train on all positions of one row per user. An adapter writes :meth:`states` alone.
    """

    loader = SequenceLoader
    ignores_padding = True

    def states(self, item_seq: Tensor) -> Tensor:
        """User state after each position of ``item_seq: [B, L]``: [B, L, d]."""
        raise NotImplementedError

    def queries(self, plan: StepPlan) -> Queries:
        return Queries(self.real_states(plan), plan[QUERY_TARGET], plan[QUERY_ROW])

    def real_states(self, plan: StepPlan) -> Tensor:
        """User states [Q, d] after the real position of each query, row by row.

        On a CPU parts of the rows are each cut to their longest, since padding costs time there.
        """
        item_seq, position = plan[self.ITEM_SEQ], plan[QUERY_POSITION]
        whole = Part(0, len(item_seq), item_seq.shape[1], slice(None))
        vectors = []
        for part in plan.parts or (whole,):
            states = self.states(item_seq[part.start : part.stop, : part.width]).flatten(0, 1)
            row = plan[QUERY_ROW][part.queries] - part.start
            vectors.append(states[row * part.width + position[part.queries]])
        return torch.cat(vectors)


def recurrent(layers: nn.RNNBase, x: Tensor) -> Tensor:
    """States after each position of ``x: [B, L, d]``, computed in float32 under autocast too.

    On a GPU PyTorch would take float16 for some of its recurrent layers and a slow path for others, so that models
    would not be compared in one arithmetic.
    """
    with full_precision(x.device):
        return layers(x.float())[0]


def _build_tower(config: Any, dataset: Catalogue, replaced: nn.Embedding) -> ItemTower:
    """Make the tower that takes the place of the table, with its width and its extra rows."""
    item_dim, n_items = replaced.embedding_dim, dataset.item_num
    encoder_class = ITEM_ENCODERS.get(config["item_encoder"])
    fusion = None
    if encoder_class is ID:
        encoder: nn.Module = ID(_item_rows(replaced, n_items))
    else:
        options = config.encoder_options()
        if getattr(encoder_class, "keeps_frame_dim", False):
            _check_widths_agree(config, dataset.content_dims)
        encoder = build_content_encoder(
            lambda dim: _content_encoder(encoder_class, dim, item_dim, options),
            dataset.content_dims,
            item_dim,
            config["content_fusion"],
            config["content_width"],
        )
        if config["id_fusion"] != "none":
            fusion = IdFusion(n_items, item_dim, config["id_fusion"], config["id_dropout"], dataset.is_trained)
    extra = _extra_rows(config, replaced, n_items)
    content: GatheredContent | None = dataset.content
    if dataset.content is not None and begins_with_mean(encoder):
        content = dataset.content.averaged()
    chunk, scale = config["encode_chunk"], config["item_scale"]
    return ItemTower(encoder, content, n_items, item_dim, extra, fusion, chunk, scale)


def _content_encoder(encoder_class: Any, frame_dim: int, item_dim: int, options: Mapping[str, Any]) -> nn.Module:
    """Make an item encoder, perhaps one of the user's own.

    Raises:
        ConfigError: If it cannot be made or called as one, or makes rows of a batch depend on each other.
    """
    name = encoder_class.__name__
    try:
        encoder: nn.Module = encoder_class(frame_dim, item_dim, **options)
    except TypeError as error:
        raise ConfigError(
            f"The item encoder {name} cannot be made ({error}); its `__init__` takes frame_dim, item_dim and options."
        ) from error
    _check_forward(encoder)
    normed = next((layer for layer in encoder.modules() if isinstance(layer, _BatchNorm)), None)
    if normed is not None:
        raise ConfigError(
            f"The item encoder {name} has a {type(normed).__name__}, by which an item's vector would depend on the "
            "others of its batch; take nn.LayerNorm."
        )
    return encoder


def _check_forward(encoder: nn.Module) -> None:
    """Refuse an item encoder that cannot be called with frames and their mask.

    Raises:
        ConfigError: If it has no ``forward``, or one of other arguments.
    """
    name, takes = type(encoder).__name__, "takes frames [N, F, D] and mask [N, F] and returns item vectors [N, d]"
    if getattr(encoder.forward, "__func__", None) is nn.Module.forward:
        raise ConfigError(f"The item encoder {name} has no `forward`, which {takes}.")
    try:
        signature = inspect.signature(encoder.forward)
    except (TypeError, ValueError):
        return  # compiled code need not tell one
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigError(f"`forward` of the item encoder {name} cannot be called ({error}); it {takes}.") from error


def _check_widths_agree(config: Any, dims: Mapping[str, int]) -> None:
    """Refuse to add up vectors of several widths: an encoder that keeps a width has one of each modality.

    Raises:
        ConfigError: If modalities that are fused late are of several widths.
    """
    if config["content_fusion"] in LATE and len(set(dims.values())) > 1:
        shown = ", ".join(f"{name} {dim}" for name, dim in dims.items())
        raise ConfigError(
            f"{config['item_encoder']} keeps the width of each modality, and content_fusion={config['content_fusion']} "
            f"needs all to be of one width ({shown}); fuse early, or choose another item encoder."
        )


def _extra_rows(config: Any, table: nn.Embedding, n_items: int) -> Tensor:
    """The table's rows behind the items; of one without memory, drawn as RecBole's initialisers draw them."""
    extra = table.weight.detach()[n_items:]
    return torch.randn(extra.shape) * config["initializer_range"] if extra.is_meta and len(extra) else extra.clone()


def _item_rows(table: nn.Embedding, n_items: int) -> nn.Embedding:
    """The table's rows for items; row 0 zero, which RecBole's initialisers overwrite with noise."""
    rows = table.weight.detach()[:n_items].clone()
    rows[0] = 0
    return nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=0)
