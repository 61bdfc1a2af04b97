"""MMRA and ICPF: the index against brute force, equations by hand in NumPy, sizes, leaks, whole runs."""

import json
import signal
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_video import load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError, TrainingError
from recbole_video.popularity.__main__ import main as explain
from recbole_video.popularity.base import InputShape
from recbole_video.popularity.icpf import ICPF
from recbole_video.popularity.mmra import MMRA, BipolarAttention
from recbole_video.popularity.neighbours import NeighbourIndex, chunk_size

from .test_popularity import METADATA, inputs_of, with_other_test_videos, write_popularity
from .test_stap import Chosen, batch_of, shape_of

MODELS = {"MMRA": MMRA, "ICPF": ICPF}
SMALL = {"n_neighbours": 3, "memory_frames": 4}
RUN = {
    **SMALL, **METADATA, "hidden_size": 8, "epochs": 2, "train_batch_size": 16, "figures": False,
    "show_progress": False, "learning_rate": 0.003,
}  # fmt: skip


def model_of(name, batch, **changes):
    """A small model whose memory is the batch."""
    torch.manual_seed(3)
    cls = MODELS[name]
    small = {**SMALL, "hidden_size": 8, **({"dropout": 0.0} if name == "ICPF" else {})}
    options = cls.Options(**{"seed": 1, **small, **changes})
    model = cls(Chosen(asdict(options)), shape_of(batch))
    model.before_epoch(0, [batch])
    return model


def videos(lengths=(4, 2, 3, 4, 1, 3), first_row=0, **changes):
    return batch_of(list(lengths), **changes) | {"row": torch.arange(first_row, first_row + len(lengths))}


def part(batch, rows):
    return {name: value[rows] for name, value in batch.items()}


def settled(model):
    """Two epochs of steps on its memory, so that biases and norms are not those of the start."""
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.3 * torch.randn_like(weights)
    return model.eval()


class TestIndex:
    @pytest.fixture(scope="class")
    def vectors(self):
        """Some of them twice, one of them zero."""
        vectors = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
        vectors[50:70] = vectors[:20]
        vectors[110] = 0
        return vectors

    def test_equals_brute_force(self, vectors):
        rows = torch.arange(200) * 3
        found = NeighbourIndex(vectors, rows).nearest(vectors[:80], rows[:80], 7)
        unit = vectors.double().numpy()
        unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
        for i in range(80):
            cosines = np.round(unit @ unit[i], 6)
            cosines[i] = -9
            best = sorted(range(200), key=lambda j, c=cosines: (-c[j], j))[:7]
            assert found.places[i].tolist() == best
            np.testing.assert_allclose(found.similarities[i], cosines[best], atol=2e-6)

    @pytest.mark.parametrize("chunk", [1, 3, 64, 199, 200, 1000])
    def test_any_chunk_finds_the_same(self, vectors, chunk):
        index = NeighbourIndex(vectors, torch.arange(200))
        whole = index.nearest(vectors[:90], torch.arange(90), 9)
        parts = index.nearest(vectors[:90], torch.arange(90), 9, chunk)
        assert torch.equal(whole.places, parts.places) and torch.equal(whole.similarities, parts.similarities)

    def test_of_equally_near_ones_the_first(self):
        index = NeighbourIndex(torch.tensor([[1.0, 0], [0, 1], [2, 0], [3, 0]]), torch.arange(4))
        assert index.nearest(torch.tensor([[5.0, 0]]), torch.tensor([-1]), 3).places.tolist() == [[0, 2, 3]]
        assert index.nearest(torch.tensor([[5.0, 0]]), torch.tensor([0]), 3).places.tolist() == [[2, 3, 1]]
        assert index.nearest(torch.zeros(1, 2), torch.tensor([7]), 3).places.tolist() == [[0, 1, 2]]

    def test_parallel_vectors_are_equally_near(self):
        """Of whatever lengths: single precision would tell them apart by what it rounds."""
        along = torch.tensor([[1.0, 2, 3], [3, 6, 9], [7, 14, 21], [5, 10, 15], [0, 0, 1]])
        index = NeighbourIndex(along, torch.arange(5))
        assert index.nearest(torch.tensor([[1.0, 2, 3]]), torch.tensor([-1]), 4).places.tolist() == [[0, 1, 2, 3]]
        whole = torch.randint(-9, 10, (300, 5), generator=torch.Generator().manual_seed(1)).float()
        found = NeighbourIndex(whole, torch.arange(300)).nearest(whole, torch.arange(300), 20).places
        lengths = (whole.double() ** 2).sum(dim=1)
        for i in range(300):
            squares = (whole @ whole[i]).double() * (whole @ whole[i]).double().abs() / lengths.clamp(min=1)
            order = sorted((j for j in range(300) if j != i), key=lambda j, s=squares: (-round(float(s[j]), 9), j))
            assert found[i].tolist() == order[:20]

    def test_memory_is_bounded(self):
        for n_queries, width in ((1, 8), (64, 768), (4096, 1024)):
            chunk = chunk_size(n_queries, width)
            assert chunk >= 1 and 8 * chunk * (width + 3 * n_queries) <= 8 << 20

    def test_too_few(self):
        with pytest.raises(ValueError, match="4 neighbours of 4 vectors"):
            NeighbourIndex(torch.ones(4, 2), torch.arange(4)).nearest(torch.ones(1, 2), torch.tensor([0]), 4)


