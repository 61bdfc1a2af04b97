"""Search spaces: what values an option takes, as a grid, at random, or as Optuna suggests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_video.config import known_options
from recbole_video.errors import ConfigError
from recbole_video.files.reading import read_text
from recbole_video.options.content import in_order
from recbole_video.options.option import Option
from recbole_video.options.parse import convert_list_of_texts, convert_option

DISTRIBUTIONS = ("choice", "uniform", "loguniform", "quniform", "randint")
_N_ARGUMENTS = {"uniform": 2, "loguniform": 2, "quniform": 3, "randint": 2}

_MOST_EXPONENT = 700  # exp of more is no float
_DRAWS_PER_POINT = 1000  # before the rest of a small space is given up

Space = dict[str, tuple[str, list[Any]]]  # option -> (distribution, its arguments)


def read_space(given: Mapping[str, Any]) -> Space:
    """Check and normalise ``{option: [values]}`` or ``{option: {distribution: arguments}}``.

    Raises:
        ConfigError: If a distribution is unknown or its arguments cannot be used.
    """
    space: Space = {}
    for option, values in given.items():
        if isinstance(values, list):
            values = {"choice": values}
        if not isinstance(values, dict) or len(values) != 1:
            raise ConfigError(
                f"The space of `{option}` must be a list of values or one of {', '.join(DISTRIBUTIONS)} with its "
                f"arguments, as in {{loguniform: [0.0001, 0.01]}}; it is `{values}`."
            )
        [(kind, arguments)] = values.items()
        if option == "content" and isinstance(arguments, list):
            arguments = [in_order(content) for content in arguments]
        _check(option, str(kind), arguments)
        space[str(option)] = (str(kind), list(arguments))
    return space


def _check(option: str, kind: str, arguments: Any) -> None:
    if kind not in DISTRIBUTIONS:
        raise ConfigError(f"`{kind}` of `{option}` is no distribution; choose from {', '.join(DISTRIBUTIONS)}.")
    if not isinstance(arguments, (list, tuple)) or not arguments:
        raise ConfigError(f"The space of `{option}` has no values; name at least one.")
    wanted = _N_ARGUMENTS.get(kind)
    if wanted is None:
        if twice := [value for i, value in enumerate(arguments) if value in arguments[:i]]:
            raise ConfigError(f"The space of `{option}` lists `{twice[0]}` twice; each value is one trial.")
        return
    is_number = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in arguments)
    if len(arguments) != wanted or not is_number or arguments[0] >= arguments[1]:
        raise ConfigError(f"{kind} of `{option}` takes {wanted} numbers, the first below the second; not {arguments}.")
    if kind == "loguniform" and arguments[0] <= 0:
        raise ConfigError(f"loguniform of `{option}` begins at {arguments[0]}; it must begin above 0.")
    if kind == "quniform" and arguments[2] <= 0:
        raise ConfigError(f"quniform of `{option}` has steps of {arguments[2]}; they must be above 0.")
    if kind == "randint" and not all(isinstance(x, int) for x in arguments):
        raise ConfigError(f"randint of `{option}` takes whole numbers; not {arguments}.")


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of the values.

    Raises:
        ConfigError: If an option has a range instead of values.
    """
    for option, (kind, _) in space.items():
        if kind != "choice":
            raise ConfigError(f"A grid needs values of `{option}`, not {kind}; list them, or set search to random.")
    for values in itertools.product(*(arguments for _, arguments in space.values())):
        yield dict(zip(space, values, strict=True))


def n_points(space: Space) -> int | None:
    """How many points there are; None where an option is continuous."""
    n = 1
    for kind, arguments in space.values():
        if kind not in ("choice", "randint"):
            return None
        n *= len(arguments) if kind == "choice" else int(arguments[1]) - int(arguments[0])
    return n


def sample(space: Space, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """``n`` different points that follow from the seed; all of them where there are fewer."""
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    n = min(n, n_points(space) or n)
    for _ in range(_DRAWS_PER_POINT * n):
        point = {option: _sample_value(kind, arguments, rng) for option, (kind, arguments) in space.items()}
        key = point_key(point)
        if key not in drawn:
            drawn.add(key)
            yield point
        if len(drawn) == n:
            return


def point_key(point: Mapping[str, Any] | None) -> str:
    """A point as text that no other point has."""
    return as_key(point)


def as_key(options: Any) -> str:
    """Options, at any depth, as text in which their order does not matter, but that of modalities does."""
    return json.dumps(_content_in_order(options), sort_keys=True, default=str)


def _content_in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: in_order(v) if k == "content" else _content_in_order(v) for k, v in value.items()}
    return [_content_in_order(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _sample_value(kind: str, arguments: list[Any], rng: np.random.Generator) -> Any:
    if kind == "choice":
        return arguments[int(rng.integers(len(arguments)))]
    if kind == "randint":
        return int(rng.integers(arguments[0], arguments[1]))
    if kind == "loguniform":
        return float(np.exp(rng.uniform(np.log(arguments[0]), np.log(arguments[1]))))
    value = float(rng.uniform(arguments[0], arguments[1]))
    return round(value / arguments[2]) * arguments[2] if kind == "quniform" else value


def for_ray(space: Space) -> dict[str, Any]:
    """The space in Ray Tune's terms, for its search algorithms."""
    from ray import tune

    return {option: getattr(tune, kind)(*([a] if kind == "choice" else a)) for option, (kind, a) in space.items()}


def read_hyper_file(path: Path, options: Mapping[str, Option] | None = None) -> Space:
    """RecBole's file of parameters: lines of name, kind and range, as ``learning_rate loguniform -8,0``.

    Args:
        path: The file.
        options: Declarations of the options that it may name; by default those of the models in the tables.

    Raises:
        ConfigError: If a line cannot be read.
    """
    given: dict[str, Any] = {}
    known = known_options() if options is None else options
    for number, line in enumerate(read_text(path, ConfigError).splitlines(), start=1):
        parts = line.split(maxsplit=2)
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) != 3 or parts[1] not in DISTRIBUTIONS:
            raise ConfigError(
                f"`{path}`, line {number}: write name, kind and range, as in `dropout choice [0.1,0.2]`; kinds "
                f"are {', '.join(DISTRIBUTIONS)}."
            )
        name, kind, text = parts
        if name in given:
            raise ConfigError(f"`{path}`, line {number}: `{name}` is given a second time; keep one line.")
        given[name] = {kind: _hyper_values(known.get(name), kind, text, f"`{path}`, line {number}")}
    return read_space(given)


def _hyper_values(option: Option | None, kind: str, text: str, where: str) -> Any:
    """The values of one line; hyperopt's loguniform is given by exponents of e."""
    listed = text if text.startswith("[") else f"[{text}]"
    is_text = option is not None and option.is_text
    values = convert_list_of_texts(listed) if is_text else convert_option(option, listed)
    if kind != "loguniform":
        return values
    if not isinstance(values, list) or not all(isinstance(v, (int, float)) and abs(v) < _MOST_EXPONENT for v in values):
        raise ConfigError(f"{where}: `{text}` must be two exponents of e, as in -8,0.")
    return [float(np.exp(v)) for v in values]
