"""STAP's blocks against formulas worked out by hand, brute force, and the paper's own sizes."""

from dataclasses import asdict
from importlib.resources import files

import numpy as np
import pytest
import torch
import yaml

from recbole_video.config import Config
from recbole_video.errors import ConfigError
from recbole_video.popularity.base import InputShape, MetadataVector
from recbole_video.popularity.stap.cross_attention import FrameTextAttention
from recbole_video.popularity.stap.frame_scoring import FrameScorer
from recbole_video.popularity.stap.memory_bank import MemoryBank, Routing
from recbole_video.popularity.stap.model import STAP, Reading
from recbole_video.popularity.stap.official import Interaction, MambaBlock, OfficialBlock, WindowedAttention
from recbole_video.popularity.stap.routing_losses import _middle_pair
from recbole_video.popularity.stap.scan import linear_scan, loop_scan
from recbole_video.popularity.stap.selection import RULES
from recbole_video.popularity.stap.slots import describe_slots
from recbole_video.popularity.stap.sparse_attention import SparseAttention
from recbole_video.popularity.stap.ssm import SSMBlock
from recbole_video.runtime.checkpoint_checks import difference
from recbole_video.training.trainer import Progress

OFFICIAL = yaml.safe_load(files("recbole_video.properties").joinpath("variant/STAP-official.yaml").read_text("utf-8"))
STEP_MODES = ("equation", "prose", "prose_euler", "algorithm_s1")
SMALL = {"hidden_size": 16, "state_size": 24, "n_partitions": 3, "n_clusters": 4, "memory_warmup_epochs": 0}
SMALL_OFFICIAL = {**OFFICIAL, "hidden_size": 16, "attn_heads": 2, "n_partitions": 3, "n_clusters": 4}


class Chosen(dict):
    """Options of a model, as a configuration gives them, that no run would refuse."""

    def options(self, cls):
        return cls(**self)


def options(**changes):
    return Chosen(asdict(STAP.Options(**{"seed": 1, **changes})))


def batch_of(lengths, n_frames=None, frame_dim=6, text_dim=5, n_text=1, n_numeric=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    n, n_frames = len(lengths), n_frames or max(lengths)
    mask = torch.arange(n_frames) < torch.tensor(lengths)[:, None]
    batch = {"label": torch.randn(n, generator=rng)}
    if frame_dim:
        frames = torch.randn(n, n_frames, frame_dim, generator=rng)
        batch |= {"frames": frames * mask[..., None], "frame_mask": mask}
    if text_dim:
        batch["text"] = torch.randn(n, n_text, text_dim, generator=rng)
        batch["text_mask"] = torch.ones(n, n_text, dtype=torch.bool)
    if n_numeric:
        batch["numeric"] = torch.randn(n, n_numeric, generator=rng)
    return batch


def shape_of(batch, **more):
    frames, text, numeric = (batch.get(name) for name in ("frames", "text", "numeric"))
    return InputShape(
        frame_dim=0 if frames is None else frames.shape[-1],
        n_frames=0 if frames is None else frames.shape[1],
        text_dim=0 if text is None else text.shape[-1],
        n_numeric=0 if numeric is None else numeric.shape[-1],
        **more,
    )


def model_of(batch, **changes):
    torch.manual_seed(3)
    model = STAP(options(**{**SMALL, **changes}), shape_of(batch))
    model.before_epoch(model.memory_warmup_epochs if model.bank is not None else 0, [batch])
    return model


class TestScan:
    @pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 7, 31, 100])
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_equals_the_loop(self, n_frames, reverse, chunked):
        torch.manual_seed(n_frames)
        decay = torch.rand(n_frames, 2, 5, dtype=torch.float64, requires_grad=True)
        inputs = torch.randn(n_frames, 2, 5, dtype=torch.float64, requires_grad=True)
        weights = torch.randn(n_frames, 2, 5, dtype=torch.float64)
        ours, plain = linear_scan(decay, inputs, reverse, chunked), loop_scan(decay, inputs, reverse)
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
        expected = torch.autograd.grad((plain * weights).sum(), (decay, inputs))
        found = torch.autograd.grad((ours * weights).sum(), (decay, inputs))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)

    def test_gradients_numerically(self):
        decay = torch.rand(5, 1, 2, dtype=torch.float64, requires_grad=True)
        inputs = torch.randn(5, 1, 2, dtype=torch.float64, requires_grad=True)
        for chunked in (False, True):
            assert torch.autograd.gradcheck(lambda a, u, c=chunked: linear_scan(a, u, True, c), (decay, inputs))

    def test_by_hand(self):
        decay, inputs = torch.tensor([[9.0], [0.5], [0.1]]), torch.tensor([[1.0], [2.0], [3.0]])
        assert linear_scan(decay, inputs).flatten().tolist() == pytest.approx([1, 2.5, 3.25])
        assert linear_scan(decay, inputs, reverse=True).flatten().tolist() == pytest.approx([1 + 9 * 3.5, 3.5, 3])


