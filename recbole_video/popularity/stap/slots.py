"""A trained memory bank as a table: what each slot stands for, how much it is used, which training videos are near."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

from recbole_video.errors import DataError, counted
from recbole_video.files.atomic import write_text
from recbole_video.popularity.base import Batch

if TYPE_CHECKING:
    from recbole_video.popularity.stap.model import STAP

FILE = "slots.tsv"  # in the folder of a run
_N_NEAREST = 5
_COLUMNS = ("partition", "topic", "popularity", "videos", "usage", "nearest_videos")
_TOPIC_FROM_0 = "cluster"  # the column of earlier versions, which counted it and the partition from 0


@dataclass(frozen=True)
class Slot:
    """One slot of a memory bank.

    Attributes:
        partition: Popularity partition, from 0, the least popular.
        cluster: Topic within it, from 0.
        popularity: Its popularity centroid on the labels' scale.
        videos: Training videos behind it when the bank was laid out, and videos taken in since.
        usage: Share of the training videos' kept routing that goes to it.
        nearest: Item tokens of the training videos whose queries point most nearly its way.
    """

    partition: int
    cluster: int
    popularity: float
    videos: int
    usage: float
    nearest: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its place, counted from 1."""
        return f"partition {self.partition + 1}, topic {self.cluster + 1}"

    @property
    def details(self) -> str:
        """How many videos it stands for, and which point its way, of those or not."""
        return (
            f"made of {counted(self.videos, 'video')}; nearest in direction: {', '.join(self.nearest) or 'not known'}"
        )

    @property
    def items(self) -> tuple[str, ...]:
        """The videos that say what it is: those that point most nearly its way."""
        return self.nearest


def note(n_partitions: int, n_clusters: int) -> str:
    """What names, popularity and nearest videos of slots are, for an explanation; its second line is indented."""
    return (
        f"partitions go from 1, the least popular, to {n_partitions}, and the topics of each from 1 to {n_clusters}; "
        f"all are in {FILE}\n"
        "  a slot's popularity is that of the videos that it was made of, which are not kept; its nearest are "
        "training videos whose queries point most nearly its way, whether it was made of them or not, whatever their "
        "popularity"
    )


@torch.no_grad()
def describe_slots(model: STAP, batches: Iterable[Batch], items: np.ndarray) -> list[Slot]:
    """Describe each slot by the training videos.

    Near is what has the highest cosine similarity of query and slot: a slot starts at a mean of queries and is routed
    to by product, so that its direction says what it stands for. By the product itself, a few long queries are near
    every slot; by distance, a slot that training made long is near none.

    Args:
        model: With a bank that is laid out.
        batches: The training videos, in order.
        items: Item token of each row that batches name, all rows of the data set, object [N].
    """
    bank = model.bank
    if bank is None or not bank.is_initialised:
        return []
    model.eval()
    usage = torch.zeros(bank.n_slots, dtype=torch.float64)
    best = torch.full((bank.n_slots, _N_NEAREST), -torch.inf)
    rows = torch.full((bank.n_slots, _N_NEAREST), -1)
    for batch in batches:
        reading = model.read(batch)
        assert reading.routing is not None and reading.query is not None
        usage += reading.routing.weights.double().sum(dim=0).cpu()
        similarity = normalize(bank.slots.flatten(0, 1).float(), dim=-1) @ normalize(reading.query.float(), dim=-1).T
        scores = torch.cat([best, similarity.cpu()], dim=1)
        best, order = scores.topk(_N_NEAREST, dim=1)
        rows = torch.cat([rows, batch["row"].cpu().expand(bank.n_slots, -1)], dim=1).gather(1, order)
    share = (usage / usage.sum()).tolist()
    popularity = bank.centroids.flatten().cpu() * model.inputs.label_std + model.inputs.label_mean
    return [
        Slot(
            *divmod(i, bank.n_clusters),
            float(popularity[i]),
            int(bank.counts.flatten()[i]),
            share[i],
            tuple(str(items[row]) for row in rows[i].tolist() if row >= 0),
        )
        for i in range(bank.n_slots)
    ]


@torch.no_grad()
def context_correlation(model: STAP, batches: Iterable[Batch]) -> float | None:
    """Correlation of the popularity that the bank retrieves with the videos' labels; None without a bank.

    On the training videos, whose own labels are in the bank, it is higher than on others: the gap is what leaks.
    """
    if model.bank is None or not model.bank.is_initialised:
        return None
    model.eval()
    found, labels = [], []
    for batch in batches:
        routing = model.read(batch).routing
        assert routing is not None
        found.append(routing.popularity.double().cpu())
        labels.append(batch["label"].double().cpu())
    pair = torch.stack([torch.cat(found), torch.cat(labels)])
    return float(torch.corrcoef(pair)[0, 1])


def write_slots(path: Path, slots: Sequence[Slot]) -> None:
    """Write ``slots.tsv``, one line per slot; partition and topic are counted from 1, as wherever they are told."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for s in slots:
        writer.writerow(
            [s.partition + 1, s.cluster + 1, f"{s.popularity:.6g}", s.videos, f"{s.usage:.6g}", " ".join(s.nearest)]
        )
    write_text(path, file.getvalue())


def read_slots(path: Path) -> list[Slot]:
    """Read what :func:`write_slots` wrote; nothing if there is no such file.

    Raises:
        DataError: If the file is malformed.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        try:
            topic, first = (_TOPIC_FROM_0, 0) if _TOPIC_FROM_0 in (rows.fieldnames or ()) else ("topic", 1)
            return [
                Slot(
                    int(row["partition"]) - first,
                    int(row[topic]) - first,
                    float(row["popularity"]),
                    int(row["videos"]),
                    float(row["usage"]),
                    tuple(row["nearest_videos"].split()),
                )
                for row in rows
            ]
        except (csv.Error, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"`{path}`, line {rows.line_num}: not a line of a table of slots.") from error
