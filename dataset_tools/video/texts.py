"""Texts of items and their embeddings by a frozen language model, as STAP takes them (UAE-Large-V1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from recbole_video.dataset_tools.video.frame_encoders import Placement
from recbole_video.dataset_tools.video.frozen_layers import FrozenText
from recbole_video.dataset_tools.video.listing import read_item_texts
from recbole_video.dataset_tools.video.weights import Source, Weights, load_transformers_model
from tqdm import tqdm

from recbole_video.content.store import FrameBlock
from recbole_video.data.text import read_text_rows
from recbole_video.errors import DataError

UAE = Source(
    "uae",
    "WhereIsAI/UAE-Large-V1",
    megabytes=1341,
    dim=1024,
    instead="Texts are embedded without weights by --encoder=tfidf.",
)
_LONGEST = 512  # tokens, of a model that knows no bound
_BATCH = 128  # texts per pass, unless it is said
_BLOCK = 4096  # texts that are sorted by length together, so that a batch has little padding


class Embeds(Protocol):
    """What embeds texts.

    Attributes:
        dim: D, width of an embedding.
        batch_size: Texts per call, at most.
    """

    dim: int

    @property
    def batch_size(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, float32 [n, D]."""


class TextEncoder:
    """A language model of ``transformers``: the class token of the last layer, as UAE is trained to use it.

    The token must come first: encoders like BERT, RoBERTa and MPNet have it there. Models without one (T5, GPT) or
    with one elsewhere (XLNet) are refused.

    Args:
        weights: Folder with the model and its tokenizer.
        placement: Where and how it runs.

    Attributes:
        dim: D, width of an embedding.

    Raises:
        DataError: If the folder is incomplete or holds no language model with a class token in front.
        MissingDependencyError: Without ``transformers``.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        model = load_transformers_model(weights)
        self._tokenizer = _load_tokenizer(weights)
        self._placement = placement.resolved()
        self._model = model.to(self._placement.device)
        _check_kind(weights, self._model, self._tokenizer)
        self._longest = _longest(self._model, self._tokenizer)
        self.dim = self._dim(weights)

    @property
    def batch_size(self) -> int:
        """Texts per pass at most."""
        return self._placement.batch_size or _BATCH

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, float32 [n, D]; what exceeds the model's context is cut off."""
        size = self.batch_size
        batches = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        return np.concatenate([np.zeros((0, self.dim), np.float32), *map(self._embed_batch, batches)])

    def _embed_batch(self, texts: list[str]) -> np.ndarray:
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt")
        with self._placement.running():
            return self._model(**tokens.to(self._placement.device)).last_hidden_state[:, 0].float().cpu().numpy()

    def _dim(self, weights: Weights) -> int:
        """Width of an embedding, found by making one."""
        try:
            return int(self._embed_batch(["a"]).shape[-1])
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"`{weights.folder}` holds a model that makes no embeddings of texts: {reason}.") from error


