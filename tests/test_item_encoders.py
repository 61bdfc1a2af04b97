"""Item encoders: the paper's parameter counts, and the contract that every encoder keeps."""

import pytest
import torch
from torch import nn

from recbole_video import run_recbole_video
from recbole_video.content.mean import masked_mean
from recbole_video.errors import ConfigError
from recbole_video.item_encoders import CVA, ITEM_ENCODERS, MLP, PerceiverIO, Pooling
from recbole_video.item_encoders.layers import CrossAttention, SelfAttention, attend
from recbole_video.user_encoders.base import _check_forward

from .conftest import small_options

CONTENT = [name for name in ITEM_ENCODERS if getattr(ITEM_ENCODERS.get(name), "reads_frames", True)]
SMALL = {
    "CVA": {"latent_dim": 16, "depth": 2, "n_heads": 2, "head_dim": 4},
    "PerceiverIO": {"latent_dim": 16, "depth": 1, "n_latents": 5, "n_heads": 2, "head_dim": 4, "query_dim": 12},
    "MLP": {},
    "Pooling": {},
}


def small(name, **options):
    torch.manual_seed(0)
    return ITEM_ENCODERS.get(name)(8, 8, **{**SMALL[name], **options}).double()


def batch(n=6, n_frames=4, dim=8):
    torch.manual_seed(1)
    mask = torch.arange(n_frames) < torch.tensor([4, 1, 2, 3, 4, 0])[:n, None]
    return torch.randn(n, n_frames, dim).double(), mask


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("encoder", "options", "expected"),
    [
        (CVA, {}, 4_504_960),
        (CVA, {"depth": 1}, 296_320 + 1_052_160),
        (CVA, {"depth": 2}, 296_320 + 2 * 1_052_160),
        (CVA, {"depth": 8}, 296_320 + 8 * 1_052_160),
        (CVA, {"depth": 20}, 21_339_520),
        (CVA, {"n_latents": 32}, 4_504_960),
        (MLP, {}, 1_772_928),
        (PerceiverIO, {}, 5_321_344),
        (PerceiverIO, {"variant": "no_first_cross_attention"}, 4_637_568),
        (PerceiverIO, {"variant": "no_cross_attention"}, 4_504_960),
        (PerceiverIO, {"variant": "no_attention"}, 829_568),
        (Pooling, {}, 0),
    ],
)
def test_parameter_counts_of_the_paper(encoder, options, expected):
    assert n_parameters(encoder(384, 384, **options)) == expected


@pytest.mark.parametrize("name", CONTENT)
class TestContract:
    def test_shape_and_dtype(self, name):
        frames, mask = batch()
        vectors = small(name)(frames, mask)
        assert vectors.shape == (6, 8) and vectors.dtype == frames.dtype

    def test_masked_frames_change_nothing(self, name):
        frames, mask = batch()
        other = torch.where(mask[..., None], frames, torch.full_like(frames, 7.0))
        encoder = small(name)
        torch.testing.assert_close(encoder(frames * mask[..., None], mask), encoder(other, mask))

    def test_rows_do_not_depend_on_each_other(self, name):
        frames, mask = batch()
        encoder = small(name)
        torch.testing.assert_close(encoder(frames, mask)[2:3], encoder(frames[2:3], mask[2:3]))

    def test_item_without_frames_is_finite_in_value_and_gradient(self, name):
        frames, mask = batch()
        encoder = small(name)
        vectors = encoder(frames.requires_grad_(), mask)
        vectors.square().sum().backward()
        assert torch.isfinite(vectors).all()
        assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
        assert torch.isfinite(frames.grad).all()

    def test_gradient_reaches_every_parameter(self, name):
        frames, mask = batch()
        encoder = small(name, n_latents=3) if name == "CVA" else small(name)
        encoder(frames.requires_grad_(), mask).square().sum().backward()
        assert frames.grad[mask].abs().sum() > 0 and not frames.grad[~mask].any()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())

    def test_same_output_twice(self, name):
        encoder = small(name).eval()
        assert torch.equal(encoder(*batch()), encoder(*batch()))


@pytest.mark.parametrize("variant", ["full", "no_first_cross_attention", "no_cross_attention", "no_attention"])
def test_perceiver_variants_encode(variant):
    vectors = small("PerceiverIO", variant=variant)(*batch())
    assert vectors.shape == (6, 8) and torch.isfinite(vectors).all()


