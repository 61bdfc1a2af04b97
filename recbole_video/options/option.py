"""Options, declared once: beside the code that reads them, as fields of a dataclass or arguments of a constructor.

From a declaration come the default, the reading of its text, the check of a value and its line of help::

    class STAP(PopularityModel):
        @dataclass(frozen=True)
        class Options(PopularityModel.Options):
            window_edge: float = option(1.0, "Width of the soft edge in frames.", above=0)

    class CVA(nn.Module):
        def __init__(self, frame_dim: int, item_dim: int, *, depth: Annotated[int, Rule("Blocks.", at_least=1)] = 4):
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import numbers
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from recbole_video.errors import ConfigError, nearest

REQUIRED = inspect.Parameter.empty
MOST_LAYERS = 1000
A_SHARE = "is a share, at least 0 and at most 1"
# Before the name of each option of an item encoder.
ENCODER_PREFIX = "encoder_"
# What the tower gives to an item encoder itself.
_GIVEN = ("self", "frame_dim", "item_dim", "table")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Rule:
    """What a declaration says of an option beyond its type and default.

    Attributes:
        help: One line.
        at_least: The least that the number, or each number of the list, may be; 0 for a whole number that says nothing.
        above: What it must exceed.
        at_most: The most that it may be.
        below: What it must stay under.
        must: What it must be, or is, in words of its own: ``is a share, at least 0 and at most 1``.
        is_filled: Whether the list must have something in it.
        section: A heading before it in listings, which holds until the next one.
        void_when: Pairs of another option and a value of it with which nothing reads this one.
        kind: How the kind of value is written in listings, where that does not follow from the type.
        is_path: Whether it is a path, in which ``~`` is the home folder.
        is_notation: Whether its text is read as a literal, though the value is text: a separator.
        by_hand: Whether its value is checked by ``Options.check`` or by whoever reads it, and not by its type.
    """

    help: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    must: str = ""
    is_filled: bool = False
    section: str = ""
    void_when: tuple[tuple[str, Any], ...] = ()
    kind: str = ""
    is_path: bool = False
    is_notation: bool = False
    by_hand: bool = False

    def admits(self, number: float) -> bool:
        """Whether ``number`` is within the bounds."""
        return not (
            (self.at_least is not None and number < self.at_least)
            or (self.above is not None and number <= self.above)
            or (self.at_most is not None and number > self.at_most)
            or (self.below is not None and number >= self.below)
        )

    @property
    def bounds(self) -> str:
        """``at least 1 and below 5``; empty without bounds."""
        words = (("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below))
        return " and ".join(f"{word} {bound:g}" for word, bound in words if bound is not None)


def option(default: Any, help: str = "", **rule: Any) -> Any:
    """A field of an ``Options`` dataclass: its default, its line of help, and what else :class:`Rule` knows."""
    metadata = {"rule": Rule(help, **rule)}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def size_option(default: int, help: str = "", **rule: Any) -> Any:
    """An option that counts or measures something there must be one of: a width, heads."""
    return option(default, help, at_least=1, **rule)


def layers_option(default: int, help: str = "", **rule: Any) -> Any:
    """An option that counts layers, each of which takes a moment to build."""
    return option(default, help, at_least=1, at_most=MOST_LAYERS, **rule)


def share_option(default: float, help: str = "") -> Any:
    """An option that is a share or a probability."""
    return option(default, help, at_least=0, at_most=1, must=A_SHARE)


@dataclass(frozen=True)
class Option:
    """One declared option.

    Attributes:
        name: As in ``--name=value``.
        type: Its annotation.
        default: Its default; ``REQUIRED`` if it has none.
        rule: What else its declaration says.
    """

    name: str
    type: Any
    default: Any
    rule: Rule = Rule()

    @cached_property
    def types(self) -> tuple[Any, ...]:
        """The members of its type, None left out."""
        members = get_args(self.type) if get_origin(self.type) in (Union, types.UnionType) else (self.type,)
        plain = (get_args(member)[0] if get_origin(member) is Annotated else member for member in members)
        return tuple(member for member in plain if member is not type(None))

    @property
    def may_be_empty(self) -> bool:
        """Whether None is a value."""
        return self.type is Any or self.default is None or type(None) in get_args(self.type)

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values to choose from; empty for an option that is none of a few words."""
        return tuple(choice for member in self.types if get_origin(member) is Literal for choice in get_args(member))

    @property
    def is_text(self) -> bool:
        """Whether its text is its value: a name stays what was written, whatever it looks like."""
        return not self.rule.is_notation and not self.is_text_list and any(map(_is_text, self.types))

    @property
    def is_switch(self) -> bool:
        """Whether it is text, or True or False."""
        return self.is_text and bool in self.types

    @property
    def is_text_list(self) -> bool:
        """Whether it is a list of texts, or such lists by name."""
        return any(get_origin(one) in (list, tuple, dict) and _is_text(_last_of(get_args(one))) for one in self.types)

    @property
    def kind(self) -> str:
        """Its kind of value as listings have it: ``int``, ``list of float``, ``bool or str``."""
        return self.rule.kind or " or ".join(dict.fromkeys(_type_name(member) for member in self.types))

    def check(self, value: Any, default: Any = None) -> None:
        """Refuse a value of another kind, none of the choices, or out of bounds.

        Args:
            value: The value.
            default: What the option is in this run where it is not given, for the message.

        Raises:
            ConfigError: In one sentence that names the option.
        """
        if self.rule.by_hand or (value is None and self.may_be_empty):
            return
        if self.choices and not any(value is c or (isinstance(c, str) and value == c) for c in self.choices):
            self._raise_no_choice(value)
        if not any(_fits(value, member) for member in self.types) or (self.rule.is_filled and not value):
            self._raise_wrong_value(value, default)
        for number in value if isinstance(value, (list, tuple)) else [value]:
            self._check_number(number, value, default)

    def _check_number(self, number: Any, value: Any, default: Any) -> None:
        """Refuse a number out of bounds; a whole one that is too small is of another kind."""
        if not _is_number(number, numbers.Real):
            return
        if not self.rule.must and self._is_whole and number < self._least:
            self._raise_wrong_value(value, default)
        if not self.rule.admits(number):
            rule = dataclasses.replace(self.rule, at_least=None) if self._is_whole else self.rule
            bounds = "not be negative" if rule.bounds == "at least 0" else f"be {rule.bounds}"
            raise ConfigError(f"`{self.name}` is {value}; it {self.rule.must or f'must {bounds}'}.")

    @property
    def _is_whole(self) -> bool:
        kinds = [kind for member in self.types for kind in (member, *get_args(member))]
        return int in kinds and float not in kinds

    @property
    def _least(self) -> float:
        return 0 if self.rule.at_least is None else self.rule.at_least

    def _raise_no_choice(self, value: Any) -> None:
        shown, end = (f"`{value}`", "") if self.is_text else (shown_value(value), unquoted(value))
        raise ConfigError(f"`{self.name}` is {shown}; it must be one of {', '.join(map(str, self.choices))}{end}.")

    def _raise_wrong_value(self, value: Any, default: Any) -> None:
        such = "" if default in (None, REQUIRED, "") else f", such as the default, `{default}`"
        raise ConfigError(f"`{self.name}` is {shown_value(value)}; it must be {self.words}{such}{unquoted(value)}.")

    @property
    def words(self) -> str:
        """What it must be, in words: ``True, False or empty``, ``a whole number of at least 1``."""
        alternatives = [word for member in self.types for word in self._words_of(member)]
        if type(None) in get_args(self.type):
            alternatives.append("empty")
        *first, last = dict.fromkeys(alternatives)
        return f"{', '.join(first)} or {last}" if first else last

    def _words_of(self, member: Any) -> list[str]:
        kinds = get_args(member) if get_origin(member) in (list, tuple) else ()
        if get_origin(member) is tuple and kinds and kinds[-1] is not Ellipsis:
            return [f"a list of {len(kinds)}: {', '.join(map(_type_name, kinds))}"]
        inner = kinds[0] if kinds else None
        if member is bool:
            return ["True", "False"]
        if member is int:
            return [f"a whole number of at least {self._least:g}"]
        if inner is int:
            return [f"a list of whole numbers of at least {self._least:g}"]
        if inner is float:
            return ["a list of numbers"]
        if get_origin(inner) is Literal:
            return [f"a list of: {', '.join(get_args(inner))}"]
        kind = get_origin(member) or member
        return [_WORDS.get(kind, f"of the type {_type_name(member)}, which no text and no number is")]


