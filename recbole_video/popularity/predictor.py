"""Use of a trained popularity model: predict new videos, explain one, let the memory bank take in what has passed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_list_like
from torch import Tensor

from recbole_video.data.frame_store import FrameStore
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.popularity.dataset import PopularityDataset
from recbole_video.popularity.loader import PopularityLoader, evenly_chosen
from recbole_video.popularity.metadata import MetadataEncoder
from recbole_video.popularity.model import InputShape, PopularityModel
from recbole_video.popularity.stap.slots import Slot, read_slots
from recbole_video.training.checkpoint import write_checkpoint

_BATCH = 256  # videos
Array = np.ndarray | Tensor | Sequence[Any]


@dataclass(frozen=True)
class Inputs:
    """Videos to predict: what the model was trained on must be given, N videos each. Nested lists do for arrays.

    Attributes:
        frames: [N, T, d_v] float, from the frame encoder of the training frames.
        frame_counts: [N], frames that each video has; all T by default.
        text: [N, d_t] or [N, L, d_t] float, from the same text encoder.
        metadata: Columns by name, N values each: those that the metadata vector is made of.
    """

    frames: Array | None = None
    frame_counts: Sequence[int] | np.ndarray | None = None
    text: Array | None = None
    metadata: pd.DataFrame | Mapping[str, Sequence[Any]] | None = None


@dataclass(frozen=True)
class Explanation:
    """What a prediction rests on.

    Attributes:
        popularity: The prediction.
        frame_weights: Score of each frame, [T]; None where frames are not scored.
        slots: The slots that were retrieved, the heaviest first; empty without a memory bank.
        weights: Weight of each of them.
    """

    popularity: float
    frame_weights: np.ndarray | None
    slots: list[Slot]
    weights: list[float]


class PopularityPredictor:
    """A trained popularity model. Made by :func:`recbole_video.load_model` from a run folder or ``model.pth``.

    Attributes:
        model: The PyTorch module.
        config: The options it was trained with.
        inputs: Sizes of what it reads.
    """

    def __init__(self, model: PopularityModel, config: Any, data: dict[str, Any], slots: list[Slot]) -> None:
        self.config = config
        self.device: torch.device = config["device"]
        self.model = model.to(self.device).eval()
        self.inputs: InputShape = model.inputs
        self._state = data
        self._metadata = None if data["metadata"] is None else MetadataEncoder.from_state(data["metadata"])
        self._slots = {(slot.partition, slot.cluster): slot for slot in slots}
        self._bank = getattr(model, "bank", None)
        if self._bank is not None:
            self._bank.protect(data["evaluated"])

    @torch.no_grad()
    def predict(self, videos: Inputs) -> np.ndarray:
        """Popularity of each video on the labels' scale, float64 [N].

        Raises:
            DataError: If an input that the model reads is missing, of another size, or not finite.
        """
        values = [self.model.predict(batch).double().cpu().numpy() for batch in self._batches(videos)]
        return np.concatenate([np.zeros(0), *values])

    @torch.no_grad()
    def explain(self, videos: Inputs, row: int = 0) -> Explanation:
        """What the prediction of one of the videos rests on.

        Raises:
            ConfigError: If the model offers no explanation.
            DataError: As :meth:`predict`, or if there is no such row.
        """
        batch = self._checked(videos)
        n = len(next(iter(batch.values())))
        if not 0 <= row < n:
            raise DataError(f"There is no row {row}: {n} videos are given, counted from 0.")
        return self._explain({name: value[row : row + 1].to(self.device) for name, value in batch.items()})

    @torch.no_grad()
    def explain_row(self, dataset: PopularityDataset, row: int) -> Explanation:
        """What the prediction of a video of a data set rests on.

        Raises:
            ConfigError: If the model offers no explanation.
        """
        loader = PopularityLoader(self.config, dataset, np.array([row]), shuffle=False)
        return self._explain(loader.batch(np.array([row])).to(self.device))

    def _explain(self, batch: Any) -> Explanation:
        if not hasattr(self.model, "read"):
            raise ConfigError(f"{self.config['model']} offers no explanation of a prediction; STAP does.")
        reading = self.model.read(batch)
        weights = None
        if reading.frame_weights is not None:
            weights = reading.frame_weights[0][batch["frame_mask"][0]].cpu().numpy()
        kept = [] if reading.routing is None else reading.routing.top[0].tolist()
        shares = [] if reading.routing is None else reading.routing.weights[0, kept].cpu().tolist()
        return Explanation(float(self.model.predict(batch)[0]), weights, [self._slot(i) for i in kept], shares)

    def _slot(self, number: int) -> Slot:
        assert self._bank is not None
        partition, cluster = place = divmod(number, self._bank.n_clusters)
        known = self._slots.get(place)
        popularity = float(self._bank.centroids[place]) * self.inputs.label_std + self.inputs.label_mean
        count = int(self._bank.counts[place])
        usage, nearest = (known.usage, known.nearest) if known else (0.0, ())
        return Slot(partition, cluster, popularity, count, usage, nearest)

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
            DataError: If a video is of the split under evaluation.
            MemoryFrozenError: After ``freeze_memory()``.
        """
        if self._bank is None:
            raise ConfigError(f"{self.config['model']} has no memory bank to update.")
        queries = [self._bank.slots.new_zeros(0, self._bank.width)]
        queries += [self.model.read(batch).query for batch in self._batches(videos)]
        known = None
        if labels is not None:
            known = (torch.as_tensor(np.asarray(labels), dtype=torch.float32) - self.inputs.label_mean) / (
                self.inputs.label_std
            )
        self._bank.update(list(items), torch.cat(queries), known)

    def freeze_memory(self, is_frozen: bool = True) -> None:
        """Refuse updates of the memory bank, for an evaluation."""
        if self._bank is None:
            raise ConfigError(f"{self.config['model']} has no memory bank to freeze.")
        self._bank.freeze_memory(is_frozen)

    def save(self, path: str | Path) -> None:
        """Write the model with its present memory; ``load_model`` reads it."""
        state = {"config": self.config.to_options(), "state_dict": self.model.state_dict(), "data": self._state}
        write_checkpoint(path, state)

    # -- inputs --------------------------------------------------------------------------------

    def from_stores(
        self,
        items: Sequence[str],
        frames: str | Path | None = None,
        text: str | Path | None = None,
        metadata: pd.DataFrame | None = None,
    ) -> Inputs:
        """The inputs of items from frame stores; ``metadata`` has a row per item, in their order.

        Raises:
            DataError: If a store lacks an item.
        """
        stored = {}
        for name, path in (("frames", frames), ("text", text)):
            if path is not None:
                stored[name] = _read_store(Path(path), items)
        counts = stored["frames"][1] if "frames" in stored else None
        return Inputs(
            frames=stored.get("frames", (None,))[0],
            frame_counts=counts,
            text=stored.get("text", (None,))[0],
            metadata=metadata,
        )

    def _batches(self, videos: Inputs) -> Iterator[dict[str, Tensor]]:
        whole = self._checked(videos)
        n = len(next(iter(whole.values())))
        for start in range(0, n, _BATCH):
            yield {name: value[start : start + _BATCH].to(self.device) for name, value in whole.items()}

    def _checked(self, videos: Inputs) -> dict[str, Tensor]:
        """The videos as one batch, in the CPU's memory: parts of it go to the device."""
        batch: dict[str, Tensor] = {}
        if self.inputs.frame_dim:
            frames = self._array("frames", videos.frames, self.inputs.frame_dim)
            counts = np.full(len(frames), frames.shape[1]) if videos.frame_counts is None else videos.frame_counts
            batch["frames"], batch["frame_mask"] = self._as_trained(frames, _as_array("frame_counts", counts).numpy())
        if self.inputs.text_dim:
            batch["text"] = self._array("text", videos.text, self.inputs.text_dim)
            batch["text_mask"] = batch["text"].abs().sum(dim=-1) > 0
        if self._metadata is not None:
            if videos.metadata is None:
                raise DataError("The model reads metadata; give `metadata`, a table with a row per video.")
            encoded = self._metadata.transform(_as_table(videos.metadata))
            batch["numeric"] = torch.from_numpy(encoded.numeric)
            batch["categories"] = torch.from_numpy(encoded.codes)
        sizes = {name: len(value) for name, value in batch.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f"The inputs are of different numbers of videos: {sizes}.")
        return batch

    def _as_trained(self, frames: Tensor, counts: np.ndarray) -> tuple[Tensor, Tensor]:
        """Frames and mask as the training's loader gives them."""
        n, longest = frames.shape[:2]
        if counts.shape != (n,) or counts.min(initial=0) < 0 or counts.max(initial=0) > longest:
            raise DataError(f"`frame_counts` must be {n} numbers between 0 and {longest}.")
        mask = torch.arange(longest) < torch.as_tensor(counts)[:, None]
        frames = frames * mask[..., None]
        wanted = self.inputs.n_frames
        if self.config["n_frames"] is not None and wanted < longest:
            frames, mask = evenly_chosen(frames, mask, wanted)
        missing = wanted - frames.shape[1]
        if missing > 0 and not self.config["mask_padding"]:
            frames = torch.nn.functional.pad(frames, (0, 0, 0, missing))
            mask = torch.nn.functional.pad(mask, (0, missing))
        return frames, mask

    def _array(self, name: str, values: Array | None, width: int) -> Tensor:
        if values is None:
            raise DataError(f"The model reads {name}; give `{name}`.")
        array = _as_array(name, values)
        if name == "text" and array.ndim == 2:
            array = array[:, None]
        if array.ndim != 3 or array.shape[-1] != width or not array.shape[1]:
            raise DataError(f"The {name} must be [N, n, {width}], not {list(array.shape)}: use the training's encoder.")
        if not torch.isfinite(array).all():
            bad = int((~torch.isfinite(array)).any(-1).any(-1).int().argmax())
            raise DataError(f"The {name} of video {bad} (counted from 0) hold NaN or infinity.")
        return array