class TestMemory:
    def test_holds_the_training_videos(self):
        batch = videos()
        model = model_of("MMRA", batch)
        frames, mask = model.memory.frames_of(torch.tensor([1, 4]))
        assert mask.tolist() == [[True, True, False, False], [True, False, False, False]]
        torch.testing.assert_close(frames, batch["frames"][[1, 4]])
        torch.testing.assert_close(model.memory.vectors_of("text", torch.tensor([2])), batch["text"][2])
        torch.testing.assert_close(model.memory.labels, batch["label"])

    def test_a_long_video_is_sampled_evenly(self):
        model = model_of("MMRA", videos((9, 2, 3, 5), n_frames=9), memory_frames=3)
        frames, _ = model.memory.frames_of(torch.tensor([0, 3]))
        batch = videos((9, 2, 3, 5), n_frames=9)
        torch.testing.assert_close(frames[0], batch["frames"][0, [0, 4, 8]])
        torch.testing.assert_close(frames[1], batch["frames"][3, [0, 2, 4]])

    def test_half_precision_where_nothing_is_lost(self):
        batch = videos()
        batch["frames"] = batch["frames"].half().float()
        kept = model_of("MMRA", batch).memory
        assert (kept.kept_frames.dtype, kept.kept_text.dtype) == (torch.float16, torch.float32)
        torch.testing.assert_close(kept.frames_of(torch.arange(6))[0], batch["frames"], rtol=0, atol=0)
        assert kept.n_bytes == 6 * (4 * 6 * 2 + 5 * 4 + 8 + 8 + 4)

    def test_labels_are_on_the_models_scale(self):
        batch = videos()
        options = Chosen(asdict(MMRA.Options(seed=1, **SMALL)))
        shape = shape_of(batch, label_mean=5.0, label_std=2.0)
        model = MMRA(options, shape)
        model.before_epoch(0, [part(batch, slice(0, 4)), part(batch, slice(4, 6))])
        torch.testing.assert_close(model.memory.labels, (batch["label"] - 5) / 2)
        assert model.explain(part(batch, [0])).slots[0].popularity == pytest.approx(
            float(batch["label"][model.retrieve(part(batch, [0])).found.places[0, 0]]), rel=1e-5
        )

    @pytest.mark.parametrize("name", MODELS)
    def test_a_video_never_finds_itself(self, name):
        batch = videos()
        model = model_of(name, batch)
        for found in (model.memory.nearest(by, batch, 3) for by in ("text", "frames")):
            assert not (found.places == torch.arange(6)[:, None]).any()
        alone = part(batch, [2]) | {"row": torch.tensor([-1])}
        assert model.memory.nearest("text", alone, 3).places[0, 0] == 2

    def test_too_few_training_videos(self):
        with pytest.raises(ConfigError, match="`n_neighbours` is 3, but there are 3 training videos, .* 2 others"):
            model_of("MMRA", videos((2, 3, 4)))
        with pytest.raises(ConfigError, match="`memory_max_videos` is 10, which must be more than `n_neighbours`, 10"):
            Config("MMRA", "none", config_dict={"memory_max_videos": 10})

    @pytest.mark.parametrize("name", MODELS)
    def test_asked_before_it_is_filled(self, name):
        batch = videos()
        model = MODELS[name](Chosen(asdict(MODELS[name].Options(seed=1, hidden_size=8))), shape_of(batch))
        with pytest.raises(TrainingError, match="no training videos in its memory yet"):
            model.predict(batch)

    @pytest.mark.parametrize(("name", "lacking"), [("MMRA", "frame_dim"), ("ICPF", "text_dim")])
    def test_an_input_that_is_not_there(self, name, lacking):
        what = lacking.removesuffix("_dim").replace("frame", "frames")
        with pytest.raises(ConfigError, match=f"{name} joins frames and text, and there is no {what};"):
            model_of(name, videos(**{lacking: 0}))


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def numpy_of(module):
    """Its weights in double precision, by name."""
    return {name: weights.detach().double().numpy() for name, weights in module.named_parameters()}


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def interaction(w, v, t, compat):
    """MMRA's attention of frames [F, d] and text [L, d], the two pooled vectors."""
    d = v.shape[1]
    scale = d if compat else np.sqrt(d)
    s = np.tanh(linear(w, "map_frames", v)) @ np.tanh(linear(w, "map_text", t)).T / scale
    if compat:
        t_p, v_p = softmax(s, 0) @ t, softmax(s.T, 0) @ v
        t_n, v_n = -0.6 * t_p, -0.6 * v_p
    else:
        t_p, t_n = softmax(s, 1) @ t, softmax(-s, 1) @ t
        v_p, v_n = softmax(s.T, 1) @ v, softmax(-s.T, 1) @ v
    v = np.tanh(linear(w, "to_frames", np.hstack([v, np.tanh(linear(w, "from_text", np.hstack([t_p, t_n])))])))
    t = np.tanh(linear(w, "to_text", np.hstack([t, np.tanh(linear(w, "from_frames", np.hstack([v_p, v_n])))])))
    a, b = softmax(linear(w, "pool_frames", v) / scale, 0), softmax(linear(w, "pool_text", t) / scale, 0)
    return a.T[0] @ v, b.T[0] @ t