_WORDS = {
    float: "a number", list: "a list", tuple: "a list", dict: "a dictionary", str: "a word", Path: "a path",
    PurePath: "a path", Literal: "a word", Any: "a value",
}  # fmt: skip


def shown_value(value: Any) -> str:
    """A value that an option cannot be, for a message; a text that looks like what it should be is called one."""
    return f"the text `{value}`" if _looks_like_no_text(value) else f"`{value}`"


def unquoted(value: Any) -> str:
    """The end of a message about such a value: what to do where only its quotes are wrong."""
    return ": write it without quotes" if _looks_like_no_text(value) else ""


def _looks_like_no_text(text: Any) -> bool:
    """Whether a value is text that would be a number, a list, True or the like if it were not."""
    if not isinstance(text, str):
        return False
    try:
        return not isinstance(ast.literal_eval(text.strip()), str)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.strip()[:1] in ("[", "{") or text.strip() in ("true", "false", "null", "~")


def _is_text(member: Any) -> bool:
    """Whether a type is that of text: paths and words to choose from are, a list of texts in another type as well."""
    if get_origin(member) is Literal:
        return all(isinstance(choice, str) for choice in get_args(member))
    return _is_path(member) or member is str or (get_origin(member) is list and _is_text(get_args(member)[0]))


