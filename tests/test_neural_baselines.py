"""CLSTM, CBAN, MASSL, HMMVED, TMALL and MQMC: sizes, equations by hand, what they can and cannot learn, whole runs."""

import json
import signal
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist
from scipy.stats import norm

from recbole_video import load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError, DataError, TrainingError
from recbole_video.popularity import layers
from recbole_video.popularity.base import InputShape
from recbole_video.popularity.layers import Gaussian, product_of_experts
from recbole_video.popularity.mqmc import Queues
from recbole_video.popularity.similarity_graphs import Smoothing, nearest, neighbourhood, next_shares, smooth_values
from recbole_video.registries import POPULARITY_MODELS

from .test_popularity import METADATA, N, fitted, inputs_of, with_other_test_videos, write_popularity
from .test_stap import Chosen, batch_of, shape_of

SMALL = {
    "CBAN": {"hidden_size": 8, "dropout": 0.0}, "CLSTM": {"hidden_size": 8}, "MASSL": {"hidden_size": 16,
    "latent_size": 40, "attn_heads": 2}, "HMMVED": {"hidden_size": 16, "user_epochs": 3, "attn_heads": 2},
    "MQMC": {"hidden_size": 8, "queue_size": 4, "n_bins": 3}, "TMALL": {"factor_size": 8},
}  # fmt: skip
TRAINED = [
    ("CLSTM", "clstm"), ("CLSTM", "clstm_plain"), ("CBAN", "original"), ("CBAN", "reimplementation"), ("MASSL", None),
    ("HMMVED", "original"), ("HMMVED", "reimplementation"), ("TMALL", "tmall_linear"), ("MQMC", None),
]  # fmt: skip


def model_of(name, variant, batch, **changes):
    torch.manual_seed(3)
    cls = POPULARITY_MODELS.get(name)
    named = {"variant": variant} if variant else {}
    options = cls.Options(**{"seed": 1, **SMALL[name], **named, **changes})
    model = cls(Chosen(asdict(options)), shape_of(batch))
    model.before_epoch(0, [batch])
    return model


def settled(model):
    """With weights that are not those of the start, biases among them."""
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.3 * torch.randn_like(weights)
    return model.eval()


def part(batch, rows):
    return {name: value[rows] for name, value in batch.items()}


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def numpy_of(module):
    return {name: weights.detach().double().numpy() for name, weights in module.named_parameters()}


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def one_video(batch, i):
    """Frames that there are, text, U, in double precision."""
    frames = batch["frames"][i][batch["frame_mask"][i]].double().numpy()
    return frames, batch["text"][i].double().numpy(), batch["numeric"][i].double().numpy()


class TestSizes:
    """At d = 768 and without metadata, counted layer by layer; the reference gives them in millions."""

    D = 768

    def count(self, name, variant=None, n_frames=10, **more):
        options = POPULARITY_MODELS.get(name).Options(seed=1, **({"variant": variant} if variant else {}), **more)
        shape = InputShape(frame_dim=self.D, n_frames=n_frames, text_dim=self.D)
        return POPULARITY_MODELS.get(name)(Chosen(asdict(options)), shape).parameter_counts()["model"]

    def dense(self, *widths):
        return sum((a + 1) * b for a, b in pairwise(widths))

    @property
    def transformer(self):
        return 4 * self.dense(self.D, self.D) + self.dense(self.D, 256, self.D) + 4 * self.D

    def lstm(self, width):
        return 4 * 50 * (width + 50 + 2)

    def test_clstm(self):
        assert self.count("CLSTM", "clstm_plain") == 348_401 == 2 * self.lstm(self.D) + self.dense(100, 200, 1)
        assert self.count("CLSTM") == 328_001 == self.lstm(2 * self.D) + self.dense(50, 200, 1)

    def test_tmall_linear(self):
        assert self.count("TMALL", "tmall_linear") == 393_473 == 2 * self.D * 256 + 256 + 1

    def test_massl(self):
        experts = self.transformer + 2 * (self.dense(self.D, 512, 256) + 2 * self.dense(256, 256))
        decoder = self.dense(256, 256, 256) + 5 * (3 + 1) + self.dense(7, 1)
        assert self.count("MASSL") == 4_204_572 == experts + decoder

    def test_hmmved(self):
        experts = self.transformer + 2 * (self.dense(self.D, 512, 256) + 2 * self.dense(256, 50))
        options = dict(Config("HMMVED", "smpd-video", config_dict={"variant": "reimplementation"}).to_options())
        sizes = {name: options[name] for name in ("hidden_size", "latent_size", "kl_weight")}
        assert sizes["kl_weight"] == 0.05
        count = self.count("HMMVED", "reimplementation", **sizes)
        assert count == 3_862_233 == experts + self.dense(50, 20, 1)
        assert self.count("HMMVED") == 50_281 == 2 * (self.dense(self.D, 32) + 2 * self.dense(32, 8)) + self.dense(8, 1)

    def test_cban(self):
        maps, joins = 2 * self.dense(self.D, self.D), 4 * self.dense(2 * self.D, self.D)
        head = self.dense(2 * self.D, 1)
        assert self.count("CBAN") == 5_905_921 == maps + joins + 2 * self.D + head
        own = self.dense(self.D, 1) + 2 * self.dense(self.D, 1) + (4 + 1) * self.D  # scores, and four frames' positions
        assert self.count("CBAN", "reimplementation", n_frames=4) == 5_910_532 == maps + joins + own + head

    def test_mqmc(self):
        def normalised(*widths):
            return self.dense(*widths) + 2 * sum(widths[1:])

        encoders = normalised(self.D, 512, 512, 1024) + normalised(self.D, 1024) + normalised(1024, 1024, 1024, 512)
        fusion = 3 * self.dense(1024, 1024) + self.dense(2048, 1024) + 2 * 1024
        assert self.count("MQMC") == 9_919_233 == encoders + fusion + self.dense(512, 128, 1)

    def test_metadata_reach_the_head(self):
        batch = batch_of([2, 3], n_numeric=0)
        for name, variant in TRAINED:
            without = model_of(name, variant, batch)
            count = without.parameter_counts()["model"]
            with_u = model_of(name, variant, batch | {"numeric": torch.randn(2, 4)})
            assert with_u.parameter_counts()["model"] > count
            values = [with_u.eval().predict(batch | {"numeric": torch.full((2, 4), x)}) for x in (0.0, 3.0)]
            assert not torch.allclose(*values), (name, variant)


