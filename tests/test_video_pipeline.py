"""Raw videos to frame stores: every sampler, bad videos, runs that are killed, steps of their own."""

import argparse
import csv
import json
import multiprocessing
import os
import signal
from pkgutil import resolve_name

import numpy as np
import pytest
from recbole_video.dataset_tools.__main__ import COMMANDS
from recbole_video.dataset_tools.video.decode import DecodeTask, decode_frames
from recbole_video.dataset_tools.video.failures import Failure
from recbole_video.dataset_tools.video.frame_encoders import Placement, load_frame_encoder
from recbole_video.dataset_tools.video.job import Outputs
from recbole_video.dataset_tools.video.listing import VideoFile, list_videos
from recbole_video.dataset_tools.video.pipeline import Results
from recbole_video.dataset_tools.video.probe import read_timeline
from recbole_video.dataset_tools.video.samplers import Sampling
from recbole_video.dataset_tools.video.samples import Finished, read_chosen
from recbole_video.dataset_tools.video.shards import ShardFolder, ShardWriter, read_journal, read_shard
from recbole_video.dataset_tools.video.weights import Source, find_weights
from recbole_video.dataset_tools.video.workers import DecodePool, serve

from recbole_video import FrameStore, run_recbole_video
from recbole_video.errors import ConfigError, DataError, RunFolderError

from . import faulty_server
from .conftest import small_options
from .tiny_models import save_clip, save_vision_model
from .videos import cut, numbered_picture, write_sound, write_video

GOOD = {"10": 40, "11": 3, "12": 75, "9": 120, "z": 1}
BAD = {"bad_cut": "truncated", "bad_empty": "empty", "bad_sound": "no_video", "bad_text": "unreadable"}
TITLES = {item: f"title number {item} of a video" for item in [*GOOD, *BAD] if item != "12"}
RESULTS = ("frames.npy", "frames.json", "samples.jsonl", "samples.json", "failures.csv")


def write_raw(root):
    """Five good videos, four bad ones, titles of all but one, and two tiny models."""
    videos = root / "videos"
    videos.mkdir()
    for item, n_frames in GOOD.items():
        write_video(videos / f"{item}.mp4", n_frames)
    write_video(root / "whole.mkv", 60)
    cut(root / "whole.mkv", videos / "bad_cut.mkv", 0.7)
    (videos / "bad_empty.mp4").touch()
    write_sound(videos / "bad_sound.mp4")
    (videos / "bad_text.mp4").write_text("no video" * 99)
    (root / "titles.jsonl").write_text(
        "".join(json.dumps({"item_id": i, "title": t}) + "\n" for i, t in TITLES.items())
    )
    save_clip(root / "clip")
    save_vision_model(root / "dinov2", "dinov2")


def run(command, raw, out, *words):
    """Run a command as the command line does."""
    command_class = resolve_name(COMMANDS[command])
    parser = argparse.ArgumentParser()
    command_class.add_arguments(parser)
    given = ["--videos", str(raw / "videos"), "--name", "d", "--out", str(out), "--device", "cpu", "--workers", "1"]
    if "--sampler" not in words and command != "embed":
        given += ["--titles", str(raw / "titles.jsonl"), "--clip_weights", str(raw / "clip")]
    if command != "sample":
        given += ["--weights", str(raw / "dinov2")]
    command_class.run(parser.parse_args([*given, *words]))
    return out / "d"


def contents(folder, results=RESULTS):
    return {name: (folder / f"d.{name}").read_bytes() for name in results}


@pytest.fixture(scope="session")
def unbroken(raw, tmp_path_factory):
    """The results of one run of the whole command."""
    return run("frames", raw, tmp_path_factory.mktemp("unbroken"))


