"""Runs one function in a process of its own: ``python -m benchmarks.child MODULE FUNCTION ARGUMENTS RESULT``.

ARGUMENTS and RESULT are JSON files. Called by :func:`benchmarks.common.run_child`.
"""

import json
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    module, function, arguments, result = sys.argv[1:]
    sys.argv = sys.argv[:1]  # RecBole reads it
    returned = getattr(import_module(module), function)(**json.loads(Path(arguments).read_text()))
    Path(result).write_text(json.dumps(returned))


if __name__ == "__main__":
    main()
