"""Name -> class tables for the parts that third parties may add to."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from recbole_video.errors import ConfigError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes by name, with errors that name what is there.

    Args:
        kind: What the entries are, for messages: ``"item encoder"``.
        entries: Name -> class, or name -> ``"module:Class"`` for a class that is imported when
            it is first asked for.
    """

    def __init__(self, kind: str, entries: dict[str, type[T] | str]) -> None:
        self.kind = kind
        self._entries: dict[str, type[T] | str] = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def register(self, name: str | None = None) -> Callable[[type[T]], type[T]]:
        """Class decorator that adds a class under ``name`` (its own name by default).

        Raises:
            ConfigError: If another class already has the name.
        """

        def add(cls: type[T]) -> type[T]:
            key = name or cls.__name__
            taken = self._entries.get(key)
            if taken is not None and not _same_class(taken, cls):
                raise ConfigError(f"There is already an {self.kind} named `{key}`; register yours under another name.")
            self._entries[key] = cls
            return cls

        return add

    def get(self, name: str) -> type[T]:
        """Return the class called ``name``, or the one at the dotted path ``module:Class``.

        Raises:
            ConfigError: If there is none; the message lists the names and the nearest one.
        """
        entry = self._entries.get(name, name if ":" in name else None)
        if entry is None:
            raise ConfigError(
                f"There is no {self.kind} named `{name}`{nearest(name, self)}. "
                f"Known: {', '.join(self)}; or give `module:Class` for one of your own."
            )
        return self._load(entry) if isinstance(entry, str) else entry

    def _load(self, path: str) -> type[T]:
        module_name, _, class_name = path.partition(":")
        try:
            return getattr(importlib.import_module(module_name), class_name)
        except ModuleNotFoundError as error:
            if error.name is None or not module_name.startswith(error.name):
                raise
            raise ConfigError(
                f"The {self.kind} `{path}` cannot be loaded: there is no module `{error.name}` on the Python path."
            ) from error
        except AttributeError as error:
            raise ConfigError(
                f"The {self.kind} `{path}` cannot be loaded: module `{module_name}` has no class `{class_name}`."
            ) from error


def _same_class(taken: type | str, cls: type) -> bool:
    """Whether ``cls`` is the registered class again, as when a notebook cell is run twice."""
    path = taken if isinstance(taken, str) else f"{taken.__module__}:{taken.__qualname__}"
    return path == f"{cls.__module__}:{cls.__qualname__}"
