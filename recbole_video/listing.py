"""What there is to choose from, and the options of each: ``--list``, ``--help_options`` and the files of properties/.

``python -m recbole_video.listing FOLDER`` writes those files anew, from the declarations.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from recbole.model.abstract_recommender import AbstractRecommender

from recbole_video.config import STOCK_PREFIX, Config, class_named
from recbole_video.controls.options import ControlOptions
from recbole_video.errors import ConfigError, nearest
from recbole_video.options.option import Option
from recbole_video.options.run import RunOptions
from recbole_video.options.show import as_table, as_yaml, by_section
from recbole_video.popularity.options import PopularityOptions
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.registries import CONTROLS, ITEM_ENCODERS, LISTS, POPULARITY_MODELS, USER_ENCODERS


def properties_files() -> dict[str, str]:
    """The text of each file of ``properties/`` that lists what is declared, by its path in there."""
    return {path: as_yaml(owner, above) for path, (owner, above) in declaring_classes().items()}


def declaring_classes() -> dict[str, tuple[type, type | None]]:
    """Each class that declares options, with the one above it, by the path of its file in ``properties/``."""
    found: dict[str, tuple[type, type | None]] = {
        "overall.yaml": (RunOptions, None),
        "recommendation.yaml": (RecommendationOptions, RunOptions),
        "controls.yaml": (ControlOptions, RunOptions),
        "popularity.yaml": (PopularityOptions, RunOptions),
    }
    above_of = {
        USER_ENCODERS: RecommendationOptions,
        CONTROLS: ControlOptions,
        POPULARITY_MODELS: PopularityOptions,
        LISTS: RecommendationOptions,
    }
    for registry, above in above_of.items():
        models = {name: registry.get(name).Options for name in registry}
        with_own = {name: own for name, own in models.items() if any(by_section(own, above))}
        found |= {f"model/{name}.yaml": (own, above) for name, own in with_own.items()}
    return found | {f"item_encoder/{name}.yaml": (ITEM_ENCODERS.get(name), None) for name in ITEM_ENCODERS}


def options_text(name: str, width: int | None = None) -> str:
    """The options of a model or item encoder as a table.

    Args:
        name: Of a model of this package, ``recbole:NAME``, another model of RecBole's, or an item encoder;
            ``module:Class`` for one of your own.
        width: Width of the table, in characters; by default that of the terminal.

    Raises:
        ConfigError: If there is no such name.
    """
    width = width or min(shutil.get_terminal_size((120, 24)).columns, 160)
    is_path = ":" in name and not name.startswith(STOCK_PREFIX)
    if name in ITEM_ENCODERS or (is_path and not issubclass(class_named(name), AbstractRecommender)):
        return as_table(f"Options of the item encoder {name}:", by_section(ITEM_ENCODERS.get(name)), width)
    try:
        config = Config(name)
    except ConfigError as error:
        if STOCK_PREFIX not in name and ":" not in name:
            known = [*USER_ENCODERS, *CONTROLS, *POPULARITY_MODELS, *ITEM_ENCODERS]
            raise ConfigError(
                f"There is no model or item encoder named `{name}`{nearest(name, known)}; see --list."
            ) from error
        raise
    if not hasattr(config.model_class, "Options"):
        return as_table(f"Options of RecBole's {config.model}:", _of_host(config), width)
    encoder = f", with the item encoder {config['item_encoder']}" if "item_encoder" in config else ""
    return as_table(f"Options of {config.model}{encoder}:", _of_model(config), width)


def _of_model(config: Config) -> Iterator[tuple[Option, str]]:
    """Options of a model of this package: its own first, then those of its task and of every run."""
    options = config.model_class.Options
    [task] = [one for one in (RecommendationOptions, ControlOptions, PopularityOptions) if issubclass(options, one)]
    own = [(option, section or config.model) for option, section in by_section(options, task)]
    inherited = [pair for pair in by_section(options) if pair[0].name not in {option.name for option, _ in own}]
    encoder = config.get("item_encoder")
    declared_by = [] if encoder is None else by_section(ITEM_ENCODERS.get(encoder))
    of_encoder = ((option, f"Item encoder {encoder}") for option, _ in declared_by)
    return chain(own, of_encoder, ((option, section or "Every run") for option, section in inherited))


def _of_host(config: Config) -> Iterator[tuple[Option, str]]:
    """RecBole's options of a model of its own, which it explains in its documentation."""
    return ((option, "") for name, option in sorted(config.declarations.items()) if name in config.defaults)


def main(words: list[str]) -> int:
    """Write the files into the folder ``words[0]``."""
    for path, text in properties_files().items():
        Path(words[0], path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