@pytest.mark.parametrize(("name", "variant"), TRAINED, ids=str)
class TestEach:
    def test_a_prediction_depends_on_nothing_but_the_video(self, name, variant):
        """Neither on its batch mates nor on padding, nor on what lies in it; twice the same."""
        lengths = (4, 2, 3, 4, 1, 3)
        batch = batch_of(lengths, n_text=3)
        batch["text_mask"][1, 2] = False
        model = settled(model_of(name, variant, batch))
        together = model.predict(batch)
        assert together.shape == (6,) and torch.equal(model.predict(batch), together)
        for i, length in enumerate(lengths):
            alone = part(batch, [i])
            alone |= {key: alone[key][:, :length] for key in ("frames", "frame_mask")}
            torch.testing.assert_close(model.predict(alone)[0], together[i], rtol=1e-4, atol=1e-5)
        other = {key: value.clone() for key, value in batch.items()}
        other["text"][1, 2] = 100.0
        other["frames"][~other["frame_mask"]] = 100.0
        torch.testing.assert_close(model.predict(other), together, rtol=1e-4, atol=1e-5)
        longer = batch | {key: torch.cat([batch[key]] * 2, dim=1) for key in ("frames", "frame_mask")}
        longer["frame_mask"][:, 4:] = False
        torch.testing.assert_close(model.predict(longer), together, rtol=1e-4, atol=1e-5)

    def test_a_video_without_frames_or_text(self, name, variant):
        batch = batch_of([4, 2, 3])
        for key, mask in (("frames", "frame_mask"), ("text", "text_mask")):
            batch[mask][0] = False
            batch[key][0] = 0
        model = model_of(name, variant, batch)
        for _ in range(2):
            model.calculate_loss(batch).backward()
            model.after_step()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
        assert torch.isfinite(model.eval().predict(batch)).all()

    def test_a_single_video_is_trained_on(self, name, variant):
        batch = batch_of([3])
        model = model_of(name, variant, batch)
        assert torch.isfinite(model.calculate_loss(batch))


RULES = {
    # name, variant: what it learns, and what it cannot express
    ("CLSTM", "clstm"): ("order", "order of text"),
    ("CLSTM", "clstm_plain"): ("order", "product"),
    ("CBAN", "original"): ("mean", "order"),
    ("CBAN", "reimplementation"): ("mean", "order of text"),
    ("MASSL", None): ("last", "order"),
    ("HMMVED", "original"): ("mean", "order"),
    ("HMMVED", "reimplementation"): ("last", "order"),
    ("TMALL", "tmall_linear"): ("mean", "product"),
    ("MQMC", None): ("mean", "order"),
}


def planted(rule, n=200):
    """Videos whose label is a rule: of the frames, of their order, of frame and text together."""
    rng = torch.Generator().manual_seed(1)
    batch = batch_of([3] * n, n_numeric=0, n_text=2, seed=2)
    sign = (torch.rand(n, generator=rng) < 0.5).float() * 2 - 1
    batch["text"][:, 1] = batch["text"][:, 0]
    batch["label"] = sign

    def in_order(name):
        one, two = torch.randn(2, batch[name].shape[-1], generator=rng)
        is_first = sign[:, None] > 0
        batch[name][:, 0], batch[name][:, 1] = torch.where(is_first, one, two), torch.where(is_first, two, one)

    if rule == "order":
        in_order("frames")
    elif rule == "order of text":
        in_order("text")
    elif rule == "product":
        batch["frames"][:, :, 0] = sign[torch.randperm(n, generator=rng)][:, None]
        batch["text"][:, :, 0] = (sign * batch["frames"][:, 0, 0])[:, None]
    else:
        batch["label"] = 2 * (batch["frames"].mean(dim=1) if rule == "mean" else batch["frames"][:, 2])[:, 0]
    return part(batch, slice(0, n - 60)), part(batch, slice(n - 60, n))


