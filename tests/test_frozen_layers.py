"""ICPF's full variant and what makes its inputs: CLIP and BERT in two halves, against transformers and by hand."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.video.frame_encoders import Placement, load_frame_encoder
from recbole_video.dataset_tools.video.frozen_layers import BERT_WORDS, CLIP_PATCHES, FrozenText, FrozenVision
from recbole_video.dataset_tools.video.weights import find_weights

from recbole_video import FrameStore, load_model, run_recbole_video, write_frame_store
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.popularity.base import InputShape
from recbole_video.popularity.icpf import ICPF

from .test_popularity import METADATA, inputs_of, write_popularity
from .test_retrieval_baselines import part, settled, videos
from .test_stap import Chosen, shape_of
from .test_video_encoders import pictures
from .tiny_models import save_clip_of_transformers, save_language_model, save_vision_model

PATCHES, WIDTH, N_TOKENS = 5, 24, 4  # of the small CLIP and BERT; word pieces that the small ICPF reads


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_clip_of_transformers(root / "clip")
    save_language_model(root / "bert")
    return root


def vision_of(models):
    return find_weights(CLIP_PATCHES.at(str(models / "clip")))


def text_of(models):
    return find_weights(BERT_WORDS.at(str(models / "bert")))


class TestHalves:
    """One half behind the other is the whole network."""

    def test_vision(self, models):
        from transformers import CLIPModel

        pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        frozen = FrozenVision(vision_of(models))
        tokens = frozen.embed(pixels)
        assert tokens.shape == (3, frozen.n_tokens, frozen.width) == (3, PATCHES, WIDTH)
        whole = CLIPModel.from_pretrained(models / "clip").eval()
        with torch.no_grad():
            expected = whole.vision_model(pixel_values=pixels)
        torch.testing.assert_close(frozen.layers(tokens), expected.last_hidden_state)
        pooled = whole.vision_model.post_layernorm(frozen.layers(tokens)[:, 0])
        torch.testing.assert_close(pooled, expected.pooler_output)
        assert frozen.n_parameters == sum(p.numel() for p in whole.vision_model.encoder.parameters())

    def test_text_whatever_the_padding(self, models):
        from transformers import BertModel

        numbers = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0], [2, 3, 0, 0, 0]])
        mask = numbers > 0
        frozen = FrozenText(text_of(models))
        whole = BertModel.from_pretrained(models / "bert").eval()
        with torch.no_grad():
            expected = whole(input_ids=numbers, attention_mask=mask.long()).last_hidden_state
        found = frozen.layers(frozen.embed(numbers), mask)
        torch.testing.assert_close(found[mask], expected[mask])
        other = frozen.embed(numbers).masked_fill(~mask[..., None], 9.0)
        torch.testing.assert_close(frozen.layers(other, mask)[mask], expected[mask])

    def test_another_network(self, models, tmp_path):
        save_vision_model(tmp_path / "vit", "vit")
        with pytest.raises(DataError, match=r"`.*vit` holds a model of the kind vit; CLIP is needed here"):
            FrozenVision(find_weights(CLIP_PATCHES.at(str(tmp_path / "vit"))))
        with pytest.raises(DataError, match=r"`.*clip` holds a model of the kind clip; BERT is needed here"):
            FrozenText(find_weights(BERT_WORDS.at(str(models / "clip"))))
        shutil.copytree(models / "clip", tmp_path / "clip")
        config = json.loads((tmp_path / "clip" / "config.json").read_text())
        config["vision_config"]["patch_size"] = 0
        (tmp_path / "clip" / "config.json").write_text(json.dumps(config))
        with pytest.raises(DataError, match=r"`patch_size` in the configuration of `.*clip` is `0`; download"):
            FrozenVision(find_weights(CLIP_PATCHES.at(str(tmp_path / "clip"))))


class TestStores:
    def test_a_row_of_patches_per_picture(self, models):
        """Pictures prepared as transformers does, one number as a size being the shorter side."""
        from transformers import AutoImageProcessor, CLIPModel

        encoder = load_frame_encoder(vision_of(models), Placement("cpu"))
        images = [Image.fromarray(picture) for picture in pictures()]
        wanted = AutoImageProcessor.from_pretrained(models / "clip")(images, return_tensors="pt")["pixel_values"]
        prepared = encoder.preprocessing(torch.from_numpy(pictures()))
        assert prepared.shape == wanted.shape and (prepared - wanted).abs().mean() < 0.02
        whole = CLIPModel.from_pretrained(models / "clip").eval()
        with torch.no_grad():
            states = whole.vision_model(pixel_values=prepared, output_hidden_states=True).hidden_states
        got = encoder.embed(pictures())
        assert got.shape == (5, encoder.frame_dim) == (5, PATCHES * WIDTH)
        np.testing.assert_allclose(got.reshape(5, PATCHES, WIDTH), states[0].numpy(), rtol=1e-4, atol=1e-5)

    @pytest.fixture
    def titles(self, tmp_path):
        (tmp_path / "mine").mkdir()
        rows = [{"item_id": "b", "title": "a cat and two dogs"}, {"item_id": "c", "title": "cat"}]
        (tmp_path / "mine" / "mine.text.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return ["embed-text", "--name=mine", f"--out={tmp_path}", "--encoder=bert-words", "--store=tokens"]

    def test_a_row_per_word_piece(self, models, tmp_path, titles, capsys):
        from transformers import AutoTokenizer, BertModel

        assert main([*titles, f"--weights={models / 'bert'}"]) == 0
        store = FrameStore(tmp_path / "mine" / "mine.tokens.frames.npy")
        assert store.frames.shape == (2, 7, WIDTH) and store.frame_counts.tolist() == [7, 3]  # with [CLS] and [SEP]
        tokenizer, whole = AutoTokenizer.from_pretrained(models / "bert"), BertModel.from_pretrained(models / "bert")
        for row, text in enumerate(("a cat and two dogs", "cat")):
            encoded = tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                states = whole.eval()(**encoded, output_hidden_states=True).hidden_states[0][0]
            np.testing.assert_allclose(store.frames[row, : len(states)], states, rtol=2e-3, atol=2e-3)
        assert not store.frames[1, 3:].any() and store.made_by == text_of(models).sha256

        (tmp_path / "new.csv").write_text("item_id,title\nn,two dogs\nm,a cat and two dogs\n")
        new = ["embed-text", "--name=mine", f"--out={tmp_path}", f"--new={tmp_path / 'new.csv'}", "--store=new"]
        assert main([*new, "--like=tokens", f"--weights={models / 'bert'}"]) == 0
        found = FrameStore(tmp_path / "mine" / "mine.new.frames.npy")
        np.testing.assert_array_equal(found.frames[1], store.frames[0])

    def test_word_pieces_are_cut_before_the_last_mark(self, models, tmp_path, titles):
        assert main([*titles, f"--weights={models / 'bert'}", "--n_parts=4"]) == 0
        store = FrameStore(tmp_path / "mine" / "mine.tokens.frames.npy")
        assert store.frame_counts.tolist() == [4, 3]
        embedded = FrozenText(text_of(models)).embed(torch.tensor([[2, 5, 6, 3]]))[0]  # [CLS] a cat [SEP]
        np.testing.assert_allclose(store.frames[0], embedded, rtol=2e-3, atol=2e-3)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--parts=#"], "--parts has no effect with --encoder bert-words, a row per word piece; leave it out"),
            (["--dim=4"], "--dim has no effect with --encoder bert-words"),
            (["--n_parts=2"], "--n_parts is 2; of bert-words it must be at least 3, of which two are BERT's marks"),
        ],
    )
    def test_refused(self, titles, capsys, words, message):
        assert main([*titles, *words]) == 1
        assert message in capsys.readouterr().err


def full_batch(models, lengths=(4, 2, 3, 4, 1, 3), words=(4, 3, 2, 4, 4, 3), **changes):
    """Videos with patches of each frame and tokens of their words, up to one more than are read."""
    rng = torch.Generator().manual_seed(5)
    batch = videos(lengths, **changes)
    batch["patches"] = torch.randn(len(lengths), 4, PATCHES * WIDTH, generator=rng)
    batch["patches_mask"] = batch["frame_mask"].clone()
    batch["tokens"] = torch.randn(len(lengths), N_TOKENS + 1, WIDTH, generator=rng)
    batch["tokens_mask"] = torch.arange(N_TOKENS + 1) < torch.tensor(words)[:, None]
    return batch


def full_shape(batch, **changes):
    dims = {"patches": PATCHES * WIDTH, "tokens": WIDTH}
    shape = shape_of(batch)
    return InputShape(**{**asdict(shape), "n_categories": shape.n_categories, "other_dims": dims, **changes})


def full_options(models, **changes):
    small = {"n_neighbours": 3, "memory_frames": 4, "hidden_size": 8, "n_prompts": 2, "n_tokens": N_TOKENS}
    places = {"vision_weights": str(models / "clip"), "text_weights": str(models / "bert")}
    return ICPF.Options(**{"seed": 1, "variant": "icpf_full", "dropout": 0.0, **small, **places, **changes})


def full_model(models, batch, **changes):
    torch.manual_seed(3)
    model = ICPF(Chosen(asdict(full_options(models, **changes))), full_shape(batch))
    model.before_epoch(0, [batch])
    return model


class TestFull:
    def test_sizes(self, tmp_path):
        """What is trained are the layers of the public code, with its label vectors and their norm, and no more."""
        for name, kind in (("clip", "clip_vision_model"), ("bert", "bert")):  # of usual sizes, which need not be told
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind}))
            (tmp_path / name / "model.safetensors").write_bytes(b"")
        d, k, n = 768, 14, 50 * 768
        options = full_options(tmp_path, n_neighbours=k, hidden_size=None, n_prompts=8)
        shape = InputShape(frame_dim=d, n_frames=10, text_dim=1024, other_dims={"patches": n, "tokens": d})
        model = ICPF(Chosen(asdict(options)), shape)
        feed = (d + 1) * 1024 + 1025 * d
        prompts = feed + 3 * (d + 1) * 512 + 513 * d + (d + 1) * 64 + 65 * 8
        fusion = 4 * d * d + (d + 1) * 4 * d + (4 * d + 1) * d + 4 * d
        public = 2 * prompts + 6 * (d * d + d) + fusion + 2 * d + 1
        assert sum(weights.numel() for weights in model.parameters()) == public + k * d + 2 * d == 17_041_297

    def test_frames_by_hand(self, models):
        """The prompts of a frame behind its patches, through each of CLIP's layers, and the mean of the frames."""
        from transformers import CLIPModel

        batch = full_batch(models)
        model = settled(full_model(models, batch))
        branch = model.frame_branch
        _, by_frames = model._nearest(batch)
        others, other_mask = model.memory.frames_of(by_frames.places)
        others = model.of_frames(others)
        got, mask = branch(batch["patches"], batch["patches_mask"], others, other_mask)
        assert got.shape == (6, PATCHES + 2, 8) and mask.all()
        layers = CLIPModel.from_pretrained(models / "clip").eval().vision_model.encoder.layers
        for i, length in enumerate((4, 2, 3, 4, 1, 3)):
            frames = []
            for frame in range(length):
                patches = batch["patches"][i, frame].view(1, PATCHES, WIDTH)
                found = branch.found(patches, others[i : i + 1], other_mask[i : i + 1])
                x = torch.cat([patches, branch.pooled(found, torch.ones(1, PATCHES, dtype=torch.bool))], dim=1)
                for layer in layers:
                    x = layer(x, None)
                frames.append(branch.project(x[0]))
            torch.testing.assert_close(got[i], torch.stack(frames).mean(dim=0), rtol=1e-4, atol=1e-5)

    def test_more_frames_than_are_read(self, models):
        """The patches of evenly chosen frames, as of the frames themselves."""
        batch = full_batch(models)
        model = settled(full_model(models, batch, memory_frames=2))
        mask = batch["patches_mask"]
        chosen = torch.stack(
            [one[[0, n - 1]] for one, n in zip(batch["patches"], mask.sum(dim=1).tolist(), strict=True)]
        )
        other = {**batch, "patches": chosen, "patches_mask": mask[:, :2]}
        torch.testing.assert_close(model.predict(batch), model.predict(other))

    def test_text_by_hand(self, models):
        """What was found is the mean of its word pieces at each place, of those that have one there."""
        from transformers import BertModel

        batch = full_batch(models)
        model = settled(full_model(models, batch))
        branch = model.text_branch
        by_text, _ = model._nearest(batch)
        got, mask = model._read_tokens(batch, by_text)
        whole = BertModel.from_pretrained(models / "bert").eval()
        words = batch["tokens_mask"].sum(dim=1).clamp(max=N_TOKENS)
        for i in range(6):
            n = int(words[i])
            rows = []
            for place in range(N_TOKENS):
                there = [j for j in by_text.places[i].tolist() if words[j] > place]
                rows += [batch["tokens"][there, place].mean(dim=0)] if there else []
            own, others = batch["tokens"][i : i + 1, :n], torch.stack(rows)[None, None]
            every = torch.ones(1, n, dtype=torch.bool)
            prompts = branch.pooled(branch.found(own, others, torch.ones(1, 1, len(rows), dtype=torch.bool)), every)
            encoded = whole.encoder(torch.cat([own, prompts], dim=1)).last_hidden_state
            torch.testing.assert_close(got[i][mask[i]], branch.project(encoded[0]), rtol=1e-4, atol=1e-5)

    def test_a_prediction_depends_on_nothing_but_the_video(self, models):
        batch = full_batch(models)
        model = settled(full_model(models, batch))
        together = model.predict(batch)
        for i, length in enumerate((4, 2, 3, 4, 1, 3)):
            alone = part(batch, [i])
            alone |= {key: alone[key][:, :length] for key in ("frames", "frame_mask", "patches", "patches_mask")}
            torch.testing.assert_close(model.predict(alone)[0], together[i], rtol=1e-4, atol=1e-5)
        other = {key: value.clone() for key, value in batch.items()}
        for name in ("patches", "tokens"):
            other[name][~other[f"{name}_mask"]] = 100.0
        other["tokens"][:, N_TOKENS:] = 100.0  # beyond what is read
        torch.testing.assert_close(model.predict(other), together, rtol=1e-4, atol=1e-5)
        for name in ("patches", "tokens"):
            changed = {**batch, name: batch[name] + 1.0}
            assert not torch.allclose(model.predict(changed), together, rtol=1e-3)

    def test_a_video_that_lacks_something(self, models):
        batch = full_batch(models, words=(0, 3, 2, 4, 4, 3))
        batch["patches_mask"][1] = False
        model = full_model(models, batch)
        model.calculate_loss(batch).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        assert torch.isfinite(model.eval().predict(batch)).all()

    def test_the_networks_stay_as_they_are(self, models):
        """Nor do they drop anything: in training, too, a prediction is the same twice."""
        batch = full_batch(models)
        model = full_model(models, batch).train()
        branches = model.frame_branch, model.text_branch
        before = [{k: v.clone() for k, v in b.frozen.network().state_dict().items()} for b in branches]
        assert torch.equal(model.predict(batch), model.predict(batch))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        model.calculate_loss(batch).backward()
        assert all(b.pool[2].weight.grad.abs().sum() > 0 for b in branches)  # reached through the layers alone
        optimizer.step()
        for branch, state in zip(branches, before, strict=True):
            assert all(torch.equal(state[k], v) for k, v in branch.frozen.network().state_dict().items())
        held = sum(p.numel() for p in model.parameters())
        assert model.parameter_counts() == {"model": held, "frozen": sum(b.frozen.n_parameters for b in branches)}
        assert not any("frozen" in name for name in model.state_dict())
        assert not set(branches) & set(model.parts_to_compile()) and model.fusion in model.parts_to_compile()