class TestFrameScoring:
    def test_formula(self):
        torch.manual_seed(0)
        scorer, x = FrameScorer(4), torch.randn(1, 3, 4)
        first, _, second = scorer.score
        change = torch.stack([torch.zeros(4), x[0, 1] - x[0, 0], x[0, 2] - x[0, 1]])
        hidden = change @ first.weight.T + first.bias
        gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        expected = torch.sigmoid(gelu @ second.weight.T + second.bias).flatten()
        mean = (expected[:, None] * x[0]).sum(0) / expected.sum()
        normed = (mean - mean.mean()) / (mean.var(unbiased=False) + 1e-5).sqrt()
        weights, anchor = scorer(x, torch.ones(1, 3, dtype=torch.bool))
        torch.testing.assert_close(weights[0], expected)
        torch.testing.assert_close(anchor[0], torch.tanh(normed), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("scorer", ["mlp_delta", "linear_abs"])
    def test_static_video(self, scorer):
        """No change: all frames weigh the same, and the anchor is the frame's, normalised."""
        module, x = FrameScorer(8, scorer), torch.randn(2, 1, 8).expand(2, 5, 8)
        weights, anchor = module(x, torch.ones(2, 5, dtype=torch.bool))
        torch.testing.assert_close(weights, weights[:, :1].expand(2, 5))
        expected = torch.tanh(torch.nn.functional.layer_norm(x[:, 0], (8,)))
        torch.testing.assert_close(anchor, expected, rtol=1e-4, atol=1e-4)

    def test_switched_off(self):
        x = torch.randn(1, 4, 8)
        weights, _ = FrameScorer(8, enabled=False)(x, torch.tensor([[True, True, True, False]]))
        assert weights.tolist() == [[1, 1, 1, 0]]


class TestSSM:
    @pytest.mark.parametrize("mode", STEP_MODES)
    def test_formula(self, mode):
        """The whole block, frame by frame and number by number."""
        torch.manual_seed(1)
        block = SSMBlock(3, 4, mode, delta_min=0.05, delta_max=0.9, n_frames=6).double()
        x, w = torch.randn(1, 6, 3).double(), torch.rand(1, 6).double()
        anchor = torch.tanh(torch.randn(1, 3)).double()
        with torch.no_grad():
            for name, value in (("alpha", 0.7), ("base", 0.2)):
                getattr(block, name).fill_(value)
            if mode != "algorithm_s1":
                block.rho.fill_(-0.4)
                block.skip.copy_(torch.tensor([0.5, -1.0, 2.0]))
        rate = np.log1p(np.exp(block.rate_raw.detach().numpy()))
        b, c = block.input.weight.detach().numpy(), block.output.weight.detach().numpy()
        frames, weights, g = x[0].numpy(), w[0].numpy(), anchor[0].numpy()
        total = np.zeros((6, 3))
        for order in (range(6), reversed(range(6))):
            state = np.zeros(4)
            for t in order:
                if mode == "algorithm_s1":
                    delta = np.clip(0.2 * (1 + 0.7 * (1 - weights[t])), 0.05, 0.9)
                else:
                    cosine = g @ frames[t] / np.linalg.norm(g) / np.linalg.norm(frames[t])
                    delta = 0.05 + 0.85 / (1 + np.exp(-(0.2 + 0.7 * cosine - 0.4 * weights[t])))
                decay = np.exp(-delta * rate)
                gain = {"equation": (1 - decay) / rate, "prose_euler": delta}.get(mode, 1.0)
                state = decay * state + gain * (b @ frames[t])
                total[t] += c @ state + (0 if mode == "algorithm_s1" else np.array([0.5, -1, 2]) * frames[t])
        found = block(x, w, anchor, torch.ones(1, 6, dtype=torch.bool))
        np.testing.assert_allclose(found[0].detach().numpy(), total, rtol=1e-5, atol=1e-6)

    def test_sign_of_the_step(self):
        x, anchor = torch.zeros(1, 2, 3), torch.ones(1, 3)
        weights = torch.tensor([[0.1, 0.9]])
        steps = {mode: SSMBlock(3, 4, mode).steps(x, weights, anchor)[0] for mode in STEP_MODES}
        assert steps["equation"][0] < steps["equation"][1]
        assert all(steps[mode][0] > steps[mode][1] for mode in STEP_MODES[1:])
        assert torch.equal(steps["prose"], steps["prose_euler"])
        assert all((s >= 0.01).all() and (s <= 1).all() for s in steps.values())

    @pytest.mark.parametrize("mode", STEP_MODES)
    @pytest.mark.parametrize("bounds", [(0.01, 1.0), (0.001, 0.1)])
    def test_clamped_steps_start_between_the_bounds(self, mode, bounds):
        """Where they are cut, nothing that makes them learns."""
        torch.manual_seed(0)
        block = SSMBlock(8, 4, mode, *bounds, delta_bound="clamp")
        x, anchor, mask = torch.randn(16, 20, 8), torch.randn(16, 8).tanh(), torch.ones(16, 20, dtype=torch.bool)
        weights = torch.rand(16, 20)
        raw = block.raw_steps(x, weights, anchor)
        assert ((raw > bounds[0]) & (raw < bounds[1])).float().mean() > 0.9
        block(x, weights, anchor, mask).square().sum().backward()
        learned = [block.base, block.alpha] + ([] if mode == "algorithm_s1" else [block.rho])
        assert all(parameter.grad.abs() > 1e-6 for parameter in learned)
        if mode != "algorithm_s1":
            assert (block.alpha < 0) == (mode != "equation") and block.rho == block.alpha

    @pytest.mark.parametrize("mode", STEP_MODES)
    def test_a_video_that_stands_still_is_passed_on_by_all_channels_alike(self, mode):
        """At steps in the middle of their range, what a channel adds up in the end is its input map's first size."""
        torch.manual_seed(0)
        block = SSMBlock(5, 64, mode, 0.05, 1.0, direction_mix=(1.0, 0.0), n_frames=20).double()
        torch.manual_seed(0)
        before = torch.nn.Linear(5, 64, bias=False).weight.double()
        delta, rate = 0.525, np.log1p(np.exp(block.rate_raw.detach().numpy()))
        gain = {"equation": (1 - np.exp(-delta * rate)) / rate, "prose_euler": delta}.get(mode, 1.0)
        held = gain / (1 - np.exp(-delta * rate)) * np.linalg.norm(block.input.weight.detach(), axis=1)
        slow = rate * delta < 0.5
        assert 10 < slow.sum() < 64
        np.testing.assert_allclose(held[slow], np.linalg.norm(before.detach(), axis=1)[slow], rtol=1e-5)

    @pytest.mark.parametrize("mode", STEP_MODES)
    @pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=str)
    def test_videos_in_parts_are_the_unchunked_loop(self, mode, dtype, close):
        """Outputs and every gradient, of seven videos two or three at a time; the loop is autograd's own, over all."""
        torch.manual_seed(2)
        block = SSMBlock(3, 8, mode, n_frames=9).to(dtype)
        block.bytes_at_once = 3 * 4 * 9 * 8 + 5
        x, w = torch.randn(7, 9, 3, dtype=dtype, requires_grad=True), torch.rand(7, 9, dtype=dtype, requires_grad=True)
        anchor = torch.randn(7, 3, dtype=dtype).tanh().requires_grad_()
        mask = torch.arange(9) < torch.tensor([9, 3, 1, 5, 9, 2, 9])[:, None]
        assert [len(part[0]) for part in block._parts(x, w, anchor, mask)] == [3, 2, 2]
        delta, rate = block.steps(x, w, anchor).T[..., None], torch.nn.functional.softplus(block.rate_raw)
        gain = {"equation": -torch.expm1(-delta * rate) / rate, "prose_euler": delta}.get(mode, 1.0)
        inputs = gain * block.input((x * mask[..., None]).transpose(0, 1))
        states = sum(loop_scan(torch.exp(-delta * rate), inputs, reverse) for reverse in (False, True))
        expected = block.output(states).transpose(0, 1) + (0 if mode == "algorithm_s1" else 2 * block.skip * x)
        learned = [x, w, *([] if mode == "algorithm_s1" else [anchor]), *block.parameters()]
        factors = torch.randn(7, 9, 3, dtype=dtype)
        found = block(x, w, anchor, mask)
        torch.testing.assert_close(found, expected, rtol=close, atol=close)
        for one, other in zip(
            torch.autograd.grad((found * factors).sum(), learned),
            torch.autograd.grad((expected * factors).sum(), learned),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=close, atol=close * float(other.abs().max()))

    def test_few_frames_are_one_part(self):
        """The paper's hundred frames of 32 videos too: what they were computed as before there were parts."""
        block, mask = SSMBlock(3, 1536), torch.ones(32, 100, dtype=torch.bool)
        for n_frames, n_parts in ((25, 1), (100, 1), (400, 4)):
            inputs = torch.empty(32, n_frames, 3), torch.empty(32, n_frames), mask
            assert len(list(block._parts(*inputs))) == n_parts
        assert len(list(SSMBlock(3, 1536)._parts(torch.empty(4, 20_000, 3)))) == 4  # one video at a time, at least
        assert len(list(SSMBlock(3, 1536)._parts(torch.empty(32, 400, 3, device="meta")))) == 1

    def test_one_direction(self):
        """Without the backward scan a frame does not see the later ones."""
        block = SSMBlock(3, 4, direction_mix=(1.0, 0.0))
        x, mask = torch.randn(1, 5, 3), torch.ones(1, 5, dtype=torch.bool)
        other = x.clone()
        other[:, 3:] += 1
        one, two = (block(v, torch.ones(1, 5), torch.ones(1, 3), mask) for v in (x, other))
        torch.testing.assert_close(one[:, :3], two[:, :3])
        assert (one[:, 3:] - two[:, 3:]).abs().max() > 1e-3


