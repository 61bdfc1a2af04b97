"""Reading text, JSON and YAML that somebody else wrote: nothing is run, and what is wrong is said with its place."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from recbole_video.errors import DataError, RecBoleVideoError

# Aliases make a few lines of YAML stand for billions of values; a real file has some thousands.
_MOST_VALUES = 100_000
# Of open brackets. Python's own limit ends what is half as deep, but PyYAML looks ahead first, in quadratic time.
_DEEPEST = 1000
_YAML = "tag:yaml.org,2002:"
_TAGS_OF_CODE = (f"{_YAML}python/", "!")
# What these errors say of a text in JSON or YAML.
_DEFECTS: dict[type[Exception], str] = {
    RecursionError: "is nested too deeply to be read",
    UnicodeEncodeError: "holds text that is not Unicode, half of a surrogate pair; mend it",
}
# What NumPy raises on an .npz that is none, or is damaged.
NO_NPZ = (
    ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_BYTE_ORDER_MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


class SafeLoader(yaml.SafeLoader):
    """The one YAML loader of this package: plain values only, each key once, ``1e-3`` is a number."""

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Open a bracket, if not too many are open."""
        if self.flow_level >= _DEEPEST:
            raise RecursionError
        super().fetch_flow_collection_start(token_class)


class _Dumper(yaml.SafeDumper):
    """Writes text that the loader would take for a number in quotes."""