def _as_array(name: str, values: Array) -> Tensor:
    """Numbers, float32.

    Raises:
        DataError: If some videos have more of them than others, or they are no numbers.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu().float()
    try:
        return torch.as_tensor(np.asarray(values, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"`{name}` is no array of numbers: give the same number of them for each video, filled up with zeros."
        ) from error


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
        CheckpointError: If its sizes are not those of the options.
    """
    inputs = dict(state["data"]["inputs"])
    inputs["n_categories"] = tuple(inputs["n_categories"])
    model = config.model_class(config, InputShape(**inputs))
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        bank, stored = getattr(model, "bank", None), state["state_dict"].get("bank.slots")
        if bank is not None and stored is not None and stored.shape != bank.slots.shape:
            raise CheckpointError(
                f"`{path}` holds a memory bank of {stored.shape[0]} x {stored.shape[1]} slots, not of "
                f"{bank.n_partitions} x {bank.n_clusters}; set n_partitions and n_clusters as in its training."
            ) from error
        raise CheckpointError(f"`{path}` does not hold a model that this version can build: {error}") from error
    return PopularityPredictor(model, config, state["data"], read_slots(path.with_name("slots.tsv")))


def _read_store(path: Path, items: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    store = FrameStore(path)
    rows = store.rows_of(list(items))
    if (rows < 0).any():
        missing = [item for item, row in zip(items, rows, strict=True) if row < 0]
        raise DataError(f"`{path}` lacks {len(missing)} of the items (first: `{missing[0]}`).")
    return store.read(rows).astype(np.float32), store.counts_of(rows)
