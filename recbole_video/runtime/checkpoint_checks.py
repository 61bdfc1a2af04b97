"""What a checkpoint may hold: each value has its type, its size, and agrees with the others, before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_video.errors import CheckpointError, ConfigError, DataError

# What constructors raise on options that do not fit each other.
BUILD_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
_LONGEST = 1 << 16  # frames of a video, actions of a history
_MOST_IN_AN_OPTION = 10_000
_MOST = 1 << 40  # users; only their number is kept
# A model of the file's size makes no more than this many times as many values, in as many operations a tensor.
_VALUES_OVER_FILE, _OPERATIONS_PER_TENSOR = 50, 50
_SMALL = 1 << 24, 2_000


class Fields:
    """A dictionary out of a checkpoint, read value by value.

    Attributes:
        path: The checkpoint.

    Args:
        values: What should be a dictionary with text as keys.
        name: What it is called.
        path: The checkpoint, for messages.

    Raises:
        CheckpointError: If it is none; and by each method, if the value is missing or another.
    """

    def __init__(self, values: Any, name: str, path: Path) -> None:
        self._name, self.path = name, path
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise CheckpointError(f"{_damaged(path)}: its `{name}` is not a dictionary with words as keys.")
        self._values = values

    def refusal(self, what: str, wanted: str) -> CheckpointError:
        """The error for a value that is not as it must be."""
        return CheckpointError(f"{_damaged(self.path)}: {what} in its `{self._name}` is not {wanted}.")

    def text(self, key: str) -> str:
        """The value of a key, a text that is not empty."""
        return self._checked(key, "a text", lambda value: isinstance(value, str) and value != "")

    def text_or_none(self, key: str) -> str | None:
        """The value of a key, a text; None where there is none."""
        return None if self._values.get(key) is None else self.text(key)

    def whole(self, key: str, lowest: int, highest: int = _LONGEST) -> int:
        """The value of a key, a whole number between two bounds, which it may be."""
        wanted = f"a whole number from {lowest} to {highest}"
        return self._checked(key, wanted, lambda value: _is_whole(value, lowest, highest))

    def number(self, key: str, above: float = -math.inf) -> float:
        """The value of a key, a finite number above a bound."""
        wanted = "a finite number" if above == -math.inf else f"a finite number above {above:g}"
        return float(self._checked(key, wanted, lambda value: _is_finite(value) and value > above))

    def flag(self, key: str) -> bool:
        """The value of a key, True or False."""
        return self._checked(key, "True or False", lambda value: isinstance(value, bool))

    def texts(self, key: str, is_unique: bool = False) -> list[str]:
        """The value of a key, a list of texts; with ``is_unique``, each of them once."""
        wanted = "a list of different texts" if is_unique else "a list of texts"
        return self._checked(key, wanted, lambda value: _is_list(value, str, is_unique))

    def numbers(self, key: str, n: int, above: float = -math.inf) -> list[float]:
        """The value of a key, a list of ``n`` finite numbers above a bound."""
        wanted = f"a list of {n} finite numbers" + ("" if above == -math.inf else f" above {above:g}")
        return self._checked(
            key,
            wanted,
            lambda value: (
                isinstance(value, list) and len(value) == n and all(_is_finite(x) and x > above for x in value)
            ),
        )

    def inner(self, key: str) -> Fields:
        """The value of a key, a dictionary, to be read in the same way."""
        return Fields(self._values.get(key), f"{self._name}.{key}", self.path)

    def has(self, key: str) -> bool:
        """Whether a key has a value other than None."""
        return self._values.get(key) is not None

    def get(self, key: str) -> Any:
        """The value of a key as it is, unchecked; None where there is none."""
        return self._values.get(key)

    def names(self) -> Iterator[str]:
        """The keys of the dictionary."""
        return iter(self._values)

    def _checked(self, key: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
        if key not in self._values or not fits(self._values[key]):
            raise self.refusal(f"`{key}`", wanted)
        return self._values[key]


def _damaged(path: Path) -> str:
    return f"The checkpoint `{path}` is damaged or was tampered with"


def _is_whole(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= 3.4e38  # of float32, in which models compute


def _is_plain(value: Any) -> bool:
    """Whether an option is made of finite numbers, texts, lists and dictionaries, and not of very many."""
    open_values = [value]
    for _ in range(_MOST_IN_AN_OPTION):
        if not open_values:
            return True
        inner = open_values.pop()
        if isinstance(inner, dict):
            open_values += [*inner.keys(), *inner.values()]
        elif isinstance(inner, (list, tuple)):
            open_values += inner
        elif not (inner is None or isinstance(inner, (bool, str)) or _is_finite(inner)):
            return False
    return False


def _is_list(values: Any, kind: type, is_unique: bool) -> bool:
    fits = isinstance(values, list) and all(isinstance(value, kind) for value in values)
    return fits and (not is_unique or len(set(values)) == len(values))


def checked_options(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The options of a checkpoint, with a model and a data set.

    Raises:
        CheckpointError: If they are no options; what each may be, the configuration checks.
    """
    options = Fields(state.get("config"), "config", path)
    for name in ("model", "dataset"):
        options.text(name)
    options.text_or_none("item_encoder")
    if options.has("MAX_ITEM_LIST_LENGTH"):
        options.whole("MAX_ITEM_LIST_LENGTH", 1)
    for name in options.names():
        if not _is_plain(options.get(name)):
            raise options.refusal(f"`{name}`", "made of finite numbers, texts, lists and dictionaries")
    return dict(state["config"])