def test_every_weight_of_the_mixers_learns_but_the_unused_query():
    encoder = small("PerceiverIO", variant="no_attention", depth=2)
    first = encoder.blocks[0].across_latents[0]
    torch.nn.init.normal_(first.bias)  # at first it is all that the layer behind it sees of equal latents: 0
    encoder(*batch()).square().sum().backward()
    untouched = {name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert untouched == {"unused_query"}


def test_perceiver_without_cross_attention_is_cva_with_as_many_latents():
    perceiver = small("PerceiverIO", variant="no_cross_attention")
    cva = small("CVA", depth=1, n_latents=5)
    cva.compress.load_state_dict(perceiver.reader.compress.state_dict())
    cva.blocks.load_state_dict(perceiver.blocks.state_dict())
    cva.norm.load_state_dict(perceiver.out[1].state_dict())
    cva.out.load_state_dict(perceiver.out[2].state_dict())
    torch.testing.assert_close(perceiver(*batch()), cva(*batch()))


def test_unknown_variant_names_the_known_ones():
    with pytest.raises(ConfigError, match="encoder_variant.*no_first_cross_attention"):
        PerceiverIO(8, 8, variant="half")


def test_pooling_refuses_another_width():
    with pytest.raises(ConfigError, match="must be 8, not 16"):
        Pooling(8, 16)


class _FullSelfAttention(SelfAttention):
    """The same layer without the shortcut for a single latent."""

    def forward(self, x):
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self.out(attend(self.query(x), key, value, self.n_heads))


def test_single_latent_shortcut_has_the_same_output_and_gradients():
    short = small("CVA", n_latents=1)
    full = small("CVA", n_latents=1)
    for block in full.blocks:
        block.attention.__class__ = _FullSelfAttention
    outputs = []
    for encoder in (short, full):
        vectors = encoder(*batch())
        vectors.sin().sum().backward()
        outputs.append(vectors)
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    inner = full.blocks[0].attention.inner_dim
    for (name, p), (_, q) in zip(short.named_parameters(), full.named_parameters(), strict=True):
        if name.endswith("query.weight"):
            assert p.grad is None and q.grad.abs().max() < 1e-12
        else:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12, msg=name)
        if name.endswith("key_value.weight"):
            assert p.grad[:inner].abs().max() == 0


def test_attention_against_a_loop():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True, True, False, True, False], [True, False, False, False, False]])
    got = attend(query, key, value, n_heads=2, mask=mask)
    for n in range(2):
        for q in range(3):
            for h in range(2):
                part = slice(4 * h, 4 * h + 4)
                keys = [f for f in range(5) if mask[n, f]]
                weights = torch.softmax(torch.stack([query[n, q, part] @ key[n, f, part] for f in keys]) / 2, 0)
                want = sum(w * value[n, f, part] for w, f in zip(weights, keys, strict=True))
                torch.testing.assert_close(got[n, q, part], want)


def test_masked_mean_against_a_loop():
    frames, mask = batch()
    for row, (f, m) in enumerate(zip(frames, mask, strict=True)):
        want = f[m].mean(dim=0) if m.any() else torch.zeros(8).double()
        torch.testing.assert_close(masked_mean(frames, mask)[row], want)


def test_cross_attention_without_context_gives_the_output_bias():
    layer = CrossAttention(8, 8, n_heads=1, head_dim=4)
    out = layer(torch.randn(1, 2, 8), torch.randn(1, 3, 8), torch.zeros(1, 3, dtype=torch.bool))
    torch.testing.assert_close(out, layer.out.bias.expand(1, 2, 8))


class _Normed(nn.Module):
    def __init__(self, frame_dim, item_dim):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(frame_dim, item_dim), nn.BatchNorm1d(item_dim))

    def forward(self, frames, mask):
        return self.layers(frames.mean(dim=1))


class _Unlike(_Normed):
    def __init__(self):
        super().__init__(3, 4)


class _WithoutMask(nn.Module):
    def __init__(self, frame_dim, item_dim):
        super().__init__()
        self.layer = nn.Linear(frame_dim, item_dim)

    def forward(self, frames):
        return self.layer(frames.mean(dim=1))


class _Unfinished(nn.Module):
    def __init__(self, frame_dim, item_dim):
        super().__init__()


def test_an_encoder_that_is_compiled_or_made_at_run_time_can_be_called():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.forward = lambda frames, mask: frames.mean(dim=1)

    given = torch.ones(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    for encoder in (Own(), torch.jit.trace(MLP(3, 4).eval(), given), torch.compile(MLP(3, 4))):
        _check_forward(encoder)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (
            _WithoutMask,
            r"`forward` of the item encoder _WithoutMask cannot be called \(.*\); it takes frames \[N, F, D\]",
        ),
        (_Unfinished, "_Unfinished has no `forward`, which takes frames"),
        (_Normed, "_Normed has a BatchNorm1d, by which an item's vector would depend on the others of its batch"),
        (_Unlike, r"_Unlike cannot be made .*takes 1 positional argument.*; its `__init__` takes frame_dim, item_dim"),
    ],
)
def test_an_encoder_of_ones_own_that_cannot_serve(data_root, in_tmp, encoder, message):
    name = f"{encoder.__module__}:{encoder.__name__}"
    with pytest.raises(ConfigError, match=message):
        run_recbole_video(
            "SASRec", "tiny", config_dict=small_options(data_path=str(data_root), encoder=name), trust=True
        )