class TestMMRA:
    @pytest.mark.parametrize("variant", ["mmra", "mmra_compat"])
    @pytest.mark.parametrize("n_text", [1, 3])
    def test_the_whole_model_by_hand(self, variant, n_text):
        """Videos of different lengths, as the equations of the reference have them."""
        compat = variant == "mmra_compat"
        memory, batch = videos(n_text=n_text), videos((3, 4), first_row=50, n_text=n_text, seed=5)
        model = settled(model_of("MMRA", memory, variant=variant))
        w = numpy_of(model)
        own, other = (numpy_of(one) for one in (model.own, model.of_neighbours))
        texts = memory["text"].double().numpy().mean(axis=1)
        for i, length in enumerate((3, 4)):
            frames = batch["frames"][i, :length].double().numpy()
            tokens = batch["text"][i].double().numpy()
            query = tokens.mean(axis=0)
            cosines = texts @ query / np.linalg.norm(texts, axis=1) / np.linalg.norm(query)
            nearest = np.argsort(-cosines)[:3]
            omega = softmax(cosines[nearest] / (1.0 if compat else 0.1), 0)
            longest = max(int(memory["frame_mask"][j].sum()) for j in nearest)
            total, mass = np.zeros((longest, 6)), np.zeros((longest, 1))
            for j, share in zip(nearest, omega, strict=True):
                n = int(memory["frame_mask"][j].sum())
                total[:n] += share * memory["frames"][j, :n].double().numpy()
                mass[:n] += share
            v_r, t_r = total if compat else total / mass, (omega @ texts[nearest])[None]
            label = np.maximum(linear(w, "label", omega @ memory["label"].double().numpy()[nearest, None]), 0)
            if compat:
                tokens = tokens.mean(axis=0, keepdims=True)
            v, t = interaction(own, linear(w, "of_frames", frames), linear(w, "of_text", tokens), compat)
            v_r, t_r = interaction(other, linear(w, "of_frames", v_r), linear(w, "of_text", t_r), compat)
            h = [t, v, t_r, v_r, v * v_r, v * t_r, t * v_r, t * t_r, v * label, t * label, batch["numeric"][i].numpy()]
            h = np.maximum(linear(w, "head.0", np.hstack(h)), 0)
            expected = linear(w, "head.4", np.maximum(linear(w, "head.2", h), 0))
            assert float(model(batch)[i]) == pytest.approx(float(expected[0]), rel=1e-4, abs=1e-5)

    def test_what_is_repelled_is_no_copy_of_what_is_attracted(self):
        """Attention sums to one along the axis that is attended to; with several texts, sm(-S) is not -sm(S)."""
        torch.manual_seed(0)
        module, v, t = BipolarAttention(4), torch.randn(1, 5, 4), torch.randn(1, 3, 4)
        seen = {}
        for name in ("from_text", "from_frames"):
            getattr(module, name).register_forward_pre_hook(lambda _, x, name=name: seen.__setitem__(name, x[0][0]))
        ones = torch.ones(1, 5, dtype=torch.bool)
        module(v, ones, t, ones[:, :3])
        for name, source in (("from_text", t[0]), ("from_frames", v[0])):
            near, far = seen[name].split(4, dim=1)
            assert torch.linalg.matrix_rank(torch.cat([near, far]) - source.mean(dim=0)) > 1
            cosines = torch.nn.functional.cosine_similarity(near, far, dim=1)
            assert (cosines.abs() < 0.999).all()
            for mixed in (near, far):  # a convex combination of the rows: its weights, by least squares, sum to one
                padded = torch.cat([source.T, torch.ones(1, len(source))])
                weights = torch.linalg.lstsq(padded, torch.cat([mixed.T, torch.ones(1, len(mixed))])).solution
                torch.testing.assert_close(source.T @ weights, mixed.T, rtol=1e-3, atol=1e-4)

    def test_sizes(self):
        """18.12 million in the reference: two interactions of six matrices and two scores, the label's, the head's."""
        d = 768
        shape = InputShape(frame_dim=d, n_frames=10, text_dim=d)
        interactions = 2 * (2 * (d * d + d) + 4 * (2 * d * d + d) + 2 * (d + 1))
        head = (10 * d + 1) * 800 + 801 * 200 + 201
        for variant in ("mmra", "mmra_compat"):
            counts = MMRA(Chosen(asdict(MMRA.Options(seed=1, variant=variant))), shape).parameter_counts()
            assert counts == {"model": 18_115_509} == {"model": interactions + 2 * d + head}

    @pytest.mark.parametrize("by", ["frames", "text"])
    def test_what_videos_are_similar_by(self, by):
        batch = videos()
        model = model_of("MMRA", batch, retrieval_by=by)
        assert torch.equal(model.retrieve(batch).found.places, model.memory.nearest(by, batch, 3).places)

    def test_explains_by_neighbours(self):
        batch = videos()
        model = settled(model_of("MMRA", batch))
        found = model.explain(part(batch, [1]))
        retrieved = model.retrieve(part(batch, [1]))
        assert found.weights == pytest.approx(torch.softmax(retrieved.found.similarities[0] / 0.1, dim=0).tolist())
        assert [slot.label for slot in found.slots] == [f"training video {i}" for i in retrieved.found.places[0]]
        assert found.as_text("v1", 2.0).count("\n  neighbour: training video") == 3


