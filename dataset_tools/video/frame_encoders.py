"""Frame encoders: frozen vision models from pictures to embeddings, one registry line each.

DINOv3, DINOv2 and ViT run through ``transformers`` and give the class token of the normalised last layer;
CLIP runs through ``open_clip`` and gives the projected image embedding. What lies in the folder of the
weights decides which: ``open_clip_config.json`` or ``config.json``. ``histogram`` and ``random`` are rules
without weights, for trial runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from recbole_video.dataset_tools.video.batches import Arriving, Batches, to_device
from recbole_video.dataset_tools.video.frozen_layers import CLIP_PATCHES, FrozenVision, vision_shape
from recbole_video.dataset_tools.video.preprocess import (
    Preprocessing,
    from_open_clip,
    from_processor,
    read_model_config,
)
from recbole_video.dataset_tools.video.weights import RULES as WITHOUT_WEIGHTS
from recbole_video.dataset_tools.video.weights import Source, Weights, load_clip_model, load_transformers_model
from torch import Tensor

from recbole_video.errors import ConfigError, DataError, nearest

_WITHOUT_CLIP = (
    f"Frames are chosen without CLIP by --sampler=uniform, and embedded without weights by {WITHOUT_WEIGHTS}"
)
FRAME_ENCODERS = {
    "dinov2": Source("dinov2", "facebook/dinov2-small", megabytes=88, dim=384),
    "dinov3": Source(
        "dinov3", "facebook/dinov3-vits16-pretrain-lvd1689m", licence="the DINOv3 licence", megabytes=86, dim=384
    ),
    "clip": Source("clip", "timm/vit_base_patch32_clip_224.openai", megabytes=605, dim=512, instead=_WITHOUT_CLIP),
    "clip-patches": CLIP_PATCHES,
    "vit": Source("vit", "google/vit-base-patch32-224-in21k", megabytes=350, dim=768),
    "histogram": Source("histogram", "histogram", dim=64, is_rule=True),
    "random": Source("random", "random", dim=64, is_rule=True),
}
# Other weights that the sweeps name.
KNOWN_PLACES = {
    source.place: source
    for source in (
        *(source for source in FRAME_ENCODERS.values() if not source.is_rule),
        Source("clip", "timm/vit_large_patch14_clip_224.openai", megabytes=1711, dim=768, instead=_WITHOUT_CLIP),
    )
}
CLIP = FRAME_ENCODERS["clip"]
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CLIP_CONFIG = "open_clip_config.json"
_LEVELS = 4  # of each colour in a histogram


@dataclass(frozen=True)
class Placement:
    """Where and how a model runs.

    Attributes:
        device: PyTorch's name of the device; ``auto`` for a GPU where there is one.
        precision: ``float32``, or ``bfloat16`` or ``float16`` for autocast; ``auto`` for autocast on a GPU, in
            bfloat16 where it knows that, and float32 elsewhere.
        batch_size: Inputs per pass: exactly, of pictures, and at most, of texts; None for what suits the device.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None

    def resolved(self) -> Placement:
        """The placement with every ``auto`` decided.

        Raises:
            ConfigError: If the precision is unknown, or the device cannot be used.
        """
        device, precision = self.device, self.precision
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1.")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            on_gpu = torch.device(device).type == "cuda"
            precision = ("bfloat16" if torch.cuda.is_bf16_supported() else "float16") if on_gpu else "float32"
        if precision not in PRECISIONS:
            known = ", ".join(["auto", *PRECISIONS])
            raise ConfigError(f"`{precision}` is no precision{nearest(precision, PRECISIONS)}; there are {known}.")
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"The device `{device}` cannot be used: {str(error).splitlines()[0]}") from error
        return Placement(device, precision, self.batch_size)

    @property
    def pictures_per_pass(self) -> int:
        """Pictures in a batch, where the device is decided: a CPU gains nothing by more of them."""
        return self.batch_size or (16 if self.device == "cpu" else 128)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inference mode, and autocast where the precision asks for it."""
        dtype = PRECISIONS[self.precision]
        with torch.inference_mode(), torch.autocast(self.device.split(":")[0], dtype) if dtype else nullcontext():
            yield


@dataclass(frozen=True)
class Shape:
    """What goes into a model and what comes out, as its configuration says.

    Attributes:
        frame_dim: D, width of an embedding.
        preprocessing: How it wants its pictures.
    """

    frame_dim: int
    preprocessing: Preprocessing


def read_shape(weights: Weights) -> Shape:
    """Read a model's shape without loading it.

    Raises:
        DataError: If the folder lacks a file, or one does not say.
    """
    if weights.is_rule:
        return Shape(_LEVELS**3, Preprocessing((32, 32), None, (0.0,) * 3, (1.0,) * 3, "bilinear"))
    folder = weights.folder
    try:
        if weights.name == CLIP_PATCHES.name:
            tokens, width = vision_shape(folder)
            return Shape(tokens * width, from_processor(folder / "preprocessor_config.json"))
        if (folder / _CLIP_CONFIG).is_file():
            config = read_model_config(folder / _CLIP_CONFIG)
            size = config["model_cfg"]["vision_cfg"]["image_size"]
            return Shape(int(config["model_cfg"]["embed_dim"]), from_open_clip(config["preprocess_cfg"], size))
        width = int(read_model_config(folder / "config.json")["hidden_size"])
        return Shape(width, from_processor(folder / "preprocessor_config.json"))
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"The configuration in `{folder}` is not that of a vision model: {error!r}.") from error


class FrameEncoder:
    """A frozen vision model; subclasses say how it is loaded and called.

    Args:
        weights: The model's folder.
        placement: Where and how it runs.

    Attributes:
        frame_dim: D, width of an embedding.
        preprocessing: How it wants its pictures.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        self.placement = placement.resolved()
        shape = read_shape(weights)
        self.frame_dim, self.preprocessing = shape.frame_dim, shape.preprocessing

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Embed pictures, in batches of full size.

        Args:
            pictures: uint8 [n >= 1, height, width, 3].

        Returns:
            float32 [n, D].
        """
        batches: Batches[str] = Batches(self)
        on_device = to_device(torch.from_numpy(pictures), self.placement.device)
        through = dict([*batches.add("all", on_device), *batches.finish()])
        return through["all"]

    def prepare(self, pictures: Tensor) -> Tensor:
        """Resize, crop and normalise pictures on the device, uint8 [n, height, width, 3] -> float32 [n, 3, h, w]."""
        with self.placement.running():
            return self.preprocessing(pictures)

    def begin(self, pixels: Tensor) -> Arriving:
        """Begin to embed a batch of prepared pictures, float32 [batch_size, 3, h, w]."""
        with self.placement.running():
            return Arriving(self.forward(pixels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed prepared pictures, [n, 3, h, w] -> [n, D]."""
        raise NotImplementedError


