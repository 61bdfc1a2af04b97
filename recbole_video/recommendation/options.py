"""The options of every model that recommends from video content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from recbole_video.data.protocols import ProtocolOptions
from recbole_video.errors import ConfigError
from recbole_video.options.option import option
from recbole_video.options.run import check_processes, keep_last_option, resume_option, warmup_option
from recbole_video.recommendation.losses import LossOptions
from recbole_video.runtime.metric_names import not_computed
from recbole_video.runtime.recbole_options import WITHOUT_EFFECT


@dataclass(frozen=True)
class RankingOptions(ProtocolOptions):
    """What is read, how it is split, and how a ranking of the catalogue is judged: of trained models and controls."""

    without_effect: ClassVar[frozenset[str]] = WITHOUT_EFFECT

    frame_store: str | None = option(
        None,
        "Name of <dataset>.<name>.frames.npy, or a path; empty: <dataset>.frames.npy.",
        is_path=True,
        section="Content",
    )
    content: list[str] | dict[str, str] | None = option(
        None,
        "Modalities, such as [frames, text]: <dataset>.<name>.frames.npy; or {name: store}; empty: frames.",
        kind="list of str, or dict",
        by_hand=True,
    )
    frames_on_device: Literal["auto", True, False] = option(
        "auto", "auto: on the training device when it fits; True; False: gather each batch from disk."
    )
    missing_items: Literal["error", "drop", "zero"] = option(
        "error", "error, drop (their interactions) or zero: items without any content or without an .item row."
    )
    eval_batch_size: int | None = option(
        None,
        "Users per batch; empty: 128 on a CPU, whose caches hold their scores, 2048 on a GPU.",
        at_least=1,
        section="Evaluation",
    )
    eval_memory_mb: int = option(256, "Scores held at once, in MB; lowers the batch where it must.", at_least=1)
    eval_groups: list[Literal["popularity", "cold", "tag"]] = option(
        [], "Beyond the totals: popularity (ten groups of items), cold, tag (the 20 tags of most test targets)."
    )
    tag_field: str | None = option(None, "eval_groups tag: column of the .item file that holds the tags of an item.")
    cold_item_threshold: int = option(1, "A cold item has fewer training interactions than this.")
    save_per_user: bool = option(False, "Write each test user's rank and metrics to per_user.tsv.")

    def check(self) -> None:
        super().check()
        self._check_eval_args()
        self._check_valid_metric()
        if "tag" in self.eval_groups and self.tag_field is None:
            raise ConfigError("`eval_groups` names tag; set tag_field to the column of the .item file that holds them.")

    def _check_eval_args(self) -> None:
        args, mode = self.eval_args, self.eval_args["mode"]
        if args["split"] != {"LS": "valid_and_test"} or args["order"] != "TO":
            raise ConfigError(
                "`eval_args` must be {'split': {'LS': 'valid_and_test'}, 'order': 'TO'}: video models are "
                f"tested on each user's last action, not with split {args['split']} and order {args['order']}."
            )
        if not isinstance(mode, dict) or any(one != "full" for one in mode.values()):
            raise ConfigError(f"`eval_args` mode is {mode}; video models rank the full catalogue: use full.")

    def _check_valid_metric(self) -> None:
        top_k = [f"{metric.lower()}@{k}" for metric in self.metrics for k in self.topk]
        computed = [*top_k, *(metric.lower() for metric in self.metrics if metric.lower() == "gauc")]
        if self.valid_metric.lower() not in computed:
            raise not_computed(self.valid_metric, computed, "extend metrics and topk")


@dataclass(frozen=True)
class EncoderOptions:
    """How an item's vector is made."""

    item_encoder: str = option(
        "CVA",
        "CVA, PerceiverIO, MLP, Pooling, ID, a registered name, or module:Class (from a file only with --trust).",
        section="Model",
    )
    id_fusion: Literal["none", "sum", "gate"] = option(
        "none", "none, sum or gate: add a learned id vector to the content vector."
    )
    id_dropout: float = option(0.5, "Probability that a training step hides an item's id vector.", at_least=0, below=1)
    item_scale: Literal["sqrt_dim", "none"] = option(
        "sqrt_dim", "sqrt_dim: vectors from content are divided by the root of d; none: as encoded. Not of ids."
    )
    content_fusion: Literal["early", "late", "late_gate", "late_concat"] | None = option(
        None,
        "Of several: early (or empty), late (encoded apart and added), late_gate or late_concat.",
        by_hand=True,
    )
    content_width: int | None = option(
        None, "Width to which early fusion projects each modality; empty: that of item vectors.", by_hand=True
    )


