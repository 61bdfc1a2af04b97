"""What processes are given to do in the tests, importable without RecBole."""

import os
import signal
import time

import torch

from recbole_video.errors import DataError
from recbole_video.runtime.processes import processes


def die():
    """The second process is killed while the first waits for it."""
    if processes().rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    processes().sum_of(torch.ones(1))
    time.sleep(600)


def fail():
    """The second process finds a fault of the user's."""
    if processes().rank == 1:
        raise DataError("`x.inter`, line 3: something is wrong.")
    processes().sum_of(torch.ones(1))
    time.sleep(600)