def checked_catalogue(state: dict[str, Any], path: Path) -> Fields:
    """What a checkpoint of a recommender says of its items.

    Raises:
        CheckpointError: If a value is missing, of another type, or contradicts another.
    """
    data = Fields(upgraded(state.get("data")), "data", path)
    if len(data.texts("item_tokens", is_unique=True)) < 2:
        raise data.refusal("`item_tokens`", "the padding and at least one item")
    if data.text("user_field") == data.text("item_field"):
        raise data.refusal("`item_field`", "another one than `user_field`")
    data.whole("user_num", 1, _MOST)
    return data


def upgraded(data: Any) -> Any:
    """The ``data`` of a checkpoint in today's form: ``content`` by name, where earlier versions had frames and text."""
    if not isinstance(data, dict) or "content" in data:
        return data
    old = ("frame_dim", "vfm", "sampling", "frames_sha256", "frames", "text")
    kept, content = {key: value for key, value in data.items() if key not in old}, {}
    if data.get("frame_dim"):  # of a recommender
        values = (data.get(key) for key in ("frame_dim", "vfm", "sampling", "frames_sha256"))
        content["frames"] = dict(zip(("dim", "vfm", "sampling", "sha256"), values, strict=True))
    inputs = data.get("inputs")
    for name, dim in (("frames", "frame_dim"), ("text", "text_dim")):  # of a popularity model
        if isinstance(inputs, dict) and inputs.get(dim):
            content[name] = {"dim": inputs[dim], **(data[name] if isinstance(data.get(name), dict) else {})}
    return {**kept, "content": content}


def checked_vectors(state: dict[str, Any], tower: Any, path: Path) -> Tensor | None:
    """The item vectors of a checkpoint, [n_items + extra, d]; None for a model that knows items by their id.

    Raises:
        CheckpointError: If they are missing, of another shape, or not finite.
    """
    vectors = state.get("item_vectors")
    if vectors is None and tower.reads_frames:
        raise CheckpointError(f"`{path}` is there to resume training and holds no item vectors; load `model.pth`.")
    if vectors is None or not tower.reads_frames:
        return None
    wanted = (tower.num_embeddings, tower.embedding_dim)
    if not isinstance(vectors, Tensor) or tuple(vectors.shape) != wanted or not vectors.is_floating_point():
        found = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        raise CheckpointError(
            f"{_damaged(path)}: its `item_vectors` are {found}, and its items and options make {list(wanted)}."
        )
    check_plain_tensor(vectors, "item_vectors", path)
    if not torch.isfinite(vectors).all():
        raise CheckpointError(f"{_damaged(path)}: its `item_vectors` are not finite.")
    return vectors.detach().float()


def check_plain_tensor(tensor: Any, name: str, path: Path) -> None:
    """Check that a value is a plain tensor, with no more values than the file holds for it.

    Raises:
        CheckpointError: If it is none.
    """
    is_plain = isinstance(tensor, Tensor) and type(tensor) in (Tensor, nn.Parameter)
    is_plain = is_plain and tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    if not is_plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{_damaged(path)}: `{name}` is no plain tensor with a value for each of its places.")


