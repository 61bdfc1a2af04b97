"""ICPF (Cheng et al., AAAI 2025): similar training videos as prompts, for small encoders or a frozen CLIP and BERT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from recbole_video.data.labelled_loader import evenly_chosen
from recbole_video.errors import ConfigError
from recbole_video.options.option import layers_option, option, size_option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.neighbours import Neighbours
from recbole_video.popularity.retrieval import RetrievalModel, RetrievalOptions
from recbole_video.popularity.stap.temporal import never_empty, sequence_mean

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.frozen_layers import FrozenText, FrozenVision

_PROMPT_HEADS, _POOL_WIDTH = 8, 64
_OF_FULL = ("patches", "tokens")  # modalities
_FULL_ALONE, _LITE_ALONE = ((("variant", other),) for other in ("icpf_lite", "icpf_full"))


class ICPF(RetrievalModel):
    """Retrieval by frames and by text apart, prompts of what was found, an encoder of frames and one of text.

    ``icpf_lite``: the encoders are small ones that are trained, over frames and text of the stores. ``icpf_full``: they
    are the layers of CLIP and BERT, frozen, over what goes into their first: ``patches``, a row per frame that holds
    its vectors one behind the other, and ``tokens``, a row per word piece. Videos are similar by frames and text in
    both.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are no frames, no text, or a width has no whole heads; of ``icpf_full``, if patches or
            tokens are lacking, or are not of the weights.
        DataError: If weights of ``icpf_full`` are out of reach.
    """

    of_frames: nn.Linear | None
    frame_branch: Branch
    text_branch: Branch

    @dataclass(frozen=True)
    class Options(RetrievalOptions):
        """ICPF (AAAI 2025)."""

        variant: Literal["icpf_lite", "icpf_full"] = option(
            "icpf_lite",
            "icpf_lite: over stored features; icpf_full: prompts for a frozen CLIP and BERT (docs/baselines.md).",
            section="ICPF",
        )
        n_neighbours: int = size_option(14, "K, training videos that each video is given by frames and by text.")
        n_prompts: int = size_option(8, "Prompts of each modality.")
        encoder_layers: int = layers_option(
            2, "Transformer layers in place of each frozen encoder.", void_when=_LITE_ALONE
        )
        encoder_heads: int = size_option(8, "Of these layers.", void_when=_LITE_ALONE)
        n_tokens: int = size_option(
            64, "Word pieces of a text that are read, at most, the first ones.", void_when=_FULL_ALONE
        )
        vision_weights: str = option(
            "openai/clip-vit-base-patch32",
            "Folder or hub id (ID@COMMIT for a commit) of the CLIP that made the patches.",
            is_path=True,
            void_when=_FULL_ALONE,
        )
        text_weights: str = option(
            "google-bert/bert-base-uncased",
            "Folder or hub id (ID@COMMIT for a commit) of the BERT that made the tokens.",
            is_path=True,
            void_when=_FULL_ALONE,
        )
        dropout: float = option(0.1, at_least=0, below=1, must="is a share, at least 0 and below 1")
        learning_rate: float = option(1e-4, "As in the public code.", at_least=0)
        weight_decay: float = option(0.01, "As in the public code.", at_least=0)
        regression_loss: Literal["huber", "mse"] = option("mse", "huber or mse.")
        train_batch_size: int = option(64, at_least=1)
        eval_batch_size: int = option(64, "Videos per batch, each with the frames of K others.", at_least=1)
        epochs: int = option(30, at_least=1)
        stopping_step: int = option(5, "Stop after so many evaluations without a better one.")

    def __init__(self, config: Any, inputs: InputShape) -> None:
        options = config.options(self.Options)
        is_full = options.variant == "icpf_full"
        kept = {"frames": inputs.frame_dim, "text": inputs.text_dim}
        if is_full:
            _check_full(inputs)
            kept["tokens"] = inputs.other_dims["tokens"]
        super().__init__(config, inputs, kept, {"tokens": options.n_tokens})
        self.is_full = is_full
        self.never_without = frozenset(_OF_FULL) if is_full else frozenset()
        width = options.hidden_size or inputs.frame_dim
        if is_full:
            self._make_full(options, width)
        else:
            self._make_lite(options, width)
        self.label_of_rank = nn.Parameter(torch.randn(self.n_neighbours, width))
        self.label_norm = nn.LayerNorm(width)
        self.fusion = FusionBlock(width, options.dropout)
        self.frame_layers, self.text_layers = (
            nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)) for _ in range(2)
        )
        self.metadata = MetadataVector(inputs)
        self.head = nn.Linear(2 * width + self.metadata.width, 1)

    def _make_lite(self, options: Options, width: int) -> None:
        if width % options.encoder_heads:
            raise ConfigError(
                f"d, {width}, must be a multiple of encoder_heads, {options.encoder_heads}; set hidden_size or that."
            )
        inputs = self.inputs
        self.of_frames = None if inputs.frame_dim == width else nn.Linear(inputs.frame_dim, width)
        self.of_text = None if inputs.text_dim == width else nn.Linear(inputs.text_dim, width)
        self.frame_branch, self.text_branch = (SmallBranch(width, options) for _ in range(2))

    def _make_full(self, options: Options, width: int) -> None:
        vision, text = _find_frozen(options, self.inputs)
        found = self.inputs.frame_dim
        self.of_frames = None if found == vision.width else nn.Linear(found, vision.width)
        self.frame_branch = FrozenFrameBranch(vision, width, options)
        self.text_branch = FrozenTextBranch(text, width, options)

    @classmethod
    def reads(cls, options: Mapping[str, Any]) -> frozenset[str]:
        """Frames, text and metadata, and what goes into CLIP and BERT where they are in the loop."""
        return cls.inputs_read | (frozenset(_OF_FULL) if options["variant"] == "icpf_full" else frozenset())

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """That the encoders are small ones that are trained, and not those of the paper, or which ones they are."""
        return "CLIP and BERT frozen" if "frozen" in result["parameters"] else "ICPF-lite"

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        by_text, by_frames = self._nearest(batch)
        text, text_mask = self._read_tokens(batch, by_text) if self.is_full else self._read_text(batch, by_text)
        frames, frame_mask = self._read_frames(batch, by_frames)
        label = self._read_labels(by_text, by_frames)
        tokens = torch.cat([text, frames, label], dim=1)
        mask = torch.cat([text_mask, frame_mask, torch.ones_like(text_mask[:, :1])], dim=1)
        joined = self.fusion(tokens, mask)
        blocks = [self.text_layers(joined[:, 0]), self.frame_layers(joined[:, text.shape[1]])]
        if self.metadata.width:
            blocks.append(self.metadata(batch))
        return self.head(torch.cat(blocks, dim=-1)).squeeze(-1)

    def _nearest(self, batch: Batch) -> tuple[Neighbours, Neighbours]:
        """The nearest training videos by text, and by frames."""
        by_text, by_frames = (self.memory.nearest(name, batch, self.n_neighbours) for name in ("text", "frames"))
        return by_text, by_frames

    def _read_text(self, batch: Batch, found: Neighbours) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + L + prompts, d] and mask; what was found is one text, their mean."""
        text, others = batch["text"], self.memory.vectors_of("text", found.places).mean(dim=1)[:, None, None]
        if self.of_text is not None:
            text, others = self.of_text(text), self.of_text(others)
        return self.text_branch(text, batch["text_mask"], others, torch.ones_like(others[..., 0], dtype=torch.bool))

    def _read_frames(self, batch: Batch, found: Neighbours) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + F + prompts, d] and mask; each video that was found is attended to apart."""
        others, other_mask = self.memory.frames_of(found.places)
        others = others if self.of_frames is None else self.of_frames(others)
        if self.is_full:
            patches, mask = evenly_chosen(batch["patches"], batch["patches_mask"], self.memory.n_frames)
            return self.frame_branch(patches, mask, others, other_mask)
        frames, mask = self.memory.chosen_frames(batch)
        frames = frames if self.of_frames is None else self.of_frames(frames)
        return self.frame_branch(frames, mask, others, other_mask)

    def _read_tokens(self, batch: Batch, found: Neighbours) -> tuple[Tensor, Tensor]:
        """Tokens [B, n + prompts, d] and mask; what was found is one text, the mean of its words at each place."""
        own, mask = self.memory.chosen("tokens", batch)
        others, there = self.memory.several_of("tokens", found.places)
        n = there.sum(dim=1)
        mean = (others * there[..., None]).sum(dim=1) / n.clamp(min=1)[..., None]
        return self.text_branch(own, mask, mean[:, None], (n > 0)[:, None])

    def _read_labels(self, *found: Neighbours) -> Tensor:
        """One token of how popular the neighbours became, [B, 1, d]: a vector per rank, times the popularity."""
        parts = [self.label_norm(self.memory.labels[one.places][..., None] * self.label_of_rank) for one in found]
        return torch.cat(parts, dim=1).mean(dim=1, keepdim=True)

    def parameter_counts(self) -> dict[str, int]:
        """Trainable parameters of the model, and of the encoders that stand for the frozen ones; or of those."""
        n = sum(branch.n_in_encoder for branch in (self.text_branch, self.frame_branch))
        return {**super().parameter_counts(), "frozen" if self.is_full else "encoders": n}

    def parts_to_compile(self) -> list[nn.Module]:
        """All but branches with a frozen network in them, which would take minutes to compile with it."""
        return [part for part in super().parts_to_compile() if not isinstance(part, FrozenBranch)]

    def explain(self, batch: Batch) -> Explanation:
        """The training videos that were looked up, by text and then by frames, which all weigh the same."""
        slots = [
            self.neighbour(place, f"number {rank} by {name}, cosine {cosine:.3f}")
            for name, found in zip(("text", "frames"), self._nearest(batch), strict=True)
            for rank, (place, cosine) in enumerate(
                zip(found.places[0].tolist(), found.similarities[0].tolist(), strict=True), start=1
            )
        ]
        weights = [1 / len(slots)] * len(slots)
        return Explanation(float(self.predict(batch)[0]), slots=slots, weights=weights, kind="neighbour")


def _check_full(inputs: InputShape) -> None:
    """Refuse a data set that lacks what goes into CLIP or BERT.

    Raises:
        ConfigError: If it does.
    """
    for name in _OF_FULL:
        if name not in inputs.other_dims:
            tool = "frames --frame_encoder=clip-patches" if name == "patches" else "embed-text --encoder=bert-words"
            raise ConfigError(
                f"ICPF's variant icpf_full reads `{name}`, of which there is nothing; make a store of it by "
                f"`dataset_tools {tool} --store={name}`, and name it: --content='[frames, text, patches, tokens]'."
            )


def _find_frozen(options: ICPF.Options, inputs: InputShape) -> tuple[FrozenVision, FrozenText]:
    """CLIP and BERT, which made the patches and the tokens.

    Raises:
        ConfigError: If others made them.
        DataError: If they are out of reach.
    """
    from recbole_video.dataset_tools.video import frozen_layers as frozen
    from recbole_video.dataset_tools.video.weights import find_weights

    places = (frozen.CLIP_PATCHES, options.vision_weights), (frozen.BERT_WORDS, options.text_weights)
    of_vision, of_text = (find_weights(source.at(*_place_and_revision(place))) for source, place in places)
    vision, text = frozen.FrozenVision(of_vision), frozen.FrozenText(of_text)
    widths = {"patches": vision.n_tokens * vision.width, "tokens": text.width}
    for name, option_name, weights in (
        ("patches", "vision_weights", of_vision),
        ("tokens", "text_weights", of_text),
    ):
        wanted, made_by = widths[name], inputs.other_weights.get(name, weights.sha256)
        if (found := inputs.other_dims[name]) != wanted:
            why = f"its rows have {found:,} numbers, and those of these weights {wanted:,}"
        elif made_by != weights.sha256:
            why = f"by its manifest of SHA-256 {made_by[:12]}, and these have {weights.sha256[:12]}"
        else:
            continue
        raise ConfigError(
            f"`{option_name}` is `{weights.place}`, but other weights made the store of `{name}` ({why}); name those, "
            "or make the store anew."
        )
    return vision, text


def _place_and_revision(given: str) -> tuple[str, str | None]:
    """``ID@COMMIT`` in two; a folder may have such a name, too."""
    place, _, revision = given.partition("@")
    return (place, revision) if revision and not Path(given).is_dir() else (given, None)


class Branch(nn.Module):
    """One modality: its own tokens, and prompts of what its neighbours have, before an encoder that a subclass has.

    Sizes follow d as those of the public code follow 768: a hidden layer of 4/3 d, eight heads of d / 12.

    Args:
        width: Of the tokens.
        options: The model's.
    """

    def __init__(self, width: int, options: ICPF.Options) -> None:
        super().__init__()
        hidden, dropout = max(1, 4 * width // 3), options.dropout
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.attention = CrossAttention(width, max(1, width // 12), dropout)
        self.pool = nn.Sequential(nn.Linear(width, _POOL_WIDTH), nn.Tanh(), nn.Linear(_POOL_WIDTH, options.n_prompts))

    @property
    def n_in_encoder(self) -> int:
        """Parameters of the encoder."""
        raise NotImplementedError

    def forward(self, own: Tensor, mask: Tensor, others: Tensor, other_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode tokens with their prompts.

        Args:
            own: What the video has, as the subclass says.
            mask: Which of it there is, [B, n] bool.
            others: Tokens of what was found, [B, K, m, d].
            other_mask: [B, K, m] bool.

        Returns:
            [B, L, d], that of the class token first, and its mask [B, L].
        """
        raise NotImplementedError

    def found(self, own: Tensor, others: Tensor, other_mask: Tensor) -> Tensor:
        """What tokens [B, n, d] find in each neighbour, on average, [B, n, d]."""
        other_mask = never_empty(other_mask.flatten(0, 1)).view_as(other_mask)
        return self.attention(self.layers(own), self.layers(others), other_mask).mean(dim=1)

    def pooled(self, found: Tensor, mask: Tensor) -> Tensor:
        """Prompts [B, prompts, d] of what the tokens found, [B, n, d] with mask [B, n]."""
        shares = self.pool(found).masked_fill(~mask[..., None], -torch.inf).softmax(dim=1)
        return shares.transpose(1, 2) @ found