def _last_of(kinds: tuple[Any, ...]) -> Any:
    """The type of the values of a list, a dictionary or a tuple; None where it is not said."""
    return next((kind for kind in reversed(kinds) if kind is not Ellipsis), None)


def _is_path(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, PurePath)


def _type_name(member: Any) -> str:
    if get_origin(member) is list:
        return f"list of {_type_name(get_args(member)[0])}"
    if get_origin(member) is Literal:
        return " or ".join(dict.fromkeys(type(choice).__name__ for choice in get_args(member)))
    return "any" if member is Any else getattr(get_origin(member) or member, "__name__", str(member))


def _fits(value: Any, member: Any) -> bool:
    """Whether a value is of a type: whole numbers count as numbers, True and False as neither, text as a path.

    A list does for a tuple, which YAML does not know. Of a type that no plain value is of, such as a callable, a value
    fits that is an instance of it, which only a program can give.
    """
    origin = get_origin(member) or member
    if origin is Any or _is_path(origin):
        return origin is Any or isinstance(value, (str, PurePath))
    if origin is Literal:
        return any(value is choice or (isinstance(choice, str) and value == choice) for choice in get_args(member))
    if origin is list:
        return isinstance(value, list) and all(_fits(inner, kind) for kind in get_args(member) for inner in value)
    if origin is tuple:
        return isinstance(value, (list, tuple)) and _fits_tuple(value, get_args(member))
    if origin in (int, float):
        return _is_number(value, numbers.Integral if origin is int else numbers.Real)
    return isinstance(origin, type) and isinstance(value, origin)


def _fits_tuple(values: list[Any] | tuple[Any, ...], kinds: tuple[Any, ...]) -> bool:
    """Whether values are those of ``tuple[int, ...]``, of ``tuple[int, float]``, or of a plain ``tuple``."""
    if not kinds:
        return True
    if kinds[-1] is Ellipsis:
        return all(_fits(value, kinds[0]) for value in values)
    return len(values) == len(kinds) and all(map(_fits, values, kinds))


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


@cache
def declared(owner: type) -> dict[str, Option]:
    """The options of an ``Options`` dataclass, or of an item encoder: the arguments of its constructor."""
    return _of_fields(owner) if dataclasses.is_dataclass(owner) else _of_constructor(owner)


def _of_fields(owner: type) -> dict[str, Option]:
    hints = get_type_hints(owner)
    found = {}
    for field in dataclasses.fields(owner):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        default = REQUIRED if default is dataclasses.MISSING else default
        found[field.name] = _option(field.name, hints[field.name], default, field.metadata.get("rule", Rule()))
    return found


def _option(name: str, kind: Any, default: Any, rule: Rule) -> Option:
    """A declaration; that of a path is known by its type as well as by its rule."""
    one = Option(name, kind, default, rule)
    return dataclasses.replace(
        one, rule=dataclasses.replace(rule, is_path=rule.is_path or any(map(_is_path, one.types)))
    )


def _of_constructor(owner: type) -> dict[str, Option]:
    hints = _hints_of_constructor(owner)
    found = {}
    for name, parameter in inspect.signature(owner).parameters.items():
        if parameter.kind in _NAMED and name not in _GIVEN:
            kind, rule = _annotation(hints.get(name, type_of(parameter.default)))
            found[ENCODER_PREFIX + name] = _option(ENCODER_PREFIX + name, kind, parameter.default, rule)
    return found


