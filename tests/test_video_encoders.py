"""Frame encoders against the libraries' own preprocessing and models; where weights come from."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.video import tfidf
from recbole_video.dataset_tools.video.frame_encoders import (
    CLIP,
    FRAME_ENCODERS,
    ClipEncoder,
    Placement,
    frame_encoder_source,
    load_frame_encoder,
    read_shape,
)
from recbole_video.dataset_tools.video.preprocess import from_processor
from recbole_video.dataset_tools.video.texts import TextEncoder
from recbole_video.dataset_tools.video.tfidf import TfidfFit
from recbole_video.dataset_tools.video.weights import Source, find_all, find_weights
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from recbole_video import FrameStore
from recbole_video.content.items import Origin, refuse_other_space
from recbole_video.errors import ConfigError, DataError
from recbole_video.runtime import torchvision_compat

from .tiny_models import (
    CLIP_DIM,
    VISION_MODELS,
    save_clip,
    save_language_model,
    save_other_language_model,
    save_vision_model,
)

CPU = Placement("cpu")


def pictures(n=5, height=48, width=70):
    """Smooth pictures: on noise, resizing in 8 bits and in floats would differ by rounding alone."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + i)) * np.cos(y / (7 + i)) for i in range(3 * n)]
    return (127.5 + 120 * np.array(waves)).astype(np.uint8).reshape(n, 3, height, width).transpose(0, 2, 3, 1).copy()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for kind in VISION_MODELS:
        save_vision_model(root / kind, kind)
    save_clip(root / "clip")
    return root


def weights(models, kind):
    return find_weights(Source(kind, str(models / kind)))


