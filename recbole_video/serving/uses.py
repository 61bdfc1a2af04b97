"""What a loaded model says of a use that it has not."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from recbole_video.errors import nearest


class TellsItsUses:
    """A loaded model that is asked for what another kind of model does names its own kind and its uses."""

    KIND: ClassVar[str]

    def __getattr__(self, name: str) -> NoReturn:
        """Called for a name that is not there."""
        if name.startswith("_"):  # those that copying and pickling look for, too
            raise AttributeError(name)
        uses = sorted(known for known in dir(type(self)) if not known.startswith("_") and known != "KIND")
        raise AttributeError(
            f"{self.KIND} has no `{name}`{nearest(name, uses)}; it has {', '.join(uses)}.", name=name, obj=self
        )