class TestICPF:
    def test_sizes(self):
        """17.03 million in the public code, whose label vectors and norm are missing, and two modules are unused.

        Here there are these vectors, that norm, a class token for each modality, and the small encoders.
        """
        d, k = 768, 14
        counts = ICPF(
            Chosen(asdict(ICPF.Options(seed=1))), InputShape(frame_dim=d, n_frames=10, text_dim=d)
        ).parameter_counts()
        feed = (d + 1) * 1024 + 1025 * d
        prompts = feed + 3 * (d + 1) * 512 + 513 * d + (d + 1) * 64 + 65 * 8
        fusion = 4 * d * d + (d + 1) * 4 * d + (4 * d + 1) * d + 4 * d
        public = 2 * prompts + 6 * (d * d + d) + fusion + 2 * d + 1
        assert public + 4 * d == pytest.approx(17_032_081)  # type embeddings and a norm that nothing calls
        layer = 4 * (d * d + d) + feed + 4 * d
        assert counts == {"model": public + k * d + 2 * d + 2 * d + 4 * layer, "encoders": 4 * layer}

    def test_prompts_by_hand(self):
        """Each neighbour is attended to apart, and the mean is pooled, token by token."""
        batch = videos()
        branch = settled(model_of("ICPF", batch, n_prompts=2)).frame_branch
        w = numpy_of(branch)
        rng = np.random.default_rng(0)
        own, others = rng.normal(size=(3, 8)), rng.normal(size=(4, 2, 8))
        own_mask, other_mask = np.array([True, True, False]), np.array([[1, 1], [1, 0], [1, 1], [1, 1]], dtype=bool)

        def feed(x):
            return linear(w, "layers.3", np.maximum(linear(w, "layers.0", x), 0))

        q = linear(w, "attention.query", feed(own))
        found = np.zeros((3, 8))
        for other, there in zip(others, other_mask, strict=True):
            key, value = (linear(w, f"attention.{name}", feed(other)) for name in ("key", "value"))
            size = q.shape[1] // 8
            heads = []
            for h in range(8):
                cut = slice(h * size, (h + 1) * size)
                scores = np.where(there, q[:, cut] @ key[:, cut].T / np.sqrt(size), -np.inf)
                heads.append(softmax(scores, 1) @ value[:, cut])
            found += linear(w, "attention.output.0", np.hstack(heads)) / 4
        scores = linear(w, "pool.2", np.tanh(linear(w, "pool.0", found)))
        expected = softmax(scores[own_mask], 0).T @ found[own_mask]
        tensors = [torch.from_numpy(x)[None] for x in (own, own_mask, others, other_mask)]
        own, own_mask, others, other_mask = tensors
        prompts = branch.double().pooled(branch.found(own, others, other_mask), own_mask)[0]
        torch.testing.assert_close(prompts, torch.from_numpy(expected))

    def test_label_token_by_hand(self):
        batch = videos()
        model = settled(model_of("ICPF", batch))
        by_text, by_frames = model._nearest(batch)
        rows = []
        for found in (by_text, by_frames):
            for rank in range(3):
                x = float(batch["label"][found.places[4, rank]]) * model.label_of_rank[rank].detach().numpy()
                x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
                rows.append(x * model.label_norm.weight.detach().numpy() + model.label_norm.bias.detach().numpy())
        token = model._read_labels(by_text, by_frames)[4, 0].detach()
        torch.testing.assert_close(token, torch.tensor(np.mean(rows, axis=0)), rtol=1e-4, atol=1e-5)

    def test_heads_that_do_not_fit(self):
        with pytest.raises(ConfigError, match="d, 8, must be a multiple of encoder_heads, 3"):
            model_of("ICPF", videos(), encoder_heads=3)

    def test_explains_by_both(self):
        batch = videos()
        found = model_of("ICPF", batch).eval().explain(part(batch, [1]))
        assert len(found.slots) == 6 and sum(found.weights) == pytest.approx(1)
        assert found.slots[0].details.startswith("number 1 by text") and "number 3 by frames" in found.slots[5].details