class TestVisionModels:
    @pytest.mark.parametrize("kind", VISION_MODELS)
    def test_embeddings_are_those_of_transformers(self, models, kind):
        from transformers import AutoImageProcessor, AutoModel

        images = [Image.fromarray(picture) for picture in pictures()]
        inputs = AutoImageProcessor.from_pretrained(models / kind)(images, return_tensors="pt")["pixel_values"]
        encoder = load_frame_encoder(weights(models, kind), CPU)
        prepared = encoder.preprocessing(torch.from_numpy(pictures()))
        assert prepared.shape == inputs.shape and (prepared - inputs).abs().mean() < 0.02
        with torch.no_grad():
            expected = AutoModel.from_pretrained(models / kind).eval()(prepared).last_hidden_state[:, 0].numpy()
        got = encoder.embed(pictures())
        assert got.shape == (5, encoder.frame_dim) == (5, 24) and got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("kind", "side"), [("CLIP", 40), ("DeiT", (40, 40))])
    def test_one_number_as_a_size(self, tmp_path, kind, side):
        """The shorter side for CLIP, a square for others that crop, as transformers reads them."""
        import transformers

        told = {"do_resize": True, "size": 40, "do_center_crop": True, "crop_size": 32, "resample": 3,
                "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
                "image_processor_type": f"{kind}ImageProcessor"}  # fmt: skip
        path = tmp_path / "preprocessor_config.json"
        path.write_text(json.dumps(told))
        ours = from_processor(path)
        assert ours.resize == side and ours.crop == (32, 32)
        theirs = getattr(transformers, f"{kind}ImageProcessor").from_pretrained(tmp_path)
        images = [Image.fromarray(picture) for picture in pictures()]
        wanted = theirs(images, return_tensors="pt")["pixel_values"]
        assert (ours(torch.from_numpy(pictures())) - wanted).abs().mean() < 0.02

    def test_dinov2_and_dinov3_end_normalised(self, models):
        """The class token is what the models themselves call their pooled output."""
        from transformers import AutoModel

        for kind in ("dinov2", "dinov3"):
            encoder = load_frame_encoder(weights(models, kind), CPU)
            with torch.no_grad():
                pooled = AutoModel.from_pretrained(models / kind).eval()(
                    encoder.preprocessing(torch.from_numpy(pictures()))
                )
            np.testing.assert_allclose(encoder.embed(pictures()), pooled.pooler_output.numpy(), rtol=1e-4, atol=1e-5)

    def test_batches_change_nothing(self, models):
        whole = load_frame_encoder(weights(models, "dinov2"), CPU).embed(pictures(7))
        parts = load_frame_encoder(weights(models, "dinov2"), Placement("cpu", batch_size=3)).embed(pictures(7))
        np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-5)

    def test_autocast_is_near_and_not_the_same(self, models):
        exact = load_frame_encoder(weights(models, "vit"), CPU).embed(pictures())
        rough = load_frame_encoder(weights(models, "vit"), Placement("cpu", "bfloat16")).embed(pictures())
        assert 0 < np.abs(exact - rough).max() < 0.1

    def test_what_cannot_be_loaded(self, models, tmp_path):
        (tmp_path / "preprocessor_config.json").write_text('{"size": {"longest_edge": 3}}')
        with pytest.raises(DataError, match="does not say how pictures are resized"):
            from_processor(tmp_path / "preprocessor_config.json")
        (tmp_path / "model.safetensors").write_bytes(b"x")
        (tmp_path / "config.json").write_text('{"vocab_size": 3}')
        with pytest.raises(DataError, match="not that of a vision model: KeyError..hidden_size"):
            read_shape(find_weights(Source("x", str(tmp_path))))
        config = json.loads((models / "vit" / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "preprocessor_config.json").write_bytes((models / "vit" / "preprocessor_config.json").read_bytes())
        with pytest.raises(DataError, match="holds no model that transformers can load"):
            load_frame_encoder(find_weights(Source("x", str(tmp_path))), CPU)


class TestClip:
    def test_images_and_texts_are_those_of_open_clip(self, models):
        import open_clip

        name = f"local-dir:{models / 'clip'}"
        model, _, preprocess = open_clip.create_model_and_transforms(name)
        model.eval()
        encoder = load_frame_encoder(weights(models, "clip"), CPU)
        assert isinstance(encoder, ClipEncoder) and encoder.frame_dim == CLIP_DIM
        inputs = torch.stack([preprocess(Image.fromarray(picture)) for picture in pictures()])
        prepared = encoder.preprocessing(torch.from_numpy(pictures()))
        assert prepared.shape == inputs.shape and (prepared - inputs).abs().mean() < 0.02
        texts = ["a cat", "two dogs and " * 40]
        with torch.no_grad():
            images = model.encode_image(prepared).numpy()
            expected = model.encode_text(open_clip.get_tokenizer(name)(texts)).numpy()
        np.testing.assert_allclose(encoder.embed(pictures()), images, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(encoder.begin_text(texts).numpy(), expected, rtol=1e-4, atol=1e-5)

    def test_damaged_weights(self, models, tmp_path):
        for name in ("open_clip_config.json", "open_clip_model.safetensors"):
            (tmp_path / name).write_bytes((models / "clip" / name).read_bytes()[: 10**6])
        with pytest.raises(DataError, match="holds no CLIP model that open_clip can load"):
            load_frame_encoder(find_weights(Source("clip", str(tmp_path))), CPU)


class TestTexts:
    def test_class_token_whatever_the_padding(self, tmp_path):
        from transformers import AutoModel, AutoTokenizer

        folder = save_language_model(tmp_path / "uae")
        encoder = TextEncoder(find_weights(Source("uae", str(folder))), Placement("cpu", batch_size=2))
        texts = ["a cat", "a cat and two dogs", "cats " * 30, ""]
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        with torch.no_grad():
            alone = [
                model(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0, 0].numpy()
                for text in texts
            ]
        np.testing.assert_allclose(encoder.embed(texts), np.array(alone), rtol=1e-4, atol=1e-5)
        assert encoder.embed([]).shape == (0, encoder.dim)

    @pytest.mark.parametrize("kind", ["roberta", "mpnet"])
    def test_models_that_count_positions_from_behind_the_padding(self, tmp_path, kind):
        """Twelve tokens fit in fourteen positions; texts of any length give what they give alone."""
        from transformers import AutoModel, AutoTokenizer

        folder = save_other_language_model(tmp_path / kind, kind)
        encoder = TextEncoder(find_weights(Source("x", str(folder))), Placement("cpu"))
        texts = ["a cat", "two", "a cat and two " * 9]
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        with torch.no_grad():
            alone = [
                model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=12)).last_hidden_state[0, 0]
                for text in texts
            ]
        np.testing.assert_allclose(encoder.embed(texts), torch.stack(alone).numpy(), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("kind", "problem"),
        [
            ("t5", "it is an encoder with a decoder"),
            ("bart", "it is an encoder with a decoder"),
            ("xlnet", "its class token does not come first"),
            ("gpt2", "it has no class token"),
        ],
    )
    def test_models_without_a_class_token_in_front(self, tmp_path, kind, problem):
        folder = save_other_language_model(tmp_path / kind, kind)
        with pytest.raises(DataError, match=f"a model of the kind {kind}, and {problem}.*give one of those"):
            TextEncoder(find_weights(Source("x", str(folder))), Placement("cpu"))

    def test_command_writes_a_vector_per_item_with_text(self, tmp_path, capsys):
        from transformers import AutoModel, AutoTokenizer

        weights = save_language_model(tmp_path / "uae")
        rows = [
            {"item_id": "b", "title": "a cat and two dogs", "tags": ["dog", "cat"]},
            {"item_id": "none", "media": "x.mp4"},
            {"item_id": 7, "title": " two dogs "},
            {"item_id": "c", "title": "cats and more cats and dogs"},
        ]
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "mine.text.jsonl").write_text("\n".join(map(json.dumps, rows)))
        words = ["embed-text", "--name=mine", f"--out={tmp_path}", f"--weights={weights}", "--batch_size=2"]
        assert main([*words, "--fields", "title", "tags"]) == 0
        store = FrameStore(tmp_path / "mine" / "mine.text.frames.npy")
        tokenizer, model = AutoTokenizer.from_pretrained(weights), AutoModel.from_pretrained(weights).eval()
        with torch.no_grad():
            expected = [
                model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, :1].numpy()
                for text in ("a cat and two dogs. dog, cat", "two dogs", "cats and more cats and dogs")
            ]
        assert store.items == ["b", "7", "c"] and store.manifest.extra["sha256"]
        np.testing.assert_allclose(store.frames, np.array(expected), rtol=2e-3, atol=2e-3)
        assert main(words) == 1 and "exists; give --overwrite" in capsys.readouterr().err
        assert main([*words, "--overwrite", "--fields", "titel"]) == 1
        assert "has `titel`; there are media, tags, title" in capsys.readouterr().err
        assert main([*words, "--overwrite", f"--text={tmp_path / 'absent'}"]) == 1
        assert FrameStore(store.path).items == ["b", "7", "c"]

    def test_new_texts_by_the_same_weights(self, tmp_path, capsys):
        weights, others = save_language_model(tmp_path / "uae"), tmp_path / "others"
        shutil.copytree(weights, others)
        (others / "more.json").write_text("{}")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "mine.text.jsonl").write_text('{"item_id": "b", "title": "a cat and two dogs"}')
        (tmp_path / "new.csv").write_text("item_id,title\nn,two dogs\nm,a cat and two dogs\n")
        words = ["embed-text", "--name=mine", f"--out={tmp_path}"]
        assert main([*words, f"--weights={weights}"]) == 0
        new = [*words, f"--new={tmp_path / 'new.csv'}", "--store=new"]
        assert main([*new, f"--weights={others}"]) == 1
        assert "was embedded by the weights `uae`, and those in" in capsys.readouterr().err
        assert main([*new, f"--weights={weights}"]) == 0
        old, found = (FrameStore(tmp_path / "mine" / f"mine.{name}.frames.npy") for name in ("text", "new"))
        np.testing.assert_allclose(found.frames[1], old.frames[0], rtol=2e-3, atol=2e-3)
        assert found.items == ["n", "m"] and found.manifest.vfm == old.manifest.vfm


