"""``python -m recbole_video``: what ``recbole-video`` runs."""

import sys

from recbole_video.cli import main

if __name__ == "__main__":
    sys.exit(main())