for _kind in (SafeLoader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        # YAML 1.1 wants a dot in a number with an exponent; RecBole's own loader does not.
        re.compile(r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def read_text(path: str | Path, error_type: type[RecBoleVideoError] = DataError) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        error_type: The kind of error to raise.

    Raises:
        RecBoleVideoError: Of the kind ``error_type``, if the file cannot be read or is in another encoding; the message
            names line and column of the first byte that does not fit.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise error_type(f"`{path}` cannot be read: {error.strerror or error}.") from error
    return decode_text(content, path, error_type)


def decode_text(content: bytes, path: str | Path, error_type: type[RecBoleVideoError] = DataError) -> str:
    """The bytes of a whole file as text; see :func:`read_text`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong_bytes(content.splitlines(keepends=True), path, error_type=error_type) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def wrong_bytes(
    lines: Iterable[bytes],
    path: str | Path,
    encoding: str = "utf-8",
    error_type: type[RecBoleVideoError] = DataError,
    advice: str = "save it as UTF-8",
) -> RecBoleVideoError:
    """The error for a text that is in another encoding: it names line and column of the first byte that does not fit.

    Args:
        lines: The text from its beginning, which need not be held at once.
        path: The file, for the message.
        encoding: In which it was to be read.
        error_type: The kind of error.
        advice: What to do, the end of the message.
    """
    kind = "some of it does not fit"
    for number, line in enumerate(lines, start=1):
        if column := _misfit(line, encoding):
            marked = next((name for mark, name in _BYTE_ORDER_MARKS if number == 1 and line.startswith(mark)), None)
            kind = f"it is {marked}" if marked else f"byte {column} of line {number} does not fit"
            break
    return error_type(f"`{path}` is not text in {encoding.upper()} ({kind}); {advice}.")


def _misfit(line: bytes, encoding: str) -> int:
    """Number of the first byte that does not fit the encoding, from 1; 0 if all do."""
    try:
        line.decode(encoding)
    except UnicodeError as error:
        return int(getattr(error, "start", 0)) + 1
    return 0


def read_json(path: str | Path, error_type: type[RecBoleVideoError] = DataError, nan_is_missing: bool = False) -> Any:
    """Read a JSON file; see :func:`parse_json`."""
    return parse_json(read_text(path, error_type), f"`{path}`", error_type, nan_is_missing)


def parse_json(
    text: str, where: str, error_type: type[RecBoleVideoError] = DataError, nan_is_missing: bool = False
) -> Any:
    """Turn JSON into plain values.

    Args:
        text: The JSON.
        where: What it is, for messages: a file in backticks, with the line where there is one.
        error_type: The kind of error to raise.
        nan_is_missing: Read ``NaN``, which Python writes for a missing number, as None; else it is refused.

    Raises:
        RecBoleVideoError: Of the kind ``error_type``, if it is no JSON, is nested too deeply, gives a key twice, has a
            number without end or beyond what a float holds, or text that is not Unicode (half of a surrogate pair).
    """
    try:
        value = _DECODERS[nan_is_missing].decode(text)
        if "\\u" in text or not text.isascii():  # only there half of a pair can stand
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""  # of one line, `where` may name the number in its file
        raise error_type(f"{where} is not valid JSON: {error.msg} at {line}column {error.colno}.") from error
    except (RecursionError, UnicodeEncodeError) as error:
        raise error_type(f"{where} {_DEFECTS[type(error)]}.") from error
    except _GivenTwice as error:
        raise error_type(f"{where} gives `{error.key}` twice; keep one.") from error
    except ValueError as error:  # a number of thousands of digits, NaN, 1e999
        raise error_type(f"{where} holds a number that cannot be used ({_first_part(error)}).") from error
    return value


class _GivenTwice(ValueError):
    """A JSON object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _first_part(error: ValueError) -> str:
    """Of Python's message on a number of thousands of digits, what is not advice to programmers."""
    return str(error).partition(";")[0]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _nan_as_none(name: str) -> None:
    if name != "NaN":
        _no_constant(name)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _GivenTwice(next(key for key in keys if keys.count(key) > 1))
    return found


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is beyond what a float holds")
    return value


_DECODERS = {
    lenient: json.JSONDecoder(parse_constant=constant, parse_float=_finite, object_pairs_hook=_each_key_once)
    for lenient, constant in ((False, _no_constant), (True, _nan_as_none))
}


def dump_yaml(content: Any) -> str:
    """YAML of plain values, which :func:`parse_yaml` reads as they are; keys in order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=True, allow_unicode=True)


def read_yaml(
    path: Any, error_type: type[RecBoleVideoError], prepare: Callable[[yaml.Node], yaml.Node] | None = None
) -> Any:
    """Read a YAML file, or a resource of the package; see :func:`parse_yaml`."""
    if isinstance(path, (str, Path)):
        return parse_yaml(read_text(path, error_type), f"`{path}`", error_type, prepare)
    return parse_yaml(decode_text(path.read_bytes(), str(path), error_type), f"`{path}`", error_type, prepare)


def parse_yaml(
    text: str,
    where: str,
    error_type: type[RecBoleVideoError],
    prepare: Callable[[yaml.Node], yaml.Node] | None = None,
) -> Any:
    """Turn YAML into plain values, with one loader for all files.

    Args:
        text: The YAML, one document.
        where: What it is, for messages: a file in backticks.
        error_type: The kind of error to raise.
        prepare: Given the document before its values are made, which loses how they are written; returns it changed.

    Raises:
        RecBoleVideoError: Of the kind ``error_type``, if it is no YAML, asks for a Python object, has a key twice,
            holds text that is not Unicode, or stands for more values by its aliases than a file of this kind ever has.
    """
    try:
        node = _compose_once(text) if prepare is None else _compose(text)
        if node is None:
            return None
        _check_node(node, where, error_type)
        return SafeLoader("").construct_document(prepare(node) if prepare else node)
    except RecBoleVideoError:
        raise
    except yaml.YAMLError as error:
        raise error_type(f"{where} is not valid YAML{_yaml_problem(error)}.") from error
    except (RecursionError, UnicodeEncodeError) as error:
        raise error_type(f"{where} {_DEFECTS[type(error)]}.") from error
    except ValueError as error:  # an impossible date, a number of thousands of digits
        raise error_type(f"{where} holds a value that cannot be used ({_first_part(error)}).") from error
    except (AttributeError, LookupError) as error:  # PyYAML on `!!bool maybe`
        raise error_type(f"{where} holds a value that does not fit the tag before it; leave the tag out.") from error


def _compose(text: str) -> yaml.Node | None:
    return yaml.compose(text, Loader=SafeLoader)


# A run asks for the same options several times, and a resumed one for those of each run beside it: most of the time
# that YAML takes goes into its syntax. The values are made anew each time.
_compose_once = lru_cache(maxsize=16)(_compose)


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{place}: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"


def _check_node(node: yaml.Node, where: str, error_type: type[RecBoleVideoError]) -> None:
    """Check that there are no tags of code, keys given twice, loops of aliases, or aliases that stand for too much."""
    sizes: dict[int, int] = {}  # of a node with all below it, as often as aliases repeat them
    open_nodes: set[int] = set()

    def size(inner: yaml.Node) -> int:
        key = id(inner)
        if key in open_nodes:
            raise error_type(
                f"{where} has an alias of what it stands in, line {inner.start_mark.line + 1}; write it out."
            )
        if key not in sizes:
            open_nodes.add(key)
            sizes[key] = 1 + sum(size(child) for child in _children(inner, where, error_type))
            open_nodes.discard(key)
        if inner.tag.startswith(_TAGS_OF_CODE):
            raise _tag_error(inner, where, error_type)
        if sizes[key] > _MOST_VALUES:
            raise error_type(f"{where} stands for more than {_MOST_VALUES:,} values, the most that is read.")
        return sizes[key]

    size(node)


def _tag_error(node: yaml.Node, where: str, error_type: type[RecBoleVideoError]) -> RecBoleVideoError:
    tag, place = node.tag.replace(_YAML, "!!"), f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"
    return error_type(
        f"{where} has the tag `{tag}` at {place}: tags of Python objects, or of one's own, are refused, and nothing of "
        "them is run; write plain values."
    )


def _children(node: yaml.Node, where: str, error_type: type[RecBoleVideoError]) -> list[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        node.value.encode("utf-8")
        return []
    if isinstance(node, yaml.SequenceNode):
        return node.value
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                line = key.start_mark.line + 1
                raise error_type(f"{where} gives `{key.value}` twice, the second time in line {line}; keep one.")
            seen.add(key.value)
    return [part for pair in node.value for part in pair]