class TestTfidf:
    """``embed-text --encoder=tfidf``, against its formula and a full singular value decomposition."""

    TITLES = (
        "red cat #fun #cat", "red dog", "blue cat and dog #fun", "blue bird", "bird and cat and bird",
        "green bird #cat # ", "green dog and red bird", "#fun",
    )  # fmt: skip

    def written(self, folder, *words):
        (folder / "mine").mkdir(exist_ok=True)
        rows = [{"item_id": str(i), "title": title} for i, title in enumerate(self.TITLES)]
        (folder / "mine" / "mine.text.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return main(["embed-text", "--name=mine", f"--out={folder}", "--encoder=tfidf", *words])

    def test_vectors(self, tmp_path):
        assert self.written(tmp_path, "--dim=3") == 0
        store = FrameStore(tmp_path / "mine" / "mine.text.frames.npy")
        words = [title.replace("#", " ").split() for title in self.TITLES]
        known = sorted({w for text in words for w in text if sum(w in other for other in words) > 1})
        counts = np.array([[text.count(w) for w in known] for text in words], float)
        idf = np.log((1 + len(words)) / (1 + (counts > 0).sum(axis=0))) + 1
        weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        u, s, _ = np.linalg.svd(weights, full_matrices=False)
        want = u[:, :3] * s[:3]
        want /= np.linalg.norm(want, axis=1, keepdims=True)
        got = store.frames[:, 0].astype(float)
        np.testing.assert_allclose(got @ got.T, want @ want.T, atol=5e-3)
        assert store.manifest.vfm == "TF-IDF and SVD" and store.manifest.sampling == "title"

    def test_parts_are_rows(self, tmp_path):
        assert self.written(tmp_path, "--dim=3", "--parts=#", "--n_parts=2") == 0
        store = FrameStore(tmp_path / "mine" / "mine.text.frames.npy")
        assert store.counts_of(store.rows_of(store.items)).tolist() == [2, 1, 2, 1, 1, 2, 1, 1]
        same = [store.frames[i, k] for i, k in ((0, 1), (2, 1), (7, 0))]  # `fun`, whatever item has it
        assert (same[0] == same[1]).all() and (same[1] == same[2]).all()

    NEW = ("blue bird", "a dog and a #fun dog, unheard of", "unheard of", "red cat #fun #cat")

    def embed_new(self, folder, *words):
        rows = [f'{i},"{text}"' for i, text in enumerate(self.NEW)]
        (folder / "new.csv").write_text("\n".join(["item_id,title", *rows]))
        return main(["embed-text", "--name=mine", f"--out={folder}", f"--new={folder / 'new.csv'}", *words])

    def test_new_texts_are_those_of_scikit_learn(self, tmp_path, caplog, capsys):
        assert self.written(tmp_path, "--dim=3") == 0
        assert self.embed_new(tmp_path, "--store=new") == 0
        words = TfidfVectorizer(sublinear_tf=True, min_df=2)
        svd = TruncatedSVD(3, random_state=0).fit(words.fit_transform(self.TITLES))
        want = normalize(svd.transform(words.transform(self.NEW))).astype(np.float16)
        old, new = (FrameStore(tmp_path / "mine" / f"mine.{name}.frames.npy") for name in ("text", "new"))
        assert (new.frames[:, 0] == want).all() and not want[2].any()
        assert (new.frames[[0, 3]] == old.frames[[3, 0]]).all()  # titles of the training
        assert "1 text has no word that was fitted, and rows of zeros in mine.new.frames.npy" in caplog.text
        assert f"Next: recbole-video recommend RUN_FOLDER --add_store={new.path}" in capsys.readouterr().out
        trained = Origin(3, old.manifest.vfm, "title", old.manifest.sha256)
        refuse_other_space(new, trained)
        refuse_other_space(old, trained)
        with pytest.raises(DataError, match="fitted to other texts than those of the training.*`embed-text --new`"):
            refuse_other_space(new, Origin(3, old.manifest.vfm, "title", "0" * 64))

    def test_new_texts_have_parts_as_the_others(self, tmp_path):
        assert self.written(tmp_path, "--dim=3", "--parts=#", "--n_parts=2", "--store=tags") == 0
        assert self.embed_new(tmp_path, "--store=new", "--like=tags") == 0
        old, new = (FrameStore(tmp_path / "mine" / f"mine.{name}.frames.npy") for name in ("tags", "new"))
        assert new.frame_counts.tolist() == [1, 2, 1, 2] and (new.frames[3] == old.frames[0]).all()
        assert new.manifest.sampling == old.manifest.sampling

    @pytest.mark.parametrize(
        "words, message",
        [
            ([], "--new needs a store of its own"),
            (["--store=text"], "--store is `text`, the store of the training; give new texts another one"),
            (
                ["--store=new", "--dim=3"],
                "--dim has no effect with --new: texts are embedded as those of the store `te",
            ),
            (["--store=new", "--text=x"], "--text has no effect with --new"),
            (["--store=new", "--weights=x"], "--weights and --revision have no effect: the store was made by TF-IDF"),
            (["--store=new", "--like=absent"], "There is no `"),
        ],
    )
    def test_new_texts_refused(self, tmp_path, capsys, words, message):
        assert self.written(tmp_path, "--dim=3") == 0
        assert self.embed_new(tmp_path, *words) == 1
        assert message in capsys.readouterr().err and not (tmp_path / "mine" / "mine.new.frames.npy").exists()

    def test_a_fit_that_is_gone_or_is_another_one(self, tmp_path, capsys):
        assert self.written(tmp_path, "--dim=3") == 0
        fit = tmp_path / "mine" / "mine.text.tfidf.npz"
        content = fit.read_bytes()
        fit.write_bytes(TfidfFit.to(self.TITLES[1:], 3).as_bytes())
        assert self.embed_new(tmp_path, "--store=new") == 1
        assert "by which new texts get vectors in its space; make both anew" in capsys.readouterr().err
        fit.unlink()
        assert self.embed_new(tmp_path, "--store=new") == 1
        manifest = tmp_path / "mine" / "mine.text.frames.json"
        earlier = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**earlier, "extra": {}}))
        assert self.embed_new(tmp_path, "--store=new") == 1
        assert "does not say how its texts were embedded, since an earlier version" in capsys.readouterr().err
        assert TfidfFit.from_bytes(content, fit).as_bytes() == content

    @pytest.mark.parametrize("change", [{"version": 2}, {"words": ["a"]}, {"idf": [np.nan] * 8}, None], ids=str)
    def test_a_damaged_fit(self, tmp_path, change):
        fit, file = TfidfFit.to(self.TITLES, 3), io.BytesIO()
        settings = {**tfidf._KEPT, **{k: v for k, v in (change or {}).items() if k == "version"}}
        words = (change or {}).get("words", fit.words)
        arrays = {"idf": np.array((change or {}).get("idf", fit.idf)), "components": fit.components}
        as_bytes = {"settings": json.dumps(settings), "words": json.dumps(words)}
        np.savez(file, **{name: np.frombuffer(text.encode(), np.uint8) for name, text in as_bytes.items()}, **arrays)
        content = file.getvalue()[:-40] if change is None else file.getvalue()
        with pytest.raises(DataError, match="make its store anew"):
            TfidfFit.from_bytes(content, tmp_path / "x.tfidf.npz")

    def test_what_to_type_next(self, tmp_path, capsys):
        (tmp_path / "mine").mkdir()
        inter = tmp_path / "mine" / "mine.inter"
        inter.write_text("user_id:token\titem_id:token\nu\t1\nu\tabsent\n")
        assert self.written(tmp_path, "--dim=3") == 0
        command = f"Next: python run_recbole_video.py --dataset=mine --data_path={tmp_path} --frame_store=text"
        assert capsys.readouterr().out.splitlines()[-1] == f"{command} --missing_items=drop"
        inter.write_text("user_id:token\titem_id:token\nu\t1\n")
        assert self.written(tmp_path, "--dim=3", "--overwrite") == 0
        assert capsys.readouterr().out.splitlines()[-1] == command

    @pytest.mark.parametrize(
        "words, message",
        [
            (
                ["--dim=40"],
                "8 texts have 8 words in common with others, too few for 40 dimensions; lower --dim to 7 or less.",
            ),
            (["--dim=0"], "--dim is 0; it must be at least 1"),
            (["--parts="], "--parts is empty"),
            (["--weights=here"], "tfidf has no weights"),
        ],
    )
    def test_refused(self, tmp_path, capsys, words, message):
        assert self.written(tmp_path, *words) == 1
        assert message in capsys.readouterr().err and not list(tmp_path.glob("mine/*.npy"))


