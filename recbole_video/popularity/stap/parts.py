"""STAP's parts as its options ask for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_video.popularity.base import InputShape
from recbole_video.popularity.stap.cross_attention import FrameTextAttention
from recbole_video.popularity.stap.frame_scoring import FrameScorer
from recbole_video.popularity.stap.official import (
    Interaction,
    MambaBlock,
    OfficialBlock,
    OfficialTemporalEncoder,
    WindowedAttention,
)
from recbole_video.popularity.stap.options import STAPOptions
from recbole_video.popularity.stap.sparse_attention import SparseAttention
from recbole_video.popularity.stap.ssm import SSMBlock
from recbole_video.popularity.stap.temporal import PooledFrames, TemporalEncoder

_USER_WIDTH = 64  # of the hidden layer on U in the released code


def temporal_encoder(options: STAPOptions, inputs: InputShape, width: int) -> nn.Module | None:
    """Frames to one sequence and one vector; None without frames, or where the video is not read."""
    if not inputs.frame_dim or options.temporal == "none":
        return None
    if options.temporal == "pooled":
        return PooledFrames(inputs.frame_dim, width)
    is_official = options.temporal_blocks == "official"
    scorer = FrameScorer(
        width,
        options.scorer,
        options.use_frame_scoring,
        project_anchor=is_official,
        dropout=options.dropout if is_official else 0.0,
    )
    if is_official:
        blocks = [
            OfficialBlock(width, _mamba(options, width), _windowed(options, width), options.dropout)
            for _ in range(options.n_blocks)
        ]
        return OfficialTemporalEncoder(inputs.frame_dim, width, scorer, blocks, options.pos_encoding, options.dropout)
    pairs = [
        (
            _ssm(options, width, inputs.n_frames) if options.use_ssm else None,
            _attention(options, width) if options.use_attention else None,
        )
        for _ in range(options.n_blocks)
    ]
    return TemporalEncoder(inputs.frame_dim, width, scorer, pairs, options.pos_encoding)


def _ssm(options: STAPOptions, width: int, n_frames: int) -> SSMBlock:
    return SSMBlock(
        width,
        options.state_size,
        options.ssm_step_mode,
        options.delta_min,
        options.delta_max,
        options.delta_bound,
        options.ssm_direction_mix,
        n_frames,
    )


def _mamba(options: STAPOptions, width: int) -> MambaBlock:
    ahead, back = options.ssm_direction_mix
    return MambaBlock(width, (ahead, back), options.dropout)


def _windowed(options: STAPOptions, width: int) -> WindowedAttention:
    return WindowedAttention(width, options.base_window, options.attn_heads, options.dropout)


def _attention(options: STAPOptions, width: int) -> SparseAttention:
    return SparseAttention(
        width,
        options.base_window,
        options.attn_heads,
        options.window_signal,
        options.window_mask,
        options.window_edge,
    )


def text_projection(options: STAPOptions, text_dim: int, width: int) -> nn.Module:
    """Text to d; the released code has a norm and dropout behind the map."""
    project = nn.Linear(text_dim, width)
    if options.fusion != "interaction":
        return project
    return nn.Sequential(project, nn.LayerNorm(width), nn.Dropout(options.dropout))


def metadata_projection(options: STAPOptions, metadata_width: int, width: int) -> nn.Module:
    """U to d; the released code has a hidden layer."""
    if options.fusion != "interaction":
        return nn.Linear(metadata_width, width)
    return nn.Sequential(nn.Linear(metadata_width, _USER_WIDTH), nn.ReLU(), nn.Linear(_USER_WIDTH, width))


def frame_text_fusion(options: STAPOptions, width: int) -> nn.Module:
    """Eq. 12, or the interaction of the released code."""
    if options.fusion == "interaction":
        return Interaction(width)
    return FrameTextAttention(
        width,
        options.n_cross_layers,
        options.cross_heads,
        options.dropout,
        options.cross_residual,
        options.cross_norm,
    )


def regression_head(n_inputs: int, sizes: list[int], dropout: float) -> nn.Sequential:
    """ReLU layers and one number; dropout behind the first."""
    layers: list[nn.Module] = []
    for i, size in enumerate(sizes):
        layers += [nn.Linear(n_inputs, size), nn.ReLU(), *([nn.Dropout(dropout)] if i == 0 else [])]
        n_inputs = size
    return nn.Sequential(*layers, nn.Linear(n_inputs, 1))


def standardised_blocks(features: Tensor, widths: list[int]) -> Tensor:
    """Blocks of columns, each centred and of total variance one, so that none outweighs the others."""
    blocks = [block - block.mean(dim=0) for block in features.split(widths, dim=-1)]
    return torch.cat([block / block.square().sum(dim=1).mean().sqrt().clamp(min=1e-12) for block in blocks], dim=-1)
