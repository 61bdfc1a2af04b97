"""Programs in processes of their own that need no interpreter of their own: forks of one that has the imports done."""

import runpy
import sys
import tempfile
from pathlib import Path

from .kills.process import Command, Launcher

MODULES = (
    "recbole_video.cli", "recbole_video.commands.sweep", "recbole_video.quick_start",
    "recbole_video.recommendation.tower",
    "recbole_video.user_encoders.sasrec", "recbole_video.popularity.stap.model", "recbole.trainer", "torch._dynamo",
    "torch.utils.tensorboard", "matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.PngImagePlugin",
    "recbole_video.sweep.shared_data", "ray.tune", "tests.forked",
)  # fmt: skip
_SECONDS = 600


class Forks:
    """Starts programs in forks; a context manager.

    Those of the same ``run`` have one process that does the imports.
    """

    def __init__(self, run=None):
        self.launcher = Launcher(MODULES, shared=run and Path(tempfile.gettempdir(), f"k-{run}.socket"))

    def __enter__(self):
        self.launcher.__enter__()
        return self

    def __exit__(self, *error):
        self.launcher.__exit__(*error)

    def start(self, folder, *words, entry="recbole_video.cli:main", environment=()):
        """The command, or another entry, in this working folder; what it says goes to ``output.txt`` there."""
        output = Path(folder, "output.txt")
        output.touch()
        command = Command(entry, ("recbole_video",), tuple(map(str, words)), Path(folder), output)
        return self.launcher.start(command, environment=environment)

    def run_file(self, path, *words):
        """What ``python PATH WORDS`` in the working folder gives: status and output."""
        folder = Path.cwd()
        running = self.start(folder, path, *words, entry="tests.forked:run_as_main")
        try:
            assert running.ended_within(_SECONDS), f"{path} does not end"
        finally:
            running.clean_up()
        return running.code, (folder / "output.txt").read_text()


def run_as_main():
    """As the interpreter does with a file."""
    sys.argv.pop(0)
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
