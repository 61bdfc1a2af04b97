"""STAP (D. Wang et al., 2026): temporal enlargement, a bank of past videos, cross-attention, one regression."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_video.errors import ConfigError
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.stap import slots
from recbole_video.popularity.stap.cross_attention import CrossAttention
from recbole_video.popularity.stap.figures import draw_slot_usage
from recbole_video.popularity.stap.frame_scoring import FrameScorer
from recbole_video.popularity.stap.memory_bank import MemoryBank, Routing, usage_statistics
from recbole_video.popularity.stap.official import Interaction, MambaBlock, OfficialBlock, OfficialTemporalEncoder
from recbole_video.popularity.stap.routing_losses import BalanceLoss, PreferenceLoss
from recbole_video.popularity.stap.sparse_attention import SparseAttention
from recbole_video.popularity.stap.ssm import SSMBlock
from recbole_video.popularity.stap.temporal import PooledFrames, TemporalEncoder, Video, masked_mean


@dataclass(frozen=True)
class Reading:
    """What STAP makes of a batch.

    Attributes:
        value: Prediction on the model's scale, [B].
        query: What the bank was asked, [B, d]; None without a bank.
        routing: Its answer; None without a bank, or before it is laid out.
        frame_weights: How much each frame matters, [B, T]; None where frames are not scored.
    """

    value: Tensor
    query: Tensor | None
    routing: Routing | None
    frame_weights: Tensor | None


class STAP(PopularityModel):
    """The paper's regression model; every silent or ambiguous point is an option (properties/model/STAP.yaml).

    Any of frames, text and metadata may be missing: what depends on it is left out, and what remains of
    ``[V*; T*; U; R; V* R; T* R]`` predicts.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.
    """

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        width = config["hidden_size"]
        self.mask_padding: bool = config["mask_padding"]
        self.encoder = _temporal_encoder(config, inputs, width)
        self.text = nn.Linear(inputs.text_dim, width) if inputs.text_dim else None
        self.metadata = MetadataVector(inputs)
        self.project_metadata = (
            nn.Linear(self.metadata.width, width) if config["project_metadata"] and self.metadata.width else None
        )
        metadata_width = width if self.project_metadata is not None else self.metadata.width
        n_streams = (self.encoder is not None) + (self.text is not None)
        self._build_memory(config, n_streams * width + metadata_width, width)
        self.fusion: nn.Module | None = _fusion(config, width) if n_streams == 2 else None
        n_blocks = n_streams + (0 if self.bank is None else 1 + n_streams)
        self.head = _head(n_blocks * width + metadata_width, config["head_sizes"], config["dropout"])
        self._encoder_lr_ratio = config["encoder_lr_ratio"]
        self._last: tuple[Tensor, Routing] | None = None
        self._usage: Tensor | None = None
        self._losses: dict[str, list[Tensor]] = {}
        self._described: dict[tuple[int, int], slots.Slot] = {}

    def _build_memory(self, config: Any, query_width: int, width: int) -> None:
        self.bank: MemoryBank | None = None
        if config["memory"] == "off":
            return
        self.bank = MemoryBank(
            width,
            config["n_partitions"],
            config["n_clusters"],
            config["memory_top_k"],
            tau=config["tau"],
            tau_learnable=config["tau_learnable"],
            renormalize_topk=config["renormalize_topk"],
            routing_grad=config["routing_grad"],
            scale_scores=config["query_norm"],
            eta=config["memory_eta"],
        )
        self.memory_update: str = config["memory_update"]
        self.bank.slots.requires_grad_(self.memory_update != "ema")
        self.memory_init: dict[str, Any] = {
            "clustering": config["topic_clustering"],
            "space": config["memory_init_space"],
            "seed": config["seed"],
            "shrinkage": config["centroid_shrinkage"],
        }
        self.memory_warmup_epochs: int = config["memory_warmup_epochs"]
        self.n_shown_between_epochs = config["memory_init_videos"]
        self.query = nn.Linear(query_width, width)
        self.query_norm = nn.LayerNorm(width) if config["query_norm"] else None
        self.use_pop_context: bool = config["use_pop_context"]
        self.retrieved = nn.Linear(width + self.use_pop_context, width)
        self.preference_weight, self.balance_weight = config["dppo_weight"], config["balance_weight"]
        self.preference = PreferenceLoss(
            config["dppo_support"], config["dppo_gamma"], config["dppo_margin"], config["dppo_pairs"], width
        )
        self.balance = BalanceLoss(
            config["n_partitions"],
            config["n_clusters"],
            config["balance_partitions"],
            config["balance_clusters"],
            config["balance_entropy"],
            config["prior_exponent"],
            config["prior_order"],
            config["balance_kl"],
        )

    # -- prediction ----------------------------------------------------------------------------

    @classmethod
    def reads_missing_frames(cls, config: Any) -> bool:
        """Where padding is not masked."""
        return not config["mask_padding"]

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        return self.read(batch).value

    def read(self, batch: Batch) -> Reading:
        """All that the model makes of a batch."""
        video = self._encode_frames(batch)
        text = None if self.text is None else self.text(batch["text"])
        text_mask = None if text is None else _never_empty(batch["text_mask"])
        metadata = self._encode_metadata(batch)
        pooled = [] if video is None else [video.pooled]
        if text is not None and text_mask is not None:
            pooled.append(masked_mean(text, text_mask))
        query, routing = self._route([*pooled, *metadata])
        if video is not None and text is not None and self.fusion is not None:
            streams = [*self.fusion(video.sequence, video.mask, text, text_mask)]
        else:
            streams = pooled
        blocks = [*streams, *metadata]
        if self.bank is not None:
            blocks.extend(self._retrieve(streams, routing, blocks[0]))
        value = self.head(torch.cat(blocks, dim=-1)).squeeze(-1)
        return Reading(value, query, routing, None if video is None else video.weights)

    def _encode_frames(self, batch: Batch) -> Video | None:
        if self.encoder is None:
            return None
        mask = batch["frame_mask"] if self.mask_padding else torch.ones_like(batch["frame_mask"])
        return self.encoder(batch["frames"], _never_empty(mask))

    def _encode_metadata(self, batch: Batch) -> list[Tensor]:
        """U, or nothing."""
        if not self.metadata.width:
            return []
        vector = self.metadata(batch)
        return [vector if self.project_metadata is None else self.project_metadata(vector)]

    def _route(self, parts: list[Tensor]) -> tuple[Tensor | None, Routing | None]:
        if self.bank is None:
            return None, None
        query = self.query(torch.cat(parts, dim=-1))
        if self.query_norm is not None:
            query = torch.tanh(self.query_norm(query))
        return query, self.bank(query) if self.bank.is_initialised else None

    def _retrieve(self, streams: list[Tensor], routing: Routing | None, like: Tensor) -> list[Tensor]:
        """R and its products with the streams; zero before the bank is laid out."""
        if routing is None:
            nothing = torch.zeros_like(like[:, :1]).expand(-1, self.retrieved.out_features)
            return [nothing] * (1 + len(streams))
        parts = [routing.retrieved]
        if self.use_pop_context:
            parts.append(routing.popularity[:, None])
        context = torch.relu(self.retrieved(torch.cat(parts, dim=-1)))
        return [context, *(stream * context for stream in streams)]

    def _topic(self, batch: Batch) -> Tensor:
        """What topics are clustered by: mean frame, mean text and metadata as they came, [B, e]."""
        parts = []
        if self.encoder is not None:
            parts.append(masked_mean(batch["frames"], batch["frame_mask"]))
        if self.text is not None:
            parts.append(masked_mean(batch["text"], batch["text_mask"]))
        if self.metadata.width:
            parts.append(self.metadata(batch).detach())
        return torch.cat(parts, dim=-1)

    def parameter_counts(self) -> dict[str, int]:
        """Trainable parameters of the model, its temporal encoder and its memory with the query."""
        memory = [] if self.bank is None else [self.bank, self.query]
        parts = {"temporal_encoder": [] if self.encoder is None else [self.encoder], "memory": memory}
        counts = {k: sum(p.numel() for module in modules for p in module.parameters()) for k, modules in parts.items()}
        return {**super().parameter_counts(), **counts}

    # -- training ------------------------------------------------------------------------------

    def loss_name(self) -> str:
        """The regression's, and whether routing has losses of its own."""
        routes = self.bank is not None and (self.preference_weight or self.balance_weight)
        return f"{super().loss_name()} + routing" if routes else super().loss_name()

    def calculate_loss(self, interaction: Batch) -> Tensor:
        """Regression, preference and balance (Eq. 13)."""
        reading = self.read(interaction)
        labels = self.scaled_labels(interaction)
        loss = self._note("regression", self.regression_loss(reading.value, labels))
        routing = reading.routing
        if routing is None or self.bank is None or reading.query is None:
            return loss
        if self.preference_weight:
            of_pool = self.preference.pairs == "pool"  # the released code's margins are on the labels' own scale
            wanted = interaction["label"] if of_pool else self._standard_labels(interaction)
            preference = self.preference(self.bank, routing, reading.query, wanted)
            loss = loss + self.preference_weight * self._note("preference", preference)
        if self.balance_weight:
            loss = loss + self.balance_weight * self._note("balance", self.balance(routing.gate))
        if self.memory_update != "gradient":
            self._last = reading.query.detach(), routing
        used = routing.weights.detach().sum(dim=0)
        self._usage = used if self._usage is None else self._usage + used
        return loss

    def _standard_labels(self, batch: Batch) -> Tensor:
        """Labels in standard deviations of the training labels, whatever the model's scale, [B]."""
        return (batch["label"] - self.inputs.label_mean) / self.inputs.label_std

    def _note(self, name: str, loss: Tensor) -> Tensor:
        self._losses.setdefault(f"{name}_loss", []).append(loss.detach())
        return loss

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The temporal encoder apart, whose rate may be another."""
        of_encoder = [] if self.encoder is None else [p for p in self.encoder.parameters() if p.requires_grad]
        known = {id(p) for p in of_encoder}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        if not of_encoder or self._encoder_lr_ratio == 1:
            return [{"params": of_encoder + others}]
        return [{"params": others}, {"params": of_encoder, "lr": learning_rate * self._encoder_lr_ratio}]

    def before_epoch(self, epoch: int, batches: Iterable[Batch]) -> None:
        """Lay the memory bank out over the training videos when the warm-up is over.

        All that is shown is held at once; a run shows at most ``memory_init_videos``.
        """
        if self.bank is None or self.bank.is_initialised or epoch < self.memory_warmup_epochs:
            return
        queries, topics, labels = [], [], []
        was_training = self.training
        self.eval()
        with torch.no_grad():
            for batch in batches:
                reading = self.read(batch)
                if reading.query is not None:
                    queries.append(reading.query.float().cpu())
                topics.append(self._topic(batch).float().cpu())
                labels.append(self._standard_labels(batch).cpu())
        self.train(was_training)
        features = _standardised(torch.cat(topics), self._topic_widths())
        self.bank.initialise(torch.cat(queries), features, torch.cat(labels), **self.memory_init)

    def _topic_widths(self) -> list[int]:
        widths = (self.inputs.frame_dim * (self.encoder is not None), self.inputs.text_dim, self.metadata.width)
        return [width for width in widths if width]

    def after_step(self) -> None:
        """Move the slots by moving average, where that is asked for."""
        if self._last is not None and self.bank is not None:
            self.bank.average_in(*self._last)
            self._last = None

    def epoch_statistics(self) -> dict[str, float]:
        """Mean of each loss; how evenly the slots were used; the temperature."""
        statistics = {name: float(torch.stack(values).mean()) for name, values in self._losses.items()}
        self._losses = {}
        if self._usage is not None and self.bank is not None:
            use = usage_statistics(self._usage)
            statistics |= {f"slot_{name}": value for name, value in use.items()}
            statistics["tau"] = float(self.bank.tau.detach())
            self._usage = None
        return statistics

    # -- the memory bank of a trained model ----------------------------------------------------

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """Where the chosen epoch has no bank to ask."""
        return "memory bank: not laid out" if result.get("memory_bank") == "not laid out" else ""

    def look_inside(
        self, batches: Callable[[str], Iterable[Batch]], items: np.ndarray, best_epoch: int, folder: Path | None
    ) -> dict[str, Any]:
        """Describe the bank: its slots as a table, and how much of the training labels it gives away."""
        if self.bank is None:
            return {}
        if folder is not None:
            slots.write_slots(folder / slots.FILE, slots.describe_slots(self, batches("train"), items))
        found = {split: slots.context_correlation(self, batches(split)) for split in ("train", "valid")}
        shown = ", ".join(f"{split} {value:.3f}" for split, value in found.items() if value is not None)
        if shown:
            logging.getLogger().info(f"Correlation of the retrieved popularity with the labels: {shown}")
        return {"retrieved_popularity_correlation": found, "memory_bank": _layout_of(self.bank, best_epoch)}

    def draw(self, history: Sequence[dict[str, float]], folder: Path) -> None:
        """How evenly slots were used."""
        if any("slot_entropy" in record for record in history):
            draw_slot_usage(history, folder / "slot_usage.png")

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse a bank of another grid."""
        stored, bank = state.get("bank.slots"), self.bank
        if bank is not None and stored is not None and stored.ndim == 3 and stored.shape != bank.slots.shape:
            raise ConfigError(
                f"It holds a memory bank of {stored.shape[0]} x {stored.shape[1]} slots, not of "
                f"{bank.n_partitions} x {bank.n_clusters}; set n_partitions and n_clusters as in its training."
            )

    def after_load(self, evaluated: Sequence[str], folder: Path) -> None:
        """Keep what is under evaluation out of the bank, and read what its slots stand for."""
        if self.bank is not None:
            self.bank.protect(evaluated)
        self._described = {(s.partition, s.cluster): s for s in slots.read_slots(folder / slots.FILE)}

    def explain(self, batch: Batch) -> Explanation:
        """The score of each frame, and the slots that were retrieved."""
        reading, weights = self.read(batch), None
        if reading.frame_weights is not None:
            weights = reading.frame_weights[0][batch["frame_mask"][0]].cpu().numpy()
        kept, shares = [], []
        if reading.routing is not None and self.bank is not None:
            numbers = reading.routing.top[0].tolist()
            kept = [self._slot(self.bank, number) for number in numbers]
            shares = reading.routing.weights[0, numbers].cpu().tolist()
        return Explanation(float(self.predict(batch)[0]), weights, kept, shares)

    def _slot(self, bank: MemoryBank, number: int) -> slots.Slot:
        """A slot as it is now."""
        place = divmod(number, bank.n_clusters)
        known = self._described.get(place)
        popularity = float(bank.centroids[place]) * self.inputs.label_std + self.inputs.label_mean
        usage, nearest = (known.usage, known.nearest) if known else (0.0, ())
        return slots.Slot(*place, popularity, int(bank.counts[place]), usage, nearest)

    def update(self, items: Sequence[str], batches: Iterable[Batch], labels: Tensor | None) -> None:
        """Let the bank take in new videos; it does not grow."""
        if self.bank is None:
            self._refuse_for_want_of_memory("update")
        queries = [self.bank.slots.new_zeros(0, self.bank.width)]
        queries += [query for batch in batches if (query := self.read(batch).query) is not None]
        known = None if labels is None else (labels - self.inputs.label_mean) / self.inputs.label_std
        self.bank.update(items, torch.cat(queries), known)

    def freeze_memory(self, is_frozen: bool = True) -> None:
        """Refuse updates of the bank."""
        if self.bank is None:
            self._refuse_for_want_of_memory("freeze")
        self.bank.freeze_memory(is_frozen)


