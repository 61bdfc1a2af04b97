"""Into which space texts are embedded: one that is made of them, or that of a store that models were trained on.

A manifest keeps the fields and parts that were embedded and, where the embeddings were fitted to texts, the SHA-256 of
the fit that lies beside the store.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.video import options
from recbole_video.dataset_tools.video.frozen_layers import BERT_WORDS
from recbole_video.dataset_tools.video.texts import UAE, Embeds, TextEncoder, WordEncoder
from recbole_video.dataset_tools.video.tfidf import TFIDF, TfidfEncoder, TfidfFit, fit_path
from recbole_video.dataset_tools.video.weights import Weights, find_weights

from recbole_video.content.store import FIT, SPACE_OF, FrameStore
from recbole_video.errors import ConfigError, DataError

_READ = "text"  # in `extra` of the manifest: what was read
_VFM = "TF-IDF and SVD"


@dataclass(frozen=True)
class Read:
    """What is read of an item's text.

    Attributes:
        fields: Joined to one text.
        parts: What stands between parts that are embedded apart; None to leave the text whole.
        n_parts: The most parts that an item may have; of bert-words, word pieces.
    """

    fields: list[str]
    parts: str | None
    n_parts: int

    @property
    def in_words(self) -> str:
        """For the ``sampling`` of a manifest."""
        return "+".join(self.fields) + (f", parts between {self.parts}" if self.parts else "")


@dataclass(frozen=True)
class Space:
    """What embeds texts, and what of it is kept.

    Attributes:
        encoder: What embeds them.
        noted: For the manifest.
        beside: Files beside the store, content by name; None for one that must not be there.
    """

    encoder: Embeds | WordEncoder
    noted: dict[str, Any]
    beside: dict[str, bytes | None]


def noted_reading(read: Read) -> dict[str, Any]:
    """What a manifest keeps of what was read."""
    return {_READ: asdict(read)}


def new_space(arguments: argparse.Namespace, texts: Sequence[str], read: Read, store: Path) -> Space:
    """A space for the texts of a data set: that of a language model, or one that is fitted to them."""
    if arguments.encoder != TFIDF:
        source = BERT_WORDS if arguments.encoder == BERT_WORDS.name else UAE
        weights = find_weights(source.at(arguments.weights, arguments.revision))
        return _of_weights(weights, arguments, read, fit_path(store))
    fit = TfidfFit.to(texts, arguments.dim)
    content = fit.as_bytes()
    noted = {"vfm": _VFM, FIT: hashlib.sha256(content).hexdigest()}
    return Space(TfidfEncoder(fit), noted, {fit_path(store).name: content})


def _of_weights(weights: Weights, arguments: argparse.Namespace, read: Read, stale_fit: Path) -> Space:
    encoder: TextEncoder | WordEncoder
    if weights.name == BERT_WORDS.name:
        encoder = WordEncoder(weights, options.placement(arguments), read.n_parts)
    else:
        encoder = TextEncoder(weights, options.placement(arguments))
    return Space(encoder, {"vfm": weights.name, **weights.as_plain()}, {stale_fit.name: None})


def read_for(trained: FrameStore) -> Read:
    """What was read for a store.

    Raises:
        DataError: If it keeps no record of that.
    """
    kept = trained.manifest.extra.get(_READ)
    try:
        read = Read(**kept) if isinstance(kept, dict) else None
    except TypeError:  # other names
        read = None
    if read is None or not _is_sound(read):
        raise DataError(
            f"`{trained.path}` does not say how its texts were embedded, since an earlier version or another program "
            "made it; make it anew from the same texts by `embed-text --overwrite`, and train on that."
        )
    return read


def _is_sound(read: Read) -> bool:
    fields: Any = read.fields
    return (
        isinstance(fields, list)
        and bool(fields)
        and all(isinstance(field, str) for field in fields)
        and (read.parts is None or (isinstance(read.parts, str) and bool(read.parts)))
        and type(read.n_parts) is int
        and read.n_parts >= 1
    )


def space_of(trained: FrameStore, arguments: argparse.Namespace, read: Read, store: Path) -> Space:
    """The space of a store, for texts that are in no training.

    Args:
        trained: The store of the training.
        arguments: Of ``embed-text``.
        read: What was read for that store.
        store: The store to be written.

    Raises:
        DataError: If the fit of the store, or the weights that made it, are not there or are others.
    """
    if trained.manifest.vfm != _VFM:
        return _space_of_weights(trained, arguments, read, store)
    if arguments.weights or arguments.revision:
        raise ConfigError("--weights and --revision have no effect: the store was made by TF-IDF; leave them out.")
    fit = _kept_fit(trained)
    noted = {"vfm": _VFM, FIT: trained.manifest.extra[FIT], SPACE_OF: trained.manifest.sha256}
    return Space(TfidfEncoder(fit), noted, {fit_path(store).name: None})


def _kept_fit(trained: FrameStore) -> TfidfFit:
    path, wanted = fit_path(trained.path), trained.manifest.extra.get(FIT)
    try:
        content = path.read_bytes() if wanted is not None else None
    except OSError:
        content = None
    if content is None or hashlib.sha256(content).hexdigest() != wanted:
        raise DataError(
            f"There is no fit `{path}` of `{trained.path.name}`, by which new texts get vectors in its space; make "
            "both anew from the same texts by `embed-text --encoder=tfidf --overwrite`, and train on that."
        )
    fit = TfidfFit.from_bytes(content, path)
    if len(fit.components) != trained.frame_dim:
        raise DataError(f"The fit `{path}` is of another width than `{trained.path.name}`; make both anew.")
    return fit


def _space_of_weights(trained: FrameStore, arguments: argparse.Namespace, read: Read, store: Path) -> Space:
    noted = trained.manifest.extra
    place, revision, digest = (str(noted.get(name, "")) for name in ("weights", "revision", "sha256"))
    place_of_hub = place if revision else None  # of a folder, its name alone is noted
    known = BERT_WORDS if trained.manifest.vfm == BERT_WORDS.name else UAE
    weights = find_weights(known.at(arguments.weights or place_of_hub, arguments.revision or (revision or None)))
    if weights.sha256 != digest:
        raise DataError(
            f"`{trained.path.name}` was embedded by the weights `{place}`, and those in `{weights.folder}` are others; "
            "name the folder of the first by --weights."
        )
    return _of_weights(weights, arguments, read, fit_path(store))