def build_stored(make: Callable[[], nn.Module], weights: dict[str, Tensor], n_table: int, path: Path) -> Any:
    """Build a model, of no more than the size of its weights, and load them.

    Args:
        make: Builds the model by options that were read from the file.
        weights: Its ``state_dict``.
        n_table: Rows of an id table that the model makes beside, or 0.
        path: The checkpoint, for messages.

    Raises:
        CheckpointError: If the options make no such model, or a weight is missing, of another shape, or not finite.
    """
    tensors = [weight for weight in weights.values() if isinstance(weight, Tensor)]
    widest = max([side for weight in tensors for side in weight.shape] or [0])
    n_values = sum(weight.numel() for weight in tensors) + n_table * widest
    try:
        with _no_larger_than(n_values, len(weights)):
            model = make()
        wrong = difference(model, weights)
        if not wrong:
            model.load_state_dict(weights)
    except (ConfigError, DataError) as error:
        raise CheckpointError(f"The model of `{path}` cannot be built: {error}") from error
    except BUILD_ERRORS as error:
        wrong = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise CheckpointError(f"{_cannot_build(path)} ({wrong}).") from error
    if wrong:
        raise CheckpointError(f"{_cannot_build(path)}: {wrong}.")
    check_finite_weights(model, path)
    return model


def _cannot_build(path: Path) -> str:
    return f"`{path}` does not hold a model that this version can build"


def difference(model: nn.Module, weights: dict[str, Tensor]) -> str:
    """The first difference between a model and weights that are not its own, in words; empty if there is none.

    A part whose weights were others in earlier versions says so: ``former_weights`` has a sentence by the name of one.
    """
    for place, part in model.named_modules():
        for name, sentence in getattr(part, "former_weights", {}).items():
            if f"{place}.{name}" in weights:
                return sentence
    own = model.state_dict()
    for name in own:
        if name not in weights:
            return f"it lacks `{name}`"
    unlike = (_unlike(name, weight, own) for name, weight in weights.items())
    return next(filter(None, unlike), "")


def _unlike(name: str, weight: Any, own: dict[str, Any]) -> str:
    """How a weight differs from the model's own of that name; empty if it does not."""
    if name not in own:
        return f"its options make no `{name}`"
    if not isinstance(own[name], Tensor):
        return ""
    if not isinstance(weight, Tensor):
        return f"`{name}` is no tensor"
    if own[name].shape != weight.shape:
        return f"`{name}` is {list(weight.shape)}, and its options make {list(own[name].shape)}"
    if own[name].is_floating_point() != weight.is_floating_point() or weight.is_complex():
        return f"`{name}` holds numbers of another kind, {weight.dtype}"
    return ""


def check_finite_weights(model: nn.Module, path: Path) -> None:
    """Check that no parameter is NaN or infinite, and no buffer NaN; a mask may be infinite.

    Raises:
        CheckpointError: If there is one.
    """
    bad = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    bad += [name for name, buffer in model.named_buffers() if torch.isnan(buffer).any()]
    if bad:
        raise CheckpointError(f"`{path}` holds a model that is of no use: `{bad[0]}` holds NaN or infinity.")


class _SizeGuard(TorchDispatchMode):
    """Stops a constructor before it makes far more values or tensors than a file holds."""

    def __init__(self, n_values: int, n_operations: int) -> None:
        super().__init__()
        self._values, self._operations = n_values, n_operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        size = args[0] if args and isinstance(args[0], (list, tuple)) else ()
        if size and all(isinstance(side, int) for side in size):  # empty, zeros, randn, ...: before it is made
            self._take(math.prod(size))
            return func(*args, **(kwargs or {}))
        made = func(*args, **(kwargs or {}))
        self._take(made.numel() if isinstance(made, Tensor) else 0)
        return made

    def _take(self, n_values: int) -> None:
        self._values -= n_values
        self._operations -= 1
        if self._values < 0 or self._operations < 0:
            raise RuntimeError("its options make a model far larger than what is stored")


@contextmanager
def _no_larger_than(n_values: int, n_tensors: int) -> Iterator[None]:
    values = _SMALL[0] + _VALUES_OVER_FILE * n_values
    with _SizeGuard(values, _SMALL[1] + _OPERATIONS_PER_TENSOR * n_tensors):
        yield