class TestRules:
    """Encoders without weights, for trial runs."""

    def test_histogram_by_hand(self):
        """NumPy's histogram of a picture that needs no resizing."""
        encoder = load_frame_encoder(find_weights(FRAME_ENCODERS["histogram"]), CPU)
        picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
        edges = [np.array([0, 64, 128, 192, 256]) - 0.5] * 3
        counts, _ = np.histogramdd(picture.reshape(-1, 3), edges)
        assert encoder.embed(picture)[0] == pytest.approx(counts.ravel() / 1024) and encoder.frame_dim == 64

    def test_random_numbers_are_those_of_the_picture(self):
        encoder = load_frame_encoder(find_weights(FRAME_ENCODERS["random"]), CPU)
        first, second = np.random.default_rng(1).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
        found = encoder.embed(np.stack([first, second, first]))
        assert found.shape == (3, 64) and (found[0] == found[2]).all() and abs(np.corrcoef(found[:2])[0, 1]) < 0.5
        assert (encoder.embed(first[None])[0] == found[0]).all()

    def test_they_have_no_weights(self, tmp_path, capsys):
        words = ["frames", f"--videos={tmp_path}", "--name=mine", f"--out={tmp_path}", "--sampler=uniform"]
        assert main([*words, "--frame_encoder=random", "--weights=x"]) == 1
        assert "--weights and --revision have no effect: random has no weights" in capsys.readouterr().err


