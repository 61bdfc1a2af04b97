"""``python -m recbole_video``: what ``recbole-video`` runs."""

import sys

from recbole_video.cli import program

if __name__ == "__main__":
    sys.exit(program())
