"""State space block over frames, whose step depends on how much a frame matters (STAP, Eq. 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from recbole_video.popularity.stap.scan import linear_scan
from recbole_video.runtime.precision import full_precision


class SSMBlock(nn.Module):
    r"""A diagonal state space model, scanned in both directions with shared weights.

    ``h_t = exp(-delta_t L) h_{t-1} + b(delta_t) B x_t``, ``y_t = C h_t + D x_t``, both directions summed. One step
    ``delta_t`` per frame. The paper says in three places which way it goes, and no two agree; the released code has a
    fourth reading:

    - ``equation`` (Eq. 5): ``delta = base + alpha sim(anchor, x) + rho w`` with alpha, rho = +1 at first, so
      that a step is large where a frame matters: the past is forgotten and the frame is written. Zero-order
      hold, ``b = (1 - exp(-delta L)) / L``.
    - ``prose`` (the sentence after it: small steps are a dense scan of salient frames): alpha, rho = -1 at
      first, and ``b = 1``; with zero-order hold it would suppress the frames that matter.
    - ``prose_euler``: the same steps, and ``b = delta`` (Euler), as in the released code (f6aec3b), whose alpha and rho
      are -0.1 at first: a frame that matters changes the state less, in what it forgets and in what it writes.
    - ``algorithm_s1`` (Algorithm S1): ``delta = base (1 + alpha (1 - w))``, ``b = 1``, no ``D``, no anchor.

    That is for ``sigmoid``, whose range is open. With ``clamp`` alpha and rho start with the same signs at a quarter
    of the range, about its middle, so that no step starts at a bound, where there is no gradient.

    On a CPU, a batch is scanned some videos at a time (``bytes_at_once``): a step makes a dozen arrays [T, B, d_h], and
    larger ones are fetched anew from the operating system each time, page by page, which takes as long as the rest.

    Args:
        width: d of the frames.
        state_width: d_h, width of the state.
        step_mode: One of the above.
        delta_min: Smallest step (Table S1).
        delta_max: Largest step.
        delta_bound: ``sigmoid`` maps the formula's value into the range; ``clamp`` cuts it, and its gradient.
        direction_mix: Weights of the forward and the backward scan; 0 leaves one out. Eq. 5 has (1, 1), the
            released code (0.75, 0.25).
        n_frames: T that the initial memory spans: time constants run from a third of a step to T steps.

    Attributes:
        bytes_at_once: Most bytes of an array over frames and states, on a CPU, where that is more than one video's:
            below 32 MiB, where the GNU C library begins to fetch every array anew from the operating system.
    """

    bytes_at_once: int = 24 * 2**20

    def __init__(
        self,
        width: int,
        state_width: int,
        step_mode: str = "equation",
        delta_min: float = 0.01,
        delta_max: float = 1.0,
        delta_bound: str = "sigmoid",
        direction_mix: Sequence[float] = (1.0, 1.0),
        n_frames: int = 100,
    ) -> None:
        super().__init__()
        self.step_mode, self.delta_bound = step_mode, delta_bound
        self.delta_min, self.delta_max = delta_min, delta_max
        self.direction_mix = tuple(direction_mix)
        self.input = nn.Linear(width, state_width, bias=False)
        self.output = nn.Linear(state_width, width, bias=False)
        middle = (delta_min + delta_max) / 2
        base, slope = self._first_steps()
        self.base = nn.Parameter(torch.tensor(base))
        self.alpha = nn.Parameter(torch.tensor(slope))
        if step_mode != "algorithm_s1":
            self.rho = nn.Parameter(torch.tensor(slope))
            self.skip = nn.Parameter(torch.zeros(width))
        rates = torch.empty(state_width).uniform_(math.log(1 / max(2, n_frames)), math.log(3.0)).exp() / middle
        self.rate_raw = nn.Parameter(rates + torch.log(-torch.expm1(-rates)))  # the inverse of softplus
        # A slow channel adds up many frames: it starts with small inputs, so that a video that stands still is passed
        # on by all channels alike.
        gain = rates if step_mode == "equation" else -torch.expm1(-rates * middle)
        if step_mode == "prose_euler":
            gain = gain / middle
        with torch.no_grad():
            self.input.weight *= gain.clamp(max=1.0)[:, None]

    def _first_steps(self) -> tuple[float, float]:
        """What base and what alpha and rho start at."""
        middle = (self.delta_min + self.delta_max) / 2
        if self.step_mode == "algorithm_s1":
            return middle, 1.0
        sign = 1.0 if self.step_mode == "equation" else -1.0
        if self.delta_bound == "sigmoid":
            return 0.0, sign
        slope = sign * (self.delta_max - self.delta_min) / 4  # sim + w is within [-1, 2]: three quarters of the range
        return middle - slope / 2, slope

    def forward(self, frames: Tensor, weights: Tensor, anchor: Tensor, mask: Tensor) -> Tensor:
        """Scan the frames.

        Args:
            frames: [B, T, d] float.
            weights: [B, T] float, how much each frame matters.
            anchor: [B, d] float.
            mask: [B, T] bool, true where a frame exists.

        Returns:
            [B, T, d]; what stands where there is no frame means nothing.
        """
        parts = [self._scan_videos(*part) for part in self._parts(frames, weights, anchor, mask)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _parts(self, frames: Tensor, *others: Tensor) -> Iterable[tuple[Tensor, ...]]:
        """All inputs, a number of videos at a time, which do not depend on each other."""
        n_videos, n_frames, _ = frames.shape
        at_once = max(1, self.bytes_at_once // (4 * n_frames * self.output.in_features))
        if frames.device.type != "cpu" or n_videos <= at_once:
            return [(frames, *others)]
        n_parts = math.ceil(n_videos / at_once)
        return zip(*(x.tensor_split(n_parts) for x in (frames, *others)), strict=True)

    def _scan_videos(self, frames: Tensor, weights: Tensor, anchor: Tensor, mask: Tensor) -> Tensor:
        seen = _precise(frames * mask[..., None]).transpose(0, 1)
        with full_precision(frames.device):  # products of a hundred decays need their digits
            steps = self.steps(*(_precise(x) for x in (frames, weights, anchor)))
            rate = nn.functional.softplus(self.rate_raw)
            change = torch.expm1(-steps.T[..., None] * rate)  # [T, B, d_h]
            if self.step_mode == "equation":  # (1 - decay) / rate, the latter where it is small: in the weights
                inputs = nn.functional.linear(seen, self.input.weight / -rate[:, None]) * change
            else:
                inputs = self.input(seen * steps.T[..., None] if self.step_mode == "prose_euler" else seen)
            states = self._scan(change + 1, inputs)
        outputs = self.output(states.to(frames.dtype)).transpose(0, 1)
        if self.step_mode != "algorithm_s1":
            outputs = outputs + sum(self.direction_mix) * self.skip * frames
        return outputs

    def steps(self, frames: Tensor, weights: Tensor, anchor: Tensor) -> Tensor:
        """Step of each frame, [B, T] within [delta_min, delta_max]."""
        raw = self.raw_steps(frames, weights, anchor)
        if self.step_mode == "algorithm_s1" or self.delta_bound == "clamp":
            return raw.clamp(self.delta_min, self.delta_max)
        return self.delta_min + (self.delta_max - self.delta_min) * torch.sigmoid(raw)

    def raw_steps(self, frames: Tensor, weights: Tensor, anchor: Tensor) -> Tensor:
        """What the formula gives before it is bounded, [B, T]."""
        if self.step_mode == "algorithm_s1":
            return self.base * (1 + self.alpha * (1 - weights))
        similarity = cosine_similarity(anchor[:, None], frames, dim=-1)
        return self.base + self.alpha * similarity + self.rho * weights

    def _scan(self, decay: Tensor, inputs: Tensor) -> Tensor:
        """Weighted sum of the states of both directions, [T, B, d_h]; they share the output map."""
        forward, backward = self.direction_mix
        parts = [
            share * linear_scan(decay, inputs, reverse) if share != 1 else linear_scan(decay, inputs, reverse)
            for share, reverse in ((forward, False), (backward, True))
            if share
        ]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _precise(x: Tensor) -> Tensor:
    """At least single precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
