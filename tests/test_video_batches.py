"""Pictures of several videos in one batch, and their way from the processes that decode."""

import multiprocessing
import os
import signal
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole_video.dataset_tools.video import hand_over
from recbole_video.dataset_tools.video.batches import Arriving, Batches, embed_each, to_device
from recbole_video.dataset_tools.video.decode import Decoded, DecodeTask, Frames, failed
from recbole_video.dataset_tools.video.executors import FrameMaker, _videos_per_call
from recbole_video.dataset_tools.video.frame_encoders import Placement, load_frame_encoder
from recbole_video.dataset_tools.video.job import make_frame_plan
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.preprocess import Preprocessing
from recbole_video.dataset_tools.video.samplers import Sampling
from recbole_video.dataset_tools.video.titles import Titles
from recbole_video.dataset_tools.video.weights import Source, find_weights

from .tiny_models import save_clip, save_vision_model

# Frames of each video, and height and width of its pictures.
VIDEOS = {"a": (1, 48, 64), "b": (23, 48, 70), "c": (5, 60, 40), "d": (40, 36, 36), "e": (8, 48, 64), "f": (2, 90, 40)}


def pictures(item_id):
    rng = np.random.default_rng(ord(item_id))
    n_frames, *size = VIDEOS[item_id]
    coarse = rng.integers(0, 256, (n_frames, 5, 5, 3), dtype=np.uint8)
    rows, columns = (np.arange(length) * 5 // length for length in size)
    return coarse[:, rows][:, :, columns].copy()


def decoded(item_id, sampling=None, title="a title"):
    """What comes of a video; of one that is damaged, "z", a failure."""
    task = DecodeTask(VideoFile(item_id, Path(f"{item_id}.mp4"), 1), sampling or Sampling(), title, None, 36, False)
    if item_id == "z":
        return failed(task, "crashed", "it is damaged")
    own = pictures(item_id)
    numbers = np.arange(len(own))
    return Decoded(task, Frames(numbers, numbers / 25, own))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_clip(root / "clip")
    for kind in ("dinov2", "dinov3"):
        save_vision_model(root / kind, kind)
    return root


class TestNeighbours:
    """Byte for byte: each video alone, in other orders, among others."""

    ORDERS = ("abcdef", "fedcba", "dabf", "cce", "ea", "b")

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    @pytest.mark.parametrize("kind", ["clip", "dinov2", "dinov3"])
    def test_embeddings(self, models, kind, precision):
        placement = Placement("cpu", precision, batch_size=7)
        encoder = load_frame_encoder(find_weights(Source(kind, str(models / kind))), placement)
        alone = {item: encoder.embed(pictures(item)) for item in VIDEOS}
        assert alone["d"].shape == (40, encoder.frame_dim) and len(np.unique(alone["d"], axis=0)) == 40
        for order in self.ORDERS:
            embedded = list(embed_each(encoder, ((item, torch.from_numpy(pictures(item))) for item in order)))
            assert [item for item, _ in embedded] == list(order)
            for item, embeddings in embedded:
                assert embeddings.tobytes() == alone[item].tobytes(), (item, order)

    @pytest.mark.parametrize("size", [1, 5, 16, 100])
    def test_what_is_stored(self, models, size):
        """Frames that are scored and chosen, videos without a title, a damaged one: whatever lies between them."""
        sampling = Sampling(n_frames=3)
        sources = (Source(kind, str(models / kind)) for kind in ("dinov2", "clip"))
        maker = FrameMaker(make_frame_plan(sampling, *sources, Placement("cpu", batch_size=size)))

        def made(order):
            videos = (decoded(item, sampling, title=None if item == "e" else f"of {item}") for item in order)
            return {video.item_id: video for video in maker.finish(videos)}

        alone = {item: made(item)[item] for item in "abcdefz"}
        assert [len(alone[item].embeddings) for item in "abcdef"] == [1, 3, 3, 3, 8, 2]
        assert alone["z"].failure.reason == "crashed" and alone["e"].sample.similarity is None
        for order in ("abcdefz", "zfedcba", "dz", "cbeaz"):
            together = made(order)
            assert set(together) == set(order)
            for item, video in together.items():
                assert (video.sample, video.failure) == (alone[item].sample, alone[item].failure), (item, order)
                if item != "z":
                    assert video.embeddings.tobytes() == alone[item].embeddings.tobytes(), (item, order)


class Recording:
    """An encoder whose embedding is the mean of a picture's pixels, and that notes what it is given."""

    placement = Placement("cpu", "float32", batch_size=4)
    prepare = Preprocessing(6, None, (0.0,) * 3, (1.0,) * 3, "bilinear")  # pictures keep their shape

    def __init__(self):
        self.passes = []

    def begin(self, pixels):
        self.passes.append(tuple(pixels.shape))
        return Arriving(pixels.mean((2, 3)).clone())


def of_size(n, height, width, value=0):
    return torch.full((n, height, width, 3), value, dtype=torch.uint8)


class TestBatches:
    def test_every_pass_is_of_full_size_and_one_shape(self):
        encoder = Recording()
        videos = [("a", of_size(3, 6, 6, 51)), ("b", of_size(6, 6, 6, 102)), ("c", of_size(1, 6, 9, 153))]
        embedded = dict(embed_each(encoder, videos))
        assert encoder.passes == [(4, 3, 6, 6)] * 3 + [(4, 3, 6, 9)]
        for item, value in (("a", 0.2), ("b", 0.4), ("c", 0.6)):
            np.testing.assert_allclose(embedded[item], np.full((len(embedded[item]), 3), value), rtol=1e-6)
        assert [len(embedded[item]) for item in "abc"] == [3, 6, 1]

    def test_two_batches_wait_at_most(self):
        taken = []

        def videos():
            for number in count():
                taken.append(number)
                yield number, of_size(1, 6, 6, number % 256)

        embedded = embed_each(Recording(), videos())
        for number in range(20):
            video, [embedding] = next(embedded)
            assert video == number and len(taken) <= number + 8
            np.testing.assert_allclose(embedding, np.full(3, number / 255), rtol=1e-6)

    def test_a_pass_is_begun_before_the_one_before_it_is_waited_for(self):
        encoder = Recording()
        batches = Batches(encoder)
        assert list(batches.add("a", of_size(4, 6, 6))) == [] and len(encoder.passes) == 1
        assert [video for video, _ in batches.add("b", of_size(4, 6, 6))] == ["a"] and len(encoder.passes) == 2
        assert [video for video, _ in batches.finish()] == ["b"] and len(encoder.passes) == 2

    def test_videos_without_pictures_wait_for_nobody(self):
        videos = iter([("a", of_size(1, 6, 6)), ("z", None), ("b", of_size(1, 6, 6))])
        assert [video for video, _ in embed_each(Recording(), videos)] == ["z", "a", "b"]
        assert list(embed_each(None, iter([("a", of_size(1, 6, 6))]))) == [("a", None)]

    def test_on_a_cpu_pictures_are_where_they_are_wanted(self):
        source = of_size(1, 6, 6)
        assert to_device(source, "cpu").data_ptr() == source.data_ptr()

    @pytest.mark.parametrize(("given", "size"), [(None, 16), (7, 7)])
    def test_parts_must_agree_in_the_size_of_batches(self, models, given, size):
        sources = (Source(kind, str(models / kind)) for kind in ("dinov2", "clip"))
        plan = make_frame_plan(Sampling(), *sources, Placement("cpu", batch_size=given))
        settings = {**plan.sampling_settings(Titles({})), **plan.encoding_settings()}
        assert settings["clip"]["batch_size"] == settings["frame_encoder"]["batch_size"] == size

    @pytest.mark.parametrize(
        ("sampling", "scores", "n_videos"),
        [(Sampling("uniform", 5), False, 25), (Sampling(), True, 10), (Sampling("mid5", 200), False, 1)],
    )
    def test_a_cluster_fills_batches(self, models, sampling, scores, n_videos):
        clip = Source("clip", str(models / "clip")) if scores else None
        encoder = Source("dinov2", str(models / "dinov2"))
        plan = make_frame_plan(sampling, encoder, clip, Placement("cpu", batch_size=128))
        assert _videos_per_call(plan) == n_videos


def names(folder):
    """What is in a folder of Linux's; nothing elsewhere."""
    return {path.name for path in Path(folder).glob("*")}


def send_and_wait(pipe):
    """A process that hands over a video, and then does nothing until it is killed."""
    hand_over.send(pipe, decoded("d"))
    pipe.recv()


class TestHandOver:
    @pytest.mark.parametrize("maps", [True, False])
    def test_what_arrives_is_what_was_sent(self, monkeypatch, maps):
        if maps and not hand_over._MAPS:
            pytest.skip("this system has no memory without a name")
        monkeypatch.setattr(hand_over, "_MAPS", maps)
        ours, theirs = multiprocessing.Pipe()
        before = names("/proc/self/fd")
        for item in "afz":  # small ones, which a pipe holds
            sent = decoded(item)
            hand_over.send(theirs, sent)
            got = hand_over.receive(ours)
            assert got.task == sent.task and got.failure == sent.failure
            if item == "z":
                assert got.frames is None
                continue
            assert got.frames.pictures.tobytes() == sent.frames.pictures.tobytes()
            assert got.frames.pictures.shape == sent.frames.pictures.shape
            assert got.frames.numbers.tolist() == sent.frames.numbers.tolist()
            del got
        assert names("/proc/self/fd") == before

    def test_pictures_do_not_go_through_the_pipe(self):
        if not hand_over._MAPS:
            pytest.skip("this system has no memory without a name")
        ours, theirs = multiprocessing.Pipe()
        large = np.zeros((40, 300, 400, 3), np.uint8)  # a pipe holds far less, and nobody reads yet
        sent = decoded("d")
        hand_over.send(theirs, Decoded(sent.task, Frames(sent.frames.numbers, sent.frames.times, large)))
        assert len(ours.recv_bytes()) < 10_000

    def test_a_process_that_is_killed_leaves_nothing_and_takes_nothing_along(self):
        if not hand_over._MAPS:
            pytest.skip("this system has no memory without a name")
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=send_and_wait, args=(theirs,))
        process.start()
        theirs.close()
        got = hand_over.receive(ours)
        [mapped] = [line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:pictures" in line]
        assert mapped.endswith("/memfd:pictures (deleted)")  # it has no name in any folder
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert got.frames.pictures.tobytes() == pictures("d").tobytes()
        del got
        assert "memfd:pictures" not in Path("/proc/self/maps").read_text()

    def test_a_process_that_ends_before_it_has_handed_over(self):
        ours, theirs = multiprocessing.Pipe()
        sent = decoded("a")
        theirs.send((sent, sent.frames.pictures.shape))  # and the pictures do not come
        theirs.close()
        with pytest.raises((EOFError, OSError)):
            hand_over.receive(ours)