def _layout_of(bank: MemoryBank, best_epoch: int) -> str:
    """Whether the chosen checkpoint has a bank to ask; warn if not."""
    if bank.is_initialised:
        return "laid out"
    logging.getLogger().warning(
        f"The best epoch, {best_epoch}, is of the warm-up, before the memory bank was laid out: these are results of a "
        "model without memory; train longer, or lower memory_warmup_epochs."
    )
    return "not laid out"


def _temporal_encoder(config: Any, inputs: InputShape, width: int) -> nn.Module | None:
    if not inputs.frame_dim or config["temporal"] == "none":
        return None
    if config["temporal"] == "pooled":
        return PooledFrames(inputs.frame_dim, width)
    is_official = config["temporal_blocks"] == "official"
    scorer = FrameScorer(
        width,
        config["scorer"],
        config["use_frame_scoring"],
        project_anchor=is_official,
        dropout=config["dropout"] if is_official else 0.0,
    )
    if is_official:
        blocks = [
            OfficialBlock(width, _mamba(config, width), _attention(config, width), config["dropout"])
            for _ in range(config["n_blocks"])
        ]
        return OfficialTemporalEncoder(inputs.frame_dim, width, scorer, blocks, config["pos_encoding"])
    pairs = [
        (
            _ssm(config, width, inputs.n_frames) if config["use_ssm"] else None,
            _attention(config, width) if config["use_attention"] else None,
        )
        for _ in range(config["n_blocks"])
    ]
    return TemporalEncoder(inputs.frame_dim, width, scorer, pairs, config["pos_encoding"])