class WordEncoder:
    """What goes into the first layer of BERT, a vector per word piece of a text, its marks among them.

    Args:
        weights: Folder with the model and its tokenizer.
        placement: Where and how it runs.
        most: Word pieces of a text, at most; what exceeds them is cut off, before the last mark.

    Attributes:
        dim: D, width of a vector.

    Raises:
        DataError: If the folder is incomplete or holds another model.
        MissingDependencyError: Without ``transformers``.
    """

    def __init__(self, weights: Weights, placement: Placement, most: int) -> None:
        self._placement = placement.resolved()
        self._model = FrozenText(weights)
        network = self._model.network(self._placement.device)
        self._tokenizer = _load_tokenizer(weights)
        self._most = min(most, _longest(network, self._tokenizer))
        self.dim = self._model.width

    @property
    def texts_per_block(self) -> int:
        """Texts whose vectors are held at once."""
        return max(1, _BLOCK // self._most)

    def most_rows(self, texts: list[list[str]]) -> int:
        """Word pieces of the longest of some texts."""
        return max(len(numbers) for numbers in self._numbers(texts))

    def rows(self, texts: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of texts in one part, float32 [n, m, D], zeros behind the last, and how many each has, [n]."""
        numbers = self._numbers(texts)
        counts = np.array([len(one) for one in numbers])
        frames = np.zeros((len(numbers), counts.max(), self.dim), np.float32)
        size = self._placement.batch_size or _BATCH
        for start in range(0, len(numbers), size):
            part = numbers[start : start + size]
            padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in part], batch_first=True)
            with self._placement.running():
                vectors = self._model.embed(padded.to(self._placement.device)).float().cpu().numpy()
            frames[start : start + len(part), : vectors.shape[1]] = vectors
        frames[np.arange(frames.shape[1]) >= counts[:, None]] = 0
        return frames, counts

    def _numbers(self, texts: list[list[str]]) -> list[list[int]]:
        """Numbers of the word pieces of each text."""
        whole = [text for (text,) in texts]
        return self._tokenizer(whole, truncation=True, max_length=self._most)["input_ids"]


def _load_tokenizer(weights: Weights) -> Any:
    """The tokenizer that lies beside a model of ``transformers``, which is loaded before."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(weights.folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"`{weights.folder}` holds no tokenizer that transformers can load: {error}.") from error


def _check_kind(weights: Weights, model: Any, tokenizer: Any) -> None:
    kind = getattr(model.config, "model_type", "unknown")
    first = tokenizer("a")["input_ids"][:1]
    if getattr(model.config, "is_encoder_decoder", False):
        problem = "it is an encoder with a decoder"
    elif tokenizer.cls_token_id is None:
        problem = "it has no class token"
    elif first != [tokenizer.cls_token_id] or tokenizer.padding_side != "right":
        problem = "its class token does not come first"
    else:
        return
    raise DataError(
        f"`{weights.folder}` holds a model of the kind {kind}, and {problem}: texts are embedded by the class token "
        "of encoders like BERT, RoBERTa and MPNet; give one of those."
    )


def _longest(model: Any, tokenizer: Any) -> int:
    """Tokens that a text may have. RoBERTa and its kin count positions from behind that of the padding."""
    bounds = [int(tokenizer.model_max_length), int(getattr(model.config, "max_position_embeddings", 0) or 0)]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            bounds.append(module.num_embeddings - offset)
    known = [bound for bound in bounds if 0 < bound < 1 << 20]
    return min(known, default=_LONGEST)


def read_texts(path: Path, fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """Read each item's text: the fields that it has, lists joined by commas, joined by full stops.

    Returns:
        Item tokens and texts; items without text are left out.

    Raises:
        DataError: If there is no file, a line is malformed, or no item has any of the fields.
    """
    if not path.is_file():
        raise DataError(f"There is no text `{path}`; a converter writes it, or give one with --text.")
    items, texts = [], []
    known: set[str] = set()
    for _, row in read_text_rows(path):
        known.update(row)
        if text := ". ".join(filter(None, (_as_text(row.get(field)) for field in fields))):
            items.append(row["item_id"])
            texts.append(text)
    if unknown := sorted(set(fields) - known):
        raise DataError(f"No row of `{path}` has `{unknown[0]}`; there are {', '.join(sorted(known - {'item_id'}))}.")
    if not texts:
        raise DataError(f"No row of `{path}` has text in {', '.join(fields)}.")
    return items, texts


def read_new_texts(path: Path, fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """Read texts as :func:`read_texts`, of JSON lines or, where there is but one field, of a csv of ``item_id`` and it.

    Raises:
        DataError: As :func:`read_texts`, if a csv should hold several fields, or a row is not clear.
    """
    if not path.is_file():
        raise DataError(f"There is no file of texts `{path}`; give one with --new.")
    if path.suffix == ".jsonl":
        items, texts = read_texts(path, fields)
    elif len(fields) > 1:
        raise DataError(f"`{path}` must be JSON lines (.jsonl) with item_id, {', '.join(fields)}.")
    else:
        rows = [(item, text) for _, item, text in read_item_texts(path, ("item_id", "item"), fields[0]) if text.strip()]
        items, texts = [item for item, _ in rows], [text.strip() for _, text in rows]
    if not texts:
        raise DataError(f"No row of `{path}` has text in {', '.join(fields)}.")
    return items, texts


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "").strip()


def in_parts(text: str, separator: str | None, most: int) -> list[str]:
    """Cut a text at a separator into parts that are not blank, the first ``most`` of them; at least one.

    Args:
        text: A text that is not blank.
        separator: What stands between two parts; None to leave the text whole.
        most: The most parts that an item may have.
    """
    if separator is None:
        return [text]
    parts = [part.strip() for part in text.split(separator)]
    return [part for part in parts if part][:most] or [text]


def most_rows(texts: list[list[str]], encoder: Embeds | WordEncoder) -> int:
    """The most vectors that one of some texts will have."""
    return encoder.most_rows(texts) if isinstance(encoder, WordEncoder) else max(map(len, texts))


def embed_in_blocks(texts: list[list[str]], encoder: Embeds | WordEncoder) -> Iterator[FrameBlock]:
    """Embed texts, in blocks of a frame store that has a row for each and in it a frame for each part or word piece."""
    with tqdm(total=len(texts), desc="texts", unit="text", disable=None) as bar:
        size = encoder.texts_per_block if isinstance(encoder, WordEncoder) else _BLOCK
        for start in range(0, len(texts), size):
            block = texts[start : start + size]
            frames, counts = encoder.rows(block) if isinstance(encoder, WordEncoder) else _rows(block, encoder)
            yield FrameBlock(np.arange(start, start + len(block)), frames, counts)
            bar.update(len(block))


def _rows(texts: list[list[str]], encoder: Embeds) -> tuple[np.ndarray, np.ndarray]:
    """A vector for each part of texts, float32 [n, m, D], zeros behind the last, and how many each has, [n]."""
    counts = np.array([len(parts) for parts in texts])
    frames = np.zeros((len(texts), counts.max(), encoder.dim), np.float32)
    vectors = _embed_by_length([part for parts in texts for part in parts], encoder)
    frames[np.arange(counts.max()) < counts[:, None]] = vectors
    return frames, counts


def _embed_by_length(texts: list[str], encoder: Embeds) -> np.ndarray:
    """Embed texts, float32 [n, D], those of like length together."""
    vectors = np.empty((len(texts), encoder.dim), np.float32)
    order = np.argsort([len(text) for text in texts], kind="stable")
    for rows in np.array_split(order, -(-len(order) // encoder.batch_size)):
        vectors[rows] = encoder.embed([texts[row] for row in rows])
    return vectors