CASES = [("MMRA", {}), ("MMRA", {"variant": "mmra_compat"}), ("MMRA", {"retrieval_by": "frames"}), ("ICPF", {})]


@pytest.mark.parametrize(("name", "changes"), CASES, ids=str)
class TestBoth:
    def test_a_prediction_depends_on_nothing_but_the_video(self, name, changes):
        """Neither on its batch mates nor on padding, nor on what lies in it."""
        batch = videos(n_text=2)
        batch["text_mask"][1, 1] = False
        model = settled(model_of(name, batch, **changes))
        together = model.predict(batch)
        for i, length in enumerate((4, 2, 3, 4, 1, 3)):
            alone = part(batch, [i])
            alone |= {key: alone[key][:, :length] for key in ("frames", "frame_mask")}
            torch.testing.assert_close(model.predict(alone)[0], together[i], rtol=1e-4, atol=1e-5)
        other = {key: value.clone() for key, value in batch.items()}
        other["text"][1, 1] = 100.0
        other["frames"][~other["frame_mask"]] = 100.0
        torch.testing.assert_close(model.predict(other), together, rtol=1e-4, atol=1e-5)

    def test_a_video_without_frames_or_text(self, name, changes):
        batch = videos()
        for key, mask in (("frames", "frame_mask"), ("text", "text_mask")):
            batch[mask][0] = False
            batch[key][0] = 0
        model = model_of(name, batch, **changes)
        model.calculate_loss(batch).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        assert torch.isfinite(model.eval().predict(batch)).all()

    def test_learns_a_rule_and_not_one_beyond_it(self, name, changes):
        """The mean frame tells, in a model without order the order of frames does not."""
        rng = torch.Generator().manual_seed(1)
        n = 160
        batch = videos([4] * n, n_numeric=0, seed=2)
        of_mean = batch["frames"].mean(dim=1)[:, 0] * 2
        of_order = (torch.rand(n, generator=rng) < 0.5).float() * 2 - 1
        for wanted, labels in ((True, of_mean), (False, of_order)):
            data = {**batch, "label": labels}
            if not wanted:  # the same two frames in one order or the other
                first, second = torch.randn(2, 6, generator=rng)
                pair = torch.where(
                    labels[:, None, None] > 0, torch.stack([first, second]), torch.stack([second, first])
                )
                data |= {"frames": pair, "frame_mask": torch.ones(n, 2, dtype=torch.bool)}
                data["text"] = torch.randn(n, 1, 5, generator=rng)
            train, test = part(data, slice(0, 120)), part(data, slice(120, n))
            model = model_of(name, train, **changes)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
            for _ in range(30):
                optimizer.zero_grad()
                model.calculate_loss(train).backward()
                optimizer.step()
            with torch.no_grad():
                error = (model.eval().predict(test) - test["label"]).square().mean() / test["label"].var()
            assert (error < 0.4) == wanted and (wanted or error > 0.9), error


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("retrieval")
    write_popularity(root)
    return root