def _ssm(config: Any, width: int, n_frames: int) -> SSMBlock:
    return SSMBlock(
        width,
        config["state_size"],
        config["ssm_step_mode"],
        config["delta_min"],
        config["delta_max"],
        config["delta_bound"],
        config["ssm_direction_mix"],
        n_frames,
    )


def _mamba(config: Any, width: int) -> MambaBlock:
    ahead, back = config["ssm_direction_mix"]
    return MambaBlock(width, config["delta_min"], config["delta_max"], (ahead, back))


def _attention(config: Any, width: int) -> SparseAttention:
    return SparseAttention(
        width,
        config["base_window"],
        config["attn_heads"],
        config["window_signal"],
        config["window_mask"],
        config["window_edge"],
    )


def _fusion(config: Any, width: int) -> nn.Module:
    if config["fusion"] == "interaction":
        return Interaction(width)
    return CrossAttention(width, config["n_cross_layers"], config["cross_heads"], config["dropout"])


def _head(n_inputs: int, sizes: list[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, size in enumerate(sizes):
        layers += [nn.Linear(n_inputs, size), nn.ReLU(), *([nn.Dropout(dropout)] if i == 0 else [])]
        n_inputs = size
    return nn.Sequential(*layers, nn.Linear(n_inputs, 1))


def _never_empty(mask: Tensor) -> Tensor:
    """The mask, with the first place taken where there is nothing: attention over nothing is not a number.

    The place holds zeros, so that a video without frames or text is read as the bias of the projection.
    """
    empty = ~mask.any(dim=1, keepdim=True)
    return torch.cat([mask[:, :1] | empty, mask[:, 1:]], dim=1)


def _standardised(features: Tensor, widths: list[int]) -> Tensor:
    """Blocks of columns, each centred and of total variance one, so that none outweighs the others."""
    blocks = [block - block.mean(dim=0) for block in features.split(widths, dim=-1)]
    return torch.cat([block / block.square().sum(dim=1).mean().sqrt().clamp(min=1e-12) for block in blocks], dim=-1)
