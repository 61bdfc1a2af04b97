"""Linear recurrences over frames: ``h_t = decay_t * h_{t-1} + inputs_t``, with a gradient of its own.

Autograd through a loop over frames stores and launches several small operations per frame. Here the
backward pass is the same recurrence in the other direction. On a GPU, where a loop waits for launches,
frames are scanned in chunks side by side.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear_scan(decay: Tensor, inputs: Tensor, reverse: bool = False, chunked: bool | None = None) -> Tensor:
    """Scan over the first dimension, from a state of zero.

    Args:
        decay: [T, ...] float; the first one in scanning order has no effect.
        inputs: [T, ...] float, of the same shape.
        reverse: Scan from the last frame to the first.
        chunked: Scan chunks of about the root of T side by side; by default on a GPU.

    Returns:
        States [T, ...].
    """
    on_gpu = inputs.device.type != "cpu"
    return _Scan.apply(decay, inputs, reverse, on_gpu if chunked is None else chunked)


def loop_scan(decay: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """The same by a plain loop and autograd: what :func:`linear_scan` is measured against and tested with."""
    order = range(len(inputs))
    state, states = torch.zeros_like(inputs[0]), [inputs[0]] * len(inputs)
    for t in reversed(order) if reverse else order:
        state = decay[t] * state + inputs[t]
        states[t] = state
    return torch.stack(states)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, reverse: bool, chunked: bool) -> Tensor:
        states = _scan(decay, inputs, reverse, chunked)
        ctx.save_for_backward(decay, states)
        ctx.reverse, ctx.chunked = reverse, chunked
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        decay, states = ctx.saved_tensors
        # A state's gradient flows on to the state before it, through the decay between the two.
        shifted = torch.empty_like(decay)
        if ctx.reverse:
            shifted[1:], shifted[0] = decay[:-1], 0
        else:
            shifted[:-1], shifted[-1] = decay[1:], 0
        of_inputs = _scan(shifted, grad, not ctx.reverse, ctx.chunked)
        of_decay = shifted  # its memory is free now
        if ctx.reverse:
            torch.mul(of_inputs[:-1], states[1:], out=of_decay[:-1])
            of_decay[-1] = 0
        else:
            torch.mul(of_inputs[1:], states[:-1], out=of_decay[1:])
            of_decay[0] = 0
        return of_decay, of_inputs, None, None


def _scan(decay: Tensor, inputs: Tensor, reverse: bool, chunked: bool) -> Tensor:
    if chunked and len(inputs) > 3:
        return _scan_chunks(decay.flip(0), inputs.flip(0)).flip(0) if reverse else _scan_chunks(decay, inputs)
    states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    order = list(range(len(inputs)))[:: -1 if reverse else 1]
    states[order[0]] = inputs[order[0]]
    for before, t in pairwise(order):
        torch.addcmul(inputs[t], decay[t], states[before], out=states[t])
    return states


def _scan_chunks(decay: Tensor, inputs: Tensor) -> Tensor:
    """Each chunk from zero, all chunks at once; then what a chunk takes over from the one before."""
    n_frames = len(inputs)
    length = math.ceil(math.sqrt(n_frames))
    n_chunks = math.ceil(n_frames / length)
    padding = n_chunks * length - n_frames
    if padding:
        decay, inputs = (torch.cat([x, x.new_zeros(padding, *x.shape[1:])]) for x in (decay, inputs))
    decay, states = (x.reshape(n_chunks, length, *x.shape[1:]) for x in (decay, inputs))
    states, carried = states.clone(), decay.clone()  # carried: the share of the chunk's first input state that is left
    for t in range(1, length):
        states[:, t].addcmul_(decay[:, t], states[:, t - 1])
        carried[:, t].mul_(carried[:, t - 1])
    for chunk in range(1, n_chunks):
        states[chunk].addcmul_(carried[chunk], states[chunk - 1, -1])
    return states.reshape(n_chunks * length, *states.shape[2:])[:n_frames]
