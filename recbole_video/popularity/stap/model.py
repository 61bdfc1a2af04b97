"""STAP (D. Wang et al., 2026): temporal enlargement, a bank of past videos, cross-attention, one regression."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recbole_video.data.step_plan import StepPlan
from recbole_video.errors import ConfigError
from recbole_video.options.option import layers_option, option, size_option
from recbole_video.options.run import is_whole
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.options import PopularityOptions
from recbole_video.popularity.stap import slots
from recbole_video.popularity.stap.cross_attention import FrameTextAttention
from recbole_video.popularity.stap.figures import SLOT_USAGE, draw_slot_usage
from recbole_video.popularity.stap.frame_scoring import FrameScorer
from recbole_video.popularity.stap.memory_bank import MemoryBank, Routing, usage_statistics
from recbole_video.popularity.stap.official import (
    Interaction,
    MambaBlock,
    OfficialBlock,
    OfficialTemporalEncoder,
    WindowedAttention,
)
from recbole_video.popularity.stap.routing_losses import BalanceLoss, PreferenceLoss
from recbole_video.popularity.stap.sparse_attention import SparseAttention
from recbole_video.popularity.stap.ssm import SSMBlock
from recbole_video.popularity.stap.temporal import PooledFrames, TemporalEncoder, Video, never_empty, sequence_mean
from recbole_video.runtime.processes import processes
from recbole_video.runtime.trainable import beside

# Options of the paper's blocks alone.
_OFFICIAL_BLOCKS = ("temporal_blocks", "official")
_USER_WIDTH = 64  # of the hidden layer on U in the released code


@dataclass(frozen=True)
class Reading:
    """What STAP makes of a batch.

    Attributes:
        value: Prediction on the model's scale, [B].
        query: What the bank was asked, [B, d]; None without a bank.
        routing: Its answer; None without a bank, or before it is laid out.
        frame_weights: How much each frame matters, [B, T]; None where frames are not scored.
        visual: The video as one vector, [B, d]; None without frames.
    """

    value: Tensor
    query: Tensor | None
    routing: Routing | None
    frame_weights: Tensor | None
    visual: Tensor | None = None


class STAP(PopularityModel):
    """The paper's regression model; every silent or ambiguous point is an option (properties/model/STAP.yaml).

    Any of frames, text and metadata may be missing: what depends on it is left out, and what remains of
    ``[V*; T*; U; R; V* R; T* R]`` predicts.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.
    """

    files_written = (slots.FILE, SLOT_USAGE)

    @dataclass(frozen=True)
    class Options(PopularityOptions):
        """STAP (arXiv 2604.20311).

        Where the paper is silent or contradicts itself, each reading is a value; docs/popularity.md has both.
        """

        variant: str = option("paper", "paper, or official: properties/variant/STAP-official.yaml.")
        preset: str | None = option(
            None, "Hyper-parameters of a table: smpd, informs, microlens (Table S1) or main_text."
        )
        hidden_size: int = size_option(128, "d, of frames, text, queries and slots; about 1.2 million parameters.")
        dropout: float = option(0.1, at_least=0, below=1, must="is a share, at least 0 and below 1")
        encoder_lr_ratio: float = option(1.0, "Learning rate of the temporal encoder over that of the rest.")
        mask_padding: bool = option(True, "Leave out frames that are not there; False takes them for black frames.")
        project_metadata: bool = option(
            False, "Map U to d before it is used; with fusion=interaction through a hidden layer."
        )
        temporal: Literal["full", "pooled", "none"] = option(
            "full", "full; pooled: the mean frame; none: no video at all.", section="Temporal enlargement (Eq. 4 to 7)"
        )
        temporal_blocks: Literal["paper", "official"] = option("paper", "paper or official.")
        n_blocks: int = layers_option(1)
        pos_encoding: Literal["none", "sinusoidal"] = option("none", "none or sinusoidal.")
        use_frame_scoring: bool = option(True, "False: all frames alike.")
        scorer: Literal["mlp_delta", "linear_abs"] = option("mlp_delta", "mlp_delta (Eq. 4) or linear_abs.")
        use_ssm: bool = option(True)
        state_size: int = option(1536, "d_h.", at_least=1, void_when=(_OFFICIAL_BLOCKS,))
        ssm_step_mode: Literal["equation", "prose", "algorithm_s1"] = option(
            "equation", "equation, prose or algorithm_s1: which way the step goes.", void_when=(_OFFICIAL_BLOCKS,)
        )
        delta_min: float = option(0.01, void_when=(_OFFICIAL_BLOCKS,))
        delta_max: float = option(1.0, void_when=(_OFFICIAL_BLOCKS,))
        delta_bound: Literal["sigmoid", "clamp"] = option(
            "sigmoid", "sigmoid or clamp.", void_when=(_OFFICIAL_BLOCKS, ("ssm_step_mode", "algorithm_s1"))
        )
        ssm_direction_mix: list[float] = option([1.0, 1.0], "Weights of the forward and the backward scan.")
        use_attention: bool = option(True)
        attn_heads: int = size_option(1)
        base_window: int | float = option(
            10,
            "Half width in frames, or up to 1.0: a share of the frames (1.0: the main text's 100 %); with "
            "temporal_blocks=official the whole width.",
            by_hand=True,
        )
        window_signal: Literal["norm_zscore", "norm_raw", "importance"] = option(
            "norm_zscore", "norm_zscore, norm_raw or importance.", void_when=(_OFFICIAL_BLOCKS,)
        )
        window_mask: Literal["soft", "hard", "ste"] = option(
            "soft", "soft, hard or ste.", void_when=(_OFFICIAL_BLOCKS,)
        )
        window_edge: float = option(
            1.0,
            "Width of the soft edge in frames, above 0.",
            above=0,
            must="is a number of frames above 0",
            void_when=(_OFFICIAL_BLOCKS, ("window_mask", "hard")),
        )
        memory: Literal["full", "query", "off"] = option(
            "full",
            "full; query: no bank, R is made of the query itself, to tell what is retrieved from wider layers; off.",
            section="Memory bank (Eq. 8, 9)",
        )
        n_partitions: int = size_option(6, "P, popularity partitions.")
        n_clusters: int = size_option(32, "C, topics in each.")
        memory_top_k: int = size_option(5, "K, slots that a video keeps.")
        tau: float = option(1.0, "Initial temperature.", above=0.05)
        tau_learnable: bool = option(True)
        renormalize_topk: bool = option(False, "Kept weights sum to one.")
        routing_grad: Literal["ste", "masked"] = option("ste", "ste or masked.")
        query_norm: bool = option(True, "tanh and layer norm on the query, scores over the root of d.")
        use_pop_context: bool = option(
            True, "Retrieve the slots' popularity too.", void_when=(("fusion", "interaction"),)
        )
        centroid_shrinkage: float = option(
            5.0, "Videos' worth of the partition's mean in a slot's popularity.", at_least=0
        )
        memory_warmup_epochs: int = option(
            1, "Epochs before the bank is laid out, fewer than epochs; 0: from the untrained model."
        )
        memory_init_videos: int = size_option(
            16384, "Lay the bank out from at most so many training videos, drawn by the seed: memory stays flat."
        )
        memory_init_space: Literal["query", "pca", "random"] = option("query", "query, pca or random.")
        topic_clustering: Literal["per_partition", "global"] = option("per_partition", "per_partition or global.")
        memory_update: Literal["gradient", "ema", "both"] = option("gradient", "gradient, ema or both.")
        memory_eta: float = option(
            0.01,
            "Rate of moving averages and online updates, above 0 and at most 1.",
            above=0,
            at_most=1,
            must="is a rate, above 0 and at most 1",
        )
        dppo_weight: float = option(0.1, "0 switches it off.", section="Losses on the routing (Eq. 10, 11)")
        dppo_support: Literal["own_topk", "full", "topk_mass", "mu_weighted", "c_pop"] = option(
            "own_topk", "own_topk, full, topk_mass, mu_weighted or c_pop."
        )
        dppo_pairs: Literal["batch", "pool"] = option("batch", "batch or pool.")
        dppo_gamma: float = option(0.5, at_least=0)
        dppo_margin: float = option(
            0.25, "In standard deviations of the training labels.", void_when=(("dppo_pairs", "pool"),)
        )
        balance_weight: float = option(1.0, "0 switches it off.")
        balance_partitions: float = option(0.01)
        balance_clusters: float = option(0.01)
        balance_entropy: float = option(0.0)
        balance_kl: Literal["p_prior", "prior_p"] = option("p_prior", "p_prior or prior_p.")
        prior_exponent: float = option(1.5, at_least=0)
        prior_order: Literal["ascending", "descending"] = option(
            "ascending", "ascending: most is routed to the least popular partition; descending."
        )
        fusion: Literal["cross_attention", "interaction"] = option(
            "cross_attention",
            "cross_attention or interaction: of the released code, with its layers on text, U and what is retrieved.",
            section="Fusion and head (Eq. 12)",
        )
        n_cross_layers: int = option(2, at_least=1, void_when=(("fusion", "interaction"),))
        cross_heads: int = option(4, at_least=1, void_when=(("fusion", "interaction"),))
        head_sizes: list[int] = option([128], at_least=1)

        def check(self) -> None:
            super().check()
            self._check_memory()
            self._check_blocks()
            self._check_window()

        def _check_memory(self) -> None:
            warm_up, epochs = self.memory_warmup_epochs, self.epochs
            # a warm-up as long as training would train a model without its memory; a single epoch is for trying out
            if self.memory == "full" and 1 < epochs <= warm_up:
                raise ConfigError(
                    f"`memory_warmup_epochs` is {warm_up} of {epochs} epochs, so that the memory bank would never be "
                    "laid out; lower it, or set memory=off."
                )
            if self.memory_top_k > self.n_partitions * self.n_clusters:
                raise ConfigError(
                    f"`memory_top_k` is {self.memory_top_k}, but there are {self.n_partitions} x {self.n_clusters} "
                    "slots; lower it."
                )

        def _check_blocks(self) -> None:
            for heads, number in (("attn_heads", self.attn_heads), ("cross_heads", self.cross_heads)):
                if self.hidden_size % number:
                    raise ConfigError(f"`hidden_size`, {self.hidden_size}, must be a multiple of {heads}, {number}.")
            if not 0 < self.delta_min < self.delta_max:
                raise ConfigError(
                    f"`delta_min` is {self.delta_min} and `delta_max` {self.delta_max}; the first must be above 0 and "
                    "below the second."
                )
            mix = self.ssm_direction_mix
            if len(mix) != 2 or min(mix) < 0 or sum(mix) == 0:
                raise ConfigError(f"`ssm_direction_mix` is {mix}; it is two weights, forward and backward, not both 0.")
            if self.temporal_blocks == "official" and not (self.use_ssm and self.use_attention):
                raise ConfigError("`use_ssm` and `use_attention` belong to temporal_blocks=paper; leave them out.")

        def _check_window(self) -> None:
            window = self.base_window
            is_frames = is_whole(window) and window >= 1
            if not is_frames and not (isinstance(window, float) and 0 < window <= 1):
                raise ConfigError(
                    f"`base_window` is `{window}`; it is a whole number of frames, at least 1, or a share of them, "
                    "above 0 and at most 1.0."
                )

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        options = config.options(self.Options)
        width = options.hidden_size
        self.mask_padding: bool = options.mask_padding
        self.encoder = _temporal_encoder(options, inputs, width)
        self.text = _of_text(options, inputs.text_dim, width) if inputs.text_dim else None
        self.metadata = MetadataVector(inputs)
        projects = options.project_metadata and self.metadata.width
        self.project_metadata = _of_metadata(options, self.metadata.width, width) if projects else None
        metadata_width = width if self.project_metadata is not None else self.metadata.width
        n_streams = (self.encoder is not None) + (self.text is not None)
        self._build_memory(options, n_streams * width + metadata_width, width)
        self.fusion: nn.Module | None = _fusion(options, width) if n_streams == 2 else None
        n_blocks = n_streams + (1 + n_streams if self.has_context else 0)
        self.head = _head(n_blocks * width + metadata_width, options.head_sizes, options.dropout)
        self._encoder_lr_ratio = options.encoder_lr_ratio
        self._last: tuple[Tensor, Routing] | None = None
        self._usage: Tensor | None = None
        self._losses: dict[str, list[Tensor]] = {}
        self._described: dict[tuple[int, int], slots.Slot] = {}

    def _build_memory(self, options: STAP.Options, query_width: int, width: int) -> None:
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

    def _build_bank(self, options: STAP.Options, width: int) -> None:
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
        self.memory_warmup_epochs: int = options.memory_warmup_epochs
        self.n_shown_between_epochs = options.memory_init_videos
        self._build_routing_losses(options, width)

    def _build_routing_losses(self, options: STAP.Options, width: int) -> None:
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
        query, routing = self._route([*pooled, *metadata])
        if video is not None and text is not None and self.fusion is not None:
            streams = [*self.fusion(video.sequence, video.mask, text, text_mask)]
        else:
            streams = pooled
        blocks = [*streams, *metadata]
        if query is not None:
            blocks.extend(self._retrieve(streams, query, routing))
        value = self.head(torch.cat(blocks, dim=-1)).squeeze(-1)
        weights, visual = (None, None) if video is None else (video.weights, video.pooled)
        return Reading(value, query, routing, weights, visual)

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

    def _route(self, parts: list[Tensor]) -> tuple[Tensor | None, Routing | None]:
        if not self.has_context:
            return None, None
        query = self.query(torch.cat(parts, dim=-1))
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

    def _topic(self, batch: Batch) -> Tensor:
        """What topics are clustered by: mean frame, mean text and metadata as they came, [B, e]."""
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
        note = (
            ""
            if self.bank is None
            else (
                f"partitions go from 1, the least popular, to {self.bank.n_partitions}, and the topics of "
                f"each from 1 to {self.bank.n_clusters}; {slots.FILE} counts both from 0"
            )
        )
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


def _temporal_encoder(options: STAP.Options, inputs: InputShape, width: int) -> nn.Module | None:
    if not inputs.frame_dim or options.temporal == "none":
        return None
    if options.temporal == "pooled":
        return PooledFrames(inputs.frame_dim, width)
    is_official = options.temporal_blocks == "official"
    scorer = FrameScorer(
        width,
        options.scorer,
        options.use_frame_scoring,
        project_anchor=is_official,
        dropout=options.dropout if is_official else 0.0,
    )
    if is_official:
        blocks = [
            OfficialBlock(width, _mamba(options, width), _windowed(options, width), options.dropout)
            for _ in range(options.n_blocks)
        ]
        return OfficialTemporalEncoder(inputs.frame_dim, width, scorer, blocks, options.pos_encoding, options.dropout)
    pairs = [
        (
            _ssm(options, width, inputs.n_frames) if options.use_ssm else None,
            _attention(options, width) if options.use_attention else None,
        )
        for _ in range(options.n_blocks)
    ]
    return TemporalEncoder(inputs.frame_dim, width, scorer, pairs, options.pos_encoding)


def _ssm(options: STAP.Options, width: int, n_frames: int) -> SSMBlock:
    return SSMBlock(
        width,
        options.state_size,
        options.ssm_step_mode,
        options.delta_min,
        options.delta_max,
        options.delta_bound,
        options.ssm_direction_mix,
        n_frames,
    )


def _mamba(options: STAP.Options, width: int) -> MambaBlock:
    ahead, back = options.ssm_direction_mix
    return MambaBlock(width, (ahead, back), options.dropout)


def _windowed(options: STAP.Options, width: int) -> WindowedAttention:
    return WindowedAttention(width, options.base_window, options.attn_heads, options.dropout)


def _attention(options: STAP.Options, width: int) -> SparseAttention:
    return SparseAttention(
        width,
        options.base_window,
        options.attn_heads,
        options.window_signal,
        options.window_mask,
        options.window_edge,
    )


def _of_text(options: STAP.Options, text_dim: int, width: int) -> nn.Module:
    """Text to d; the released code has a norm and dropout behind the map."""
    project = nn.Linear(text_dim, width)
    if options.fusion != "interaction":
        return project
    return nn.Sequential(project, nn.LayerNorm(width), nn.Dropout(options.dropout))


def _of_metadata(options: STAP.Options, metadata_width: int, width: int) -> nn.Module:
    """U to d; the released code has a hidden layer."""
    if options.fusion != "interaction":
        return nn.Linear(metadata_width, width)
    return nn.Sequential(nn.Linear(metadata_width, _USER_WIDTH), nn.ReLU(), nn.Linear(_USER_WIDTH, width))


def _fusion(options: STAP.Options, width: int) -> nn.Module:
    if options.fusion == "interaction":
        return Interaction(width)
    return FrameTextAttention(width, options.n_cross_layers, options.cross_heads, options.dropout)


def _head(n_inputs: int, sizes: list[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, size in enumerate(sizes):
        layers += [nn.Linear(n_inputs, size), nn.ReLU(), *([nn.Dropout(dropout)] if i == 0 else [])]
        n_inputs = size
    return nn.Sequential(*layers, nn.Linear(n_inputs, 1))


def _standardised(features: Tensor, widths: list[int]) -> Tensor:
    """Blocks of columns, each centred and of total variance one, so that none outweighs the others."""
    blocks = [block - block.mean(dim=0) for block in features.split(widths, dim=-1)]
    return torch.cat([block / block.square().sum(dim=1).mean().sqrt().clamp(min=1e-12) for block in blocks], dim=-1)
