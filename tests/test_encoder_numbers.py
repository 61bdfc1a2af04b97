"""Item encoders against an independent computation: NumPy, from the papers' equations, in loops where it can be.

Weights and frames are made by formula, the sine of a running index, so that no library's random numbers are in it. The
frozen numbers were made by the NumPy functions below and hold both sides still.
"""

import math

import numpy as np
import pytest
import torch

from recbole_video.item_encoders import CVA, MLP, PerceiverIO

D, d, H, F, N = 6, 5, 4, 3, 4  # frame width, item width, latent width, frames, videos
HEADS, HEAD_DIM, QUERY_DIM = 2, 3, 7
COUNTS = [3, 1, 2, 3]  # frames that each video has
SMALL = {"latent_dim": H, "n_heads": HEADS, "head_dim": HEAD_DIM}


def wave(shape, start):
    """Values sin(start + 0.7 i)."""
    return np.sin(start + 0.7 * np.arange(math.prod(shape))).reshape(shape)


def with_formula_weights(encoder):
    """The encoder in double precision with made-up weights, and these by name."""
    encoder = encoder.double().eval()
    weights = {
        name: wave(tuple(weight.shape), 0.3 * (place + 1)) * (1.0 if name.endswith("weight") else 0.3)
        for place, (name, weight) in enumerate(sorted(encoder.state_dict().items()))
    }
    encoder.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    return encoder, weights


def batch():
    frames = 2 * wave((N, F, D), 1.1) + wave((N, 1, D), 2.3)
    mask = np.arange(F) < np.array(COUNTS)[:, None]
    return frames, mask


# -- the papers' equations in NumPy: one video at a time, x is [rows, width] -----------------------


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def gelu(x):
    return np.vectorize(lambda v: v * 0.5 * (1.0 + math.erf(v / math.sqrt(2.0))))(x)


def geglu(w, name, x):
    both = linear(w, f"{name}.proj", x)
    half = both.shape[-1] // 2
    return both[..., :half] * gelu(both[..., half:])


def layer_norm(w, name, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w, name, queries, context, n_heads):
    """Queries [Q, q] over a context [K, c]; heads one by one, rows one by one."""
    q, both = linear(w, f"{name}.query", queries), linear(w, f"{name}.key_value", context)
    k, v = both[:, : q.shape[1]], both[:, q.shape[1] :]
    width = q.shape[1] // n_heads
    mixed = np.zeros_like(q)
    for head in range(n_heads):
        part = slice(head * width, (head + 1) * width)
        for row in range(len(q)):
            scores = np.array([q[row, part] @ key[part] for key in k]) / math.sqrt(width)
            shares = np.exp(scores - scores.max())
            mixed[row, part] = (shares / shares.sum()) @ v[:, part]
    return linear(w, f"{name}.out", mixed)


def feed_forward(w, name, x):
    return linear(w, f"{name}.1", geglu(w, f"{name}.0", x))


def block(w, name, x):
    normed = layer_norm(w, f"{name}.norm_attention", x)
    x = x + attention(w, f"{name}.attention", normed, normed, HEADS)
    return x + feed_forward(w, f"{name}.feed_forward", layer_norm(w, f"{name}.norm_feed_forward", x))


def mixer(w, name, x):
    """Across the latents, column by column, then across the entries of each latent."""
    columns = []
    for column in x.T:
        normed = layer_norm(w, f"{name}.across_latents.0", column)
        columns.append(column + gelu(linear(w, f"{name}.across_latents.1", normed)))
    x = np.array(columns).T
    return x + geglu(w, f"{name}.across_entries.1", layer_norm(w, f"{name}.across_entries.0", x))


def cva(w, frames, depth, n_latents):
    x = np.repeat(geglu(w, "compress", frames.mean(axis=0))[None], n_latents, axis=0)
    for m in range(depth):
        x = block(w, f"blocks.{m}", x)
    return linear(w, "out", layer_norm(w, "norm", x.mean(axis=0)))


def mlp(w, frames):
    return feed_forward(w, "feed_forward", frames.mean(axis=0))


def perceiver(w, frames, variant, depth, n_latents):
    if variant == "full":
        x = w["reader.latents"]
        context = layer_norm(w, "reader.attention.norm_context", frames)
        x = x + attention(w, "reader.attention", layer_norm(w, "reader.attention.norm", x), context, 1)
        x = x + feed_forward(w, "reader.feed_forward", layer_norm(w, "reader.norm", x))
    else:
        x = np.repeat(geglu(w, "reader.compress", frames.mean(axis=0))[None], n_latents, axis=0)
    for m in range(depth):
        x = (mixer if variant == "no_attention" else block)(w, f"blocks.{m}", x)
    if variant in ("full", "no_first_cross_attention"):
        context = layer_norm(w, "out.attention.norm_context", x)
        query = layer_norm(w, "out.attention.norm", w["out.query"])
        return linear(w, "out.out", attention(w, "out.attention", query, context, 1))[0]
    return linear(w, "out.2", layer_norm(w, "out.1", x.mean(axis=0)))


def ladder(variant):
    options = {**SMALL, "variant": variant, "depth": 2, "n_latents": 3, "query_dim": QUERY_DIM}
    return PerceiverIO(D, d, **options), lambda w, frames: perceiver(w, frames, variant, 2, 3)


CASES = {
    "CVA": lambda: (CVA(D, d, **SMALL, depth=2), lambda w, frames: cva(w, frames, 2, 1)),
    "CVA, R = 3": lambda: (CVA(D, d, **SMALL, depth=2, n_latents=3), lambda w, frames: cva(w, frames, 2, 3)),
    "MLP": lambda: (MLP(D, d), mlp),
    "full": lambda: ladder("full"),
    "no_first_cross_attention": lambda: ladder("no_first_cross_attention"),
    "no_cross_attention": lambda: ladder("no_cross_attention"),
    "no_attention": lambda: ladder("no_attention"),
}
# First entry of each video's vector.
FROZEN = {
    "CVA": [-0.836056215, 0.580375525, 1.558255357, -0.822119105],
    "CVA, R = 3": [-0.836056215, 0.580375525, 1.558255357, -0.822119105],
    "MLP": [-2.145253973, -55.634229343, -0.711726421, -1.972837167],
    "full": [0.338296507, 0.219763562, 0.279389120, 0.278676454],
    "no_first_cross_attention": [0.378625286, 0.171069888, 0.276177774, 0.362693069],
    "no_cross_attention": [1.646032612, -0.675835918, 1.774934273, 1.608724077],
    "no_attention": [1.162886202, 0.633034859, 1.274566563, 1.163681101],
}


@pytest.mark.parametrize("case", CASES)
def test_against_numpy(case):
    encoder, computed = CASES[case]()
    encoder, weights = with_formula_weights(encoder)
    frames, mask = batch()
    got = encoder(torch.from_numpy(frames), torch.from_numpy(mask)).detach().numpy()
    want = np.array([computed(weights, frames[n, : COUNTS[n]]) for n in range(N)])
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(want[:, 0], FROZEN[case], rtol=1e-6)
    assert np.ptp(want, axis=0).min() > 1e-3  # the videos do not come out alike
