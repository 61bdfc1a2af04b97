"""Reading timelines and decoding: the exact frames, upright, whatever the file is like."""

import csv
import random

import av
import numpy as np
import pytest
from recbole_video.dataset_tools.video import decode
from recbole_video.dataset_tools.video.commands import split_by_choice
from recbole_video.dataset_tools.video.decode import decode_frames
from recbole_video.dataset_tools.video.failures import REASONS, Failure, VideoFailure, read_failures, write_failures
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.probe import probe, read_duration, read_timeline
from recbole_video.dataset_tools.video.samplers import segment_middles
from recbole_video.dataset_tools.video.samples import ChosenFrames

from recbole_video.errors import DataError

from .videos import cut, numbered_picture, read_number, write_sound, write_video

# Counted with ffprobe.
REAL = {"1002": (982, 60.0, 16.367), "10034": (227, 30.0, 7.567), "10040": (862, 30.0, 28.733)}


def numbers_of(path, wanted, **options):
    """The numbers in the pictures that come back, and those that are said to."""
    frames = decode_frames(path, read_timeline(path), np.asarray(wanted), **options)
    return [read_number(picture) for picture in frames.pictures], frames.numbers.tolist()


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", 200)


class TestFrames:
    @pytest.mark.parametrize("threads", [1, 2])
    def test_each_frame_is_the_one_asked_for(self, long_video, threads):
        everything = list(range(200))
        assert numbers_of(long_video, everything, threads=threads) == (everything, everything)

    @pytest.mark.parametrize("seed", range(8))
    def test_any_choice(self, long_video, seed):
        """Frames in between are skipped by the decoder; with B-frames, wanted ones must not be among them."""
        wanted = sorted(random.Random(seed).sample(range(200), 1 + 3 * seed))
        assert numbers_of(long_video, wanted, threads=1 + seed % 2) == (wanted, wanted)

    def test_skipping_changes_no_pixel(self, real_data):
        for path in (real_data / "microlens" / "videos" / "10034.mp4", real_data / "other" / "archery.mp4"):
            timeline = read_timeline(path)
            wanted = segment_middles(timeline, 12)
            fast, plain = (decode._decode(path, timeline, wanted, 64, 2, skip=skip) for skip in (True, False))
            assert fast.n_damaged == 0 and fast.numbers == plain.numbers == wanted.tolist()
            assert np.array_equal(fast.pictures, plain.pictures)

    def test_real_frames_are_those_of_a_plain_decode(self, real_data):
        path = real_data / "other" / "archery.mp4"
        wanted = [0, 7, 150, 298, 299]
        frames = decode_frames(path, read_timeline(path), np.array(wanted))
        with av.open(str(path)) as container:
            every = [frame.to_ndarray(format="rgb24", interpolation="AREA") for frame in container.decode(video=0)]
        assert len(every) == 300
        assert all(np.array_equal(frames.pictures[i], every[number]) for i, number in enumerate(wanted))

    def test_times_are_those_of_a_constant_frame_rate(self, long_video):
        frames = decode_frames(long_video, read_timeline(long_video), np.array([0, 30, 199]))
        np.testing.assert_allclose(frames.times, [0, 1, 199 / 30], atol=1e-6)

    @pytest.mark.parametrize("container", ["mp4", "mkv"])
    def test_variable_frame_rate(self, tmp_path, container):
        gaps = random.Random(1)
        starts = np.cumsum([0] + [gaps.choice([8, 33, 400]) for _ in range(59)]).tolist()
        path = write_video(tmp_path / f"v.{container}", 60, milliseconds=starts)
        timeline = read_timeline(path)
        np.testing.assert_allclose(timeline.seconds(np.arange(60)) * 1000, starts, atol=0.1)
        length = timeline.duration * 1000
        shown = [max(i for i in range(60) if starts[i] <= (k + 0.5) * length / 10) for k in range(10)]
        assert numbers_of(path, segment_middles(timeline, 10)) == (sorted(set(shown)), sorted(set(shown)))

    def test_sound_beside_the_video_changes_nothing(self, tmp_path):
        path = write_video(tmp_path / "s.mp4", 30, audio=True)
        assert numbers_of(path, [0, 11, 29]) == ([0, 11, 29], [0, 11, 29]) and probe(path).n_frames == 30

    def test_a_container_without_times(self, tmp_path):
        """AVI keeps the order of decoding, which with B-frames is not that of showing."""
        path = write_video(tmp_path / "v.avi", 60, scale=4)
        timeline = read_timeline(path)
        wanted = np.arange(0, 60, 5)
        assert not timeline.has_pts
        assert [read_number(picture) for picture in decode_frames(path, timeline, wanted).pictures] == wanted.tolist()

    def test_frames_that_an_edit_list_cuts_off_are_no_loss(self, tmp_path):
        """A trimmed file, as phones write it: 20 of 120 frames are there to decode the others, and not shown."""
        write_video(tmp_path / "whole.mp4", 120, g="60")
        options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
        with (
            av.open(str(tmp_path / "whole.mp4")) as whole,
            av.open(str(tmp_path / "v.mp4"), "w", options=options) as cut,
        ):
            stream = whole.streams.video[0]
            copy = cut.add_stream_from_template(stream)
            for packet in whole.demux(stream):
                if packet.dts is not None:
                    packet.pts -= int(20 / 30 / stream.time_base)
                    packet.dts -= int(20 / 30 / stream.time_base)
                    packet.stream = copy
                    cut.mux(packet)
        timeline = read_timeline(tmp_path / "v.mp4")
        found = decode_frames(tmp_path / "v.mp4", timeline, np.array([0, 1, 99]))
        assert len(timeline) == 100 and [read_number(picture) for picture in found.pictures] == [20, 21, 119]

    @pytest.mark.parametrize("b_frames", ["0", "3"])
    def test_transport_streams_that_were_joined(self, tmp_path, b_frames):
        """As an HLS download is: each part begins its clock anew, and one was recorded hours later."""
        pictures = [numbered_picture(number) for number in range(80)]
        parts = [
            write_video(tmp_path / f"{start}.ts", pictures=pictures[start : start + 40], bf=b_frames)
            for start in (0, 40)
        ]
        later = tmp_path / "later.ts"
        with av.open(str(parts[1])) as source, av.open(str(later), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.pts, packet.dts = packet.pts + 3600 * 90_000, packet.dts + 3600 * 90_000
                    packet.stream = stream
                    target.mux(packet)
        for second in (parts[1], later):
            path = tmp_path / "joined.ts"
            path.write_bytes(parts[0].read_bytes() + second.read_bytes())
            timeline = read_timeline(path)
            assert len(timeline) == 80 and timeline.duration == pytest.approx(80 / 30)
            assert read_duration(path) == pytest.approx(80 / 30)
            assert numbers_of(path, list(range(80))) == (list(range(80)), list(range(80)))
            assert numbers_of(path, [3, 39, 40, 41, 79]) == ([3, 39, 40, 41, 79], [3, 39, 40, 41, 79])
            assert segment_middles(timeline, 4).tolist() == [10, 30, 50, 70]

    def test_fewer_frames_than_asked_for(self, tmp_path):
        path = write_video(tmp_path / "s.mp4", 3)
        assert numbers_of(path, segment_middles(read_timeline(path), 100)) == ([0, 1, 2], [0, 1, 2])


class TestPictures:
    @pytest.mark.parametrize(
        ("rotation", "corner", "shape"), [(90, 2, (64, 48)), (180, 3, (48, 64)), (270, 1, (64, 48))]
    )
    def test_rotated_videos_come_upright(self, tmp_path, rotation, corner, shape):
        """A red quarter at the top left goes to the bottom left when turned by 90 degrees counterclockwise."""
        pictures = np.zeros((4, 48, 64, 3), np.uint8)
        pictures[:, :24, :32, 0] = 255
        path = write_video(tmp_path / "r.mp4", pictures=pictures, rotation=rotation)
        [picture] = decode_frames(path, read_timeline(path), np.array([2])).pictures
        assert picture.shape[:2] == shape and (probe(path).height, probe(path).width) == shape
        corners = [picture[y, x, 0] > 127 for y, x in ((9, 9), (9, -9), (-9, 9), (-9, -9))]
        assert corners == [position == corner for position in range(4)]

    @pytest.mark.parametrize(
        ("short_side", "shape"), [(24, (24, 32)), (48, (48, 64)), (500, (96, 128)), (None, (96, 128))]
    )
    def test_pictures_are_scaled_down_only(self, tmp_path, short_side, shape):
        path = write_video(tmp_path / "s.mp4", 8, scale=2)
        frames = decode_frames(path, read_timeline(path), np.array([5]), short_side)
        assert frames.pictures.shape == (1, *shape, 3) and read_number(frames.pictures[0]) == 5

    def test_pixels_that_are_not_square(self, tmp_path):
        path = tmp_path / "s.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.sample_aspect_ratio = 2
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_picture(9), format="rgb24")))
            container.mux(stream.encode(None))
        frames = decode_frames(path, read_timeline(path), np.array([0]))
        assert frames.pictures.shape == (1, 48, 128, 3) and read_number(frames.pictures[0]) == 9


