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

from recbole_video.data.step_plan import StepPlan
from recbole_video.errors import ConfigError
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.stap import slots
from recbole_video.popularity.stap.figures import SLOT_USAGE, draw_slot_usage
from recbole_video.popularity.stap.memory_bank import MemoryBank, Routing, usage_statistics
from recbole_video.popularity.stap.official import Interaction
from recbole_video.popularity.stap.options import STAPOptions
from recbole_video.popularity.stap.parts import (
    frame_text_fusion,
    metadata_projection,
    regression_head,
    standardised_blocks,
    temporal_encoder,
    text_projection,
)
from recbole_video.popularity.stap.routing_losses import BalanceLoss, PreferenceLoss
from recbole_video.popularity.stap.selection import rule_for
from recbole_video.popularity.stap.temporal import Video, never_empty, sequence_mean
from recbole_video.runtime.processes import processes
from recbole_video.runtime.trainable import beside


@dataclass(frozen=True)
class Reading:
    """What STAP makes of a batch.

    Attributes:
        value: Prediction on the model's scale, [B].
        query: What the bank was asked, [B, d]; None without a bank.
        routing: Its answer; None without a bank, or before it is laid out.
        frame_weights: How much each frame matters, [B, T]; None where frames are not scored.
        visual: The video as one vector, [B, d]; None without frames.
        asking: What the query is made of, [mean V; mean T; U], [B, e]; None where only the rest is of use.
    """

    value: Tensor
    query: Tensor | None
    routing: Routing | None
    frame_weights: Tensor | None
    visual: Tensor | None = None
    asking: Tensor | None = None


