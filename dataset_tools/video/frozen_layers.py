"""Frozen networks in two halves: what makes the vectors that go into their first layer, and the layers.

The vectors of a picture or a text can be kept in a frame store. The layers are for models that put something of their
own beside them, and cannot keep what comes out (ICPF, variant ``icpf_full``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from recbole_video.dataset_tools.video.preprocess import read_model_config
from recbole_video.dataset_tools.video.weights import Source, Weights, load_transformers_model
from torch import Tensor

from recbole_video.errors import DataError

_OF_ICPF = "ICPF over stored features needs no such weights: --variant=icpf_lite."
CLIP_PATCHES = Source(
    "clip-patches",
    "openai/clip-vit-base-patch32",
    megabytes=605,
    dim=38400,
    instead=_OF_ICPF,
    named_by="--weights (of ICPF: --vision_weights)",
    read_alone=("config.json", "preprocessor_config.json"),
)
BERT_WORDS = Source(
    "bert-words",
    "google-bert/bert-base-uncased",
    megabytes=440,
    dim=768,
    instead=_OF_ICPF,
    named_by="--weights (of ICPF: --text_weights)",
    read_alone=("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt"),
)


class FrozenLayers:
    """A frozen network, loaded when it is first run.

    It is no module, so that it is no part of the model that holds it: never trained, and in no checkpoint.

    Args:
        weights: The network's folder, as ``transformers`` keeps it.

    Attributes:
        weights: The same.
        width: Of a vector.

    Raises:
        DataError: If the folder holds a network of another kind.
    """

    kinds: ClassVar[tuple[str, ...]]
    wanted: ClassVar[str]

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.width = _whole(_config_of(weights.folder, self.kinds, self.wanted), "hidden_size", weights.folder)
        self._network: Any = None

    def network(self, device: torch.device | str | None = None) -> Any:
        """The network, on a device; by default on the one where it is.

        Raises:
            DataError: If the folder does not hold it.
            MissingDependencyError: Without ``transformers``.
        """
        if self._network is None:
            whole = load_transformers_model(self.weights)
            self._network = getattr(whole, "vision_model", whole).requires_grad_(False)
        return self._network if device is None else self._network.to(device)

    @property
    def n_parameters(self) -> int:
        """Parameters of the layers."""
        return sum(weights.numel() for weights in self.network().encoder.parameters())


class FrozenVision(FrozenLayers):
    """CLIP's vision model.

    Args:
        weights: The network's folder.

    Attributes:
        n_tokens: Vectors of a picture: the class token, and one per patch.

    Raises:
        DataError: If the folder holds another model.
    """

    kinds = ("clip", "clip_vision_model")
    wanted = "CLIP"

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.n_tokens, _ = vision_shape(weights.folder)

    def embed(self, pixels: Tensor) -> Tensor:
        """What goes into the first layer, [n, 3, h, w] -> [n, tokens, width]."""
        network = self.network(pixels.device)
        return network.pre_layrnorm(network.embeddings(pixels))

    def layers(self, tokens: Tensor) -> Tensor:
        """What comes out of the last layer, before its norm, [n, m, width] -> [n, m, width]."""
        return self.network(tokens.device).encoder(inputs_embeds=tokens).last_hidden_state


class FrozenText(FrozenLayers):
    """BERT.

    Args:
        weights: The network's folder.

    Raises:
        DataError: If the folder holds another model.
    """

    kinds = ("bert",)
    wanted = "BERT"

    def embed(self, numbers: Tensor) -> Tensor:
        """What goes into the first layer, of numbers of word pieces, int64 [n, m] -> [n, m, width]."""
        return self.network(numbers.device).embeddings(input_ids=numbers)

    def layers(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What comes out of the last layer, [n, m, width] with mask bool [n, m] -> [n, m, width]."""
        hidden = torch.zeros(mask.shape, dtype=tokens.dtype, device=tokens.device)
        hidden = hidden.masked_fill(~mask, torch.finfo(tokens.dtype).min)
        return self.network(tokens.device).encoder(tokens, attention_mask=hidden[:, None, None]).last_hidden_state


def vision_shape(folder: Path) -> tuple[int, int]:
    """Vectors of a picture, and their width, as the configuration of CLIP says.

    Raises:
        DataError: If it is of another model.
    """
    config = _config_of(folder, FrozenVision.kinds, FrozenVision.wanted)
    side = _whole(config, "image_size", folder) // _whole(config, "patch_size", folder)
    return side**2 + 1, _whole(config, "hidden_size", folder)


def _config_of(folder: Path, kinds: tuple[str, ...], wanted: str) -> dict[str, Any]:
    """The configuration of a network, of CLIP that of its vision model."""
    config = read_model_config(folder / "config.json")
    if config.get("model_type") not in kinds:
        raise DataError(
            f"`{folder}` holds a model of the kind {config.get('model_type', 'unknown')}; {wanted} is needed here, as "
            "transformers keeps it."
        )
    return config.get("vision_config", config)


def _whole(config: dict[str, Any], name: str, folder: Path) -> int:
    """A size that a configuration says; a file may leave out what is as in ViT-B/32 and in BERT's base model."""
    usual = {"hidden_size": 768, "image_size": 224, "patch_size": 32}[name]
    value = config.get(name, usual) if isinstance(config, dict) else None
    if not isinstance(value, int) or value < 1:
        raise DataError(f"`{name}` in the configuration of `{folder}` is `{value}`; download the model's whole folder.")
    return value
