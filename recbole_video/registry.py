"""Name -> class tables for the parts that third parties may add to, and whose word a class is loaded on.

A class is code. One that the program or its command line names is loaded; one that a file names (a checkpoint, the
``config.yaml`` of a run) only if the program has registered it, used it before, or says that it trusts it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar, cast, overload

from recbole_video.errors import ConfigError, nearest

T = TypeVar("T")
Trust: TypeAlias = "bool | str | type | Iterable[str | type]"


class Registry(Generic[T]):
    """Classes by name, with errors that name what is there.

    Args:
        kind: What the entries are, for messages: ``"item encoder"``.
        entries: Name -> class, or name -> ``"module:Class"`` for a class that is imported when
            it is first asked for.
        bases: Classes of which each entry must be a subclass of one, likewise.
        check: Given an entry, the first of the bases and what to call the entry in messages, when it is first asked
            for or registered; raises :class:`ConfigError` on one that cannot be used.
    """

    def __init__(
        self,
        kind: str,
        entries: dict[str, type[T] | str],
        bases: tuple[type | str, ...],
        check: Callable[[type, type, str], None] | None = None,
    ) -> None:
        self.kind = kind
        self._entries: dict[str, type[T] | str] = dict(entries)
        self._bases = bases
        self._check = check
        self._admitted: dict[str, type[T]] = {}  # by path: what this process has registered or asked for

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @overload
    def register(self, name: type[T]) -> type[T]: ...

    @overload
    def register(self, name: str | None = None) -> Callable[[type[T]], type[T]]: ...

    def register(self, name: Any = None) -> Any:
        """Class decorator that adds a class under ``name`` (its own name by default), with or without parentheses.

        Raises:
            ConfigError: If another class already has the name, or it is no class of this kind.
        """
        if not isinstance(name, str | None):  # the class itself: a decorator without parentheses
            return self.register()(name)

        def add(cls: type[T]) -> type[T]:
            key = name or str(getattr(cls, "__name__", cls))
            taken = self._entries.get(key)
            if taken is not None and class_path(taken) != class_path(cls):
                raise ConfigError(f"There is already an {self.kind} named `{key}`; register yours under another name.")
            self._entries[key] = self.admit(cls, key)
            return cls

        return add

    def get(self, name: str) -> type[T]:
        """Return the class called ``name``, or the one at the dotted path ``module:Class``.

        Raises:
            ConfigError: If there is none, the message lists the names and the nearest one; or if it is no class of
                this kind.
        """
        entry = self._entries.get(name)
        if entry is None and ":" not in name:
            raise ConfigError(
                f"There is no {self.kind} named `{name}`{nearest(name, self)}. "
                f"Known: {', '.join(self)}; or give `module:Class` for one of your own."
            )
        if isinstance(entry, type):
            return entry
        path = entry or name
        return self._admitted.get(path) or self.admit(import_class(self.kind, path), path)

    def knows(self, name: str) -> bool:
        """Whether ``name`` is registered, or the path of a class that this process registered or asked for.

        Such a class is the program's own choice, whoever names it again: nothing new is imported.
        """
        return name in self or name in self._admitted or name in map(class_path, self._entries.values())

    def admit(self, cls: Any, shown: str) -> type[T]:
        """Take ``cls`` as a class of this kind, also when a file names its path.

        Raises:
            ConfigError: If it is none.
        """
        bases = tuple(import_class(self.kind, base) if isinstance(base, str) else base for base in self._bases)
        if not (isinstance(cls, type) and issubclass(cls, bases)):
            names = " or ".join(f"{base.__module__}.{base.__qualname__}" for base in bases)
            raise ConfigError(
                f"`{shown}` cannot be {_article(self.kind)} {self.kind}: it is not a class derived from {names}."
            )
        if self._check is not None:
            self._check(cls, bases[0], shown)
        admitted = cast("type[T]", cls)
        self._admitted |= {class_path(cls): admitted, shown: admitted}
        return admitted


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeio" else "a"  # a user encoder


def import_class(kind: str, path: str) -> Any:
    """What is at ``module:Class``; the module is imported, so that ``path`` must be the caller's word.

    Raises:
        ConfigError: If there is nothing, or its module cannot be imported.
    """
    module_name, _, class_name = path.partition(":")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", path):
        raise ConfigError(f"The {kind} `{path}` is no path to a class; write it as `module:Class`.")
    cannot = f"The {kind} `{path}` cannot be loaded"
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = f"there is no module `{error.name}` on the Python path"
        if error.name is None or not module_name.startswith(error.name):
            missing = f"`{module_name}` imports `{error.name}`, which is not installed"
        raise ConfigError(f"{cannot}: {missing}.") from error
    except Exception as error:  # whatever somebody's module raises while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{cannot}: `{module_name}` cannot be imported ({reason}).") from error
    for part in class_name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{cannot}: module `{module_name}` has no class `{class_name}`.")
        found = getattr(found, part)
    return found


def class_path(cls: Any) -> str:
    """``module:Class`` of a class, or of what stands for one."""
    return cls if isinstance(cls, str) else f"{cls.__module__}:{getattr(cls, '__qualname__', cls)}"


def check_trusted(name: str, registries: Iterable[Registry], trust: Trust, where: str) -> None:
    """Refuse a class that a file names and that neither is registered nor trusted.

    Args:
        name: The name, or ``module:Class``, that was read from the file.
        registries: The registries that may know it.
        trust: True for whatever the file names; or the classes that are trusted, as classes or as ``module:Class``.
        where: The file, for the message.

    Raises:
        ConfigError: If it is not trusted, or ``trust`` is neither.
    """
    trusted = trusted_paths(trust)
    if ":" not in name or trusted is None or name in trusted:
        return
    if not any(registry.knows(name) for registry in registries):
        other = f" (`trust` names {', '.join(sorted(trusted))})" if trusted else ""
        raise ConfigError(
            f"{where} names the class `{name}`, which is code to be run{other}: if you know and trust it, say so with "
            f"trust='{name}' in Python or --trust={name} on the command line, or import and register it first."
        )


def trusted_paths(trust: Trust) -> frozenset[str] | None:
    """The paths that ``trust`` names; None for all.

    Raises:
        ConfigError: If it names no classes.
    """
    if isinstance(trust, bool):
        return None if trust else frozenset()
    named = re.split(r"[\s,]+", trust.strip()) if isinstance(trust, str) else trust
    try:
        paths = frozenset(class_path(one) for one in ([named] if isinstance(named, type) else named))
    except (TypeError, AttributeError) as error:
        raise ConfigError(f"`trust` is `{trust}`; it must be True, or classes such as `module:Class`.") from error
    if wrong := sorted(path for path in paths if ":" not in path):
        raise ConfigError(f"`trust` names `{wrong[0]}`; name classes as `module:Class`, or trust all by True alone.")
    return paths
