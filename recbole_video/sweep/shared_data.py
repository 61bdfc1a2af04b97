"""Data that is read once and shared between trials: the same arrays in the machine's shared memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recbole_video.config import Config
from recbole_video.runtime.recbole_host import HostConfig
from recbole_video.tasks import task_of
from recbole_video.tasks.task import prepare_bundled

_MOST_CACHED = 4  # data sets; a trial that uses one keeps it alive in any case
_INPUTS, _FILTER = "inputs_read", "filters_by_content"  # what the data depends on beside the options
_OF_THE_DEVICE = frozenset(["device", "frames_on_device", "gpu_id", "use_gpu"])


class RecordingConfig:
    """A configuration that notes which options are read: those decide what the data is, and no list can go stale."""

    def __init__(self, config: Config | HostConfig, read: dict[str, Any] | None = None) -> None:
        self._config = config
        self.read: dict[str, Any] = {} if read is None else read

    def __getitem__(self, name: str) -> Any:
        value = self._config[name]
        if name not in _OF_THE_DEVICE:
            self.read[name] = value
        return torch.device("cpu") if name == "device" else value

    def host(self) -> RecordingConfig:
        """RecBole's view of it, which notes what is read as well."""
        return RecordingConfig(self._config.host(), self.read)

    def __contains__(self, name: str) -> bool:
        return name in self._config

    @property
    def inputs_read(self) -> frozenset[str]:
        """What the model reads: all of model and item encoder that the data depends on."""
        self.read[_INPUTS] = self._config.inputs_read
        return self._config.inputs_read

    @property
    def filters_by_content(self) -> bool:
        """Whether items without content are left out for a model that reads none."""
        self.read[_FILTER] = self._config.filters_by_content
        return self._config.filters_by_content

    @property
    def task(self) -> str:
        """``recommendation`` or ``popularity``."""
        return self._config.task


class DataServer:
    """Reads each data set once and serves it to all trials; runs as a Ray actor of its own.

    Args:
        put: Puts a value into shared memory and gives a reference to it.
    """

    def __init__(self, put: Callable[[Any], Any]) -> None:
        self._put = put
        self._cache: OrderedDict[int, tuple[dict[str, Any], Any]] = OrderedDict()
        self.n_loaded = 0

    def get(self, options: dict[str, Any]) -> Any:
        """Reference to the data of these options, in a list, so that it is handed on and not fetched."""
        config = Config(config_dict=options, is_shared=True)
        for key, (read, reference) in self._cache.items():
            if all(_is_same(_current_value(config, name), value) for name, value in read.items()):
                self._cache.move_to_end(key)
                return [reference]
        recorded = RecordingConfig(config)
        data = load_shareable(recorded)
        self.n_loaded += 1
        reference = self._put(data)
        self._cache[self.n_loaded] = (recorded.read, reference)
        while len(self._cache) > _MOST_CACHED:
            self._cache.popitem(last=False)
        return [reference]


@contextmanager
def data_server(ray: Any) -> Iterator[Any]:
    """The actor; killed, as by a machine out of memory, it starts anew and reads what is asked for again.

    It ends with the sweep: in a session of the caller's, which goes on, it would keep the data in memory. After an
    error nothing more is asked of Ray, which may be what was lost.
    """
    server = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(DataServer).remote(ray.put)
    yield server
    ray.kill(server)


def load_shareable(config: Any) -> Any:
    """The data of a configuration as plain arrays in the host's memory."""
    prepare_bundled(config)
    return task_of(config).load(config).shareable()


def _current_value(config: Config, name: str) -> Any:
    return getattr(config, name) if name in (_INPUTS, _FILTER) else config[name]


def _is_same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