def error_after_training(model, train, test, steps=60):
    """Squared error over the variance of the labels."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model.calculate_loss(train).backward()
        optimizer.step()
        model.after_step()
    with torch.no_grad():
        return float((model.eval().predict(test) - test["label"]).square().mean() / test["label"].var())


@pytest.mark.parametrize(("name", "variant"), TRAINED, ids=str)
def test_learns_a_rule_and_not_one_beyond_it(name, variant):
    learned, beyond = RULES[name, variant]
    found = {}
    for rule in (learned, beyond):
        train, test = planted(rule)
        changes = {"kl_weight": 0.0} if name == "MASSL" else {}  # draws and a narrow decoder take many steps
        found[rule] = error_after_training(model_of(name, variant, train, **changes), train, test)
    assert found[learned] < 0.5 and found[beyond] > 0.85, found


class TestExperts:
    def test_product_and_divergence_against_densities(self):
        """The product of normal densities, normalised on a grid; KL by integration."""
        rng = np.random.default_rng(0)
        means, variances = rng.normal(size=(3, 1, 1)), rng.uniform(0.2, 3, size=(3, 1, 1))
        experts = [Gaussian(torch.tensor(m), torch.tensor(v)) for m, v in zip(means, variances, strict=True)]
        joint = product_of_experts(experts, torch.ones(1, 3, dtype=torch.bool))
        x = np.linspace(-20, 20, 200_001)
        step = x[1] - x[0]
        density = np.prod(
            [norm.pdf(x, m.item(), v.item() ** 0.5) for m, v in zip(means, variances, strict=True)], axis=0
        )
        density /= density.sum() * step
        mean = (x * density).sum() * step
        assert float(joint.mean) == pytest.approx(mean)
        assert float(joint.variance) == pytest.approx(((x - mean) ** 2 * density).sum() * step)
        for prior, of_prior in ((None, norm.logpdf(x)), (experts[0], norm.logpdf(x, means[0], variances[0] ** 0.5)[0])):
            expected = (density * (np.log(np.maximum(density, 1e-300)) - of_prior)).sum() * step
            assert float(joint.divergence(prior)) == pytest.approx(expected, rel=1e-4)

    def test_what_is_missing_and_what_knows_nothing(self):
        one = Gaussian(torch.tensor([[1.0], [2.0], [3.0]]), torch.full((3, 1), 0.5))
        vague = Gaussian(torch.full((3, 1), 50.0), torch.full((3, 1), 1e9))
        absent = Gaussian(torch.full((3, 1), 50.0), torch.full((3, 1), 1e-3))
        present = torch.tensor([[True, True, False]] * 2 + [[False] * 3])
        found = product_of_experts([one, vague, absent], present)
        torch.testing.assert_close(found.mean[:2], one.mean[:2], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.variance[:2], one.variance[:2])
        assert found.mean[2] == pytest.approx(50, abs=0.2)  # of nothing, all of them

    def test_a_draw_is_only_for_training(self):
        batch = batch_of([2, 3])
        for name, variant in (("MASSL", None), ("HMMVED", "original")):
            model = settled(model_of(name, variant, batch))
            losses = {float(model.calculate_loss(batch)) for _ in range(3)}
            assert len(losses) == 3 and torch.equal(model.predict(batch), model.predict(batch))


class TestByHand:
    """Whole models on one video after the other, in NumPy."""

    def check(self, name, variant, value, n_text=1, **changes):
        batch = batch_of([4, 2, 3], n_text=n_text)
        model = settled(model_of(name, variant, batch, **changes))
        w = numpy_of(model)
        found = [float(np.ravel(value(w, *one_video(batch, i)))[0]) for i in range(3)]
        np.testing.assert_allclose(model(batch).detach(), found, rtol=1e-4, atol=1e-5)

    def lstm(self, w, name, xs, width=8):
        """The equations of the paper: each gate has a matrix for the step, the context and the state before."""
        h, c = np.zeros(width), np.zeros(width)
        w_x, w_h = w[f"{name}.weight_ih_l0"], w[f"{name}.weight_hh_l0"]
        bias = w[f"{name}.bias_ih_l0"] + w[f"{name}.bias_hh_l0"]
        for x, tau in xs:
            gates = w_x[:, : len(x)] @ x + w_x[:, len(x) :] @ tau + w_h @ h + bias
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        return h

    def test_clstm(self):
        def value(w, frames, text, u):
            h = self.lstm(w, "frames", [(x, text.mean(axis=0)) for x in frames])
            return linear(w, "head.2", relu(linear(w, "head.0", np.hstack([h, u]))))

        self.check("CLSTM", "clstm", value, n_text=2)

    def test_clstm_plain(self):
        def value(w, frames, text, u):
            states = [self.lstm(w, name, [(x, []) for x in xs]) for name, xs in (("text", text), ("frames", frames))]
            return linear(w, "head.1", linear(w, "head.0", np.hstack([*states, u])))

        self.check("CLSTM", "clstm_plain", value)

    def test_cban(self):
        def value(w, v, t, u):
            w = {name.removeprefix("attention."): x for name, x in w.items()}
            a = np.tanh(linear(w, "map_text", t)) @ np.tanh(linear(w, "map_frames", v)).T
            of_frames = np.hstack([softmax(a, 1) @ v, softmax(-a, 1) @ v])
            of_text = np.hstack([softmax(a.T, 1) @ t, softmax(-a.T, 1) @ t])
            t = np.tanh(linear(w, "to_text", np.hstack([t, np.tanh(linear(w, "seen_by_text", of_frames))])))
            v = np.tanh(linear(w, "to_frames", np.hstack([v, np.tanh(linear(w, "seen_by_frames", of_text))])))
            pooled = [
                softmax(x @ w[f"pool_{name}.score.weight"][0] / np.sqrt(8), 0) @ x
                for name, x in (("text", t), ("frames", v))
            ]
            return linear(w, "head", np.hstack([*pooled, u]))

        for n_text in (1, 3):
            self.check("CBAN", "original", value, n_text=n_text)

    def test_cban_reimplementation(self):
        def value(w, v, t, u):
            w = {name.removeprefix("attention."): x for name, x in w.items()}
            t = t.mean(axis=0, keepdims=True)
            s = np.tanh(linear(w, "score", np.tanh(linear(w, "map_frames", v)) + np.tanh(linear(w, "map_text", t))))
            t_p, v_p = softmax(s, 0) @ t, softmax(s.T, 0).sum() / len(v) * v.sum(axis=0, keepdims=True)
            t_new = np.tanh(
                linear(w, "to_text", np.hstack([t, np.tanh(linear(w, "seen_by_text", np.hstack([v_p, -v_p])))]))
            )
            v_new = np.tanh(
                linear(w, "to_frames", np.hstack([v, np.tanh(linear(w, "seen_by_frames", np.hstack([t_p, -t_p])))]))
            )
            pooled = []
            for name, x in (("text", t_new), ("frames", v_new)):
                places = w[f"pool_{name}.position"][: len(x)]
                pooled.append((np.tanh(linear(w, f"pool_{name}.score", x + places)) * x).sum(axis=0))
            return linear(w, "head", np.hstack([*pooled, u]))

        self.check("CBAN", "reimplementation", value)

    def test_negative_attention_is_no_copy(self):
        """Of several words, softmax(-A) is no multiple of softmax(A); all its rows sum to one."""
        batch = batch_of([4, 2], n_text=3)
        module = settled(model_of("CBAN", "original", batch)).attention
        a = module.scores(batch["text"], batch["frames"])
        mask = batch["frame_mask"][:, None]
        near, far = (layers.masked_softmax(sign * a, mask) for sign in (1, -1))
        for weights in (near, far):
            torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3))
            assert not weights[1, :, 2:].any()
        assert (torch.nn.functional.cosine_similarity(near[0], far[0], dim=-1) < 0.999).all()

    @torch.no_grad()
    def test_cban_explains_by_its_weights_of_frames(self):
        batch = part(batch_of([4, 2], n_text=3), [1])
        for variant in ("original", "reimplementation"):
            model = settled(model_of("CBAN", variant, batch))
            found = model.explain(batch)
            assert found.frame_weights.shape == (2,) and found.popularity == pytest.approx(
                float(model.predict(batch)[0])
            )
            if variant == "original":
                assert found.frame_weights.sum() == pytest.approx(1)

    def last_frame(self, w, frames, heads=2):
        """One encoder layer of a Transformer, normalised after each half."""

        def normed(name, x):
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
            return x * w[f"{name}.weight"] + w[f"{name}.bias"]

        head = "experts.frames.layer"
        q, k, v = np.split(
            frames @ w[f"{head}.self_attn.in_proj_weight"].T + w[f"{head}.self_attn.in_proj_bias"], 3, axis=1
        )
        size = frames.shape[1] // heads
        cuts = [slice(i * size, (i + 1) * size) for i in range(heads)]
        seen = np.hstack([softmax(q[:, c] @ k[:, c].T / np.sqrt(size), 1) @ v[:, c] for c in cuts])
        x = normed(f"{head}.norm1", frames + linear(w, f"{head}.self_attn.out_proj", seen))
        x = normed(f"{head}.norm2", x + linear(w, f"{head}.linear2", relu(linear(w, f"{head}.linear1", x))))
        return x[-1]

    def latent(self, w, vectors, n_layers, spread_to_variance):
        means, precisions = [], []
        for name, x in vectors.items():
            for i in range(n_layers):
                x = relu(linear(w, f"experts.encoders.{name}.{2 * i}", x))
            means.append(linear(w, f"experts.experts.{name}.mean", x))
            precisions.append(1 / spread_to_variance(linear(w, f"experts.experts.{name}.spread", x)))
        total = sum(precisions)
        return sum(m * p for m, p in zip(means, precisions, strict=True)) / total, 1 / total

    def test_massl(self):
        def convolved(w, name, x):
            x = np.pad(x, 1)
            kernel = w[f"{name}.weight"][0, 0]
            return np.array([x[i : i + 3] @ kernel for i in range(0, len(x) - 2, 2)]) + w[f"{name}.bias"]

        def value(w, frames, text, u):
            z, _ = self.latent(w, {"frames": self.last_frame(w, frames), "text": text[0]}, 2, np.exp)
            x = relu(linear(w, "decoder.layers.0", np.hstack([z, u])))
            x = relu(linear(w, "decoder.layers.3", x))
            lengths = []
            for number, pools in ((0, True), (2, True), (4, False), (5, False), (6, True)):
                x = convolved(w, f"decoder.convolutions.{number}", x)
                lengths.append(len(x))
                x = np.maximum(x[1:], x[:-1]) if pools else x
            return linear(w, "decoder.out", x)

        self.check("MASSL", None, value)

    @pytest.mark.parametrize("variant", ["original", "reimplementation"])
    def test_hmmved(self, variant):
        def value(w, frames, text, u):
            if variant == "original":
                spread = lambda s: np.exp(2 * np.clip(s, -20, 2))  # noqa: E731
                z, _ = self.latent(w, {"frames": frames.mean(axis=0), "text": text[0]}, 1, spread)
                return linear(w, "decoder", np.hstack([z, u]))
            z, _ = self.latent(w, {"frames": self.last_frame(w, frames), "text": text[0]}, 2, np.exp)
            return linear(w, "decoder.2", relu(linear(w, "decoder.0", np.hstack([z, u]))))

        self.check("HMMVED", variant, value)

    def test_mqmc(self):
        def encoded(w, name, x, n_layers):
            for i in range(n_layers):
                x = linear(w, f"encoders.{name}.{3 * i}", x)
                x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
                x = x * w[f"encoders.{name}.{3 * i + 1}.weight"] + w[f"encoders.{name}.{3 * i + 1}.bias"]
                x = np.where(x > 0, x, 0.01 * x)
            return x

        def value(w, frames, text, u):
            v, t = encoded(w, "frames", frames.mean(axis=0), 3), encoded(w, "text", text[0], 1)
            h = linear(
                w, "fusion.join", np.hstack([linear(w, "fusion.map_frames", v), linear(w, "fusion.map_text", t)])
            )
            h = (h - h.mean()) / np.sqrt(h.var() + 1e-5) * w["fusion.norm.weight"] + w["fusion.norm.bias"]
            h = h * sigmoid(linear(w, "fusion.gate", h))
            return linear(w, "head.2", relu(linear(w, "head.0", np.hstack([encoded(w, "instance", h, 3), u]))))

        self.check("MQMC", None, value)


class TestHMMVED:
    def test_the_loss_by_hand(self, monkeypatch):
        """Squared error of a draw, and the divergence from what the user stage says."""
        batch = batch_of([4, 2, 3])
        model = settled(model_of("HMMVED", "original", batch, kl_weight=0.3))
        noise = torch.randn(3, 8)
        monkeypatch.setattr(torch, "randn_like", lambda x: noise)
        posterior, prior = model.experts(batch), model.user.prior(batch)
        z = torch.cat([posterior.mean + posterior.variance.sqrt() * noise, batch["numeric"]], dim=1)
        error = (model.decoder(z).squeeze(-1) - batch["label"]).square().mean()
        p, q = (torch.distributions.Normal(one.mean, one.variance.sqrt()) for one in (posterior, prior))
        expected = error + 0.3 * torch.distributions.kl_divergence(p, q).sum(dim=1).mean()
        torch.testing.assert_close(model.calculate_loss(batch), expected)

    def test_user_stage_learns_what_metadata_tell_and_stays(self):
        batch = batch_of([1] * 200)
        batch["label"] = batch["numeric"][:, 0]
        torch.manual_seed(0)
        model = model_of("HMMVED", "original", batch, user_epochs=40, learning_rate=0.01, kl_weight=0.01)
        values = model.user.decoder(model.user.prior(batch).mean).squeeze(-1)
        assert (values - batch["label"]).square().mean() < 0.3 * batch["label"].var()
        before = {name: value.clone() for name, value in model.user.state_dict().items()}
        error_after_training(model, batch, batch, steps=3)
        model.before_epoch(1, [batch])
        assert all(torch.equal(value, before[name]) for name, value in model.user.state_dict().items())
        own = sum(p.numel() for p in model.parameters() if p.requires_grad)
        stage = sum(p.numel() for p in model.user.parameters())
        assert model.parameter_counts() == {"model": own + stage, "user_stage": stage}

    def test_it_is_named_after_what_it_is(self):
        batch = batch_of([4, 2])
        remarks = {}
        for n_numeric in (0, 3):
            model = model_of("HMMVED", "original", batch_of([4, 2], n_numeric=n_numeric))
            remarks[n_numeric] = model.remark({"parameters": model.parameter_counts()})
        model = model_of("HMMVED", "reimplementation", batch)
        assert remarks == {0: "without a user stage, which is MMVED", 3: ""}
        assert model.remark({"parameters": model.parameter_counts()}) == remarks[0]

    def test_as_published_metadata_are_the_prior_alone(self):
        batch = batch_of([4, 2])
        model = settled(model_of("HMMVED", "original", batch, metadata_in_head=False))
        other = batch | {"numeric": batch["numeric"] + 1}
        torch.testing.assert_close(model.predict(other), model.predict(batch))
        torch.manual_seed(0)
        loss = model.calculate_loss(batch)
        torch.manual_seed(0)
        assert not torch.allclose(model.calculate_loss(other), loss)


class TestMQMC:
    def test_queues_hold_the_last_keys(self):
        queues = Queues(2, 3, 1)
        queues.push(torch.tensor([[1.0], [2], [3]]), torch.tensor([0, 1, 0]))
        queues.push(torch.tensor([[4.0], [5], [6], [7], [8]]), torch.tensor([0, 0, 0, 0, 1]))
        assert sorted(queues.keys[0, :, 0].tolist()) == [5, 6, 7] and queues.counts.tolist() == [6, 2]
        assert queues.keys[1, :2, 0].tolist() == [2, 8]

    def test_contrast_by_hand(self):
        rng = np.random.default_rng(0)
        queues = Queues(3, 2, 4)
        keys, bins = rng.normal(size=(4, 4)), np.array([0, 0, 1, 2])
        keys /= np.linalg.norm(keys, axis=1, keepdims=True)
        queues.push(torch.tensor(keys).float(), torch.tensor(bins))
        centres = np.stack([keys[bins == b].mean(axis=0) for b in range(3)])
        y = np.exp(cdist(centres, centres))
        y /= np.linalg.norm(y, axis=1, keepdims=True)
        queries, own = rng.normal(size=(2, 5, 4))
        of = np.array([0, 1, 2, 0, 1])
        expected = []
        for q, k, b in zip(queries, own, of, strict=True):
            omega = np.array([1.0 if j == b else 1 - y[b, j] for j in bins])
            logits = np.hstack([q @ k, omega * (keys @ q)]) / 0.07
            expected.append(-np.log(softmax(logits, 0)[0]))
        found = queues.contrast(torch.tensor(queries).float(), torch.tensor(own).float(), torch.tensor(of))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

    def test_copies_follow_slowly_and_are_not_trained(self):
        batch = batch_of([4, 2, 3])
        model = model_of("MQMC", None, batch, momentum=0.9)
        before = {name: value.clone() for name, value in model.copies.named_parameters()}
        model.calculate_loss(batch).backward()
        with torch.no_grad():
            for weights in model.encoders.parameters():
                weights += 1
        model.after_step()
        for name, weights in model.copies.named_parameters():
            torch.testing.assert_close(weights, before[name] + 0.1)
            assert weights.grad is None
        assert int(model.queues["frames"].counts.sum()) == int(model.queues["text"].counts.sum()) == 3

    def test_predictions_are_cut_and_counted(self):
        batch = batch_of([4, 2, 3])
        model = model_of("MQMC", None, batch)
        low, high = batch["label"].min(), batch["label"].max()
        with torch.no_grad():
            model.head[2].bias += 100
        torch.testing.assert_close(model.predict(batch), high.expand(3))
        inside = model.look_inside(lambda split: [batch], np.array([]), 0, None)
        assert inside == {"predictions_out_of_range": {"valid": 3, "test": 3, "clipped": True}}
        free = model_of("MQMC", None, batch, clip_predictions=False)
        with torch.no_grad():
            free.head[2].bias -= 100
        assert (free.predict(batch) < low - 50).all()

    def test_bins_are_quantiles(self):
        batch = batch_of([1] * 9)
        batch["label"] = torch.arange(9.0)
        model = model_of("MQMC", None, batch)
        assert torch.bucketize(batch["label"], model.bin_edges, right=True).tolist() == [0] * 3 + [1] * 3 + [2] * 3


def graphs(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return [neighbourhood(rng.normal(size=(n, d)), 5, 0).laplacian() for d in (2, 3, 4)]


class TestGraphs:
    def test_neighbours_by_brute_force(self, monkeypatch):
        monkeypatch.setattr("recbole_video.popularity.similarity_graphs._VALUES_AT_ONCE", 100)
        rows = np.random.default_rng(0).normal(size=(30, 4))
        rows[7] = 0  # has nothing of the modality
        there = np.delete(np.arange(30), 7)
        width = np.median(pdist(rows[there]))
        distances = cdist(rows, rows)
        expected = np.zeros((30, 30))
        for i in there:
            others = sorted(set(there) - {i}, key=lambda j: distances[i, j])[:5]
            expected[i, others] = np.exp(-(distances[i, others] ** 2) / (2 * width**2))
        expected = np.maximum(expected, expected.T)
        found = neighbourhood(rows, 5, 0)
        assert found.width == pytest.approx(width)
        np.testing.assert_allclose(found.weights.toarray(), expected, rtol=1e-9)
        degrees = expected.sum(axis=1)
        root = np.where(degrees > 0, degrees, 1) ** -0.5
        laplacian = np.diag(degrees > 0) - root[:, None] * expected * root
        np.testing.assert_allclose(found.laplacian().toarray(), laplacian / 29, atol=1e-12)
        assert nearest(rows[:3], rows[:2], 5)[0].shape == (3, 2)

    def test_what_cannot_be_told_apart_has_no_graph(self):
        for rows in (np.ones((9, 2)), np.zeros((9, 2)), np.eye(2)[:1]):
            assert not neighbourhood(rows, 3, 0).width

    def objective(self, laplacians, y, labelled, how, f, beta):
        common = sum(b * one.toarray() for b, one in zip(beta, laplacians, strict=True))
        distances = sum(((common - one.toarray()) ** 2).sum() for one in laplacians)
        error = ((y - f)[labelled] ** 2).sum()
        return error + how.smoothness * f @ common @ f + how.agreement * distances + how.evenness * beta @ beta

    def test_both_steps_are_the_best_there_are(self):
        laplacians, rng = graphs(), np.random.default_rng(1)
        y, labelled, how = rng.normal(size=40), np.arange(40) < 25, Smoothing(8.0, 20.0, 5.0)
        found = smooth_values(laplacians, y, labelled, how)
        common = sum(b * one.toarray() for b, one in zip(found.shares, laplacians, strict=True))
        dense = np.linalg.solve(np.diag(labelled * 1.0) + how.smoothness * common, labelled * y)
        np.testing.assert_allclose(found.values, dense, rtol=1e-6, atol=1e-8)
        last = self.objective(laplacians, y, labelled, how, found.values, found.shares)
        assert found.objectives[-1] == pytest.approx(last)
        assert len(found.objectives) > 1 and (np.diff(found.objectives) <= 1e-9).all()
        products = np.array([[(a * b).sum() for b in laplacians] for a in laplacians])
        roughness = np.array([found.values @ (one @ found.values) for one in laplacians])
        best = minimize(
            lambda b: self.objective(laplacians, y, labelled, how, found.values, b), np.full(3, 1 / 3),
            constraints={"type": "eq", "fun": lambda b: b.sum() - 1}, tol=1e-14,
        )  # fmt: skip
        np.testing.assert_allclose(next_shares(products, roughness, how), best.x, atol=1e-4)

    def test_without_smoothness_labels_stand(self):
        y, labelled = np.random.default_rng(1).normal(size=40), np.arange(40) < 25
        values = smooth_values(graphs(), y, labelled, Smoothing(1e-6, 1.0, 1.0)).values
        np.testing.assert_allclose(values[:25], y[:25], atol=1e-5)

    def test_no_share_is_negative(self):
        """Where a graph is so rough that its share would be, the sweep before it stands."""
        y = np.random.default_rng(1).normal(size=40)
        found = smooth_values(graphs(), y, np.arange(40) < 39, Smoothing(500.0, 0.0, 1e-3))
        assert found.shares.min() >= 0 and len(found.objectives) < 10

    def test_a_video_that_nothing_joins_is_the_mean(self):
        rng = np.random.default_rng(0)
        rows = np.concatenate([rng.normal(size=(20, 2)), rng.normal(size=(10, 2)) + 1000])
        found = smooth_values(
            [neighbourhood(rows, 3, 0).laplacian()], rng.normal(size=30), np.arange(30) < 15, Smoothing(1, 1, 1)
        )
        assert np.abs(found.values[:20]).min() > 0 and not found.values[20:].any()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("neural")
    write_popularity(root)
    return root


def small_options(root, name):
    own = {"data_path": str(root), "figures": False, "show_progress": False, **METADATA, **SMALL[name]}
    if name == "TMALL":  # its default is fitted in one go
        return {key: value for key, value in own.items() if key != "factor_size"}
    own |= {"epochs": 2, "train_batch_size": 16, "learning_rate": 0.003}
    return {key: value for key, value in own.items() if name != "HMMVED" or key != "attn_heads"}


def run(root, name, **options):
    return run_recbole_video(name, "pop", config_dict={**small_options(root, name), **options})


def tensors_of(result):
    state = torch.load(Path(result["run_folder"]) / "model.pth", weights_only=True)["state_dict"]
    return {**state.pop("_extra_state", {}), **state}


@pytest.mark.parametrize("name", SMALL)
class TestRuns:
    def test_what_the_test_videos_have_trains_nothing(self, name, root, tmp_path, in_tmp):
        """Other labels, frames, text, authors and metadata of them: no tensor moves, the predictions do.

        Of the transductive one, the features of test videos are a part; their labels move nothing.
        """
        options = {"metadata_numeric": ["seconds"], "metadata_categorical": []}
        other_root = with_other_test_videos(root, tmp_path / "data", only_labels=name == "TMALL")
        found = [run(one, name, **options) for one in (root, other_root)]
        one, two = map(tensors_of, found)
        assert len(one) > 3 and set(one) == set(two) and all(torch.equal(one[key], two[key]) for key in one)
        assert found[0]["test_result"] != found[1]["test_result"]

    def test_a_checkpoint_predicts_without_the_data(self, name, root, in_tmp):
        folder = in_tmp / run(root, name)["run_folder"]
        written = pd.read_csv(folder / "predictions.tsv", sep="\t", float_precision="round_trip")
        predictor = load_model(folder)
        found = predictor.predict(inputs_of(root, predictor, written["item_id"].tolist()))
        np.testing.assert_allclose(found, written["prediction"], rtol=1e-12 if name == "TMALL" else 1e-5)


@pytest.mark.parametrize("name", ["MQMC", "HMMVED"])
def test_killed_and_resumed(name, root, in_tmp, forks):
    """Killed in its second epoch: with queues and copies, or with a user stage from before the first."""
    options = {**small_options(root, name), "epochs": 3}
    whole = run_recbole_video(name, "pop", config_dict={**options, "checkpoint_dir": "whole"})
    Path("killed.py").write_text(
        "import json, os, signal, sys\nfrom recbole_video import run_recbole_video\n"
        "from recbole_video.training.trainer import Trainer\nstep = Trainer._train_step\n"
        "def kill(self, *given):\n    if self.progress.next_epoch == 1:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n    return step(self, *given)\n"
        "Trainer._train_step = kill\nimport torch\ntorch.set_num_threads(1)\n"
        "run_recbole_video(sys.argv[2], 'pop', config_dict=json.loads(sys.argv[1]))\n"
    )
    killed = {**options, "checkpoint_dir": "parts"}
    status, output = forks.run_file("killed.py", json.dumps(killed), name)
    assert status == -signal.SIGKILL, output[-2000:]
    resumed = run_recbole_video(name, "pop", config_dict={**killed, "resume": True})
    assert resumed["test_result"] == whole["test_result"]
    one, two = tensors_of(whole), tensors_of(resumed)
    assert all(torch.equal(one[key], two[key]) for key in one)


class TestTMALL:
    def test_whole_fit_by_hand(self, root):
        """Graphs of the data set's own features, all splits in one, the training labels alone, dense algebra."""
        task, outcome = fitted(root, "TMALL", **METADATA, smoothness=[0.5], agreement=0.02, evenness=0.03)
        model = task.model
        rows = np.concatenate([task.data.rows[split] for split in ("train", "valid", "test")])
        frames, mask = (x.double().numpy() for x in task.data.frames.gather(torch.from_numpy(rows + 1)))
        parts = [frames.sum(axis=1) / mask.sum(axis=1, keepdims=True)]
        parts.append(task.data.text.gather(torch.from_numpy(rows + 1))[0][:, 0].double().numpy())
        numeric, codes = task.data.metadata.numeric[rows], task.data.metadata.codes[rows]
        parts.append(np.concatenate([numeric, codes == np.arange(task.data.metadata.n_categories[0])], axis=1))
        laplacians = [
            neighbourhood(x.astype(np.float32).astype(float), 20, model._options.seed).laplacian() for x in parts
        ]
        labels = task.data.labels[rows]
        mean, sd = labels[:40].mean(), labels[:40].std()
        how = Smoothing(0.5 * N, 0.02 * N**2, 0.03 * N)
        found = smooth_values(laplacians, (labels - mean) / sd, np.arange(N) < 40, how)
        assert list(outcome.notes["shares"].values()) == pytest.approx(found.shares.tolist())
        np.testing.assert_allclose(task.evaluate("test")[0].values, found.values[50:] * sd + mean)
        np.testing.assert_allclose(task.evaluate("valid")[0].values, found.values[40:50] * sd + mean)

    def test_a_new_video_is_as_an_unlabelled_one(self, root):
        """Its value, with the others fixed, is where the objective's derivative is zero."""
        task, _ = fitted(root, "TMALL", **METADATA, smoothness=[0.5], n_neighbours=3)
        model, state = task.model, {name: value.numpy() for name, value in task.model.get_extra_state().items()}
        batch = {**batch_of([3, 0], n_numeric=3), "categories": torch.tensor([[1], [0]]), "row": torch.arange(2)}
        features = model.rows_with_one_hot(model.condensed(batch)).astype(np.float32).astype(float)
        ends = np.cumsum([6, 5])
        for new, value in zip(features, model.predict(batch).tolist(), strict=True):
            top = bottom = 0.0
            for k, (own, stored) in enumerate(
                zip(np.split(new, ends), np.split(state["features"], ends, axis=1), strict=True)
            ):
                if not own.any():
                    continue
                distances = np.linalg.norm(stored - own, axis=1)
                near = np.argsort(distances)[:3]
                weights = np.exp(-(distances[near] ** 2) / (2 * state["widths"][k] ** 2))
                share = state["shares"][k] / N
                top += (
                    share * (weights / np.sqrt(weights.sum() * state["degrees"][k][near]) * state["values"][near]).sum()
                )
                bottom += share
            assert value == pytest.approx(top / bottom * state["label_sd"] + state["label_mean"], rel=1e-5)

    def test_no_label_of_a_test_video_is_shown(self, root, monkeypatch):
        shown = []
        monkeypatch.setattr(
            POPULARITY_MODELS.get("TMALL"), "take_unlabelled", lambda self, videos: shown.append(videos)
        )
        fitted(root, "TMALL", **METADATA)
        assert len(shown) == 1 and "label" not in shown[0] and shown[0]["row"].tolist() == list(range(50, 60))

    def test_learns_what_is_smooth_and_not_the_order_of_frames(self, tmp_path):
        rng = np.random.default_rng(0)
        n, group = 200, np.arange(200) % 8
        for rule in ("group", "order"):
            first = rng.random(n) < 0.5
            labels = (group**2 % 5 if rule == "group" else first * 2.0) + 0.01 * rng.normal(size=n)
            write_popularity(tmp_path, rule, n=n, labels=labels)
            a, b = rng.normal(size=(2, 8, 6)) * 5
            frames = np.stack(
                [np.where(first[:, None], a[group], b[group]), np.where(first[:, None], b[group], a[group])], 1
            )
            frames = frames + 0.1 * rng.normal(size=(n, 1, 6))
            for end in ("npy", "json"):
                (tmp_path / rule / f"{rule}.frames.{end}").unlink()
            path = tmp_path / rule / f"{rule}.frames.npy"
            write_frame_store(path, [f"v{i}" for i in range(n)], frames, vfm="random", sampling="none")
            task, _ = fitted(tmp_path, "TMALL", name=rule, use_text=False)
            _, metrics = task.evaluate("test")
            assert (metrics["nmse"] < 0.3) == (rule == "group") and (metrics["nmse"] > 0.8) == (rule == "order"), (
                metrics
            )

    def test_variants_differ_in_how_they_are_fitted(self, root, in_tmp):
        result = run(root, "TMALL", variant="tmall_linear", factor_size=4, epochs=1)
        assert result["history"] and not {"control", "fit"} & set(result) and result["parameters"]
        predictor = load_model(result["run_folder"])
        written = pd.read_csv(f"{result['run_folder']}/predictions.tsv", sep="\t")
        found = predictor.predict(inputs_of(root, predictor, written["item_id"].tolist()))
        np.testing.assert_allclose(found, written["prediction"], rtol=1e-5)
        with pytest.raises(ConfigError, match="`learning_rate` has no effect on TMALL, which is fitted in one go"):
            run(root, "TMALL", learning_rate=0.1)
        with pytest.raises(ConfigError, match="`n_neighbours` has no effect on runs with variant=tmall_linear"):
            run(root, "TMALL", variant="tmall_linear", n_neighbours=3)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (lambda s: s.pop("values"), "`values`"),
            (
                lambda s: s.update(values=s["values"][:9]),
                r"`values` in its `graphs` is not of finite numbers in the shape",
            ),
            (lambda s: s["degrees"].fill_(torch.nan), "`degrees` in its `graphs` is not of finite numbers"),
            (lambda s: s.update(shares=s["shares"].float()), "`shares` in its `graphs` is not of its precision"),
            (lambda s: s.clear(), "`features`"),
        ],
        ids=range(5),
    )
    def test_graphs_that_are_none(self, root, in_tmp, wrong, message):
        state = torch.load(Path(run(root, "TMALL")["run_folder"]) / "model.pth", weights_only=True)
        wrong(state["state_dict"]["_extra_state"])
        torch.save(state, "model.pth")
        with pytest.raises(CheckpointError, match=message):
            load_model("model.pth")

    def test_the_row_says_transductive(self):
        cls = POPULARITY_MODELS.get("TMALL")
        assert cls.remark({"fit": {}}).startswith("transductive") and not cls.remark({"history": []})

    def test_constant_features(self, tmp_path):
        write_popularity(tmp_path, seconds=3.0)
        with pytest.raises(
            DataError, match="All 40 training videos have the same features: TMALL has nothing to learn"
        ):
            fitted(tmp_path, "TMALL", metadata_numeric=["seconds"], use_frames=False, use_text=False)

    def test_no_two_videos_to_join(self, tmp_path):
        """All but one have nothing of the only modality."""
        write_popularity(tmp_path, seconds=[0.0, 9.0] + [0.0] * (N - 2))
        for end in ("npy", "json"):
            (tmp_path / "pop" / f"pop.text.frames.{end}").unlink()
        text = np.zeros((N, 1, 5))
        text[3] = 1
        write_frame_store(
            tmp_path / "pop" / "pop.text.frames.npy", [f"v{i}" for i in range(N)], text, vfm="random", sampling="none"
        )
        with pytest.raises(DataError, match="TMALL joins videos that are similar, .* no two with different text; read"):
            fitted(tmp_path, "TMALL", use_frames=False)

    def test_a_system_that_is_not_solved(self, root, monkeypatch):
        from recbole_video.popularity import similarity_graphs

        monkeypatch.setattr(similarity_graphs, "cg", lambda *given, **more: (None, 5))
        with pytest.raises(TrainingError, match="With a smoothness of 0.06 over all videos .* not found; lower it"):
            fitted(root, "TMALL", smoothness=[0.001])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CBAN", {"use_text": False}, "CBAN reads frames and text, and there is no text; .* leave out use_text=False"),
        ("MQMC", {"use_frames": False}, "MQMC reads frames and text, and there is no frames"),
        ("CLSTM", {"use_frames": False}, "CLSTM reads frames, and there is no frames"),
        ("MASSL", {"use_frames": False, "use_text": False}, "MASSL reads frames or text"),
        ("HMMVED", {"use_frames": False, "use_text": False}, "HMMVED reads frames or text"),
        ("MASSL", {"attn_heads": 4}, "`attn_heads` is 4, and frames are 6 wide; set it to a divisor of 6"),
        ("MASSL", {"latent_size": 38}, "`latent_size` is `?38"),
        ("HMMVED", {"attn_heads": 2}, "`attn_heads` has no effect on runs with variant=original"),
        ("CLSTM", {"variant": "plain"}, "`variant` is `plain`; it must be one of clstm, clstm_plain"),
    ],
    ids=str,
)
def test_what_cannot_be_run(root, in_tmp, name, options, message):
    with pytest.raises(ConfigError, match=message):
        run_recbole_video(name, "pop", config_dict={"data_path": str(root), "figures": False, **METADATA, **options})
