"""STAP's options: where the paper is silent or contradicts itself, each reading is a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recbole_video.errors import ConfigError
from recbole_video.options.option import layers_option, option, size_option
from recbole_video.options.run import is_whole
from recbole_video.popularity.options import PopularityOptions
from recbole_video.popularity.stap.selection import rule_for

_OFFICIAL_BLOCKS = ("temporal_blocks", "official")  # makes options of the paper's blocks void


@dataclass(frozen=True)
class STAPOptions(PopularityOptions):
    """STAP (arXiv 2604.20311).

    Where the paper is silent or contradicts itself, each reading is a value; docs/popularity.md has both.
    """

    variant: str = option("paper", "paper, or official: properties/variant/STAP-official.yaml.")
    preset: str | None = option(None, "Hyper-parameters of a table: smpd, informs, microlens (Table S1) or main_text.")
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
    ssm_step_mode: Literal["equation", "prose", "prose_euler", "algorithm_s1"] = option(
        "equation",
        "equation, prose, prose_euler or algorithm_s1: which way the step goes, and what it does to the input.",
        void_when=(_OFFICIAL_BLOCKS,),
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
    window_mask: Literal["soft", "hard", "ste"] = option("soft", "soft, hard or ste.", void_when=(_OFFICIAL_BLOCKS,))
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
    use_pop_context: bool = option(True, "Retrieve the slots' popularity too.", void_when=(("fusion", "interaction"),))
    centroid_shrinkage: float = option(5.0, "Videos' worth of the partition's mean in a slot's popularity.", at_least=0)
    memory_warmup_epochs: int = option(
        1, "Epochs before the bank is laid out, fewer than epochs; 0: from the untrained model."
    )
    memory_init_videos: int = size_option(
        16384, "Lay the bank out from at most so many training videos, drawn by the seed: memory stays flat."
    )
    memory_init_space: Literal["query", "pca", "random"] = option("query", "query, pca or random.")
    topic_clustering: Literal["per_partition", "global"] = option("per_partition", "per_partition or global.")
    topic_features: Literal["raw", "encoded"] = option(
        "raw", "raw: mean frame, mean text and U as they came; encoded: mean V, mean T and U, as in the paper."
    )
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
    cross_residual: bool = option(
        True, "Add each layer's queries to its output; Eq. 12 does not.", void_when=(("fusion", "interaction"),)
    )
    cross_norm: bool = option(
        True, "End each layer in a layer norm; Eq. 12 does not.", void_when=(("fusion", "interaction"),)
    )
    head_sizes: list[int] = option([128], at_least=1)
    selection: Literal["valid_metric", "smpd", "informs", "microlens"] = option(
        "valid_metric",
        "valid_metric: it alone; smpd, informs or microlens: what a released script asks of an epoch besides where "
        "valid_metric is the script's, MAPE, MAPE or MAE.",
        section="Which epoch is kept",
    )

    def check(self) -> None:
        super().check()
        self._check_selection()
        self._check_memory()
        self._check_blocks()
        self._check_window()

    def _check_selection(self) -> None:
        computed = {metric.lower() for metric in self.metrics}
        rule = rule_for(self.selection, self.valid_metric)
        for metric in () if rule is None else rule.reads:
            if metric.lower() not in computed:
                raise ConfigError(
                    f"`selection` is {self.selection}, which judges epochs by {metric}, too; add it to metrics, or "
                    "set selection=valid_metric."
                )

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