class TransformersEncoder(FrameEncoder):
    """A vision model of ``transformers``: the class token of the normalised last layer.

    Args:
        weights: Folder with ``config.json``, ``preprocessor_config.json`` and weights.
        placement: Where and how it runs.

    Raises:
        DataError: If the folder is incomplete or holds no vision model.
        MissingDependencyError: Without ``transformers``.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        super().__init__(weights, placement)
        self._model = load_transformers_model(weights).to(self.placement.device)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._model(pixel_values=pixels).last_hidden_state[:, 0]


class ClipEncoder(FrameEncoder):
    """CLIP of ``open_clip``: images and texts in one space.

    Args:
        weights: Folder with ``open_clip_config.json`` and weights.
        placement: Where and how it runs.

    Raises:
        DataError: If the folder holds no model that ``open_clip`` knows.
        MissingDependencyError: Without ``open_clip``.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        super().__init__(weights, placement)
        self._model, self._tokenize = load_clip_model(weights, self.placement.device)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._model.encode_image(pixels)

    def begin_text(self, texts: list[str]) -> Arriving:
        """Begin to embed texts, [n, D]; what exceeds the model's context (77 tokens, mostly) is cut off."""
        with self.placement.running():
            return Arriving(self._model.encode_text(to_device(self._tokenize(texts), self.placement.device)))


class PatchEncoder(FrameEncoder):
    """What goes into the first layer of CLIP's vision model, one vector per patch, as one long row per picture.

    Args:
        weights: Folder of CLIP as ``transformers`` keeps it.
        placement: Where and how it runs.

    Raises:
        DataError: If the folder holds another model.
        MissingDependencyError: Without ``transformers``.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        super().__init__(weights, placement)
        self._model = FrozenVision(weights)
        self._model.network(self.placement.device)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._model.embed(pixels).flatten(1)


class HistogramEncoder(FrameEncoder):
    """Share of a picture's pixels in each of 4 x 4 x 4 colours: no model, for trial runs and as a floor."""

    def forward(self, pixels: Tensor) -> Tensor:
        level = (pixels * _LEVELS).long().clamp(0, _LEVELS - 1)
        colour = (level[:, 0] * _LEVELS + level[:, 1]) * _LEVELS + level[:, 2]
        counts = torch.zeros(len(pixels), _LEVELS**3, device=pixels.device)
        counts.scatter_add_(1, colour.flatten(1), torch.ones_like(colour, dtype=counts.dtype).flatten(1))
        return counts / colour[0].numel()


class RandomEncoder(FrameEncoder):
    """Normal numbers that say nothing of a picture but that equal ones have equal numbers: for trial runs alone."""

    def forward(self, pixels: Tensor) -> Tensor:
        shown = (pixels * 255).round().to("cpu", torch.uint8).numpy()
        seeds = [int.from_bytes(hashlib.sha256(picture.tobytes()).digest()[:8], "big") for picture in shown]
        numbers = [np.random.default_rng(seed).standard_normal(_LEVELS**3, dtype=np.float32) for seed in seeds]
        return torch.from_numpy(np.stack(numbers)).to(pixels.device)


RULES = {"histogram": HistogramEncoder, "random": RandomEncoder}


def load_frame_encoder(weights: Weights, placement: Placement) -> FrameEncoder:
    """Load whatever vision model the folder of the weights holds, or make the rule that it names."""
    if weights.is_rule:
        return RULES[weights.name](weights, placement)
    if weights.name == CLIP_PATCHES.name:
        return PatchEncoder(weights, placement)
    is_clip = (weights.folder / _CLIP_CONFIG).is_file()
    return ClipEncoder(weights, placement) if is_clip else TransformersEncoder(weights, placement)


def frame_encoder_source(name: str) -> Source:
    """The registry's line for a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in FRAME_ENCODERS:
        raise ConfigError(
            f"`{name}` is no frame encoder{nearest(name, FRAME_ENCODERS)}; there are {', '.join(FRAME_ENCODERS)}, and "
            "--weights takes any other model's folder or hub id."
        )
    return FRAME_ENCODERS[name]