class TestRealVideos:
    @pytest.mark.parametrize("video", REAL)
    def test_facts(self, real_data, video):
        info = probe(real_data / "microlens" / "videos" / f"{video}.mp4")
        n_frames, fps, seconds = REAL[video]
        assert (info.n_frames, info.width, info.height, info.rotation) == (n_frames, 1280, 720, 0)
        assert info.fps == pytest.approx(fps) and info.duration == pytest.approx(seconds, abs=1e-3)

    def test_the_hundred_middles(self, real_data):
        for video, (n_frames, *_) in REAL.items():
            timeline = read_timeline(real_data / "microlens" / "videos" / f"{video}.mp4")
            expected = [(2 * k + 1) * n_frames // 200 for k in range(100)]
            assert segment_middles(timeline, 100).tolist() == expected


class TestFailures:
    def failure(self, path):
        with pytest.raises(VideoFailure) as caught:
            read_timeline(path)
        return caught.value.reason

    def test_files_that_hold_no_video(self, tmp_path):
        (tmp_path / "empty.mp4").touch()
        (tmp_path / "text.mp4").write_text("not a video " * 50)
        assert self.failure(tmp_path / "absent.mp4") == "missing"
        assert self.failure(tmp_path / "empty.mp4") == "empty"
        assert self.failure(tmp_path / "text.mp4") == "unreadable"
        assert self.failure(write_sound(tmp_path / "sound.mp4")) == "no_video"

    def test_a_picture_of_the_album_is_no_video(self, tmp_path):
        path = write_sound(tmp_path / "sound.m4a")
        with av.open(str(path)) as source, av.open(str(tmp_path / "song.mp4"), "w") as target:
            sound = target.add_stream_from_template(source.streams.audio[0])
            cover = target.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            target.mux(cover.encode(av.VideoFrame.from_ndarray(numbered_picture(1), format="rgb24")))
            target.mux(cover.encode(None))
            for packet in source.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = sound
                    target.mux(packet)
        assert self.failure(tmp_path / "song.mp4") == "no_video"

    @pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
    @pytest.mark.parametrize(("container", "options"), [("mp4", {}), ("mkv", {}), ("mp4", {"movflags": "faststart"})])
    def test_truncated_files(self, tmp_path, container, options, share):
        path = tmp_path / f"v.{container}"
        with av.open(str(path), "w", options=options) as target:
            stream = target.add_stream("libx264", rate=30, options={"crf": "12"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(60):
                target.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_picture(number), format="rgb24")))
            target.mux(stream.encode(None))
        part = cut(path, tmp_path / f"part.{container}", share)
        has_index = container == "mkv" or options
        assert self.failure(part) == ("truncated" if has_index else "unreadable")
        if has_index:
            timeline = read_timeline(part, accept_truncated=True)
            assert 5 < len(timeline) < 60
            frames = decode_frames(part, timeline, np.arange(0, len(timeline), 4))
            assert [read_number(picture) for picture in frames.pictures] == frames.numbers.tolist()

    def test_truncated_real_file(self, real_data, tmp_path):
        part = cut(real_data / "microlens" / "videos" / "1002.mp4", tmp_path / "part.mp4", 0.6)
        with pytest.raises(VideoFailure, match=r"truncated|fewer frames.*543 of 982 frames are in the file"):
            read_timeline(part)

    @pytest.mark.parametrize("seed", range(6))
    def test_damaged_streams_end_in_frames_or_a_failure(self, long_video, tmp_path, seed):
        """Whatever comes out, nothing else is raised and no frame is made up of nothing."""
        content = bytearray(long_video.read_bytes())
        noise = random.Random(seed)
        for _ in range(4 ** (seed + 1)):
            content[noise.randrange(100, len(content) // 2)] = noise.randrange(256)
        path = tmp_path / "damaged.mp4"
        path.write_bytes(content)
        try:
            timeline = read_timeline(path)
            frames = decode_frames(path, timeline, segment_middles(timeline, 20))
        except VideoFailure as failure:
            assert failure.reason in ("undecodable", "truncated", "unreadable", "no_video")
        else:
            assert len(frames.pictures) == len(frames.numbers) == len(set(frames.numbers.tolist())) >= 19

    def test_a_stream_of_zeros(self, long_video, tmp_path):
        content = bytearray(long_video.read_bytes())
        start = content.index(b"mdat") + 4
        content[start : start + len(content) // 2] = bytes(len(content) // 2)
        path = tmp_path / "zeros.mp4"
        path.write_bytes(content)
        timeline = read_timeline(path)
        with pytest.raises(VideoFailure, match=r"damaged: \d+ of the 20 frames"):
            decode_frames(path, timeline, segment_middles(timeline, 20))


class TestReport:
    def test_round_trip(self, tmp_path):
        failures = [Failure(f"i{i}", 'a,"b".mp4', reason, "x\ny") for i, reason in enumerate(REASONS)]
        write_failures(tmp_path / "f.csv", failures)
        assert read_failures(tmp_path / "f.csv") == failures and read_failures(tmp_path / "absent.csv") == []

    def test_no_cell_is_a_formula(self, tmp_path):
        """What `embed` says of such an item is what `sample` found."""
        risky = Failure('=HYPERLINK("http://x")', "@a.mp4", "missing", "+x")
        write_failures(tmp_path / "f.csv", [risky, Failure("-5", "-5.mp4", "empty", "-5")])
        with (tmp_path / "f.csv").open(newline="") as file:
            cells = list(csv.reader(file))[1:]
        assert cells == [
            ['\'=HYPERLINK("http://x")', "'@a.mp4", "missing", "'+x"],
            ["-5", "'-5.mp4", "empty", "-5"],
        ]
        settings = {"sampler": "uniform", "n_frames": 1, "n_candidates": 1, "seed": 1, "short_side": 1}
        listed = [VideoFile(risky.item_id, tmp_path / "@a.mp4", -1)]
        _, [failure] = split_by_choice(listed, ChosenFrames({}, settings, ""), read_failures(tmp_path / "f.csv"))
        assert (failure.item_id, failure.reason) == (risky.item_id, "missing")

    @pytest.mark.parametrize(
        "text", ["a,b\n1,2\n", "", "item_id,file,reason,detail\n1,2,3\n", 'item_id,file,reason,detail\n1,"2']
    )
    def test_another_csv(self, tmp_path, text):
        (tmp_path / "f.csv").write_text(text)
        with pytest.raises(DataError, match="not a report of failures"):
            read_failures(tmp_path / "f.csv")
