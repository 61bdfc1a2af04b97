"""From decoded pictures to a model's input: resize, crop, normalise, on the model's device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_video.errors import DataError
from recbole_video.files import reading

# PIL's codes, which configurations of processors use.
_INTERPOLATION = {2: "bilinear", 3: "bicubic"}
# What open_clip takes where a model does not say.
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures.

    Attributes:
        resize: Pixels of the shorter side, or (height, width) whatever the picture's shape.
        crop: (height, width) to cut from the centre; None for no cut.
        mean: Mean of each channel, in 0 ... 1.
        std: Standard deviation of each channel, in 0 ... 1.
        interpolation: ``bilinear`` or ``bicubic``; both average when they scale down.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    @property
    def short_side(self) -> int:
        """Pixels that the shorter side of a picture needs for nothing to be scaled up."""
        return self.resize if isinstance(self.resize, int) else max(self.resize)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Resize, crop and normalise pictures.

        Args:
            pictures: uint8 [n, height, width, 3].

        Returns:
            float32 [n, 3, h, w].
        """
        pixels = pictures.permute(0, 3, 1, 2).float()
        size = self._size(pixels.shape[-2], pixels.shape[-1])
        if size != tuple(pixels.shape[-2:]):
            pixels = torch.nn.functional.interpolate(pixels, size=size, mode=self.interpolation, antialias=True)
            pixels = pixels.clamp_(0, 255)  # bicubic overshoots
        pixels = pixels if self.crop is None else _centre(pixels, *self.crop)
        mean, std = (_of_channels(values, pixels.device) for values in (self.mean, self.std))
        return (pixels / 255 - mean) / std

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        shorter = min(height, width)
        return self.resize * height // shorter, self.resize * width // shorter


@cache
def _of_channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """One value per channel, copied once: to copy from memory that is not page-locked is to wait for the device."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _centre(pixels: Tensor, height: int, width: int) -> Tensor:
    top, left = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
    return pixels[..., top : top + height, left : left + width]


def from_processor(path: Path) -> Preprocessing:
    """Read the ``preprocessor_config.json`` of a model for ``transformers``.

    Raises:
        DataError: If the file is missing, or describes something else than resize, crop and normalise.
    """
    config = read_model_config(path)
    try:
        size = config["size"] if config.get("do_resize", True) else config.get("crop_size")
        crop = _pair(config["crop_size"]) if config.get("do_center_crop") else None
        return Preprocessing(
            # One number, as in older files, is the shorter side for CLIP alone, and a square for others.
            resize=size if isinstance(size, int) and _is_of_clip(config) else _resize(size),
            crop=crop,
            mean=tuple(config["image_mean"]),
            std=tuple(config["image_std"]),
            interpolation=_INTERPOLATION[int(config.get("resample", 2))],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"`{path}` does not say how pictures are resized and normalised ({error!r}).") from error


def _is_of_clip(config: Mapping[str, Any]) -> bool:
    kinds = (config.get("image_processor_type"), config.get("feature_extractor_type"))
    return any(isinstance(kind, str) and kind.startswith("CLIP") for kind in kinds)


def from_open_clip(config: Mapping[str, Any], image_size: int | tuple[int, int]) -> Preprocessing:
    """From the ``preprocess_cfg`` of a model for ``open_clip``.

    Raises:
        DataError: If pictures are padded, which this does not do.
    """
    side = _pair(image_size)
    mode = config.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise DataError(f"The CLIP model resizes pictures by `{mode}`; only shortest and squash are known here.")
    return Preprocessing(
        resize=side if mode == "squash" else max(side),
        crop=None if mode == "squash" else side,
        mean=tuple(config.get("mean", _CLIP_MEAN)),
        std=tuple(config.get("std", _CLIP_STD)),
        interpolation=config.get("interpolation", "bicubic"),
    )


def _resize(size: Any) -> int | tuple[int, int]:
    if isinstance(size, Mapping) and "shortest_edge" in size:
        return int(size["shortest_edge"])
    return _pair(size)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping):
        return int(size["height"]), int(size["width"])
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)


def read_model_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a model from a JSON file.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        config = reading.read_json(path)
    except DataError as error:
        raise DataError(f"{str(error).removesuffix('.')}; download the model's whole folder.") from error
    if not isinstance(config, dict):
        raise DataError(f"`{path}` is no configuration; download the model's whole folder.")
    return config