class SmallBranch(Branch):
    """Stored vectors of a video, [B, n, d], behind a class token, before a small encoder that is trained.

    The class token stands for that of the frozen encoders, whose place the prediction reads.

    Args:
        width: d.
        options: The model's.
    """

    def __init__(self, width: int, options: ICPF.Options) -> None:
        first = 0.02 * torch.randn(1, 1, width)  # before the others: the random numbers that it always had
        super().__init__(width, options)
        self.first = nn.Parameter(first)
        hidden = max(1, 4 * width // 3)
        layer = nn.TransformerEncoderLayer(width, options.encoder_heads, hidden, options.dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, options.encoder_layers, enable_nested_tensor=False)
        self.project = nn.Linear(width, width)

    @property
    def n_in_encoder(self) -> int:
        """Parameters of the encoder."""
        return sum(weights.numel() for weights in self.encoder.parameters())

    def forward(self, own: Tensor, mask: Tensor, others: Tensor, other_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode tokens with their prompts, see :meth:`Branch.forward`."""
        own = torch.cat([self.first.expand(len(own), -1, -1), own], dim=1)
        mask = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)
        prompts = self.pooled(self.found(own, others, other_mask), mask)
        tokens, mask = with_prompts(own, mask, prompts)
        return self.project(self.encoder(tokens, src_key_padding_mask=~mask)), mask


class FrozenBranch(Branch):
    """Prompts before the layers of a network that is not trained.

    Args:
        frozen: The network.
        width: d, of what comes out.
        options: The model's.
    """

    def __init__(self, frozen: FrozenText | FrozenVision, width: int, options: ICPF.Options) -> None:
        super().__init__(frozen.width, options)
        self.frozen: Any = frozen
        self.project = nn.Linear(frozen.width, width)

    @property
    def n_in_encoder(self) -> int:
        """Parameters of the network's layers."""
        return self.frozen.n_parameters


class FrozenTextBranch(FrozenBranch):
    """What goes into BERT of a text, [B, n, w], its class token first, and prompts, before BERT's layers."""

    def forward(self, own: Tensor, mask: Tensor, others: Tensor, other_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode tokens with their prompts, see :meth:`Branch.forward`."""
        mask = never_empty(mask)
        tokens, mask = with_prompts(own, mask, self.pooled(self.found(own, others, other_mask), mask))
        return self.project(self.frozen.layers(tokens, mask)), mask


class FrozenFrameBranch(FrozenBranch):
    """What goes into CLIP of each frame, [B, F, n w], and its prompts, before CLIP's layers; the mean of the frames."""

    def forward(self, own: Tensor, mask: Tensor, others: Tensor, other_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the patches of frames with their prompts, see :meth:`Branch.forward`."""
        n_frames, n = own.shape[1], self.frozen.n_tokens
        patches = own.unflatten(-1, (n, self.frozen.width))  # [B, F, n, w]
        found = self.found(patches.flatten(1, 2), others, other_mask).unflatten(1, (n_frames, n))
        patches, found = patches.flatten(0, 1), found.flatten(0, 1)  # a frame is a picture of its own
        there = mask.new_ones(found.shape[:2])
        tokens, there = with_prompts(patches, there, self.pooled(found, there))
        encoded = self.frozen.layers(tokens).unflatten(0, (-1, n_frames)).flatten(2)
        mean = sequence_mean(encoded, mask).unflatten(-1, (tokens.shape[1], -1))
        return self.project(mean), there.unflatten(0, (-1, n_frames))[:, 0]


def with_prompts(tokens: Tensor, mask: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Prompts behind tokens, [B, n + prompts, d], and the mask of both."""
    return torch.cat([tokens, prompts], dim=1), torch.cat([mask, mask.new_ones(prompts.shape[:2])], dim=1)


class CrossAttention(nn.Module):
    """Tokens of a video attend to those of each neighbour; eight heads, whose width does not follow from d."""

    def __init__(self, width: int, head_width: int, dropout: float) -> None:
        super().__init__()
        inner = _PROMPT_HEADS * head_width
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.output = nn.Sequential(nn.Linear(inner, width), nn.Dropout(dropout))

    def forward(self, own: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """[B, K, n, d] of tokens [B, n, d] and those of neighbours [B, K, m, d] with mask [B, K, m]."""
        query = _heads(self.query(own))[:, None]  # [B, 1, heads, n, inner / heads]
        key, value = _heads(self.key(others)), _heads(self.value(others))
        query = query.expand(-1, key.shape[1], -1, -1, -1)
        found = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, :, None, None])
        return self.output(found.transpose(-3, -2).flatten(-2))


def _heads(x: Tensor) -> Tensor:
    """[..., n, inner] as [..., heads, n, inner / heads]."""
    return x.unflatten(-1, (_PROMPT_HEADS, -1)).transpose(-3, -2)


class FusionBlock(nn.Module):
    """A Transformer block over the tokens of text, frames and label: one head without biases, norms behind."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 1, dropout=dropout, bias=False, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.norm, self.feed_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[B, n, d] of tokens [B, n, d] with mask [B, n]."""
        x = self.dropout(tokens)
        attended, _ = self.attention(x, x, x, key_padding_mask=~mask, need_weights=False)
        x = self.norm(x + self.dropout(attended))
        return self.feed_norm(x + self.dropout(self.feed(x)))