class TestSparseAttention:
    def dense(self, module, x):
        q, k, v = (layer(x) for layer in (module.query, module.key, module.value))
        return torch.softmax(q @ k.transpose(1, 2) / x.shape[-1] ** 0.5, dim=-1) @ v

    def test_formula_with_hard_windows(self):
        torch.manual_seed(0)
        module = SparseAttention(4, base_window=2, window_mask="hard", window_signal="importance", beta=2.0)
        x, w = torch.randn(1, 9, 4), torch.rand(1, 9)
        q, k, v = (layer(x)[0] for layer in (module.query, module.key, module.value))
        window = (2 + 2.0 * (w[0] - w[0].mean())).clamp(1, 9)
        for t in range(9):
            near = [j for j in range(9) if abs(j - t) <= window[t]]
            share = torch.softmax(q[t] @ k[near].T / 2, dim=-1)
            found = module(x, w, torch.ones(1, 9, dtype=torch.bool))[0, t]
            torch.testing.assert_close(found, share @ v[near], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("window", [30, 1.0])
    def test_wide_hard_window_is_dense_attention(self, window):
        x = torch.randn(2, 7, 4)
        module = SparseAttention(4, window, window_mask="hard", window_signal="importance")
        found = module(x, torch.ones(2, 7), torch.ones(2, 7, dtype=torch.bool))
        torch.testing.assert_close(found, self.dense(module, x), rtol=1e-4, atol=1e-5)

    def test_soft_becomes_hard(self):
        x, w, mask = torch.randn(1, 12, 4), torch.rand(1, 12), torch.ones(1, 12, dtype=torch.bool)
        settings = {
            "base_window": 3,
            "window_signal": "importance",
        }
        hard = SparseAttention(4, **settings, window_mask="hard")
        gaps = []
        for edge in (1.0, 0.1, 0.001):
            soft = SparseAttention(4, **settings, edge=edge)
            soft.load_state_dict(hard.state_dict())
            gaps.append(float((soft(x, w, mask) - hard(x, w, mask)).abs().max()))
        assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-4

    @pytest.mark.parametrize(("kind", "learns"), [("soft", True), ("ste", True), ("hard", False)])
    def test_gradient_of_beta(self, kind, learns):
        module = SparseAttention(4, 2, window_mask=kind)
        module(torch.randn(2, 9, 4), torch.rand(2, 9), torch.ones(2, 9, dtype=torch.bool)).square().sum().backward()
        grad = module.beta_raw.grad
        assert (grad is not None and grad.abs() > 1e-6) == learns

    def test_straight_through_is_hard_forward(self):
        """To the last digit, also where a frame outside of the window would score much higher than those inside."""
        x, w, mask = 30 * torch.randn(1, 9, 4), torch.rand(1, 9), torch.ones(1, 9, dtype=torch.bool)
        ste, hard = SparseAttention(4, 2, window_mask="ste"), SparseAttention(4, 2, window_mask="hard")
        ste.load_state_dict(hard.state_dict())
        found = ste(x, w, mask)
        assert torch.equal(found, hard(x, w, mask))
        found.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in ste.parameters())

    def test_norms_that_do_not_differ_are_told(self, caplog):
        x = torch.nn.functional.normalize(torch.randn(2, 5, 4), dim=-1)
        SparseAttention(4, 2)(x, torch.rand(2, 5), torch.ones(2, 5, dtype=torch.bool))
        assert "windows are constant" in caplog.text