class STAP(PopularityModel):
    """The paper's regression model; every silent or ambiguous point is an option (properties/model/STAP.yaml).

    Any of frames, text and metadata may be missing: what depends on it is left out, and what remains of
    ``[V*; T*; U; R; V* R; T* R]`` predicts.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.
    """

    files_written = (slots.FILE, SLOT_USAGE)

    Options = STAPOptions

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        options = config.options(self.Options)
        width = options.hidden_size
        self.mask_padding: bool = options.mask_padding
        self.encoder = temporal_encoder(options, inputs, width)
        self.text = text_projection(options, inputs.text_dim, width) if inputs.text_dim else None
        self.metadata = MetadataVector(inputs)
        projects = options.project_metadata and self.metadata.width
        self.project_metadata = metadata_projection(options, self.metadata.width, width) if projects else None
        metadata_width = width if self.project_metadata is not None else self.metadata.width
        n_streams = (self.encoder is not None) + (self.text is not None)
        self._build_memory(options, n_streams * width + metadata_width, width)
        self.fusion: nn.Module | None = frame_text_fusion(options, width) if n_streams == 2 else None
        n_blocks = n_streams + (1 + n_streams if self.has_context else 0)
        self.head = regression_head(n_blocks * width + metadata_width, options.head_sizes, options.dropout)
        self._encoder_lr_ratio = options.encoder_lr_ratio
        self._selection = rule_for(options.selection, config["valid_metric"])
        self._last: tuple[Tensor, Routing] | None = None
        self._usage: Tensor | None = None
        self._losses: dict[str, list[Tensor]] = {}
        self._described: dict[tuple[int, int], slots.Slot] = {}

    def _build_memory(self, options: STAPOptions, query_width: int, width: int) -> None:
        self.bank: MemoryBank | None = None
        self.has_context = options.memory != "off"
        if not self.has_context:
            return
        if options.memory == "full":
            self._build_bank(options, width)
        self.query = nn.Linear(query_width, width)
        self.query_norm = nn.LayerNorm(width) if options.query_norm else None
        is_released = options.fusion == "interaction"
        self.query_dropout = nn.Dropout(options.dropout if is_released else 0.0)
        self.use_pop_context = options.use_pop_context and self.bank is not None and not is_released
        self.retrieved = (
            Interaction(width, shares_map=True) if is_released else nn.Linear(width + self.use_pop_context, width)
        )

    def _build_bank(self, options: STAPOptions, width: int) -> None:
        self.bank = MemoryBank(
            width,
            options.n_partitions,
            options.n_clusters,
            options.memory_top_k,
            tau=options.tau,
            tau_learnable=options.tau_learnable,
            renormalize_topk=options.renormalize_topk,
            routing_grad=options.routing_grad,
            scale_scores=options.query_norm,
            eta=options.memory_eta,
        )
        self.memory_update: str = options.memory_update
        self.bank.slots.requires_grad_(self.memory_update != "ema")
        self.memory_init: dict[str, Any] = {
            "clustering": options.topic_clustering,
            "space": options.memory_init_space,
            "seed": options.seed,
            "shrinkage": options.centroid_shrinkage,
        }
        self.topic_features: str = options.topic_features
        self.memory_warmup_epochs: int = options.memory_warmup_epochs
        self.n_shown_between_epochs = options.memory_init_videos
        self._build_routing_losses(options, width)

    def _build_routing_losses(self, options: STAPOptions, width: int) -> None:
        self.preference_weight, self.balance_weight = options.dppo_weight, options.balance_weight
        self.preference = PreferenceLoss(
            options.dppo_support, options.dppo_gamma, options.dppo_margin, options.dppo_pairs, width
        )
        self.balance = BalanceLoss(
            options.n_partitions,
            options.n_clusters,
            options.balance_partitions,
            options.balance_clusters,
            options.balance_entropy,
            options.prior_exponent,
            options.prior_order,
            options.balance_kl,
        )

    # -- prediction ----------------------------------------------------------------------------

    @classmethod
    def reads_missing_frames(cls, config: Any) -> bool:
        """Whether padding is not masked (``mask_padding=False``)."""
        return not config["mask_padding"]

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        return self.read(batch).value

    def read(self, batch: Batch) -> Reading:
        """All that the model makes of a batch."""
        video = self._encode_frames(batch)
        text = None if self.text is None else self.text(batch["text"])
        text_mask = None if text is None else never_empty(batch["text_mask"])
        metadata = self._encode_metadata(batch)
        pooled = [] if video is None else [video.pooled]
        if text is not None and text_mask is not None:
            pooled.append(sequence_mean(text, text_mask))
        asking = torch.cat([*pooled, *metadata], dim=-1)
        query, routing = self._route(asking)
        if video is not None and text is not None and self.fusion is not None:
            streams = [*self.fusion(video.sequence, video.mask, text, text_mask)]
        else:
            streams = pooled
        blocks = [*streams, *metadata]
        if query is not None:
            blocks.extend(self._retrieve(streams, query, routing))
        value = self.head(torch.cat(blocks, dim=-1)).squeeze(-1)
        weights, visual = (None, None) if video is None else (video.weights, video.pooled)
        return Reading(value, query, routing, weights, visual, asking)

    def _encode_frames(self, batch: Batch) -> Video | None:
        if self.encoder is None:
            return None
        mask = batch["frame_mask"] if self.mask_padding else torch.ones_like(batch["frame_mask"])
        return self.encoder(batch["frames"], never_empty(mask))

    def _encode_metadata(self, batch: Batch) -> list[Tensor]:
        """The metadata vector U [B, d_u], projected with ``project_metadata``; an empty list without metadata."""
        if not self.metadata.width:
            return []
        vector = self.metadata(batch)
        return [vector if self.project_metadata is None else self.project_metadata(vector)]

    def _route(self, asking: Tensor) -> tuple[Tensor | None, Routing | None]:
        if not self.has_context:
            return None, None
        query = self.query(asking)
        if self.query_norm is not None:
            query = torch.tanh(self.query_norm(query))
        query = self.query_dropout(query)
        return query, self.bank(query) if self.bank is not None and self.bank.is_initialised else None

    def _retrieve(self, streams: list[Tensor], query: Tensor, routing: Routing | None) -> list[Tensor]:
        """R and its products with the streams; zero before the bank is laid out."""
        if routing is None and self.bank is not None:
            return [torch.zeros_like(query)] * (1 + len(streams))
        context = self._context(query, routing)
        return [context, *(stream * context for stream in streams)]

    def _context(self, query: Tensor, routing: Routing | None) -> Tensor:
        """R [B, d], of what was retrieved, or without a bank of the query; the released code lets it meet itself."""
        retrieved = query if routing is None else routing.retrieved
        if isinstance(self.retrieved, Interaction):
            return self.retrieved.interact(retrieved, retrieved)[0]  # half of it is used
        parts = [retrieved]
        if routing is not None and self.use_pop_context:
            parts.append(routing.popularity[:, None])
        return torch.relu(self.retrieved(torch.cat(parts, dim=-1)))

    def _topic(self, batch: Batch, reading: Reading) -> Tensor:
        """What topics are clustered by: mean frame, mean text and metadata, as they came or encoded, [B, e]."""
        if self.topic_features == "encoded" and reading.asking is not None:
            return reading.asking
        parts = []
        if self.encoder is not None:
            parts.append(sequence_mean(batch["frames"], batch["frame_mask"]))
        if self.text is not None:
            parts.append(sequence_mean(batch["text"], batch["text_mask"]))
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
        reading, interaction = self._of_whole_step(self.read(interaction), interaction)
        labels = self.scaled_labels(interaction)
        loss = self._record_loss("regression", self.regression_loss(reading.value, labels))
        routing = reading.routing
        if routing is None or self.bank is None or reading.query is None:
            return loss
        if self.preference_weight:
            of_pool = self.preference.pairs == "pool"  # the released code's margins are on the labels' own scale
            wanted = interaction["label"] if of_pool else self._standard_labels(interaction)
            # and its pool holds the visual vector, which the query's projection has not seen
            asked = reading.visual if of_pool and reading.visual is not None else reading.query
            preference = self.preference(self.bank, routing, asked, wanted)
            loss = loss + self.preference_weight * self._record_loss("preference", preference)
        if self.balance_weight:
            loss = loss + self.balance_weight * self._record_loss("balance", self.balance(routing.gate))
        if self.memory_update != "gradient":
            self._last = reading.query.detach(), routing
        used = routing.weights.detach().sum(dim=0)
        self._usage = used if self._usage is None else self._usage + used
        return loss

    def _of_whole_step(self, own: Reading, batch: Batch) -> tuple[Reading, Batch]:
        """What all processes have read of a step, and its labels: pairs, balance and averages are of them all."""
        sizes = batch.gathered if isinstance(batch, StepPlan) else ()
        if not sizes:
            return own, batch
        group = processes()
        value = group.gathered(own.value, sizes)
        query = None if own.query is None else group.gathered(own.query, sizes)
        visual = None if own.visual is None else group.gathered(own.visual, sizes)
        routing = None if self.bank is None or own.routing is None or query is None else self.bank(query)
        labels = group.gathered(batch["label"], sizes)
        return Reading(value, query, routing, None, visual), {"label": labels}

    def _standard_labels(self, batch: Batch) -> Tensor:
        """Labels in standard deviations of the training labels, whatever the model's scale, [B]."""
        return (batch["label"] - self.inputs.label_mean) / self.inputs.label_std

    def _record_loss(self, name: str, loss: Tensor) -> Tensor:
        self._losses.setdefault(f"{name}_loss", []).append(loss.detach())
        return loss

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The temporal encoder apart, whose rate may be another."""
        of_encoder = [] if self.encoder is None else [p for p in self.encoder.parameters() if p.requires_grad]
        others = [p for p in beside(self.parameters(), of_encoder) if p.requires_grad]
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
                topics.append(self._topic(batch, reading).float().cpu())
                labels.append(self._standard_labels(batch).cpu())
        self.train(was_training)
        features = standardised_blocks(torch.cat(topics), self._topic_widths())
        self.bank.initialise(torch.cat(queries), features, torch.cat(labels), **self.memory_init)

    def _topic_widths(self) -> list[int]:
        shape, width = self.inputs, self.query.out_features
        frames, text, metadata = shape.frame_dim * (self.encoder is not None), shape.text_dim, self.metadata.width
        if self.topic_features == "encoded":
            frames, text = width * (frames > 0), width * (text > 0)
            metadata = metadata if self.project_metadata is None else width
        return [n for n in (frames, text, metadata) if n]

    def after_step(self) -> None:
        """Move the slots by moving average, where that is asked for."""
        if self._last is not None and self.bank is not None:
            self.bank.average_in(*self._last)
            self._last = None

    def is_better_epoch(self, result: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """What the script that ``selection`` names asks of an epoch besides."""
        return self._selection is None or self._selection.keeps(result, best)

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
        """``memory bank: not laid out`` where the chosen epoch comes before the bank; else empty."""
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
        """Draw how evenly the slots were used in each epoch, into the folder of the run."""
        if any("slot_entropy" in record for record in history):
            draw_slot_usage(history, folder / SLOT_USAGE)

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Check that the memory bank of a checkpoint has as many partitions and clusters as this one."""
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

    def milestones(self) -> dict[int, str]:
        """The memory bank, from whose epoch on the score is of another model."""
        is_laid_out = self.bank is not None and self.bank.is_initialised
        return {self.memory_warmup_epochs + 1: "memory bank laid out"} if is_laid_out else {}

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
        note = "" if self.bank is None else slots.note(self.bank.n_partitions, self.bank.n_clusters)
        return Explanation(float(self.predict(batch)[0]), weights, kept, shares, note=note)

    def _slot(self, bank: MemoryBank, number: int) -> slots.Slot:
        """A slot with its present popularity and count, and what ``slots.tsv`` says of its use and nearest videos."""
        place = divmod(number, bank.n_clusters)
        known = self._described.get(place)
        popularity = float(bank.centroids[place]) * self.inputs.label_std + self.inputs.label_mean
        usage, nearest = (known.usage, known.nearest) if known else (0.0, ())
        return slots.Slot(*place, popularity, int(bank.counts[place]), usage, nearest)

    def update(self, items: Sequence[str], batches: Iterable[Batch], labels: Tensor | None) -> None:
        """Let the bank take in new videos; it does not grow."""
        if self.bank is None:
            self._raise_no_memory_bank("update")
        queries = [self.bank.slots.new_zeros(0, self.bank.width)]
        queries += [query for batch in batches if (query := self.read(batch).query) is not None]
        known = None if labels is None else (labels - self.inputs.label_mean) / self.inputs.label_std
        self.bank.update(items, torch.cat(queries), known)

    def freeze_memory(self, is_frozen: bool = True) -> None:
        """Let :meth:`update` fail from now on, or no longer."""
        if self.bank is None:
            self._raise_no_memory_bank("freeze")
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
