"""Train and evaluate a model: ``python run_recbole_video.py --model=SASRec --item_encoder=CVA``."""

import sys

from recbole_video.cli import main

if __name__ == "__main__":
    sys.exit(main())