class TestPresets:
    """Table S1 of the paper, column by column, as it is printed; a rate of the temporal encoder over the other."""

    OF_ALL = {
        "learner": "adam", "train_batch_size": 32, "epochs": 350, "weight_decay": 1e-5, "dropout": 0.1,
        "memory_top_k": 5, "n_partitions": 6, "n_clusters": 32, "tau": 1.0, "state_size": 1536, "n_cross_layers": 2,
        "balance_partitions": 0.01, "balance_clusters": 0.01,
    }  # fmt: skip
    ROWS = (
        "learning_rate", "encoder_rate", "stopping_step", "n_frames", "delta_min", "delta_max", "base_window",
        "dppo_weight", "dppo_gamma",
    )  # fmt: skip
    COLUMNS = {
        "smpd": (2e-4, 8e-6, 10, 100, 0.01, 1.0, 20, 0.10, 0.5),
        "informs": (1e-5, 4e-7, 5, 100, 0.01, 1.0, 20, 0.05, 0.3),
        "microlens": (3.5e-4, 1.4e-5, 6, 31, 0.001, 0.1, 10, 0.10, 0.5),
    }

    @pytest.mark.parametrize("dataset", ["popularity-demo", "of-data-set"])
    @pytest.mark.parametrize("name", COLUMNS)
    def test_columns_of_table_s1(self, name, dataset):
        """Whatever the data set says of the same options; the real data sets name their column themselves."""
        of_column = {"smpd": "smpd-video", "informs": "informs", "microlens": "microlens-100k"}[name]
        given = {} if dataset == "of-data-set" else {"preset": name}
        config = Config("STAP", of_column if dataset == "of-data-set" else dataset, config_dict=given)
        expected = self.OF_ALL | dict(zip(self.ROWS, self.COLUMNS[name], strict=True))
        encoder_rate = expected.pop("encoder_rate")
        assert {option: config[option] for option in expected} == expected
        assert config["learning_rate"] * config["encoder_lr_ratio"] == pytest.approx(encoder_rate)

    def test_main_text(self):
        expected = {
            "learner": "adamw", "learning_rate": 2e-4, "train_batch_size": 32, "epochs": 50, "memory_top_k": 5,
            "n_partitions": 6, "n_clusters": 32, "base_window": 1.0,
        }  # fmt: skip
        config = Config("STAP", "popularity-demo", config_dict={"preset": "main_text"})
        assert {option: config[option] for option in expected} == expected
        assert config["learning_rate"] * config["encoder_lr_ratio"] == pytest.approx(8e-6)

    def test_without_one(self):
        """The encoder learns as fast as the rest, and windows are ten frames to each side."""
        config = Config("STAP", "mine")
        assert (config["preset"], config["encoder_lr_ratio"], config["base_window"]) == (None, 1.0, 10)

    @pytest.mark.parametrize(("name", "width"), [("smpd", 20), ("informs", 20), ("microlens", 10)])
    def test_the_released_code_keeps_its_own(self, name, width):
        config = Config("STAP", "mine", config_dict={"preset": name, "variant": "official"})
        assert (config["base_window"], config["tau"], config["encoder_lr_ratio"]) == (width, 1.316, 0.04)
        assert config["regression_loss"] == ("huber" if name == "microlens" else "mse")


class TestSelection:
    """Which epoch the released scripts keep: their loops, written out over made-up validation curves."""

    def kept_by_a_loop(self, name, curve, patience):
        """Epoch and epochs run; as in the scripts with the mean squared error, and MAPE in percent."""
        best, kept, count = None, None, 0
        for epoch, (mape, mae, mse, src) in enumerate(curve):
            error = mae if name == "microlens" else 100 * mape
            is_kept = best is None
            if best is not None and error < best["error"]:
                of_mape, of_mae, of_mse = (
                    (best[m] - now) / best[m] * 100 for m, now in (("mape", mape), ("mae", mae), ("mse", mse))
                )
                of_src = (src - best["src"]) / abs(best["src"]) * 100
                is_kept = {
                    "smpd": of_mape + of_mae + of_mse > 0.5,
                    "informs": of_mape + of_mae + of_mse > 0,
                    "microlens": of_mae > 0.1 or of_src > 0.1,
                }[name]
            if is_kept:
                best, kept, count = {"error": error, "mape": mape, "mae": mae, "mse": mse, "src": src}, epoch, 0
            else:
                count += 1
            if count > patience:
                break
        return kept, epoch

    @pytest.mark.parametrize("patience", [3, 1000])
    @pytest.mark.parametrize("name", ["smpd", "informs", "microlens"])
    def test_loops_of_the_scripts(self, name, patience):
        rng, metric = np.random.default_rng(5), {"microlens": "MAE"}.get(name, "MAPE")
        model = model_of(batch_of([3, 3]), selection=name, valid_metric=metric, memory="off")
        plainly = 0
        for _ in range(200):
            noise = rng.normal(0, 0.002, (25, 4)).cumsum(axis=0) - 0.0005 * np.arange(25)[:, None]
            curve = np.array([0.25, 1.6, 3.0, -0.4]) * (1 + noise)
            progress = Progress(best_valid_score=np.inf)
            for epoch, (mape, mae, mse, src) in enumerate(curve):
                result = {"nmse": mse / 2.7, "mae": mae, "src": src, "mape": mape}
                progress.judge(epoch, result, result[metric.lower()], False, patience, model.is_better_epoch)
                if progress.is_stopped:
                    break
            assert (progress.best_epoch, epoch) == self.kept_by_a_loop(name, curve, patience)
            assert progress.best_valid_score == curve[progress.best_epoch][1 if name == "microlens" else 0]
            plainly += progress.best_epoch == curve[: epoch + 1, 1 if name == "microlens" else 0].argmin()
        assert plainly < 190  # the rule matters

    def test_an_error_of_zero(self):
        keeps = RULES["smpd"].keeps
        assert not keeps({"mape": 0, "mae": 0, "nmse": 0}, {"mape": 0, "mae": 0, "nmse": 0})
        assert keeps({"mape": 0.1, "mae": 0, "nmse": 0}, {"mape": 0.2, "mae": 0, "nmse": 0})
        assert RULES["microlens"].keeps({"mae": 0.99999, "src": 0.1}, {"mae": 1.0, "src": 0.0})

    def test_another_metric_decides_alone(self):
        worse = {"mape": 2.0, "mae": 2.0, "nmse": 2.0, "src": 0.0}
        best = {"mape": 1.0, "mae": 1.0, "nmse": 1.0, "src": 0.5}
        batch = batch_of([3, 3])
        assert not model_of(batch, selection="smpd", valid_metric="MAPE", memory="off").is_better_epoch(worse, best)
        for changes in ({"selection": "smpd", "valid_metric": "MAE"}, {}):
            assert model_of(batch, memory="off", **changes).is_better_epoch(worse, best)

    @pytest.mark.parametrize(
        ("preset", "name"), [(None, "smpd"), ("smpd", "smpd"), ("informs", "informs"), ("microlens", "microlens")]
    )
    def test_of_the_released_code(self, preset, name):
        assert Config("STAP", config_dict={"variant": "official", "preset": preset})["selection"] == name
        assert Config("STAP", config_dict={"preset": preset})["selection"] == "valid_metric"

    def test_metrics_that_it_reads(self):
        with pytest.raises(ConfigError, match="`selection` is smpd, which judges epochs by nMSE, too; add it to metr"):
            Config("STAP", config_dict={"variant": "official", "metrics": ["MAE", "MAPE"]})
        Config("STAP", config_dict={"variant": "official", "metrics": ["MAE", "MAPE"], "selection": "valid_metric"})