class TestWholeCommand:
    def test_store(self, raw, unbroken):
        store = FrameStore(unbroken / "d.frames.npy")
        store.verify()
        assert store.items == ["10", "11", "12", "9", "z"] and store.frame_counts.tolist() == [5, 3, 5, 5, 1]
        made = store.manifest.extra["settings"]
        assert (store.manifest.vfm, store.manifest.sampling) == ("dinov2", "resample, 5 of 100 frames")
        assert made["frame_encoder"]["sha256"] == find_weights(Source("m", str(raw / "dinov2"))).sha256
        assert not (unbroken / "d.parts").exists()

    def test_bad_videos_are_reported(self, unbroken):
        with (unbroken / "d.failures.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["item_id"]: row["reason"] for row in rows} == BAD and all(row["detail"] for row in rows)

    def test_chosen_frames_are_the_most_similar_ones(self, raw, unbroken):
        """Against CLIP as open_clip runs it, on pictures decoded here."""
        import open_clip
        import torch
        from PIL import Image

        name = f"local-dir:{raw / 'clip'}"
        model, _, preprocess = open_clip.create_model_and_transforms(name)
        tokens = open_clip.get_tokenizer(name)([TITLES["9"]])
        path = raw / "videos" / "9.mp4"
        candidates = np.unique([(2 * k + 1) * 120 // 200 for k in range(100)])
        frames = decode_frames(path, read_timeline(path), candidates)
        with torch.no_grad():
            images = model.eval().encode_image(torch.stack([preprocess(Image.fromarray(p)) for p in frames.pictures]))
            similarity = torch.cosine_similarity(images, model.encode_text(tokens)).numpy()
        sample = json.loads((unbroken / "d.samples.jsonl").read_text().splitlines()[3])
        position = {number: i for i, number in enumerate(candidates.tolist())}
        chosen = [position[number] for number in sample["frames"]]
        assert sample["item_id"] == "9" and chosen == sorted(chosen) and len(chosen) == 5
        np.testing.assert_allclose(sample["similarity"], similarity[chosen], atol=0.02)
        left_out = np.delete(similarity, chosen)
        assert similarity[chosen].min() > left_out.max() - 0.02 and np.std(similarity) > 0.02
        np.testing.assert_allclose(sample["times"], np.array(sample["frames"]) / 30, atol=1e-5)

    def test_without_a_title_frames_are_random_and_it_is_said(self, unbroken):
        samples = [json.loads(line) for line in (unbroken / "d.samples.jsonl").read_text().splitlines()]
        assert {s["item_id"]: s["sampler"] for s in samples} == dict.fromkeys(GOOD, "resample") | {"12": "random"}
        assert all((s["similarity"] is None) == (s["item_id"] == "12") for s in samples)

    @pytest.mark.parametrize("sampler", ["uniform", "mid5", "random"])
    def test_embeddings_are_those_of_the_frames(self, raw, tmp_path, sampler):
        folder = run("frames", raw, tmp_path, "--sampler", sampler, "--n_frames", "4")
        store = FrameStore(folder / "d.frames.npy")
        encoder = load_frame_encoder(find_weights(Source("m", str(raw / "dinov2"))), Placement("cpu"))
        for sample in map(json.loads, (folder / "d.samples.jsonl").read_text().splitlines()):
            row, n_frames = store.items.index(sample["item_id"]), GOOD[sample["item_id"]]
            count = min(4, n_frames)
            if sampler == "uniform":
                assert sample["frames"] == sorted({(2 * k + 1) * n_frames // 8 for k in range(4)})
            elif sampler == "mid5":
                assert sample["frames"] == list(range((n_frames - count) // 2, (n_frames - count) // 2 + count))
            assert store.frame_counts[row] == len(sample["frames"]) == count
            expected = encoder.embed(np.stack([numbered_picture(number) for number in sample["frames"]]))
            np.testing.assert_allclose(store.frames[row, :count], expected, atol=0.15)
            others = encoder.embed(np.stack([numbered_picture(number + 37) for number in sample["frames"]]))
            distance, of_others = (np.abs(store.frames[row, :count] - each).max() for each in (expected, others))
            assert of_others > 100 * distance  # by how much depends on the release that drew the model's weights

    @pytest.mark.parametrize("condition", ["none", "noise", "mismatched", "masked"])
    def test_title_conditions(self, raw, unbroken, tmp_path, condition):
        words = ["--title_condition", condition]
        if condition == "none":
            words += ["--sampler", "resample"]  # neither titles nor CLIP
        folder = run("sample", raw, tmp_path, *words)
        samples, clean = (
            {s["item_id"]: s for s in map(json.loads, (path / "d.samples.jsonl").read_text().splitlines())}
            for path in (folder, unbroken)
        )
        assert samples.keys() == clean.keys() and samples["12"] == clean["12"]
        assert samples["9"]["similarity"] != clean["9"]["similarity"]
        if condition == "none":
            assert {sample["sampler"] for sample in samples.values()} == {"random"}
        settings = json.loads((folder / "d.samples.json").read_text())
        assert settings["titles"]["condition"] == condition
        assert settings["titles"]["noise"] == (1.0 if condition == "noise" else 0.0)

    def test_results_are_not_overwritten_unasked(self, raw, unbroken):
        before = contents(unbroken)
        with pytest.raises(
            DataError, match=r"d\.samples\.jsonl`, `.*d\.frames\.npy`.* exist already; pass --overwrite"
        ):
            run("frames", raw, unbroken.parent)
        run("frames", raw, unbroken.parent, "--overwrite")
        assert contents(unbroken) == before

    def test_nothing_but_bad_videos(self, raw, tmp_path):
        (tmp_path / "videos").mkdir()
        (tmp_path / "videos" / "a.mp4").touch()
        with pytest.raises(DataError, match=r"None of the 1 videos gave frames; `.*failures\.csv` says why"):
            run("sample", raw, tmp_path, "--videos", str(tmp_path / "videos"), "--sampler", "uniform")

    def test_replacing_that_breaks_off_leaves_the_earlier_results(self, raw, tmp_path, monkeypatch):
        words = ["--sampler", "uniform", "--n_frames", "2"]
        folder = run("frames", raw, tmp_path, *words)
        before = contents(folder)

        def fail(*_, **__):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("recbole_video.content.store._write_rows", fail)
            with pytest.raises(RunFolderError, match=r"/d/d\.frames\.npy` cannot be written: No space left"):
                run("frames", raw, tmp_path, "--sampler", "uniform", "--n_frames", "3", "--overwrite")
        assert contents(folder) == before
        run("frames", raw, tmp_path, "--sampler", "uniform", "--n_frames", "3", "--overwrite")
        assert FrameStore(folder / "d.frames.npy").n_frames == 3

    def test_a_file_name_that_cannot_be_a_token_costs_one_video(self, raw, tmp_path):
        videos = tmp_path / "videos"
        videos.mkdir()
        write_video(videos / "a.mp4", 4)
        os.link(videos / "a.mp4", os.fsencode(videos) + b"/\xca\xd3\xc6\xb5.mp4")
        os.link(videos / "a.mp4", videos / "b\tc.mp4")
        os.link(videos / "a.mp4", videos / "same.mp4")
        folder = run("frames", raw, tmp_path, "--sampler", "uniform", "--videos", str(videos))
        [row, other] = csv.DictReader((folder / "d.failures.csv").open(encoding="utf-8"))
        assert row == {
            "item_id": r"\xca\xd3Ƶ", "file": r"\xca\xd3Ƶ.mp4", "reason": "misnamed", "detail": "rename it"
        }  # fmt: skip
        assert other["item_id"].startswith("b") and other["reason"] == "misnamed"
        store = FrameStore(folder / "d.frames.npy")
        assert store.items == ["a", "same"] and store.noted_twins.first == ("a", "same")

    @pytest.mark.parametrize("words", [["--name", ".."], ["--store", "../x"], ["--store", "a/x.frames.npy"]])
    def test_names_that_lead_elsewhere(self, raw, tmp_path, words):
        for command in ("frames", "sample", "embed"):
            with pytest.raises(ConfigError, match=f"{words[0]} is `{words[1]}`, which cannot be a part of a file's na"):
                run(command, raw, tmp_path / "x" / "y", *words)
        assert list(tmp_path.iterdir()) == []

    def test_options_without_effect(self, raw, tmp_path):
        for words in (["--sampler", "uniform", "--title_noise", "1"], ["--sampler", "uniform", "--titles", "x"]):
            with pytest.raises(ConfigError, match="has no effect: the sampler uniform does not look at titles"):
                run("sample", raw, tmp_path, *words)
        with pytest.raises(ConfigError, match="--title_noise has no effect: with title_condition masked"):
            run("sample", raw, tmp_path, "--title_condition", "masked", "--title_noise", "2")
        with pytest.raises(DataError, match="no titles `.*x`; give them with --titles, or .* --sampler uniform"):
            run("sample", raw, tmp_path, "--titles", "x")
        with pytest.raises(DataError, match="There is no `nofolder`; give the folder of the videos"):
            run("sample", raw, tmp_path, "--titles", "x", "--videos", "nofolder")


class TestLastWords:
    """Where the frames are and what comes next; before that, what may be a slip."""

    WORDS = ("--sampler", "uniform", "--n_frames", "1")

    @pytest.fixture(scope="class")
    def one(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("one")
        write_video(folder / "fresh.mp4", 4)
        return ["--videos", str(folder), *self.WORDS]

    @staticmethod
    def convert(root, name="d"):
        (root / name).mkdir()
        (root / name / f"{name}.inter").write_text("user_id:token\titem_id:token\nu\told\nu\tfresh\nu\tolder\n")

    def test_a_name_of_no_data_set(self, raw, one, tmp_path, capsys, caplog):
        self.convert(tmp_path, "dd")
        folder = run("frames", raw, tmp_path, *one)
        assert f"There is no {folder / 'd.inter'} (did you mean `dd`?)" in caplog.text
        written, following = capsys.readouterr().out.splitlines()
        assert written == f"1 video has frames; written: {folder / 'd.frames.npy'}"
        assert following == f"Next: python -m recbole_video.dataset_tools generic CLICKS.csv --name=d --out={tmp_path}"

    def test_items_without_videos_are_missed_but_not_by_new_videos(self, raw, one, tmp_path, capsys, caplog):
        self.convert(tmp_path)
        folder = run("frames", raw, tmp_path, *one)
        assert "2 of 3 items of d.inter have no video" in caplog.text and "2 missing" in caplog.text
        following = capsys.readouterr().out.splitlines()[-1]
        assert following == f"Next: python run_recbole_video.py --dataset=d --data_path={tmp_path} --missing_items=drop"
        caplog.clear()
        run("frames", raw, tmp_path, *one, "--new", "--store=new")
        store = folder / "d.new.frames.npy"
        assert FrameStore(store).items == ["fresh"] and not caplog.text
        assert len((folder / "d.new.failures.csv").read_text().splitlines()) == 1
        following = capsys.readouterr().out.splitlines()[-1]
        assert following == f'Next: recbole-video recommend RUN_FOLDER --add_store={store} --history="ITEM ITEM"'
        with pytest.raises(ConfigError, match="--new needs a store of its own .* give --store=new"):
            run("frames", raw, tmp_path, *one, "--new")
        (tmp_path / "other-model").mkdir()
        with pytest.raises(
            ConfigError, match=r"as those of the training, `d.frames.npy` by `.*; choose by --frame_enc"
        ):
            run("frames", raw, tmp_path, *one, "--new", "--store=newer", "--weights", str(tmp_path / "other-model"))
        assert not list(folder.glob("d.newer.*"))


class TestSteps:
    def test_sample_and_embed_make_what_frames_makes(self, raw, unbroken, tmp_path):
        run("sample", raw, tmp_path)
        assert not (tmp_path / "d" / "d.frames.npy").exists()
        assert contents(run("embed", raw, tmp_path)) == contents(unbroken)

    def test_a_second_store_from_the_same_choice(self, raw, tmp_path):
        folder = run("sample", raw, tmp_path)
        run("embed", raw, tmp_path, "--store", "clip", "--weights", str(raw / "clip"))
        store = FrameStore(folder / "d.clip.frames.npy")
        assert store.frame_dim == 16 and store.manifest.vfm == "clip"
        assert {row["item_id"] for row in csv.DictReader((folder / "d.clip.failures.csv").open())} == set(BAD)

    def test_videos_that_changed_since(self, raw, tmp_path):
        videos = tmp_path / "videos"
        videos.mkdir()
        for item, n_frames in (("a", 40), ("b", 40), ("c", 40)):
            write_video(videos / f"{item}.mp4", n_frames)
        words = ["--videos", str(videos)]
        folder = run("sample", raw, tmp_path, *words, "--sampler", "uniform")
        (videos / "b.mp4").unlink()
        write_video(videos / "c.mp4", 4)
        write_video(videos / "new.mp4", 4)
        run("embed", raw, tmp_path, *words)
        rows = {row["item_id"]: row for row in csv.DictReader((folder / "d.failures.csv").open())}
        assert {item: row["reason"] for item, row in rows.items()} == {
            "b": "missing",
            "c": "not_sampled",
            "new": "not_sampled",
        }
        assert rows["c"]["detail"] == "frame 36 was chosen, but the file has 4 now"
        assert FrameStore(folder / "d.frames.npy").items == ["a"]

    @pytest.mark.parametrize(
        ("samples", "settings", "message"),
        [
            ({"frames": []}, {}, "line 1: not the frames of a video .the frames must be a list"),
            ({"frames": [3, 1]}, {}, "the frames must ascend"),
            ({"frames": [-1, 1]}, {}, "must be a list of frame numbers"),
            ({"times": [0]}, {}, "each frame must have a time"),
            ({"item_id": 7}, {}, "item_id and sampler must be texts"),
            ({"x": 7}, {}, "not the frames of a video"),
            ({}, {"n_frames": "2"}, "`n_frames` is '2' and no whole number"),
            ({}, {"short_side": None}, "`short_side` is None and no whole number"),
            ({}, {"sampler": []}, "does not say how frames were chosen"),
        ],
    )
    def test_samples_that_are_none(self, tmp_path, samples, settings, message):
        sample = {"item_id": "a", "sampler": "mid5", "frames": [1, 2], "times": [0.1, 0.2], "similarity": None}
        plain = {"sampler": "mid5", "n_frames": 2, "n_candidates": 2, "seed": 1, "short_side": 32}
        (tmp_path / "d.samples.jsonl").write_text(json.dumps({**sample, **samples}) + "\n")
        (tmp_path / "d.samples.json").write_text(json.dumps({**plain, **settings}))
        with pytest.raises(DataError, match=message):
            read_chosen(tmp_path / "d.samples.jsonl")

    def test_embed_without_samples(self, raw, tmp_path):
        with pytest.raises(DataError, match=r"There is no `.*d\.samples\.jsonl`; choose frames with `sample`"):
            run("embed", raw, tmp_path)


def n_finished(parts):
    """Videos that outlive the run, in shards or in its journal."""
    done = [video.item_id for shard in parts.glob("*.npz") for video in read_shard(shard)]
    done += [video.item_id for journal in parts.glob("*.journal") for video in read_journal(journal)]
    return len(set(done))


def kill_after(n_videos, per_shard, raw, out):
    """Run the whole command in a process that kills itself once some videos are on disk; returns their number."""
    child = os.fork()
    if child == 0:
        plain = ShardWriter._note

        def counted(writer, finished):
            if n_finished(writer._shards.folder) == n_videos:
                os.kill(os.getpid(), signal.SIGKILL)
            plain(writer, finished)

        ShardWriter._note = counted
        ShardWriter.__init__.__defaults__ = (per_shard,)
        run("frames", raw, out)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it was through before it could be killed"
    return n_finished(out / "d" / "d.parts")


class TestKilledRuns:
    @pytest.mark.parametrize(("n_videos", "per_shard"), [(0, 1), (2, 1), (6, 1), (3, 64), (5, 2)])
    def test_it_goes_on_to_the_same_bytes(self, raw, unbroken, tmp_path, monkeypatch, n_videos, per_shard):
        n_done = kill_after(n_videos, per_shard, raw, tmp_path)
        assert n_done == n_videos and not (tmp_path / "d" / "d.frames.json").exists()
        decoded = []
        plain = DecodePool.decode

        def counted(pool, tasks):
            for answer in plain(pool, tasks):
                decoded.append(answer.task.video.item_id)
                yield answer

        monkeypatch.setattr(DecodePool, "decode", counted)
        assert contents(run("frames", raw, tmp_path)) == contents(unbroken)
        assert len(decoded) == len(GOOD) + len(BAD) - n_done

    def test_an_entry_that_was_cut_off_is_left_out(self, tmp_path):
        parts = ShardFolder(tmp_path / "p", {})
        writer = ShardWriter(parts)
        for name in "ab":
            writer.add(Finished(name, 1, embeddings=np.ones((2, 3), np.float16)))
        [journal] = (tmp_path / "p").glob("*.journal")
        journal.write_bytes(journal.read_bytes()[:-5])
        again = ShardFolder(tmp_path / "p", {})
        again.recover()
        assert list(again.find([VideoFile(name, tmp_path, 1) for name in "ab"])) == ["a"]
        assert not list((tmp_path / "p").glob("*.journal"))

    def test_killed_while_the_store_was_written(self, raw, unbroken, tmp_path, monkeypatch):
        def stop(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("recbole_video.content.store._write_manifest", stop)
            with pytest.raises(KeyboardInterrupt):
                run("frames", raw, tmp_path)
        assert [path.name for path in (tmp_path / "d").iterdir()] == ["d.parts"]
        (tmp_path / "d" / ".d.frames.npy.0.making").mkdir()
        (tmp_path / "d" / ".d.parts.01234567").mkdir()
        folder = run("frames", raw, tmp_path)
        assert contents(folder) == contents(unbroken)
        assert {path.name for path in folder.iterdir()} == {f"d.{name}" for name in RESULTS}

    def test_two_runs_at_once(self, raw, tmp_path):
        parts = ShardFolder(tmp_path / "p", {})
        with parts.locked(), pytest.raises(DataError, match="Another process is writing"), parts.locked():
            pass

    def test_shards_of_nobody_knows_what(self, tmp_path):
        with ShardWriter(ShardFolder(tmp_path / "p", {})) as writer:
            writer.add(Finished("a", 1))
        (tmp_path / "p" / "settings.json").unlink()
        with pytest.raises(DataError, match="holds shards and no `settings.json`"):
            ShardFolder(tmp_path / "p", {})

    def test_what_may_go_well_another_time_is_tried_again(self, tmp_path):
        parts, video = ShardFolder(tmp_path / "p", {}), VideoFile("a", tmp_path, 1)
        with ShardWriter(parts) as writer:
            writer.add(Finished("a", 1, failure=Failure("a", "a.mp4", "crashed", "")))
        assert not parts.find([video], again=True) and parts.find([video])
        assert [failure.reason for failure in Results(parts, [video]).failures] == ["crashed"]
        with pytest.raises(DataError, match="1 video has no record .*first: `b`"):
            Results(parts, [video, VideoFile("b", tmp_path, 1)])

    def test_other_titles_are_other_settings(self, raw, tmp_path):
        """Frames that were chosen by other titles must not be mixed in."""
        kill_after(2, 1, raw, tmp_path)
        titles = tmp_path / "other.csv"
        titles.write_text("item_id,title\na,something else\n")
        with pytest.raises(DataError, match="with other settings .titles was"):
            run("frames", raw, tmp_path, "--titles", str(titles))

    def test_parts_of_other_settings_are_refused(self, raw, tmp_path):
        kill_after(2, 1, raw, tmp_path)
        with pytest.raises(
            DataError, match="parts of an unfinished run with other settings .n_frames was 5, is 4.*--over"
        ):
            run("frames", raw, tmp_path, "--n_frames", "4")
        folder = run("frames", raw, tmp_path, "--n_frames", "4", "--overwrite")
        assert FrameStore(folder / "d.frames.npy").n_frames == 4

    def test_a_video_that_changed_is_done_again(self, tmp_path):
        parts = ShardFolder(tmp_path / "parts", {})
        with ShardWriter(parts) as writer:
            writer.add(Finished("a", 10))
            writer.add(Finished("b", 10))
        found = parts.find([VideoFile("a", tmp_path, 10), VideoFile("b", tmp_path, 11), VideoFile("c", tmp_path, 10)])
        assert list(found) == ["a"]

    def test_a_damaged_shard_is_named(self, tmp_path):
        parts = ShardFolder(tmp_path / "parts", {})
        with ShardWriter(parts) as writer:
            writer.add(Finished("a", 10, embeddings=np.ones((2, 3), np.float16)))
        [shard] = parts.shards()
        shard.write_bytes(shard.read_bytes()[:50])
        with pytest.raises(DataError, match=r"The shard `.*npz` is damaged .*; delete it"):
            read_shard(shard)

    def test_a_shard_takes_the_place_of_the_journal(self, tmp_path):
        parts = ShardFolder(tmp_path / "parts", {})
        writer = ShardWriter(parts, max_videos=3)
        for name in "abcd":
            writer.add(Finished(name, 1))
        [shard], [journal] = parts.shards(), list(parts.folder.glob("*.journal"))
        assert [len(read_shard(shard)), len(read_journal(journal))] == [3, 1]
        writer.flush()
        assert len(parts.shards()) == 2 and not list(parts.folder.glob("*.journal"))


class TestWorkers:
    @pytest.mark.parametrize("n_workers", [1, 2, 3])
    def test_leaving_with_tasks_that_wait(self, raw, n_workers):
        """As after Ctrl-C or an error: nobody waits for a process that is gone."""
        [video] = [video for video in list_videos(raw / "videos") if video.item_id == "z"]
        tasks = [DecodeTask(video, Sampling("uniform", 2), None, None, 32, False)] * 20
        with DecodePool(n_workers) as pool:
            next(pool.decode(tasks))

    def test_a_decoder_that_dies_or_hangs_costs_one_video(self, raw):
        videos = [video for video in list_videos(raw / "videos") if video.item_id in GOOD]
        tasks = [DecodeTask(video, Sampling("mid5", 1), None, None, 48, False) for video in videos]
        with DecodePool(2, timeout=3, server=faulty_server.serve) as pool:
            answers = {answer.task.video.item_id: answer for answer in pool.decode(tasks)}
        assert list(answers) == [video.item_id for video in videos]
        failures = {item: a.failure.reason for item, a in answers.items() if a.failure}
        assert failures == {"11": "crashed", "12": "timeout"}
        assert answers["11"].failure.detail == "its exit status is 7"
        assert all(len(a.frames.pictures) == 1 for item, a in answers.items() if item not in failures)

    def test_a_main_process_that_was_killed_ends_its_decoders_in_silence(self, raw, capfd):
        """A pipe whose other end is gone: before the process is ready, while it waits, and with an answer to give."""
        [video] = [video for video in list_videos(raw / "videos") if video.item_id == "z"]
        task = DecodeTask(video, Sampling("uniform", 2), None, None, 32, False)
        for tasks in (None, [], [task]):
            ours, theirs = multiprocessing.get_context("spawn").Pipe()
            process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, 1))
            if tasks is None:
                ours.close()
            process.start()
            theirs.close()
            if tasks is not None:
                assert ours.recv() is None
                for waiting in tasks:
                    ours.send(waiting)
                ours.close()
            process.join()
            assert process.exitcode == 0
        assert capfd.readouterr().err == ""

    def test_decoding_is_some_videos_ahead_and_no_more(self, raw):
        [video] = [video for video in list_videos(raw / "videos") if video.item_id == "z"]
        given = []

        def tasks():
            for number in range(20):
                given.append(number)
                yield DecodeTask(video, Sampling("mid5", 1), None, None, 48, False)

        with DecodePool(2) as pool:
            answers = pool.decode(tasks())
            next(answers)
            assert len(given) == 5  # two being decoded, two waiting, the one that was asked for
            assert sum(1 for _ in answers) == 19


class TestContactSheets:
    def test_sheet(self, raw, tmp_path):
        from PIL import Image

        folder = run("sample", raw, tmp_path, "--contact_sheets", str(tmp_path / "sheets"))
        assert {path.stem for path in (tmp_path / "sheets").iterdir()} == set(GOOD)
        sample = json.loads((folder / "d.samples.jsonl").read_text().splitlines()[0])
        assert (
            sample["item_id"] == "10"
        )  # 40 frames in four rows of ten, 160 x 120 each, 6 apart, 18 for a line of text
        sheet = np.asarray(Image.open(tmp_path / "sheets" / "10.png"))
        assert sheet.shape == (2 * 18 + 4 * (120 + 18 + 6), 10 * 166 + 6, 3)
        corners = [sheet[36 + (n // 10) * 144, 6 + (n % 10) * 166] for n in range(40)]
        marked = [n for n, colour in enumerate(corners) if tuple(colour) == (220, 60, 30)]
        assert marked == sample["frames"]

    def test_titles_of_any_script_and_length(self, raw, tmp_path):
        from recbole_video.dataset_tools.video.contact_sheet import draw_contact_sheet

        path = raw / "videos" / "11.mp4"
        frames = decode_frames(path, read_timeline(path), np.arange(3))
        sheet = draw_contact_sheet("西施：分手吧！👩‍⚕️ " * 300, frames, np.array([0]), None)
        assert sheet.size == (3 * 166 + 6, 36 + 144)


class TestTraining:
    def test_real_videos_and_titles_to_a_trained_epoch(self, real_data, raw, in_tmp):
        """Three videos of MicroLens with their titles; the interactions are made up."""
        videos = real_data / "microlens" / "videos"
        titles = real_data / "microlens" / "MicroLens-50k_titles.csv"
        words = ["--videos", str(videos), "--titles", str(titles), "--workers", "2", "--n_candidates", "20"]
        folder = run("frames", raw, in_tmp / "dataset", *words)
        store = FrameStore(folder / "d.frames.npy")
        assert store.items == ["1002", "10034", "10040"] and store.frame_counts.tolist() == [5, 5, 5]
        rng = np.random.default_rng(0)
        rows = [f"u{user}\t{rng.choice(store.items)}\t{time}" for user in range(20) for time in range(6)]
        (folder / "d.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(rows) + "\n")
        options = small_options("SASRec", "CVA", data_path="dataset", topk=[1, 2], valid_metric="NDCG@2")
        result = run_recbole_video("SASRec", "d", config_dict=options)
        assert 0 < result["test_result"]["hit@2"] <= 1
        assert np.isfinite(result["best_valid_score"])


def test_the_results_of_a_run_are_what_it_refuses_to_replace(raw, tmp_path):
    outputs = Outputs(tmp_path / "d", "d", "x")
    assert outputs.frames.name == "d.x.frames.npy" and outputs.samples.name == "d.x.samples.jsonl"
    assert outputs.failures.name == "d.x.failures.csv" and outputs.parts.name == "d.x.parts"