RUN = {
    **METADATA, "variant": "icpf_full", "n_neighbours": 3, "memory_frames": 4, "hidden_size": 8,
    "epochs": 2, "train_batch_size": 16, "figures": False, "show_progress": False, "learning_rate": 0.003,
    "content": ["frames", "text", "patches", "tokens"],
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory, models):
    root = tmp_path_factory.mktemp("full")
    table = write_popularity(root)
    rng = np.random.default_rng(1)
    n = len(table)
    # Noted as the tools note it.
    shapes = {"patches": (n, 6, PATCHES * WIDTH), "tokens": (n, N_TOKENS, WIDTH)}
    noted = {"patches": {"settings": {"frame_encoder": vision_of(models).as_plain()}},
             "tokens": text_of(models).as_plain()}  # fmt: skip
    for name, shape in shapes.items():
        path = root / "pop" / f"pop.{name}.frames.npy"
        write_frame_store(path, table["item_id"], rng.normal(size=shape), vfm=name, sampling="none", **noted[name])
    return root


def run(root, models, **options):
    is_full = options.get("variant") != "icpf_lite"
    places = {"vision_weights": str(models / "clip"), "text_weights": str(models / "bert")} if is_full else {}
    return run_recbole_video("ICPF", "pop", config_dict={"data_path": str(root), **RUN, **places, **options})


