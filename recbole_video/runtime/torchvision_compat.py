"""What torchvision breaks on beside a PyTorch that it was not built for, mended in one place.

``open_clip`` and parts of ``transformers`` import torchvision. :func:`apply` is called before they are
imported (never at import of this package), and does nothing where it is not needed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

# Operators for which torchvision registers shapes whether or not its compiled library has loaded.
_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[object] = []  # a library's declarations live as long as it does


def apply() -> None:
    """Make torchvision importable where its compiled operators cannot be loaded.

    torchvision 0.15 to 0.28 and PyTorch >= 2.4: the registry's torchvision is built for CUDA, so that
    its library does not load beside a CPU build of PyTorch. torchvision takes that in its stride
    (transforms and models need no operator), except that ``register_fake`` is then called for
    operators nobody has defined, and the import ends in a RuntimeError. Here they are declared,
    without an implementation: whoever calls one is told so by PyTorch.
    """
    spec = None if "torchvision" in sys.modules else find_spec("torchvision")
    if spec is None or spec.origin is None or _loads(Path(spec.origin).parent):
        return
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + schema)
    _declared.append(library)


def _loads(folder: Path) -> bool:
    """Whether torchvision's compiled operators load; loading them twice does no harm."""
    import torch

    for library in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]:
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return True
    return False