def run(root, name, **options):
    return run_recbole_video(name, "pop", config_dict={"data_path": str(root), **RUN, **options})


def weights_of(result):
    """All tensors of a run, those of the memory among them."""
    state = torch.load(Path(result["run_folder"]) / "model.pth", weights_only=True)["state_dict"]
    return {**state.pop("memory._extra_state"), **state}


@pytest.mark.parametrize("name", MODELS)
class TestRuns:
    def test_what_the_test_videos_have_trains_nothing(self, name, root, tmp_path, in_tmp):
        """Other labels, frames, text, authors and metadata of them: no tensor moves, the predictions do."""
        options = {"metadata_numeric": ["seconds"], "metadata_categorical": []}
        other_root = with_other_test_videos(root, tmp_path / "data")
        found = [run(one, name, **options) for one in (root, other_root)]
        one, two = map(weights_of, found)
        assert len(one["rows"]) == 40 and set(one) == set(two)
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert found[0]["test_result"] != found[1]["test_result"]

    def test_a_checkpoint_predicts_without_the_data(self, name, root, in_tmp, capsys):
        folder = in_tmp / run(root, name)["run_folder"]
        told = pd.read_csv(folder / "predictions.tsv", sep="\t")
        items, values = told["item_id"].tolist(), told["prediction"].tolist()
        predictor = load_model(folder)
        inputs = inputs_of(root, predictor, items)
        np.testing.assert_allclose(predictor.predict(inputs), values, rtol=1e-4)
        assert predictor.explain(inputs, 2).popularity == pytest.approx(values[2], rel=1e-4)
        capsys.readouterr()
        assert explain([str(folder), items[0], "v3"]) == 0
        first, second = capsys.readouterr().out.split("v3: predicted")
        assert first.startswith(f"{items[0]}: predicted {values[0]:.4f}"[:-1])
        for text in (first, second):
            neighbours = {line.split()[1].rstrip(",") for line in text.splitlines() if " neighbour: " in line}
            assert 3 <= len(neighbours) <= 6 and neighbours <= {f"v{i}" for i in range(40)} - {"v3"}

    def test_killed_and_resumed(self, name, root, in_tmp, forks):
        """Killed in its second epoch, with a memory that is filled before the first."""
        options = {"data_path": str(root), **RUN, "epochs": 3}
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
        assert resumed["test_result"] == whole["test_result"] and resumed["memory"] == whole["memory"]

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (lambda m: m.pop("labels"), "`labels` is no plain tensor"),
            (lambda m: m.update(labels=m["labels"][:9]), r"`labels` in its `memory` is not of the shape \[40\]"),
            (lambda m: m.update(rows=m["rows"].float()), "`rows` in its `memory` is not of the shape"),
            (lambda m: m["labels"].fill_(torch.inf), "`labels` holds NaN or infinity"),
            (lambda m: m.update({k: v[:3] for k, v in m.items()}), "not of more than the 3 neighbours"),
            (lambda m: m.clear(), "is no plain tensor"),
        ],
        ids=range(6),
    )
    def test_a_memory_that_is_none(self, name, trained, tmp_path, wrong, message):
        state = torch.load(trained[name], weights_only=True)
        wrong(state["state_dict"]["memory._extra_state"])
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / "model.pth")

    def test_an_option_that_does_nothing_by_now_is_loaded(self, name, trained, tmp_path):
        state = torch.load(trained[name], weights_only=True)
        state["config"] |= {"regression_loss": "mse", "huber_delta": 3.0}
        torch.save(state, tmp_path / "model.pth")
        assert load_model(tmp_path / "model.pth").config["huber_delta"] == 3.0
        with pytest.raises(ConfigError, match="`huber_delta` has no effect on runs with regression_loss=mse"):
            Config(name, "none", config_dict={"huber_delta": 3.0})

    def test_more_neighbours_than_training_videos(self, name, root, in_tmp):
        with pytest.raises(ConfigError, match="`n_neighbours` is 40, but there are 40 training videos"):
            run(root, name, n_neighbours=40)


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """``model.pth`` of a run of each model."""
    places = {name: str(tmp_path_factory.mktemp("runs")) for name in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
    found = {name: run(root, name, epochs=1, **places)["run_folder"] for name in MODELS}
    return {name: Path(folder) / "model.pth" for name, folder in found.items()}


class TestRetrievalByAnyModality:
    @pytest.fixture(scope="class")
    def captioned(self, tmp_path_factory):
        """Captions are the label and little else."""
        root = tmp_path_factory.mktemp("captioned")
        table = write_popularity(root)
        angle = (table["label"] - table["label"].min()).to_numpy()[:, None] * np.array([[0.2, 0.2]])
        captions = np.concatenate([np.cos(angle[:, :1]), np.sin(angle[:, 1:])], axis=1)[:, None]
        path = root / "pop" / "pop.captions.frames.npy"
        write_frame_store(path, table["item_id"], captions, vfm="random", sampling="none")
        return root

    def test_captions_are_another_store(self, captioned, in_tmp):
        content = {"frames": None, "text": None, "captions": None}
        result = run(captioned, "MMRA", content=content, retrieval_by="captions", epochs=1)
        model = load_model(in_tmp / result["run_folder"]).model
        assert model.inputs.other_dims == {"captions": 2}
        memory = model.memory
        found = memory.nearest("captions", {"captions": memory.kept_captions.float()[:, None],
            "captions_mask": torch.ones(40, 1, dtype=torch.bool), "row": memory.rows}, 3)  # fmt: skip
        gap = (memory.labels[found.places] - memory.labels[:, None]).abs()
        assert gap.median() < 0.1

    @pytest.mark.parametrize("options", [{}, {"content": ["frames", "text"]}], ids=str)
    def test_one_that_is_not_named(self, captioned, options):
        with pytest.raises(ConfigError, match=r"`retrieval_by` is `captions`, .* \[frames, text, captions\]"):
            run(captioned, "MMRA", retrieval_by="captions", **options)

    def test_a_modality_that_nothing_reads(self, captioned):
        with pytest.raises(ConfigError, match="`content` names `captions`, which MMRA does not read"):
            run(captioned, "MMRA", content=["frames", "text", "captions"])