class TestRuns:
    def test_a_run_and_what_can_be_done_with_it(self, root, models, in_tmp):
        result = run(root, models)
        assert "frozen" in result["parameters"]
        folder = in_tmp / result["run_folder"]
        state = torch.load(folder / "model.pth", weights_only=True)
        assert not any("frozen" in name for name in state["state_dict"])
        told = (folder / "predictions.tsv").read_text().splitlines()[1:]
        items, values = [line.split("\t")[0] for line in told], [float(line.split("\t")[2]) for line in told]
        predictor = load_model(folder)
        metadata = inputs_of(root, predictor, items).metadata
        stores = {name: root / "pop" / f"pop.{name}.frames.npy" for name in ("text", "patches", "tokens")}
        stores["frames"] = root / "pop" / "pop.frames.npy"
        inputs = predictor.from_stores(items, metadata=metadata, content=stores)
        np.testing.assert_allclose(predictor.predict(inputs), values, rtol=1e-4)

        def given(**changed):
            return predictor.from_stores(items, metadata=metadata, content={**stores, **changed})

        left_out = replace(inputs, content={"tokens": inputs.content["tokens"]})
        with pytest.raises(DataError, match="The model reads patches; give `patches`"):
            predictor.predict(left_out)
        patches, other = FrameStore(stores["patches"]), in_tmp / "other.frames.npy"
        about = {"settings": {"frame_encoder": {"sha256": "f" * 64}}}
        write_frame_store(other, patches.items, patches.frames, vfm="patches", sampling="none", **about)
        with pytest.raises(
            DataError, match="was made by weights of SHA-256 ffffffffffff, and the model was trained on pat"
        ):
            given(patches=other)

    def test_weights_that_are_others_or_gone(self, root, models, tmp_path, in_tmp):
        shutil.copytree(models / "bert", tmp_path / "bert")
        result = run(root, models, text_weights=str(tmp_path / "bert"), epochs=1)
        folder = in_tmp / result["run_folder"]
        (tmp_path / "bert" / "more.json").write_text("{}")
        (tmp_path / "bert" / "pytorch_model.bin").write_bytes(b"another form of the same")
        load_model(folder)  # what is read of the folder is as it was
        config = json.loads((tmp_path / "bert" / "config.json").read_text())
        (tmp_path / "bert" / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.1}))
        with pytest.raises(
            CheckpointError, match=r"`text_weights` is `bert`, but other weights made the store of `tok"
        ):
            load_model(folder)
        shutil.rmtree(tmp_path / "bert")
        gone = r"cannot be built: There is no folder `.*bert` with weights of `bert-words`; put them there"
        with pytest.raises(CheckpointError, match=gone):
            load_model(folder)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"content": None}, r"reads `patches`, of which there is nothing; .*frames --frame_encoder=clip-patches"),
            ({"content": ["frames", "text", "patches"]}, r"reads `tokens`, .*embed-text --encoder=bert-words"),
            ({"content": {"frames": None, "text": None, "patches": "tokens", "tokens": None}},
             r"`vision_weights` is `clip`, but other weights .*rows have 24 numbers, and those of these weights 120"),
            ({"vision_weights": "~/no/such"}, r"There is no folder `/.*/no/such` with weights of `clip-patches`"),
            ({"encoder_layers": 1}, r"`encoder_layers` .*variant"),
            ({"variant": "icpf_lite", "n_tokens": 4, "content": None}, r"`n_tokens` .*variant"),
            ({"variant": "icpf_lite"}, r"`content` names `patches`, which ICPF does not read"),
        ],
    )  # fmt: skip
    def test_refused(self, root, models, options, message, in_tmp):
        with pytest.raises((ConfigError, DataError), match=message):
            run(root, models, **options)
        assert not list(Path().glob("saved/*/model.pth"))
