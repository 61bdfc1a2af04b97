"""The options of every model that predicts popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from recbole_video.data.metadata import check_preset
from recbole_video.errors import ConfigError
from recbole_video.options.option import A_SHARE, option
from recbole_video.options.run import RunOptions, check_processes, keep_last_option, resume_option, warmup_option
from recbole_video.runtime.metric_names import not_computed
from recbole_video.runtime.recbole_options import WITHOUT_EFFECT

# RecBole's options that belong to recommendation.
_OF_RECOMMENDATION = frozenset([
    "load_col", "topk", "train_neg_sample_args", "loss_type", "user_inter_num_interval", "item_inter_num_interval",
    "val_interval", "MAX_ITEM_LIST_LENGTH",
])  # fmt: skip

# What nothing reads of these where a model is fitted in one go, to the labels as they are and all videos at once.
_OF_TRAINING = frozenset([
    "label_norm", "regression_loss", "huber_delta", "learner", "learning_rate", "weight_decay", "lr_scheduler",
    "lr_warmup", "epochs", "train_batch_size", "stopping_step", "clip_grad_norm", "enable_amp", "detect_anomaly",
    "compile", "eval_batch_size", "eval_step", "loss_decimal_place",
])  # fmt: skip


@dataclass(frozen=True)
class PopularityOptions(RunOptions):
    """Popularity prediction: every model of recbole_video/popularity."""

    without_effect: ClassVar[frozenset[str]] = WITHOUT_EFFECT | _OF_RECOMMENDATION
    models: ClassVar[str] = "popularity models"

    label: str | None = option(
        None,
        "Name of <dataset>.<label>.popularity, made by `dataset_tools label`; empty: the only one.",
        section="Data",
    )
    frame_store: str | None = option(
        None, "Name of <dataset>.<name>.frames.npy, or a path; empty: <dataset>.frames.npy.", is_path=True
    )
    text_store: str | None = option(
        "text", "The same of text embeddings, made by `dataset_tools embed-text`.", is_path=True
    )
    content: list[str] | dict[str, str] | None = option(
        None,
        "What frames and text are, such as {frames: clip, text: titles}; empty: by the options around.",
        kind="list of str, or dict",
        by_hand=True,
    )
    use_frames: bool = option(True, "Read the frames.")
    use_text: bool = option(True, "Read the text.")
    use_metadata: bool = option(True, "Read the metadata vector U.")
    metadata: Literal["none", "stap-smpd", "stap-informs", "stap-microlens"] = option(
        "none", "none, stap-smpd, stap-informs or stap-microlens: the columns of the released code.", by_hand=True
    )
    metadata_numeric: list[str] = option([], "Further columns of .item and .user, or derived features: numbers.")
    metadata_categorical: list[str] = option([], "Further columns: categories, embedded.")
    metadata_log1p: bool = option(True, "log(1 + x) of the numbers before they are standardised on train.")
    author_history: bool = option(False, "Add the author's training videos before each video: number and mean label.")
    n_frames: int | None = option(
        None, "At most so many frames of a video, evenly chosen; empty: all that the store has.", at_least=1
    )
    missing_items: Literal["error", "drop", "zero"] = option(
        "error", "error, drop or zero: videos without frames, or, where none are read, without any content."
    )
    missing_text: Literal["error", "drop", "zero"] = option(
        "zero", "zero, drop or error: videos without text; zeros are counted, never of a whole split."
    )
    frames_on_device: Literal["auto", True, False] = option(
        "auto", "auto: on the training device when they fit; True; False: gather each batch from disk."
    )
    train_share: float = option(
        1.0,
        "Share of the training videos to train on, drawn by the seed.",
        above=0,
        at_most=1,
        must="is a share, above 0 and at most 1",
    )
    label_norm: Literal["standardise", "none"] = option(
        "standardise",
        "standardise on train for the loss, or none; metrics are on the original scale.",
        section="Loss",
    )
    regression_loss: Literal["huber", "mse"] = option("huber", "huber or mse.")
    huber_delta: float = option(
        1.0, "In units of the labels that the loss sees.", above=0, void_when=(("regression_loss", "mse"),)
    )
    learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"] = option(
        "adamw", "adam, adamw, sgd, adagrad or rmsprop.", section="Training"
    )
    learning_rate: float = option(0.0002, at_least=0)
    weight_decay: float = option(1e-5, at_least=0)
    lr_scheduler: Literal["constant", "linear", "cosine"] = option(
        "constant", "constant, linear or cosine, over all steps of all epochs."
    )
    lr_warmup: float = warmup_option(A_SHARE)
    epochs: int = option(50, at_least=1)
    train_batch_size: int = option(32, at_least=1)
    stopping_step: int = option(10, "Stop after so many evaluations without a better one.")
    clip_grad_norm: dict[str, Any] | None = option({"max_norm": 1.0}, "Empty for none.", by_hand=True)
    enable_amp: Literal["auto", True, False] = option(False, "bfloat16 autocast; auto: on a GPU that has it.")
    detect_anomaly: bool = option(False, "Autograd names the operation that made a NaN.")
    compile: bool = option(False, "torch.compile the parts of the model.")
    metrics: list[str] = option(
        ["nMSE", "MAE", "SRC", "MAPE"], "Any of RecBole's value metrics and these.", by_hand=True, section="Evaluation"
    )
    eval_args: dict[str, Any] = option(
        {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": None, "mode": "labeled"},
        "RecBole's own check needs it; the split is the label file's.",
    )
    valid_metric: str = option("nMSE", "The metric of early stopping and of the best checkpoint.")
    eval_batch_size: int = option(256, "Videos per batch; no metric depends on it.", at_least=1)
    metric_batching: Literal["global", "batch_mean"] = option(
        "global", "global: once over the split. batch_mean: mean over batches, as public code has it."
    )
    metric_batch_size: int = option(256, "For batch_mean.", at_least=1, void_when=(("metric_batching", "global"),))
    cold_author_threshold: int = option(3, "The cold-start subset: test videos of authors with at most so many videos.")
    cold_author_count: Literal["posts", "profile"] = option(
        "posts", "posts: videos in the data set; profile: the column below."
    )
    cold_author_column: str | None = option(None, "Column of .user that counts an author's videos.")
    n_popularity_groups: int = option(0, "Results by groups of test labels, equal in size; 0 for none.")
    save_predictions: bool = option(True, "Write each test video's label and prediction to predictions.tsv.")
    figures: bool = option(True, "Draw predicted against true, and what the model offers of itself.")
    resume: bool | str | None = resume_option()
    keep_last_checkpoint: bool = keep_last_option()

    def check(self) -> None:
        super().check()
        check_preset(self.metadata)
        check_processes(self.nproc, self.train_batch_size, "train_batch_size")
        if not (self.use_frames or self.use_text or self.use_metadata):
            raise ConfigError("`use_frames`, `use_text` and `use_metadata` are all False; a model needs one of them.")
        if self.cold_author_count == "profile" and not self.cold_author_column:
            raise ConfigError(
                "`cold_author_count` is profile; name the column of .user that counts by cold_author_column."
            )
        computed = [metric.lower() for metric in self.metrics]
        if self.valid_metric.lower() not in computed:
            raise not_computed(self.valid_metric, computed, "extend metrics")


@dataclass(frozen=True)
class FittedOptions(PopularityOptions):
    """Popularity models that are fitted in one go, and learn nothing by gradient."""

    of_training: ClassVar[frozenset[str]] = _OF_TRAINING