class TestFrameTextAttention:
    def test_one_layer_against_the_formula(self):
        torch.manual_seed(0)
        module = FrameTextAttention(8, n_layers=1, heads=1, dropout=0.0)
        v, t = torch.randn(1, 5, 8), torch.randn(1, 3, 8)

        def layer(part, queries, keys):
            q, k, value = (
                x @ w.T + b
                for x, w, b in zip(
                    (queries, keys, keys),
                    part.attention.in_proj_weight.chunk(3),
                    part.attention.in_proj_bias.chunk(3),
                    strict=True,
                )
            )
            attended = part.attention.out_proj(torch.softmax(q @ k.T / 8**0.5, dim=-1) @ value)
            return torch.nn.functional.layer_norm(queries + attended, (8,)).mean(dim=0)

        v_star, t_star = module(v, torch.ones(1, 5, dtype=torch.bool), t, torch.ones(1, 3, dtype=torch.bool))
        torch.testing.assert_close(v_star[0], layer(module.to_frames[0], t[0], v[0]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(t_star[0], layer(module.to_text[0], v[0], t[0]), rtol=1e-4, atol=1e-5)

    def test_as_printed(self):
        """Attention alone, layer upon layer: with one text vector, T* is a function of it, whatever the frames."""
        torch.manual_seed(0)
        module = FrameTextAttention(8, n_layers=2, heads=1, dropout=0.0, residual=False, norm=False).double()
        v, t = torch.randn(2, 5, 8).double(), torch.randn(2, 1, 8).double()
        masks = torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 1, dtype=torch.bool)

        def layer(part, queries, keys):
            p = {name: value.detach().numpy() for name, value in part.attention.named_parameters()}
            parts = zip(np.split(p["in_proj_weight"], 3), np.split(p["in_proj_bias"], 3), strict=True)
            q, k, values = (x @ w.T + b for x, (w, b) in zip((queries, keys, keys), parts, strict=True))
            shares = np.exp(q @ k.T / 8**0.5)
            attended = shares / shares.sum(axis=1, keepdims=True) @ values
            return attended @ p["out_proj.weight"].T + p["out_proj.bias"]

        v_star, t_star = (x.detach().numpy() for x in module(v, masks[0], t, masks[1]))
        for i in range(2):
            frames, text = v[i].numpy(), t[i].numpy()
            first, second = module.to_frames
            expected = layer(second, layer(first, text, frames), frames).mean(axis=0)
            np.testing.assert_allclose(v_star[i], expected, rtol=1e-9)
            first, second = module.to_text
            expected = layer(second, layer(first, frames, text), text).mean(axis=0)
            np.testing.assert_allclose(t_star[i], expected, rtol=1e-9)
        others = torch.randn(2, 5, 8).double()
        np.testing.assert_allclose(module(others, masks[0], t, masks[1])[1].detach(), t_star, rtol=1e-9)
        residual = FrameTextAttention(8, n_layers=2, heads=1, dropout=0.0).double()
        moved = residual(others, masks[0], t, masks[1])[1] - residual(v, masks[0], t, masks[1])[1]
        assert moved.abs().max() > 0.1


class TestOfficial:
    """The blocks of the released code, frame by frame and number by number."""

    @pytest.mark.parametrize("n_frames", [1, 5])
    def test_mamba(self, n_frames):
        torch.manual_seed(0)
        block = MambaBlock(3, dropout=0.0, state=2, conv=3, rank=2).double().eval()
        with torch.no_grad():
            for p in block.parameters():
                p += 0.3 * torch.randn_like(p)
        x, w = torch.randn(n_frames, 3).double(), torch.rand(n_frames).double()
        anchor = torch.randn(3).double()
        p = {name: value.detach().numpy() for name, value in block.named_parameters()}
        inner, gate = np.split(x.numpy() @ p["input.weight"].T, 2, axis=1)
        seen = np.vstack([np.zeros((2, 6)), inner])
        silu = lambda z: z / (1 + np.exp(-z))  # noqa: E731
        kernel = p["conv.weight"][:, 0].T
        inner = silu(np.array([(seen[t : t + 3] * kernel).sum(axis=0) for t in range(n_frames)]) + p["conv.bias"])
        base, into, out = np.split(inner @ p["select.weight"].T, [2, 4], axis=1)
        cosine = x.numpy() @ anchor.numpy() / np.linalg.norm(x.numpy(), axis=1) / np.linalg.norm(anchor.numpy())
        raw = base @ p["step.weight"].T + p["step.bias"] + (p["alpha"] * cosine + p["rho"] * w.numpy())[:, None]
        delta = np.log1p(np.exp(raw))
        ways = []
        for order in (range(n_frames), range(n_frames - 1, -1, -1)):
            h, y = np.zeros((6, 2)), np.zeros((n_frames, 6))
            for t in order:
                h = np.exp(-delta[t][:, None] * np.exp(p["decay_log"])) * h
                h += delta[t][:, None] * into[t] * inner[t][:, None]
                y[t] = h @ out[t] + p["skip"] * inner[t]
            ways.append((y, h.mean(axis=1)))
        y = 0.75 * ways[0][0] + 0.25 * ways[1][0]
        expected = (y * silu(gate)) @ p["output.weight"].T
        mask = torch.ones(1, n_frames, dtype=torch.bool)
        found, last = block(x[None], w[None], anchor[None], mask)
        np.testing.assert_allclose(found[0].detach(), expected, rtol=1e-9)
        np.testing.assert_allclose(last[0].detach(), ways[0][1], rtol=1e-9)

    def test_frames_that_matter_have_smaller_steps(self):
        """At the start: alpha = rho = -0.1, without bounds; both are trained."""
        block, x = MambaBlock(4), torch.randn(1, 3, 4)
        base, anchor = torch.zeros(1, 3, 8), x[:, 0]
        steps = block.steps(base, x, torch.tensor([[0.0, 0.5, 1.0]]), torch.zeros(1, 4))
        assert steps[0, :, 0].tolist() == pytest.approx(np.log1p(np.exp([0, -0.05, -0.1])).tolist())
        assert float(block.steps(base, x, torch.zeros(1, 3), anchor)[0, 0, 0]) == pytest.approx(np.log1p(np.exp(-0.1)))
        block(x, torch.rand(1, 3), anchor, torch.ones(1, 3, dtype=torch.bool))[0].square().sum().backward()
        assert block.alpha.grad != 0 and block.rho.grad != 0
        assert (block.step.bias == 1).all()

    @pytest.mark.parametrize("base", [4, 6])
    def test_attention(self, base):
        torch.manual_seed(0)
        module = WindowedAttention(4, base, heads=2, dropout=0.0).double()
        x, w, anchor = torch.randn(7, 4).double(), torch.rand(7).double(), torch.randn(4).double()
        p = {name: value.detach().numpy() for name, value in module.named_parameters()}
        tokens = np.vstack([x.numpy(), anchor.numpy()])
        normed = (tokens - tokens.mean(1, keepdims=True)) / np.sqrt(tokens.var(1, keepdims=True) + 1e-5)
        q, k, v = (normed @ p[f"{name}.weight"].T + p[f"{name}.bias"] for name in ("query", "key", "value"))
        importance = w.numpy()
        rows = []
        for t in range(8):
            half = int(base * (1 + 0.5 * (importance[t] - importance.mean()))) // 2 if t < 7 else 7
            seen = [j for j in range(7) if abs(j - t) <= half] + [7]
            heads = []
            for cut in (slice(0, 2), slice(2, 4)):
                scores = q[t, cut] @ k[seen][:, cut].T / np.sqrt(2)
                share = np.exp(scores - scores.max())
                heads.append(share / share.sum() @ v[seen][:, cut])
            rows.append(np.hstack(heads) @ p["output.weight"].T + p["output.bias"] + tokens[t])
        mask = torch.ones(1, 7, dtype=torch.bool)
        frames, token = module(x[None], w[None], anchor[None], mask)
        np.testing.assert_allclose(frames[0].detach(), rows[:7], rtol=1e-9)
        np.testing.assert_allclose(token[0].detach(), rows[7], rtol=1e-9)

    def test_block_mixes_by_frame_anchor_and_mean_importance(self):
        torch.manual_seed(0)
        block = OfficialBlock(4, MambaBlock(4, dropout=0.0), WindowedAttention(4, 4, 2, 0.0), 0.0).double()
        x, w, anchor = torch.randn(2, 5, 4).double(), torch.rand(2, 5).double(), torch.randn(2, 4).double()
        mask = torch.ones(2, 5, dtype=torch.bool)
        scanned, _ = block.ssm(block.norm(x), w, anchor, mask)
        attended, _ = block.attention(block.attention_norm(x), w, anchor, mask)
        weight, bias = block.gate.weight[0], block.gate.bias
        logit = x @ weight[:4] + (anchor @ weight[4:8])[:, None] + w.mean(1, keepdim=True) * weight[8] + bias
        share = torch.sigmoid(logit)[..., None]
        mixed = x + share * scanned + (1 - share) * attended
        torch.testing.assert_close(block(x, w, anchor, mask)[0], mixed + block.feed(block.feed_norm(mixed)))

    def test_what_is_retrieved_interacts_with_itself(self):
        torch.manual_seed(0)
        module, z = Interaction(4, shares_map=True), torch.randn(3, 4)
        inner = torch.tanh(module.from_text(torch.cat([z, -0.5 * z], dim=-1)))
        expected = torch.tanh(module.to_frames(torch.cat([z, inner], dim=-1)))
        torch.testing.assert_close(module.interact(z, z)[0], expected)

    def test_the_pool_holds_visual_vectors_of_at_least_ten_videos(self):
        batch = batch_of([5] * 9)
        model = model_of(batch, **SMALL_OFFICIAL, dropout=0.0)
        model.calculate_loss(batch)
        preference = model.preference
        assert int(preference.pool_size) == 9 and model._losses["preference_loss"] == [0]
        torch.testing.assert_close(preference.pool_queries[:9], model.read(batch).visual.detach())
        model.calculate_loss(batch)
        assert int(preference.pool_size) == 18 and model._losses["preference_loss"][1] > 0

    def test_middle_pairs_are_of_three_kinds(self):
        order = torch.arange(20)
        torch.manual_seed(0)
        found = [_middle_pair(order, order[12:], order[:8])[0].tolist() for _ in range(2000)]
        is_high = np.array([high >= 14 for high, _ in found])
        is_low = np.array([low < 6 for _, low in found])
        assert is_high.mean() == pytest.approx(0.4 * 6 / 8, abs=0.05) and is_low.mean() == pytest.approx(0.3, abs=0.05)
        assert not (is_high & is_low).any() and {n for pair in found for n in pair} == set(range(20))
        assert all(6 <= low < 14 for (_, low), high in zip(found, is_high, strict=True) if high)

    def test_a_checkpoint_of_the_blocks_of_before(self):
        model = model_of(batch_of([4] * 8), **SMALL_OFFICIAL)
        state = model.state_dict() | {"encoder.blocks.0.ssm.frame_step.0.weight": torch.zeros(2)}
        assert "before the revision f6aec3b" in difference(model, state) and "train it anew" in difference(model, state)


class TestModel:
    @pytest.mark.parametrize("n_frames", [1, 2, 31, 100])
    @pytest.mark.parametrize(("n_text", "n_numeric"), [(1, 0), (16, 6), (1, 9)])
    def test_shapes(self, n_frames, n_text, n_numeric):
        batch = batch_of([n_frames] * 4, n_text=n_text, n_numeric=n_numeric)
        model = model_of(batch)
        assert model.predict(batch).shape == (4,)
        model.calculate_loss(batch).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())

    @pytest.mark.parametrize("changes", [{}, SMALL_OFFICIAL], ids=["paper", "official"])
    def test_a_prediction_depends_on_nothing_but_the_video(self, changes):
        """Neither on its batch mates nor on padding."""
        batch = batch_of([7, 3, 1, 12])
        model = model_of(batch, **{**changes, "mask_padding": True}).eval()
        together = model.predict(batch)
        for i, length in enumerate([7, 3, 1, 12]):
            alone = {name: value[i : i + 1] for name, value in batch.items()}
            alone |= {name: alone[name][:, :length] for name in ("frames", "frame_mask")}
            torch.testing.assert_close(model.predict(alone)[0], together[i], rtol=1e-4, atol=1e-5)
        other = {name: value.clone() for name, value in batch.items()}
        other["frames"][~other["frame_mask"]] = 1000.0
        torch.testing.assert_close(model.predict(other), together, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("missing", [("frame_dim",), ("text_dim",), ("n_numeric",), ("frame_dim", "n_numeric")])
    def test_inputs_that_are_not_there(self, missing):
        batch = batch_of([4, 6], **dict.fromkeys(missing, 0))
        model = model_of(batch)
        assert torch.isfinite(model.calculate_loss(batch)) and model.predict(batch).shape == (2,)

    def test_a_video_without_frames_or_text(self):
        batch = batch_of([4, 6])
        for name in ("frame_mask", "text_mask"):
            batch[name][0] = False
        model = model_of(batch).eval()
        assert torch.isfinite(model.predict(batch)).all()
        model.calculate_loss(batch).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    def test_sizes(self):
        """The paper reports 1.28 million parameters."""
        inputs = InputShape(frame_dim=768, n_frames=100, text_dim=1024, n_numeric=9)
        paper = STAP(options(), inputs).parameter_counts()
        assert 1_100_000 < paper["model"] < 1_350_000
        assert paper["model"] == 1_205_898

    def test_sizes_of_the_released_code(self):
        """Part by part, as its layers at f6aec3b have them: 42,266,257, the temperature that never learns included."""
        d, inner, rank, state, head = 768, 1536, 48, 16, 512
        square, double, norm = d * d + d, 2 * d * d + d, 2 * d
        ssm = 2 + d * 2 * inner + 5 * inner + inner * (rank + 2 * state) + (rank + 1) * inner + inner * state + inner
        block = {
            "norms": 3 * norm,
            "ssm": ssm + inner * d,
            "attention": 4 * square + norm,
            "gate": 2 * d + 1 + 1,
            "feed": d * 4 * d + 4 * d + 4 * d * d + d,
        }
        parts = {
            "encoder.project": square,
            "encoder.scorer": 2 * d + square + norm,
            "encoder.blocks": 2 * sum(block.values()),
            "encoder.last_norm": norm,
            "encoder.of_state": inner * d + d,
            "encoder.mix": 3 * d * d + d + 3 * d + 3,
            "bank": 6 * 32 * d + 1,
            "query": 3 * d * d + d,
            "text": 1024 * d + d + norm,
            "project_metadata": 9 * 64 + 64 + 64 * d + d,
            "fusion": 2 * square + 4 * double + 2 * (d + 1),
            "retrieved": square + 4 * double + 2 * (d + 1),
            "head": 6 * d * head + head + head * 128 + 128 + 129,
        }
        model = STAP(options(**OFFICIAL), InputShape(frame_dim=d, n_frames=100, text_dim=1024, n_numeric=9))
        found = {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in parts}
        assert found == parts and sum(parts.values()) == 42_266_257
        assert sum(p.numel() for p in model.parameters()) == 42_266_257
        of_encoder = sum(size for name, size in parts.items() if name.startswith("encoder"))
        counts = {"model": 42_266_256, "temporal_encoder": of_encoder, "memory": parts["bank"] + parts["query"]}
        assert model.parameter_counts() == counts
        one = model.encoder.blocks[0]
        assert sum(p.numel() for p in one.ssm.parameters()) == block["ssm"]
        assert sum(p.numel() for p in one.attention.parameters()) == block["attention"]

    @pytest.mark.parametrize(
        "changes",
        [
            {"use_frame_scoring": False},
            {"use_ssm": False},
            {"use_attention": False},
            {"use_ssm": False, "use_attention": False},
            {"temporal": "pooled"},
            {"temporal": "none"},
            {"memory_top_k": 1},
            {"dppo_weight": 0.0},
            {"balance_weight": 0.0},
            {"memory": "off"},
            {"memory": "query"},
            {"n_partitions": 2, "n_clusters": 1, "memory_top_k": 1},
            {"n_blocks": 2, "pos_encoding": "sinusoidal"},
            {"memory_update": "ema"},
            {"memory_update": "both", "routing_grad": "masked", "renormalize_topk": True},
            {"memory_init_space": "pca", "topic_clustering": "global", "query_norm": False},
            {"dppo_pairs": "pool", "dppo_support": "full"},
            {"ssm_step_mode": "algorithm_s1", "window_mask": "hard", "scorer": "linear_abs"},
            {"ssm_step_mode": "prose_euler"},
            {"cross_residual": False, "cross_norm": False, "cross_heads": 1, "topic_features": "encoded"},
            SMALL_OFFICIAL,
        ],
        ids=lambda changes: "-".join(map(str, changes))[:40],
    )
    def test_every_switch_learns(self, changes):
        """Some steps on twelve videos: the loss falls."""
        batch = batch_of([5] * 12)
        model = model_of(batch, **{"dropout": 0.0, **changes, **({"dropout": 0.0} if changes else {})})
        optimizer = torch.optim.Adam(model.parameter_groups(1e-2), lr=1e-2)
        losses = []
        for _ in range(25):
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)
            loss.backward()
            optimizer.step()
            model.after_step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]

    def test_unseen_categories_start_at_zero(self):
        """Predictions for them are not random, and empty training cells still train the row."""
        vector = MetadataVector(InputShape(n_numeric=2, n_categories=(4, 3)))
        batch = {"numeric": torch.randn(2, 2), "categories": torch.tensor([[0, 1], [2, 0]])}
        found = vector(batch)
        assert not found[0, 2:10].any() and found[0, 10:].all()
        assert found[1, 2:10].all() and not found[1, 10:].any()
        found.sum().backward()
        assert all(embed.weight.grad[0].all() for embed in vector.embeddings)

    @pytest.mark.parametrize("changes", [{}, SMALL_OFFICIAL], ids=["paper", "official"])
    def test_position_encoding_is_an_option(self, changes):
        """With it, the same weights predict something else."""
        batch = batch_of([5] * 4)
        with_it, without = (
            model_of(batch, **{**changes, "memory": "off", "pos_encoding": name}).eval()
            for name in ("sinusoidal", "none")
        )
        without.load_state_dict(with_it.state_dict())
        assert (with_it.predict(batch) - without.predict(batch)).abs().max() > 1e-3

    def test_rates_of_the_encoder(self):
        batch = batch_of([4, 4])
        groups = model_of(batch, encoder_lr_ratio=0.04).parameter_groups(0.5)
        assert [group.get("lr") for group in groups] == [None, pytest.approx(0.02)]
        n_grouped = sum(p.numel() for group in groups for p in group["params"])
        assert n_grouped == model_of(batch).parameter_counts()["model"]

    def test_warm_up_leaves_the_memory_out(self):
        batch = batch_of([4] * 8)
        model = model_of(batch, memory_warmup_epochs=2)
        fresh = STAP(options(**{**SMALL, "memory_warmup_epochs": 2}), shape_of(batch))
        fresh.before_epoch(1, [batch])
        assert fresh.read(batch).routing is None and not fresh.bank.is_initialised
        assert model.read(batch).routing is not None

    @pytest.mark.parametrize("changes", [{"use_pop_context": False}, SMALL_OFFICIAL], ids=["paper", "official"])
    def test_the_query_in_the_place_of_the_bank(self, changes):
        """The same layers; what they read is the query, as it is from a bank that answers with what it is asked."""
        batch = batch_of([4] * 6)
        of_query, full = (model_of(batch, **{**changes, "memory": name}).eval() for name in ("query", "full"))
        of_bank = ("bank.", "preference.", "balance.")
        state = {name: value for name, value in full.state_dict().items() if not name.startswith(of_bank)}
        of_query.load_state_dict(state)
        full.bank.forward = lambda asked: Routing(*[None] * 4, retrieved=asked, popularity=None)
        torch.testing.assert_close(of_query.predict(batch), full.predict(batch))
        counts = of_query.parameter_counts()
        assert counts["memory"] == 0 and counts["model"] == sum(value.numel() for value in of_query.parameters())

    @pytest.mark.parametrize("changes", [{}, {"project_metadata": True}], ids=str)
    def test_topics_of_what_the_encoder_makes(self, changes, monkeypatch):
        """[mean V; mean T; U], each centred and of total variance one."""
        batch, shown = batch_of([5, 3, 4, 5, 2, 5, 4], n_text=2), []
        monkeypatch.setattr(MemoryBank, "initialise", lambda bank, queries, features, *_, **__: shown.append(features))
        model = model_of(batch, topic_features="encoded", **changes).eval()
        model_of(batch)
        text = (batch["text"] @ model.text.weight.T + model.text.bias).mean(dim=1)
        metadata = model.project_metadata(batch["numeric"]) if changes else batch["numeric"]
        parts = [model.encoder(batch["frames"], batch["frame_mask"]).pooled, text, metadata]
        blocks = [(part - part.mean(dim=0)).detach().numpy() for part in parts]
        expected = np.hstack([block / np.sqrt((block**2).sum() / 7) for block in blocks])
        np.testing.assert_allclose(shown[0], expected, rtol=1e-4, atol=1e-5)
        assert shown[1].shape == (7, 6 + 5 + 3)  # as they came

    def test_labels_are_predicted_on_their_own_scale(self):
        batch = batch_of([4, 4])
        torch.manual_seed(3)
        scaled = STAP(options(**SMALL), shape_of(batch, label_mean=50.0, label_std=4.0)).eval()
        raw = STAP(options(**SMALL, label_norm="none"), shape_of(batch, label_mean=50.0, label_std=4.0)).eval()
        raw.load_state_dict(scaled.state_dict() | {"label_mean": raw.label_mean, "label_std": raw.label_std})
        torch.testing.assert_close(scaled.predict(batch), 50 + 4 * raw.predict(batch))

    def test_huber_and_squared_error(self):
        batch = batch_of([4, 4])
        values, labels = torch.tensor([0.0, 0.0]), torch.tensor([0.5, 3.0])
        huber, mse = (model_of(batch, regression_loss=name) for name in ("huber", "mse"))
        assert float(huber.regression_loss(values, labels)) == pytest.approx((0.125 + 2.5) / 2)
        assert float(mse.regression_loss(values, labels)) == pytest.approx((0.25 + 9) / 2)

    def test_statistics_of_an_epoch(self):
        batch = batch_of([4] * 6)
        model = model_of(batch)
        model.calculate_loss(batch)
        statistics = model.epoch_statistics()
        assert 0 < statistics["slot_entropy"] <= 1 and statistics["tau"] == pytest.approx(1.0)
        assert {"regression_loss", "preference_loss", "balance_loss"} <= set(statistics)
        assert model.epoch_statistics() == {}

    def test_a_long_query_is_not_near_every_slot(self, monkeypatch):
        """Six queries near the axis of a slot, one of them ten times as long and further off its way."""
        batch = batch_of([4] * 6) | {"row": torch.arange(6)}
        model = model_of(batch)
        queries = torch.zeros(6, 16)
        queries[:, 0] = 1.0
        queries[:, 1] = 0.01 * torch.arange(6)
        queries[5] = torch.eye(16)[:2].sum(dim=0) * 10
        with torch.no_grad():
            model.bank.slots[0, 0] = torch.eye(16)[0]
        monkeypatch.setattr(model, "read", lambda _: Reading(queries[:, 0], queries, model.bank(queries), None))
        [first, *_] = describe_slots(model, [batch], np.array([f"v{i}" for i in range(6)], dtype=object))
        assert model.bank(queries).scores[:, 0].argmax() == 5
        assert first.nearest == ("v0", "v1", "v2", "v3", "v4")


def test_the_benchmark_has_a_bank_to_ask():
    from benchmarks.stap import _model

    assert _model(torch.device("cpu")).bank.is_initialised