def _hints_of_constructor(owner: type) -> dict[str, Any]:
    """Annotations of a constructor; where one names what is not there (under TYPE_CHECKING), there are none."""
    try:
        return get_type_hints(owner.__init__, include_extras=True)  # type: ignore[misc]
    except (NameError, TypeError, AttributeError):
        return {}


def type_of(default: Any) -> Any:
    """The type of an option without annotation, by its default."""
    return Any if default is None or default is REQUIRED else type(default)


def _annotation(hint: Any) -> tuple[Any, Rule]:
    if get_origin(hint) is not Annotated:
        return hint, Rule()
    kind, *notes = get_args(hint)
    return kind, next((note for note in notes if isinstance(note, Rule)), Rule())


def as_declared(one: Option, value: Any) -> Any:
    """The plain value of an option as whoever declared it expects it: a list as a tuple, a text as a path."""
    if isinstance(value, list) and not any((get_origin(member) or member) is list for member in one.types):
        return tuple(value) if any((get_origin(member) or member) is tuple for member in one.types) else value
    paths = [member for member in one.types if _is_path(member)]
    return paths[0](value) if paths and isinstance(value, str) and str not in one.types else value


def check_options_class(owner: Any, above: Any, shown: str) -> None:
    """Refuse an ``Options`` some of whose options would not be there.

    Args:
        owner: The class.
        above: What it must inherit from: the options of every model of its kind.
        shown: The model, for the message.

    Raises:
        ConfigError: If it does not inherit from ``above``, or declares what no dataclass takes for a field.
    """
    if not (isinstance(owner, type) and issubclass(owner, above)):
        raise ConfigError(
            f"The `Options` of `{shown}` must inherit from {above.__module__}.{above.__name__}, which has the options "
            f"of every model of its kind; write `class Options({above.__name__})`."
        )
    for cls in owner.__mro__[: owner.__mro__.index(above)]:
        if issubclass(cls, above):
            _check_fields(cls, shown)
    try:
        declared(owner)
    except NameError as error:
        raise ConfigError(
            f"The `Options` of `{shown}` name the type `{error.name}`, which is not there when they are read; import "
            "it outside of TYPE_CHECKING."
        ) from error


def _check_fields(cls: type, shown: str) -> None:
    """Refuse what looks like an option in the body of a class and is no field of it."""
    annotated = {name: kind for name, kind in inspect.get_annotations(cls).items() if "ClassVar" not in str(kind)}
    if annotated and "__dataclass_fields__" not in vars(cls):
        raise ConfigError(
            f"The `Options` of `{shown}` declare `{next(iter(annotated))}`, which is no option without a decorator; "
            "put @dataclass(frozen=True) above the class."
        )
    inherited = {field.name for field in dataclasses.fields(cls)}
    for name, value in vars(cls).items():
        if name not in annotated and (isinstance(value, dataclasses.Field) or name in inherited):
            raise ConfigError(
                f"The `Options` of `{shown}` set `{name}` without a type, which changes no option; write "
                f"`{name}: TYPE = option(...)`."
            )


def check_void_rules(options: Mapping[str, Option], known: Mapping[str, Any], shown: str) -> None:
    """Refuse a declaration that says of an option that one makes it void which there is not.

    Args:
        options: The declarations to check.
        known: All options that there are, by name.
        shown: The model, for the message.

    Raises:
        ConfigError: On the first such declaration.
    """
    for one in options.values():
        for other, _ in one.rule.void_when:
            if other not in known:
                raise ConfigError(
                    f"The declaration of `{one.name}` names `{other}` in void_when, which is not an option"
                    f"{nearest(other, known)} for model {shown}."
                )


def check_no_void_options(options: Iterable[Option], given: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Refuse an option that is given, differs from its default, and does nothing because of what another one is.

    What leaves an input or a part of the model out (``use_text=False``, ``memory=off``, ``dppo_weight=0``) makes no
    option void: an ablation keeps the options of the run that it is compared with.

    Args:
        options: The declarations.
        given: What differs from its default, of what was given.
        values: All options of the run.

    Raises:
        ConfigError: On the first such option.
    """
    for one in options:
        for other, value in one.rule.void_when:
            if one.name in given and values[other] == value:
                raise ConfigError(f"`{one.name}` has no effect on runs with {other}={value}; remove it.")
