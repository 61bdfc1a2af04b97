"""Loading a trained model of any task from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError
from recbole_video.files.names import expanded
from recbole_video.registry import Trust, trusted_paths
from recbole_video.runtime import recbole_compat
from recbole_video.runtime.checkpoint import read_checkpoint
from recbole_video.runtime.checkpoint_checks import BUILD_ERRORS, checked_options
from recbole_video.serving.predictor import PopularityPredictor
from recbole_video.serving.recommender import Recommender
from recbole_video.tasks import task_of
from recbole_video.tasks.recbole import recbole_checkpoint_error


def load_model(
    path: str | Path, device: str | torch.device = "cpu", trust: Trust = False
) -> Recommender | PopularityPredictor:
    """Load a trained model from its checkpoint, or from the folder of its run.

    Neither the training data nor the device that the model was trained on is needed. Nothing in the file is run, and
    of classes only those that it names and this process knows: the package's own, and those that were registered, or
    given to :func:`recbole_video.run_recbole_video`, since it started.

    Args:
        path: ``model.pth`` or the run folder that holds it.
        device: Where to compute.
        trust: Which other classes the file may name, to be imported and run: ``"my_module:MyEncoder"``, the class
            itself, several of them in a list, or True for whatever it names.

    Returns:
        A recommender, or a predictor of popularity for models such as STAP.

    Raises:
        CheckpointError: If the file cannot be read, is no checkpoint of this package, contradicts itself, or names a
            class that is not trusted.
        ConfigError: If the device cannot be used, or ``trust`` names no classes.
    """
    trusted = trusted_paths(trust)  # now, since what is wrong with it is no fault of the model
    path, device = expanded(path), _usable_device(device)
    if path.is_dir():
        _check_has_checkpoint(path)
        path = path / "model.pth"
    recbole_compat.apply()
    state = read_checkpoint(path, "cpu")
    if "data" not in state:
        raise recbole_checkpoint_error(path)
    config = _saved_config(checked_options(state, path), device, True if trusted is None else trusted, path)
    return task_of(config).open(config, state, path)


def _check_has_checkpoint(folder: Path) -> None:
    """RecBole's own models have another one; a control had none before its kind kept checkpoints."""
    if (folder / "metrics.json").is_file() and not (folder / "model.pth").exists():
        raise CheckpointError(
            f"The run in `{folder}` keeps no checkpoint, only results: it is of a control, or of one of RecBole's own "
            "models; see metrics.json and predictions.tsv."
        )


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        named = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"`device` is `{device}`, which is no device; give cpu, cuda or cuda:0, for example."
        ) from error
    try:
        return torch.empty(0, device=named).device
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"`device` is `{device}`, which cannot be used here: {reason}.") from error


def _saved_config(options: dict[str, Any], device: torch.device, trust: Trust, path: Path) -> Config:
    """The configuration of a checkpoint, on another device; RecBole's own choice of GPU is left out."""
    used = {**options, "use_gpu": False}
    dataset = used.pop("dataset")
    try:
        config = Config(None, dataset, config_dict=used, trust=trust, is_stored=True)
    except ConfigError as error:
        raise CheckpointError(f"The model of `{path}` cannot be built: {error}") from error
    except BUILD_ERRORS as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise CheckpointError(f"The options of `{path}` cannot be used ({reason}).") from error
    return config.on(device)