@dataclass(frozen=True)
class RecommendationOptions(LossOptions, EncoderOptions, RankingOptions):
    """Recommendation from video content: every model of this package."""

    without_effect: ClassVar[frozenset[str]] = WITHOUT_EFFECT
    models: ClassVar[str] = "video models"

    preset: str | None = option(
        None, "Settings of a publication: authors, authors-shortvideo or paper (docs/authors.md).", section="Training"
    )
    learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"] = option(
        "adamw", "adam, adamw, sgd, adagrad or rmsprop."
    )
    learning_rate: float = option(0.001, at_least=0)
    weight_decay: float = option(0.1, at_least=0)
    item_encoder_learning_rate: float | None = option(
        None, "That of the item encoder; empty: learning_rate.", at_least=0
    )
    item_encoder_weight_decay: float | None = option(None, "That of the item encoder; empty: weight_decay.", at_least=0)
    lr_scheduler: Literal["constant", "linear", "cosine"] = option(
        "constant", "constant, linear or cosine, over all steps of all epochs."
    )
    lr_warmup: float = warmup_option("is a share of all steps, between 0 and 1")
    epochs: int = option(30, at_least=1)
    train_batch_size: int = option(60, "User sequences per step (prefix rows per step for FMLPRec).", at_least=1)
    stopping_step: int = option(10, "Stop after so many evaluations without a better one.")
    clip_grad_norm: dict[str, Any] | None = option(None, "For example {max_norm: 1.0}.", by_hand=True)
    enable_amp: Literal["auto", True, False] = option("auto", "bfloat16 autocast; auto: on a GPU that has it.")
    detect_anomaly: bool = option(
        False,
        "Autograd names the operation that made a NaN, at half the speed; importing RecBole's models leaves it on.",
    )
    compile: bool = option(False, "torch.compile the item encoder and the user encoder's blocks.")
    cuda_graph: bool = option(
        False,
        "On a GPU: record a step once for each of a few sizes, to which it is filled up, and replay it.",
        void_when=(("learner", "sgd"), ("learner", "adagrad"), ("learner", "rmsprop")),
    )
    encode_chunk: int = option(4096, "Items encoded at once when the catalogue is encoded.", at_least=1)
    resume: bool | str | None = resume_option()
    keep_last_checkpoint: bool = keep_last_option()

    def check(self) -> None:
        super().check()
        if self.candidate_group and self.train_batch_size % self.candidate_group:
            raise ConfigError(
                f"`candidate_group` is {self.candidate_group}, which does not divide train_batch_size "
                f"({self.train_batch_size}); choose a divisor of it, or leave it out for one group of all."
            )
        check_processes(self.nproc, self.train_batch_size, "train_batch_size")
        if self.candidate_group:
            groups = self.train_batch_size // self.candidate_group
            check_processes(self.nproc, groups, "train_batch_size, or lower candidate_group,", f"{groups} groups")
        if self.cuda_graph and (self.nproc > 1 or self.detect_anomaly):
            other = "nproc above 1" if self.nproc > 1 else "detect_anomaly"
            raise ConfigError(f"`cuda_graph` cannot be recorded with {other}; set one of them.")
        if self.item_encoder == "ID" and self.id_fusion != "none":
            raise ConfigError("`id_fusion` adds ids to content, and item_encoder=ID has no content; set one of them.")
