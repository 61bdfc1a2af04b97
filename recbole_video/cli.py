"""The command line: ``recbole-video`` and ``run_recbole_video.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from recbole_video.errors import RecBoleVideoError

USAGE = """\
usage: run_recbole_video.py [--model=SASRec] [--item_encoder=CVA] [--dataset=microvideo-demo]
                            [--config_files="a.yaml b.yaml"] [--resume[=RUN_FOLDER]] [--OPTION=VALUE ...]
       run_recbole_video.py --list      models, item encoders, data sets and where their options are

Every option of RecBole and of properties/*.yaml can be set; command line > config files > defaults.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an experiment from the command line.

    Returns:
        Exit status: 0, or 1 after an error that is the user's to mend, or 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(words):
        print(USAGE, end="")
        return 0
    try:
        if "--list" in words:
            print(_listing())
            return 0
        from recbole_video.options import parse_command_line
        from recbole_video.quick_start import run_recbole_video

        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))  # for encoders of one's own, module:Class
        files = parse_command_line(words).get("config_files")
        run_recbole_video(config_file_list=str(files).split() if files else None, command_line=words)
    except RecBoleVideoError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; a video model's run goes on with --resume.", file=sys.stderr)
        return 130
    return 0


def _listing() -> str:
    from importlib.resources import files

    from recbole_video.dataset_tools import BUNDLED
    from recbole_video.item_encoders import ITEM_ENCODERS
    from recbole_video.popularity import POPULARITY_MODELS
    from recbole_video.user_encoders import USER_ENCODERS

    return "\n".join(
        [
            f"models:         {', '.join(USER_ENCODERS)}, and every model of RecBole (recbole:NAME for its version)",
            f"popularity:     {', '.join(POPULARITY_MODELS)}",
            f"item encoders:  {', '.join(ITEM_ENCODERS)}, or module:Class",
            f"data sets:      {', '.join(BUNDLED)} (made on first use), any folder of atomic files under dataset/",
            f"their options:  {files('recbole_video.properties')}",
        ]
    )
