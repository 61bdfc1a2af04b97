"""Use of a trained popularity model: predict new videos, explain one, let the memory bank take in what has passed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_list_like
from torch import Tensor

from recbole_video.arguments.arrays import Array, as_counts, as_embeddings, as_floats, find_unstorable, hold
from recbole_video.arguments.tokens import ordered_tokens
from recbole_video.content.items import Origin, checked_origins, refuse_other_space
from recbole_video.content.store import FrameStore
from recbole_video.data.labelled import PopularityDataset
from recbole_video.data.labelled_loader import PopularityLoader, evenly_chosen, mask_name, pad_or_truncate
from recbole_video.data.metadata import MetadataEncoder, number_columns, raw_columns
from recbole_video.errors import ConfigError, DataError, nearest
from recbole_video.evaluation.regression import one_per_video
from recbole_video.files.names import expanded
from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.counts import count_behind, counts_of
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.what_if import without_each
from recbole_video.runtime.checkpoint import write_checkpoint
from recbole_video.runtime.checkpoint_checks import Fields, build_stored, upgraded
from recbole_video.serving.new_content import joined
from recbole_video.serving.uses import TellsItsUses

_BATCH = 256  # videos


@dataclass(frozen=True, repr=False)
class Inputs:
    """Videos to predict: what the model was trained on must be given, N videos each. Nested lists do for arrays.

    Attributes:
        frames: [N, T, d_v] float, from the frame encoder of the training frames.
        frame_counts: [N], frames that each video has; all T by default.
        text: [N, d_t] or [N, L, d_t] float, from the same text encoder.
        metadata: Columns by name, N values each: those that the metadata vector is made of. A ``DataFrame`` may have
            others, which are not read. A derived feature is made of its columns: ``hour`` and ``weekday`` of ``time``,
            which is Unix time in seconds, ``datetime64`` or text in ISO 8601 (UTC without a time zone), what begins
            with ``title_`` of ``title``, text, what begins with ``author_past_`` of ``user_id`` and ``time``.
        content: Further modalities by name, [N, d] or [N, R, d] float each; frames and text may be given here, too. A
            further one that is left out no video has, and rows of zeros are none.
        items: What the videos are called, for explanations.
    """

    frames: Array | None = None
    frame_counts: Sequence[int] | np.ndarray | None = None
    text: Array | None = None
    metadata: pd.DataFrame | Mapping[str, Sequence[Any]] | None = None
    content: Mapping[str, Array] | None = None
    items: Sequence[str] | None = None

    def __repr__(self) -> str:
        arrays = {"frames": self.frames, "text": self.text, **(self.content or {})}
        told = [f"{name} {list(np.shape(array))}" for name, array in arrays.items() if array is not None]
        if self.metadata is not None:
            told.append(f"metadata ({', '.join(map(str, self.metadata))})")
        return f"<{type(self).__name__}: {', '.join(told) or 'nothing'}>"


class PopularityPredictor(TellsItsUses):
    """A trained popularity model. Made by :func:`recbole_video.load_model` from a run folder or ``model.pth``.

    Attributes:
        model: The PyTorch module.
        config: The options it was trained with.
        inputs: Sizes of what it reads.
        content: Where each modality that it reads came from, by name.
    """

    KIND = "A popularity model"

    def __init__(
        self,
        model: PopularityModel,
        config: Any,
        data: dict[str, Any],
        metadata: MetadataEncoder | None = None,
        content: Mapping[str, Origin] | None = None,
    ) -> None:
        self.config = config
        self.device: torch.device = config["device"]
        self.model = model.to(self.device).eval()
        self.inputs: InputShape = model.inputs
        self._state = data
        self._metadata = metadata
        self.content = dict(content or {})
        self._told: set[str] = set()  # of what inputs lack

    def __repr__(self) -> str:
        inputs = f", reads {', '.join(self.content)}" if self.content else ""
        return f"<{type(self).__name__}: {self.config['model']} of {self.config['dataset']}{inputs}>"

    @property
    def metadata_columns(self) -> list[str]:
        """The columns that the metadata are made of, sorted; empty for a model without."""
        encoder = self._metadata
        return [] if encoder is None else sorted(raw_columns(encoder.numeric, encoder.categorical))

    @property
    def metadata_encoder(self) -> MetadataEncoder | None:
        """What makes the metadata of their columns, fitted in training; None for a model without."""
        return self._metadata

    @property
    def number_columns(self) -> list[str]:
        """Those of :attr:`metadata_columns` that hold numbers, times left out."""
        return [] if self._metadata is None else sorted(set(number_columns(self._metadata.numeric)))

    @torch.no_grad()
    def predict(self, videos: Inputs, in_counts: bool = False) -> np.ndarray:
        """Popularity of each video on the labels' scale, float64 [N].

        Args:
            videos: The videos.
            in_counts: Give the count instead, of views say, that the label is a logarithm of. A model predicts the mean
                of the logarithm: it is a typical count, below the mean of the counts.

        Raises:
            ConfigError: If the model gives anything but one number per video, an input is given that it does not read,
                or ``in_counts`` of a label that is no function of one count.
            DataError: If an input that the model reads is missing, of another size, or not finite, or makes no
                finite prediction.
        """
        batches, model = self._batches(videos), self.model
        values = [one_per_video(model, model.predict(b), b["row"]).double().cpu().numpy() for b in batches]
        found = np.concatenate([np.zeros(0), *values])
        if not np.isfinite(found).all():
            first = int((~np.isfinite(found)).argmax())
            raise DataError(
                f"The prediction of video {first} (counted from 0) is not finite: its inputs, or the model's weights, "
                "are too large."
            )
        return self.to_counts(found) if in_counts else found

    @property
    def count(self) -> str | None:
        """The count that the label is a function of, such as ``views``; None where it is none of one count."""
        count = count_behind(self._label_settings)
        return None if count is None else count.name

    def to_counts(self, predictions: np.ndarray) -> np.ndarray:
        """The counts, of views say, behind predictions on the label's scale, float64 [N].

        Raises:
            ConfigError: If the label is no function of one count.
        """
        return counts_of(predictions, self._label_settings)

    @property
    def _label_settings(self) -> Any:
        """How ``label`` made the labels; None where the checkpoint does not say."""
        label = self._state.get("label")
        return label.get("settings") if isinstance(label, Mapping) else None

    @torch.no_grad()
    def explain(self, videos: Inputs, row: int = 0) -> Explanation:
        """What the prediction of one of the videos rests on.

        Raises:
            ConfigError: If the model offers no explanation.
            DataError: As :meth:`predict`, or if there is no such row.
        """
        batch = self._checked(videos)
        n = len(batch["row"])
        if not 0 <= row < n:
            raise DataError(f"There is no row {row}: {n} videos are given, counted from 0.")
        one = self._trimmed({name: value[row : row + 1] for name, value in batch.items()})
        never_lacking = [name for name in self.content if not self._is_masked(name)]
        found = self._explained({name: value.to(self.device) for name, value in one.items()}, never_lacking)
        found = found if videos.items is None else replace(found, item=str(videos.items[row]))
        if self._metadata is None or videos.metadata is None or not found.contributions:
            return found
        encoded = self._metadata.transform(_as_table(videos.metadata).iloc[[row]])
        return found.with_values(self._metadata.in_words(encoded, 0))

    @torch.no_grad()
    def explain_row(self, dataset: PopularityDataset, row: int) -> Explanation:
        """What the prediction of a video of a data set rests on.

        Raises:
            ConfigError: If the model offers no explanation.
        """
        if self._metadata is not None and dataset.metadata_encoder is not self._metadata:
            dataset = dataset.encoded_by(self._metadata)
        loader = PopularityLoader(self.config, dataset, np.array([row]), shuffle=False)
        never_lacking = [name for name, missing in dataset.read_as_zeros.items() if not missing["train"]]
        found = self._explained(loader.batch(np.array([row])).to(self.device), never_lacking)
        found = replace(found, item=str(dataset.items[row]))
        if dataset.metadata is None or not found.contributions:
            return found
        return found.with_values(dataset.metadata_encoder.in_words(dataset.metadata, row))

    def _explained(self, batch: Batch, never_lacking: Sequence[str]) -> Explanation:
        """What the model tells of a batch of one video; of one trained by gradient, what it predicts without inputs."""
        found = replace(self.model.explain(batch), count=count_behind(self._label_settings))
        if self.model.is_fitted_once(self.config):
            return found
        return replace(found, without=without_each(self.model, batch, never_lacking))

    @torch.no_grad()
    def update_memory(
        self, items: Sequence[str], videos: Inputs, labels: Sequence[float] | np.ndarray | None = None
    ) -> None:
        """Let the memory bank take in new videos; it does not grow.

        Args:
            items: Their item tokens; those of the validation and the test split are refused.
            videos: The videos.
            labels: Their popularity on the labels' scale, once it is known; NaN where it is not.

        Raises:
            ConfigError: If the model has no memory bank.
            DataError: If a video is of the split under evaluation, or the items have no order or no usable tokens.
            MemoryFrozenError: After ``freeze_memory()``.
        """
        known = None if labels is None else as_floats("labels", labels)
        self.model.update(ordered_tokens(items), self._batches(videos), known)

    def freeze_memory(self, is_frozen: bool = True) -> None:
        """Refuse updates of the memory bank, for an evaluation."""
        self.model.freeze_memory(is_frozen)

    def save(self, path: str | Path) -> None:
        """Write the model with its present memory; ``load_model`` reads it."""
        path = expanded(path)
        state = {"config": self.config.to_options(), "state_dict": self.model.state_dict(), "data": self._state}
        write_checkpoint(path, state)

    # -- inputs --------------------------------------------------------------------------------

    def from_stores(
        self,
        items: Sequence[str],
        frames: str | Path | None = None,
        text: str | Path | None = None,
        metadata: pd.DataFrame | None = None,
        content: Mapping[str, str | Path] | None = None,
    ) -> Inputs:
        """The inputs of items from frame stores, further ones by name; ``metadata`` has a row per item, in their order.

        Raises:
            DataError: If a store lacks an item whose lack was not masked in training either, or was fitted to texts of
                its own.
            ConfigError: If a modality is given twice, or ``content`` is not by name.
        """
        paths = joined(content, {"frames": frames, "text": text})
        stores = {name: FrameStore(path) for name, path in paths.items()}
        for name, store in stores.items():
            if name in self.content:
                refuse_other_space(store, self.content[name])
                self._refuse_other_weights(name, store)
        stored = {name: _read_store(store, items, self._is_masked(name)) for name, store in stores.items()}
        counts = stored["frames"][1] if "frames" in stored else None
        return Inputs(
            frames=stored.get("frames", (None,))[0],
            frame_counts=counts,
            text=stored.get("text", (None,))[0],
            metadata=metadata,
            content={name: values for name, (values, _) in stored.items() if name not in ("frames", "text")},
            items=list(items),
        )

    def _refuse_other_weights(self, name: str, store: FrameStore) -> None:
        """Refuse a store of a further modality that other weights made than those of the training.

        Raises:
            DataError: If its manifest says so.
        """
        wanted = self.inputs.other_weights.get(name)
        if wanted is not None and store.made_by not in ("", wanted):
            raise DataError(
                f"`{store.path}` was made by weights of SHA-256 {store.made_by[:12]}, and the model was trained on "
                f"{name} of {wanted[:12]}; make it by the same weights."
            )

    def _is_masked(self, name: str) -> bool:
        """Whether training masked a modality where a video lacked it: any further one, others where they were zeros."""
        policy = {"frames": "missing_items", "text": "missing_text"}.get(name)
        return policy is None or self.config[policy] == "zero"

    def _batches(self, videos: Inputs) -> Iterator[dict[str, Tensor]]:
        whole = self._checked(videos)
        size = min(_BATCH, self.config["eval_batch_size"])
        for start in range(0, len(whole["row"]), size):
            part = self._trimmed({name: value[start : start + size] for name, value in whole.items()})
            yield {name: value.to(self.device) for name, value in part.items()}

    def _checked(self, videos: Inputs) -> dict[str, Tensor]:
        """The videos as one batch, in the CPU's memory: parts of it go to the device."""
        if not isinstance(videos, Inputs):
            raise ConfigError(
                f"`videos` is {type(videos).__name__}; give Inputs(metadata=...), with what the model reads of "
                "content, or what `from_stores` gives."
            )
        batch: dict[str, Tensor] = {}
        given = self._given_content(videos)
        if videos.frame_counts is not None and given.get("frames") is None:
            raise DataError("`frame_counts` are of frames, which are not given; give them, or leave the counts out.")
        if self.inputs.frame_dim:
            frames = self._array("frames", given.get("frames"), self.inputs.frame_dim)
            counts = as_counts(videos.frame_counts, len(frames), 0, frames.shape[1])
            batch["frames"], batch["frame_mask"] = self._as_trained(frames, counts)
        lacking = self._lacking(given)
        for name, width in self._widths_without_order.items():
            if name not in lacking:
                batch[name] = self._array(name, given.get(name), width)
        if self._metadata is not None:
            if videos.metadata is None:
                raise DataError("The model reads metadata; give `metadata`, a table with a row per video.")
            table = _as_table(videos.metadata)
            self._check_columns_are_read(videos.metadata)
            self._metadata.check_times(table)
            self._warn_of_gaps(self._metadata, table)
            encoded = self._metadata.transform(table)
            batch["numeric"] = torch.from_numpy(encoded.numeric)
            batch["categories"] = torch.from_numpy(encoded.codes)
        n = _common_size(batch, videos)
        for name in lacking:
            batch[name] = torch.zeros(n, 1, self.inputs.other_dims[name])
        for name in self._widths_without_order:
            batch[mask_name(name)] = batch[name].abs().sum(dim=-1) > 0
        self._warn_of_none(batch, lacking)
        batch["row"] = torch.full((n,), -1)  # of no data set
        return batch

    def _given_content(self, videos: Inputs) -> dict[str, Array]:
        given = joined(videos.content, {"frames": videos.frames, "text": videos.text})
        read = [*self.content, *(["metadata"] if self._metadata is not None else [])]
        unread = sorted({*given, *(["metadata"] if videos.metadata is not None else [])} - set(read))
        if not read:  # of videos that are only counted
            unread = [name for name in unread if name not in ("frames", "text", "metadata")]
        if unread:
            raise ConfigError(
                f"The model does not read `{unread[0]}`{nearest(unread[0], read)}; it was trained on "
                f"{', '.join(read) or 'nothing of a video'}: leave it out."
            )
        return given

    def _check_columns_are_read(self, metadata: pd.DataFrame | Mapping[str, Sequence[Any]]) -> None:
        """Refuse columns by name that nothing is made of; a table may have others, as a file has.

        Raises:
            ConfigError: If there is one.
        """
        if self._metadata is None or not isinstance(metadata, Mapping):
            return
        read = self.metadata_columns
        for name in metadata:
            if name not in read:
                raise ConfigError(
                    f"The model does not read the column `{name}` of `metadata`{nearest(str(name), read)}; it reads "
                    f"{', '.join(read)}."
                )

    def _warn_of_gaps(self, metadata: MetadataEncoder, table: pd.DataFrame) -> None:
        """Tell, each once, of cells that say nothing to the model: empty ones, unknown categories and authors."""
        unseen = [
            f"No training video has `{value}` as its `{column}`: it counts as a category that is not known."
            for column, value in metadata.unseen(table)
        ]
        for told in [*unseen, *metadata.gaps(table)]:
            self._tell_once(told)

    def _warn_of_none(self, batch: Mapping[str, Tensor], lacking: Sequence[str]) -> None:
        """Tell of videos without a modality that is given."""
        is_there_of = {name: batch[mask_name(name)] for name in self._widths_without_order if name not in lacking}
        if "frames" in batch:
            is_there_of["frames"] = batch["frames"].abs().sum(dim=(1, 2)) > 0
        for name, is_there in is_there_of.items():
            if n := int((~is_there).sum()):
                self._tell_once(f"Videos without {name}, read as zeros: {n:,} of {len(is_there):,}.")

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            logging.getLogger(__name__).warning(text)
        self._told.add(text)

    def _lacking(self, given: Mapping[str, Array]) -> list[str]:
        """Further modalities that are not given, which no video has: they are masked, as in training.

        Raises:
            DataError: If nothing is given of what is read by name, or not what the model cannot do without.
        """
        lacking = [name for name in self.inputs.other_dims if name not in given]
        needed = lacking if not set(given) & set(self.content) else self.model.never_without.intersection(lacking)
        if needed:
            raise DataError(f"The model reads {min(needed)}; give `{min(needed)}`.")
        return lacking

    @property
    def _widths_without_order(self) -> dict[str, int]:
        """Width of text and of each further modality, whose rows are not counted: a row of zeros is none."""
        text = {"text": self.inputs.text_dim} if self.inputs.text_dim else {}
        return {**text, **self.inputs.other_dims}

    def _as_trained(self, frames: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and mask as the training's loader gives them, but for the cut to a batch's longest video."""
        mask = torch.arange(frames.shape[1]) < counts[:, None]
        frames = frames * mask[..., None]
        wanted = self.inputs.n_frames
        if self.config["n_frames"] is not None and wanted < frames.shape[1]:
            frames, mask = evenly_chosen(frames, mask, wanted)
        return frames, mask

    def _trimmed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A part of the videos as the model was trained on it: as long as its longest video, or as the longest of all.

        Text has no other reading: what is missing is masked.
        """
        for name in ("frames", *self._widths_without_order):
            if name in batch:
                values, mask = batch[name], batch[mask_name(name)]
                longest = max(1, int(np.flatnonzero(mask.any(dim=0)).max(initial=-1)) + 1)
                if name == "frames" and self.model.reads_missing_frames(self.config):
                    longest = max(longest, self.inputs.n_frames)
                batch[name], batch[mask_name(name)] = pad_or_truncate(values, mask, longest)
        return batch

    def _array(self, name: str, values: Array | None, width: int) -> Tensor:
        if values is None:
            raise DataError(f"The model reads {name}; give `{name}`.")
        array = as_embeddings(name, values)
        if name != "frames" and array.ndim == 2:
            array = array[:, None]
        if array.ndim != 3 or array.shape[-1] != width or not array.shape[1]:
            raise DataError(f"The {name} must be [N, n, {width}], not {list(array.shape)}: use the training's encoder.")
        bad, wrong = find_unstorable(array)
        if len(bad):
            raise DataError(f"The {name} of video {bad[0]} (counted from 0) {hold(name)} {wrong}.")
        return array


def _common_size(batch: Mapping[str, Tensor], videos: Inputs) -> int:
    """How many videos the inputs are of.

    Raises:
        DataError: If they are of different numbers, or there is none.
    """
    shown = {"numeric": "metadata", "categories": "metadata"}
    read = {shown.get(name, name): len(value) for name, value in batch.items() if name != mask_name("frames")}
    sizes = read or _sizes_of(videos)
    if videos.items is not None:
        sizes = {**sizes, "items": len(videos.items)}
    if len(set(sizes.values())) > 1:
        raise DataError(f"The inputs are of different numbers of videos: {sizes}.")
    return next(iter(sizes.values()))


def _sizes_of(videos: Inputs) -> dict[str, int]:
    """How many videos are given, for a model that reads nothing of them.

    Raises:
        DataError: If nothing is given.
    """
    given = {"frames": videos.frames, "text": videos.text}
    sizes = {name: len(values) for name, values in given.items() if values is not None}
    if videos.metadata is not None:
        sizes["metadata"] = len(_as_table(videos.metadata))
    if not sizes:
        raise DataError("The model reads no input; give any of the videos, which it counts.")
    return sizes


def _as_table(metadata: pd.DataFrame | Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Columns of metadata, a row per video.

    Raises:
        DataError: If a column has another number of values than the others, or is a single value.
    """
    if isinstance(metadata, Mapping):
        sizes = {name: len(column) if is_list_like(column) else None for name, column in metadata.items()}
        if len(set(sizes.values())) > 1 or None in sizes.values():
            shown = ", ".join(f"`{name}` {'is no list' if n is None else f'has {n}'}" for name, n in sizes.items())
            raise DataError(f"Each column of `metadata` must be a list with a value per video, but {shown}.")
    try:
        return pd.DataFrame(metadata)
    except (TypeError, ValueError) as error:
        raise DataError("`metadata` must be a table, or columns by name, with a row per video.") from error


def make_predictor(config: Any, state: dict[str, Any], path: Path) -> PopularityPredictor:
    """Build the model of a checkpoint.

    Raises:
        CheckpointError: If its sizes are not those of the options, or a value is not as it must be.
    """
    stored = upgraded(state["data"])
    data = Fields(stored, "data", path)
    inputs = _checked_inputs(data.inner("inputs"))
    origins = checked_origins(data, _content_read(inputs))
    metadata = _checked_metadata(data, inputs)
    evaluated = data.texts("evaluated")

    def make() -> PopularityModel:
        model: PopularityModel = config.model_class(config, inputs)
        model.check_state(state["state_dict"], path)
        return model

    model = build_stored(make, state["state_dict"], 0, path)
    model.after_load(evaluated, path.parent)
    return PopularityPredictor(model, config, {**stored, "evaluated": evaluated}, metadata, origins)


def _content_read(inputs: InputShape) -> dict[str, int | None]:
    """Width of each modality that a model of these sizes reads."""
    dims = {"frames": inputs.frame_dim, "text": inputs.text_dim, **inputs.other_dims}
    return {name: dim for name, dim in dims.items() if dim}


def _checked_inputs(values: Fields) -> InputShape:
    """Sizes of the inputs, out of a checkpoint; what it does not name is not there."""
    known = InputShape().as_plain()
    for name in values.names():
        if name not in (*known, "other_dims", "other_weights"):
            raise values.refusal(f"`{name}`", "an input of this version")
    sizes = ("frame_dim", "n_frames", "text_dim", "n_numeric")
    found: dict[str, Any] = {name: values.whole(name, 0) for name in sizes if values.has(name)}
    if values.has("label_mean"):
        found["label_mean"] = values.number("label_mean")
    if values.has("label_std"):
        found["label_std"] = values.number("label_std", above=0.0)
    if values.has("n_categories"):
        n = len(values.get("n_categories")) if isinstance(values.get("n_categories"), list) else 0
        found["n_categories"] = tuple(int(size) for size in values.numbers("n_categories", n, above=0.0))
    if values.has("other_dims"):
        others = values.inner("other_dims")
        found["other_dims"] = {name: others.whole(name, 1) for name in others.names()}
    if values.has("other_weights"):
        weights = values.inner("other_weights")
        found["other_weights"] = {name: weights.text(name) for name in weights.names()}
    return InputShape(**found)


def _checked_metadata(data: Fields, inputs: InputShape) -> MetadataEncoder | None:
    """What makes the metadata vector, out of a checkpoint, if it fits the sizes of the inputs."""
    if not data.has("metadata"):
        if inputs.n_numeric or inputs.n_categories:
            raise data.refusal("`metadata`", "there, and its `inputs` count metadata")
        return None
    state = data.inner("metadata")
    numeric, categorical = state.texts("numeric", is_unique=True), state.texts("categorical", is_unique=True)
    state.flag("log1p")
    state.numbers("mean", len(numeric))
    state.numbers("sd", len(numeric), above=0.0)
    if state.has("times"):  # none before they were kept, nor where none are read
        state.numbers("times", 2)
    values = state.get("values")
    if not isinstance(values, list) or len(values) != len(categorical):
        raise state.refusal("`values`", f"a list for each of {len(categorical)} categorical columns")
    columns = Fields({str(i): column for i, column in enumerate(values)}, "data.metadata.values", data.path)
    sizes = tuple(len(columns.texts(str(i), is_unique=True)) + 1 for i in range(len(values)))
    if (len(numeric), sizes) != (inputs.n_numeric, inputs.n_categories):
        raise data.refusal("`metadata`", "of the sizes that its `inputs` give")
    return MetadataEncoder.from_state(data.get("metadata"))


def _read_store(store: FrameStore, items: Sequence[str], may_lack: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of items, zeros where one has none, and how many each has."""
    rows = store.rows_of(list(items))
    if (rows < 0).any() and not may_lack:
        missing = [item for item, row in zip(items, rows, strict=True) if row < 0]
        raise DataError(f"`{store.path}` lacks {len(missing)} of the items (first: `{missing[0]}`).")
    return store.read(rows).astype(np.float32), store.counts_of(rows)
