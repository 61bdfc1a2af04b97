"""A decoding process with faults; a module of its own, since the process imports it."""

import os
import time

from recbole_video.dataset_tools.video.decode import decode_task
from recbole_video.dataset_tools.video.hand_over import send


def serve(pipe, threads):
    """Die of the video of item 11 and hang on that of item 12."""
    pipe.send(None)
    while True:
        task = pipe.recv()
        if task.video.item_id == "11":
            os._exit(7)
        if task.video.item_id == "12":
            time.sleep(60)
        send(pipe, decode_task(task, threads))
