"""Starts commands in processes of their own, imports done: ``python -m tests.kills.server SOCKET MODULE ...``.

Whoever connects has a server of its own, a fork of this process; all end when nobody holds their other end any more,
and kill what they run.
A server reads a line of JSON per command, imports nothing for it but forks, and answers with its process id, then with
its exit status. The command runs in a session of its own, from its entry point to the end of the interpreter, as if
started from a shell that had the imports behind it.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import tempfile
from importlib import import_module

READY = "ready\n"


def listen(path, modules):
    """Serve until standard input ends; in a process that is to become a command, what was asked for."""
    # A shell lets what it starts in the background ignore Ctrl-C, and so would the commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # what is imported stays: no command needs to look for garbage in it, or to copy its pages
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print(READY, end="", flush=True)
        while listener in select.select([listener, 0], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return serve(connection)
            connection.close()
    return None


def serve(connection):
    """Start what is asked for, one command after the other."""
    questions, answers = connection.makefile("r"), connection.makefile("w")
    print(READY, end="", file=answers, flush=True)
    for line in questions:
        request = json.loads(line)
        ready, is_ready = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            os.close(ready)
            os.close(is_ready)
            questions.close()
            answers.close()
            connection.close()
            return request
        os.close(is_ready)
        os.read(ready, 1)  # until it has a session of its own
        os.close(ready)
        print(child, file=answers, flush=True)
        if not _somebody_waits(child, connection):
            os.killpg(child, signal.SIGKILL)
            break
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    return None


def _somebody_waits(child, connection):
    """Whether the command has ended while its client was there; as an interrupted run of the tests is not."""
    if not hasattr(os, "pidfd_open"):  # of Linux
        return True
    ends = os.pidfd_open(child)
    ready = select.select([ends, connection], [], [])[0]
    os.close(ends)
    return ends in ready or connection.recv(1, socket.MSG_PEEK)


def become(request):
    """Turn this process into the command."""
    os.chdir(request["folder"])
    nothing, log = os.open(os.devnull, os.O_RDONLY), os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    sys.argv = [request["program"], *request["words"]]
    module, function = request["entry"].split(":")
    return getattr(import_module(module), function)()


if __name__ == "__main__":
    asked = listen(sys.argv[1], sys.argv[2:])
    if asked is None:
        os._exit(0)  # the interpreter's own end takes a second, with all that is imported
    sys.exit(become(asked))