class TestWeights:
    def test_every_encoder_says_what_to_download_and_where_to_put_it(self, in_tmp, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(in_tmp / "cache"))
        for name, source in FRAME_ENCODERS.items():
            if source.is_rule:
                continue
            command = f"hf download {source.place} --local-dir weights/{name}"
            instead = "variant=icpf_lite" if name == "clip-patches" else "--frame_encoder=histogram"
            with pytest.raises(
                DataError, match=f"neither here nor to be had.*`{command}`.*`weights/{name}` here.*{instead}"
            ):
                find_weights(source)
        with pytest.raises(DataError, match="agree to the DINOv3 licence on its page, log in with `hf auth login`"):
            find_weights(FRAME_ENCODERS["dinov3"])

    def test_all_that_is_missing_is_named_at_once(self, in_tmp, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(in_tmp / "cache"))
        with pytest.raises(DataError) as caught:
            find_all([FRAME_ENCODERS["dinov3"], CLIP])
        told = str(caught.value)
        assert "The weights of `dinov3` (86 MB) and `clip` (605 MB)" in told and told.count("  hf download ") == 2
        assert "agree to the DINOv3 licence" in told and "--frame_encoder histogram" in told
        assert find_all([None, FRAME_ENCODERS["random"]])[0] is None

    def test_a_folder_that_is_not_there_is_no_id_of_the_hub(self, in_tmp):
        (in_tmp / "models").mkdir()
        with pytest.raises(DataError, match="There is no folder `models/vit` with weights of `m`"):
            find_weights(Source("m", "models/vit"))

    def test_the_place_that_the_message_names_is_looked_at(self, in_tmp):
        save_vision_model(in_tmp / "weights" / "dinov2", "dinov2")
        found = find_weights(FRAME_ENCODERS["dinov2"])
        assert (found.place, found.revision, len(found.sha256)) == ("dinov2", "", 64)

    def test_snapshots_of_the_hub_are_named_by_their_commit(self, in_tmp, monkeypatch, models):
        commit = "0123456789abcdef0123456789abcdef01234567"
        repository = in_tmp / "cache" / "models--someone--some-vit"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        (repository / "snapshots").mkdir()
        (models / "vit").rename(repository / "snapshots" / commit)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(in_tmp / "cache"))
        try:
            found = find_weights(FRAME_ENCODERS["vit"].at("someone/some-vit"))
            assert (found.place, found.revision) == ("someone/some-vit", commit)
            assert found.as_plain()["revision"] == commit and load_frame_encoder(found, CPU).frame_dim == 24
        finally:
            (repository / "snapshots" / commit).rename(models / "vit")

    def test_the_checksum_covers_configuration_and_weights(self, tmp_path):
        folder = save_vision_model(tmp_path / "m", "vit")
        before = find_weights(Source("m", str(folder))).sha256
        assert find_weights(Source("m", str(folder))).sha256 == before
        for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
            content = (folder / name).read_bytes()
            (folder / name).write_bytes(content + b" ")
            assert find_weights(Source("m", str(folder))).sha256 != before
            (folder / name).write_bytes(content)

    def test_folders_without_weights(self, tmp_path):
        with pytest.raises(DataError, match=r"holds no weights .\*.safetensors"):
            find_weights(Source("m", str(tmp_path)))
        with pytest.raises(DataError, match="There is no folder `.*absent` with weights of `m`"):
            find_weights(Source("m", str(tmp_path / "absent")))

    def test_unknown_names(self):
        with pytest.raises(ConfigError, match=r"`dinov` is no frame encoder .did you mean `dinov[23]`"):
            frame_encoder_source("dinov")
        with pytest.raises(ConfigError, match="`fp16` is no precision"):
            Placement("cpu", "fp16").resolved()


class TestTorchvision:
    def test_it_imports_beside_any_pytorch(self):
        torchvision_compat.apply()
        import torchvision.transforms

        assert torchvision.transforms.Compose is not None

    def test_nothing_is_declared_where_the_operators_load(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "torchvision", raising=False)
        monkeypatch.setattr(torchvision_compat, "_loads", lambda folder: True)
        before = len(torchvision_compat._declared)
        torchvision_compat.apply()
        assert len(torchvision_compat._declared) == before

    def test_what_was_declared_fails_when_it_is_called(self):
        torchvision_compat.apply()
        if torchvision_compat._declared:
            with pytest.raises(NotImplementedError, match="torchvision::nms"):
                torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
