"""What RecBole 1.2.1 breaks on with today's libraries, mended in one place.

Each mend says which version it is for and why, and does nothing where it is not needed.
:func:`apply` is called by whatever is about to use RecBole (never at import of this package) and
may be called any number of times.

One fault is avoided rather than mended: ``recbole.quick_start`` imports Ray, so nothing here
imports it.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from recbole_video.errors import MissingDependencyError


def apply() -> None:
    """Make RecBole 1.2.1 work with the installed NumPy, SciPy, pandas and PyTorch.

    Raises:
        MissingDependencyError: If RecBole comes without its source, which pandas 3 needs.
    """
    for mend in _MENDS:
        mend()


# RecBole spells these names in its own code; NumPy 1.24 and 2.0 removed them.
_NUMPY_NAMES: dict[str, Any] = {
    "bool": np.bool_,
    "int": np.int_,
    "float": np.float64,
    "complex": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int_,
    "unicode": np.str_,
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
}


def _restore_numpy_names() -> None:
    """NumPy >= 1.24 (``np.float``) and >= 2.0 (``np.float_``): names that RecBole still uses."""
    for name, value in _NUMPY_NAMES.items():
        if name not in np.__dict__:
            setattr(np, name, value)


# What pandas 3 takes otherwise than RecBole means it, and the same for any pandas.
_PANDAS_IDIOMS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Changes a copy, so that NaN stays in the data and becomes an id of -2^63.
    (re.compile(r"^( *)(\w+\[field\])\.fillna\((.+), inplace=True\)$", re.MULTILINE), r"\1\2 = \2.fillna(\3)"),
    # Gives the number of rows in place of the length of each, so that sequences are cut at wrong places.
    (re.compile(r"\.agg\(len\)"), ".map(len)"),
    # Gives a read-only view of the table, whose memory a tensor would then share.
    (re.compile(r"^( *value = \w+\[\w+\])\.values$", re.MULTILINE), r"\1.to_numpy(copy=True)"),
)


def _mend_pandas_idioms() -> None:
    """Pandas >= 3: copy-on-write, and ``Series.agg`` calls its function once, on the whole series.

    The methods are compiled again from RecBole's own source, with these idioms replaced.

    Raises:
        MissingDependencyError: If the source is not there.
    """
    import pandas as pd

    if int(pd.__version__.split(".")[0]) >= 3:
        for owner, names in _methods_with_pandas_idioms():
            for name in names:
                _mend_method(owner, name)


def _methods_with_pandas_idioms() -> list[tuple[type, tuple[str, ...]]]:
    from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset
    from recbole.data.interaction import Interaction

    return [
        (
            Dataset,
            ("_load_feat", "_fill_nan", "_normalize", "_discretization", "_remap", "_dataframe_to_interaction"),
        ),
        (KnowledgeBasedDataset, ("_reset_ent_remapID",)),
        (SequentialDataset, ("_benchmark_presets",)),
        (Interaction, ("__init__",)),
    ]


def _mend_method(owner: type, name: str) -> None:
    """Replace a method by one of the same source without the idioms; once."""
    method: FunctionType = vars(owner)[name]
    if getattr(method, "mended_for_pandas", False):
        return
    try:
        source = inspect.getsource(method)
    except OSError as error:
        raise MissingDependencyError(
            "RecBole's source files are missing, without which it cannot be made to work with pandas 3; "
            "install `recbole==1.2.1` from its wheel, or `pandas<3`."
        ) from error
    for idiom, replacement in _PANDAS_IDIOMS:
        source = idiom.sub(replacement, source)
    # The class statement takes the indentation, the line breaks keep line numbers in tracebacks.
    source = "\n" * (method.__code__.co_firstlineno - 2) + "class _:\n" + source
    scope: dict[str, Any] = {}
    exec(compile(source, method.__code__.co_filename, "exec"), method.__globals__, scope)
    mended = vars(scope["_"])[name]
    mended.__qualname__ = method.__qualname__
    mended.mended_for_pandas = True
    setattr(owner, name, mended)


def _restore_dok_update() -> None:
    """SciPy >= 1.13: ``dok_matrix._update``, with which RecBole's graph models build adjacency."""
    from scipy.sparse import dok_matrix

    if hasattr(dok_matrix, "_update"):
        return

    def _update(self: Any, entries: dict[tuple[int, int], float]) -> None:
        self._dict.update(entries)

    dok_matrix._update = _update


def _save_plain_checkpoints() -> None:
    """PyTorch >= 2.6: ``torch.load`` refuses the pickled ``Config`` in RecBole's own checkpoints.

    RecBole's trainer then fails at its final test. The replacement writes the same keys with
    plain values, to a temporary file that is renamed when complete.
    """
    from recbole.trainer.trainer import Trainer

    if getattr(Trainer._save_checkpoint, "writes_plain_values", False):
        return
    from recbole.utils import set_color

    from recbole_video.files.values import plain
    from recbole_video.runtime.checkpoint import write_checkpoint

    def _save_checkpoint(self: Any, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        if not self.config["single_spec"] and self.config["local_rank"] != 0:
            return
        saved_model_file = kwargs.pop("saved_model_file", self.saved_model_file)
        state = {
            "config": plain(self.config.final_config_dict),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "state_dict": self.model.state_dict(),
            "other_parameter": _loadable(self.model.other_parameter(), self.logger),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(saved_model_file, state)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {saved_model_file}")

    _save_checkpoint.writes_plain_values = True  # type: ignore[attr-defined]
    Trainer._save_checkpoint = _save_checkpoint


def _loadable(parameters: dict[str, Any], logger: Any) -> dict[str, Any]:
    """What a model keeps beside its weights, as far as ``torch.load`` reads it back safely."""
    import torch

    plain_types = (torch.Tensor, bool, int, float, str, type(None))
    kept = {name: value for name, value in parameters.items() if isinstance(value, plain_types)}
    if len(kept) < len(parameters):
        left_out = ", ".join(sorted(set(parameters) - set(kept)))
        logger.warning(f"The checkpoint leaves out {left_out}, which cannot be stored as plain values.")
    return kept


def _keep_anomaly_detection() -> None:
    """All versions: importing RecBole's sequential models switches on autograd's anomaly detection.

    One of them (SINE) does so at import, for the whole process; every training step of every model
    is then a third slower. What was set before is restored.
    """
    import torch

    if "recbole.model.sequential_recommender" not in sys.modules:
        wanted = torch.is_anomaly_enabled()
        importlib.import_module("recbole.model.sequential_recommender")
        torch.autograd.set_detect_anomaly(wanted)


_MENDS: tuple[Callable[[], None], ...] = (
    _restore_numpy_names,
    _mend_pandas_idioms,
    _restore_dok_update,
    _save_plain_checkpoints,
    _keep_anomaly_detection,
)
