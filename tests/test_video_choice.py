"""Which frames are chosen, and what is done to titles: by hand, by brute force, by seed."""

import csv
import re
import unicodedata
from fractions import Fraction

import numpy as np
import pytest
from recbole_video.dataset_tools.video.listing import MISSING, list_videos
from recbole_video.dataset_tools.video.samplers import (
    SAMPLERS,
    Sampling,
    Timeline,
    best,
    item_rng,
    middle_frames,
    random_frames,
    segment_middles,
)
from recbole_video.dataset_tools.video.titles import CONDITIONS, Titles, exchanged, masked, noisy, read_titles

from recbole_video.data.text import read_media
from recbole_video.errors import ConfigError, DataError


def constant(n_frames, first=0):
    """A timeline of 30 frames per second in ticks of 1/15360 s."""
    ticks = first + 512 * np.arange(n_frames)
    return Timeline(ticks, int(ticks[-1]) + 512, Fraction(1, 15360))


class TestTimes:
    @pytest.mark.parametrize("n_frames", [1, 3, 99, 100, 101, 227, 862, 982])
    @pytest.mark.parametrize("n_segments", [1, 5, 100])
    def test_segment_middles_of_a_constant_rate(self, n_frames, n_segments):
        expected = sorted({(2 * k + 1) * n_frames // (2 * n_segments) for k in range(n_segments)})
        assert segment_middles(constant(n_frames, first=999), n_segments).tolist() == expected

    def test_segment_middles_of_a_variable_rate(self):
        """0 is shown for 1 s, 1 for 8 s, 2 for 1 s: of ten segments, one, eight and one show them."""
        timeline = Timeline(np.array([0, 1, 9]), 10, Fraction(1))
        assert segment_middles(timeline, 10).tolist() == [0, 1, 2]
        assert segment_middles(timeline, 4).tolist() == [1]

    def test_middle_frames(self):
        assert middle_frames(constant(227), 5).tolist() == [111, 112, 113, 114, 115]  # 113 is the middle of 227
        assert middle_frames(constant(10), 4).tolist() == [3, 4, 5, 6]
        assert middle_frames(constant(3), 5).tolist() == [0, 1, 2]

    def test_random_frames(self):
        timeline, candidates = constant(1000), set(segment_middles(constant(1000), 100).tolist())
        drawn = [random_frames(timeline, 5, 100, item_rng(1, str(item), "frames")) for item in range(400)]
        assert all(len(set(numbers)) == 5 and (np.diff(numbers) > 0).all() for numbers in drawn)
        counts = np.unique(np.concatenate(drawn), return_counts=True)
        assert set(counts[0].tolist()) == candidates and counts[1].min() > 5 and counts[1].max() < 45  # 20 expected
        assert random_frames(constant(3), 5, 100, item_rng(1, "a", "frames")).tolist() == [0, 1, 2]


class TestSamplers:
    def test_each(self):
        timeline = constant(300)
        chosen = {name: SAMPLERS[name](timeline, Sampling(name, 4), "a").tolist() for name in SAMPLERS}
        assert chosen["mid5"] == [148, 149, 150, 151] and chosen["uniform"] == [37, 112, 187, 262]
        assert chosen["resample"] == list(range(1, 300, 3)) and set(chosen["random"]) < set(chosen["resample"])

    def test_random_follows_from_seed_and_item(self):
        draw = lambda seed, item: SAMPLERS["random"](constant(300), Sampling("random", 5, seed=seed), item).tolist()  # noqa: E731
        assert draw(1, "a") == draw(1, "a") and len({tuple(draw(s, i)) for s in (1, 2) for i in ("a", "b")}) == 4

    def test_best_in_time_order(self):
        similarity = np.array([0.1, 0.9, 0.5, 0.9, 0.2, 0.5])
        assert best(similarity, 3).tolist() == [1, 2, 3]  # of 2 and 5, equally good, the earlier one
        assert best(similarity, 1).tolist() == [1] and best(similarity, 9).tolist() == [0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"sampler": "resampel"}, "`resampel` is no sampler .did you mean `resample`"),
            ({"n_frames": 0}, "n_frames is 0"),
            ({"n_frames": 20, "n_candidates": 10}, "n_candidates .10. must not be less than n_frames .20."),
        ],
    )
    def test_settings_that_make_no_sense(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            Sampling(**settings)


class TestTitles:
    titles = {f"i{i}": f"word{i} and some more words" for i in range(50)}

    def test_clean_and_none(self):
        assert Titles(self.titles).get("i3") == self.titles["i3"] and Titles(self.titles).get("x") is None
        assert len(Titles(self.titles, "none")) == 0 and Titles({"a": " \t"}).get("a") is None

    @pytest.mark.parametrize(
        ("title", "n_kept"),
        [("one", 1), ("one two", 1), ("a b c d e", 3), ("西施：分手吧！", 4), ("nurse helps 哈哈 🤣", 3)],
    )
    def test_masked_removes_half_of_the_words(self, title, n_kept):
        """In Chinese a character counts as a word, and so does a sign between them."""
        kept = {masked(title, np.random.default_rng(seed)) for seed in range(30)}
        assert len(kept) == 1 if title == "one" else len(kept) > 1
        for text in kept:
            assert len(re.findall(r"[a-z]+|[^a-z\s]", text)) == n_kept
            remaining = iter(title)
            assert all(character in remaining for character in text if not character.isspace())  # in order

    def test_masked_follows_from_seed_and_item(self):
        first, again, other = (Titles(self.titles, "masked", seed) for seed in (1, 1, 2))
        assert all(first.get(item) == again.get(item) for item in self.titles)
        assert sum(first.get(item) == other.get(item) for item in self.titles) < 25

    def test_mismatched_is_a_permutation_without_fixed_points(self):
        swapped = exchanged(self.titles, seed=3)
        assert sorted(swapped.values()) == sorted(self.titles.values())
        assert not any(swapped[item] == self.titles[item] for item in self.titles)
        assert swapped != exchanged(self.titles, seed=4)
        assert Titles(self.titles, "mismatched", 3).get("i7") == swapped["i7"]
        reordered = dict(reversed(self.titles.items()))
        assert exchanged(reordered, seed=3) == swapped

    def test_mismatched_needs_two(self):
        with pytest.raises(DataError, match="at least two titles; there are 1"):
            Titles({"a": "b"}, "mismatched")

    def test_noise_is_as_long_as_said(self):
        embedding = np.random.default_rng(0).normal(size=512) * 7
        added = [noisy(embedding, 0.5, np.random.default_rng(seed)) - embedding for seed in range(200)]
        lengths = np.linalg.norm(added, axis=1) / np.linalg.norm(embedding)
        assert lengths.mean() == pytest.approx(0.5, rel=0.02)
        assert abs(np.mean(added @ embedding) / (embedding @ embedding)) < 0.01  # no direction is preferred
        assert np.array_equal(noisy(embedding, 0.0, np.random.default_rng(0)), embedding)

    def test_unknown_condition(self):
        with pytest.raises(ConfigError, match=f"`noisy` is no condition.*{', '.join(CONDITIONS)}"):
            Titles({}, "noisy")


class TestTitleFiles:
    def test_json_lines(self, tmp_path):
        path = tmp_path / "t.jsonl"
        path.write_text('{"item_id": "1", "title": "a \\"b\\"\\tc", "x": 2}\n{"item_id": 2, "title": null}\n', "utf-8")
        assert read_titles(path) == {"1": 'a "b"\tc', "2": ""}

    def test_csv(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text('\ufeffitem,title\r\n2,"one, two ""three"""\r\n3,西施\r\n', "utf-8")
        assert read_titles(path) == {"2": 'one, two "three"', "3": "西施"}

    def test_real_titles(self, real_data):
        titles = read_titles(real_data / "microlens" / "MicroLens-50k_titles.csv")
        assert len(titles) == 19_220 and all(titles.values()) and max(map(len, titles.values())) == 6_293

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("t.jsonl", '{"item_id": "1", "title": "a"}\n{"item": 1}\n', "line 2: not an object with"),
            ("t.jsonl", '["a"]\n', "line 1: not an object"),
            ("t.jsonl", '{"item_id": 1, "title": 5}\n', "line 1: the title must be text, not 5"),
            ("t.jsonl", '{"item_id": 1}\n{"item_id": "1"}\n', "line 2: item `1` has a second title"),
            ("t.csv", "id,title\n1,a\n", "line 1: the columns are id, title; item_id and title are needed"),
        ],
    )
    def test_malformed(self, tmp_path, name, text, message):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            read_titles(tmp_path / name)

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("item_id,title\n7,Hello, world\n", 2),
            ("item_id,title\n6,a\n7\n", 3),
            ('item_id,title\n6,"a\n7,b\n8,c\n', 2),  # a quote that nothing closes
            ('item_id,title\n5,x\n6,"a\n7,b"\n8,c\n', 3),  # two that make one title of two rows
            ('item_id,title\n6,"a" b\n', 2),
            ("item_id,title\n,b\n", 2),
            ("item_id,item_id,title\n1,2,b\n", 1),
            ("7,a\n8\n", 2),
        ],
    )
    def test_what_is_not_clear_is_refused_and_not_cut(self, tmp_path, text, line):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(DataError, match=rf"`.*t\.csv`, line {line}: "):
            read_titles(tmp_path / "t.csv")

    def test_quotes_commas_and_line_breaks(self, tmp_path):
        rows = {"1": 'a "b", c', "2": 'screen of 5"', "3": "two\nlines, and more", "4": "", "5": "'x'"}
        with (tmp_path / "t.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Item", "likes", "Title"])
            writer.writerows((item, 7, title) for item, title in rows.items())
            file.write('\r\n6,7,5" screen\r\n')  # a quote inside is no quote of the csv
        assert read_titles(tmp_path / "t.csv") == {**rows, "6": '5" screen'}

    def test_without_a_header_the_rest_of_the_line_is_the_title_and_it_is_said(self, tmp_path, caplog):
        (tmp_path / "t.csv").write_text('7,Hello, world\n\n8,"a, ""b"""\n9,5" and "6"\n10,\n')
        expected = {"7": "Hello, world", "8": 'a, "b"', "9": '5" and "6"', "10": ""}
        assert read_titles(tmp_path / "t.csv") == expected
        [record] = caplog.records
        assert "t.csv has no header with item_id and title" in record.message
        assert "line 1: '7' and 'Hello, world'" in record.message

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.csv", "item_id,title\n7,\xe9\n".encode("cp1252"), "byte 3 of line 2 does not fit"),
            ("t.csv", "item_id,title\n7,a\n".encode("utf-16"), "it is UTF-16"),
            ("t.jsonl", '{"item_id": 1}\n{"item_id": "视频"}\n'.encode("gbk"), "byte 14 of line 2 does not fit"),
            ("t.jsonl", b'{"item_id": 1, "title": "\\ud83d"}', "line 1 holds text that is not Unicode"),
            ("t.jsonl", b'{"item_id": 1}\n' + b"[" * 100_000, "line 2 is nested too deeply"),
            ("t.jsonl", b'{"item_id": ' + b"9" * 5000 + b"}", "line 1 holds a number that cannot be used"),
            ("t.jsonl", b'{"item_id": ["x"]}', 'line 1: not an object with "item_id", a text or a whole number'),
            ("t.jsonl", b'{"item_id": null}', "line 1: not an object"),
            ("t.jsonl", b'{"item_id": true}', "line 1: not an object"),
            ("t.jsonl", b'{"item_id": 1e999}', "line 1 holds a number that cannot be used"),
        ],
    )
    def test_text_that_cannot_be_read(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_titles(tmp_path / name)

    def test_titles_of_items_in_another_form_of_unicode(self):
        composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
        for given, asked in ((composed, decomposed), (decomposed, composed)):
            assert Titles({given: "a title"}).get(asked) == "a title"
        assert Titles({composed: "one", decomposed: "other"}).get(decomposed) == "other"

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match="no file of titles .*--titles"):
            read_titles(tmp_path / "t.csv")


class TestListing:
    def test_folder(self, tmp_path):
        for name in ("b/10.mp4", "9.MKV", "x.txt", ".hidden.mp4"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"abc")
        assert [(v.item_id, v.size) for v in list_videos(tmp_path)] == [("10", 3), ("9", 3)]

    def test_list(self, tmp_path):
        (tmp_path / "v").mkdir()
        (tmp_path / "v" / "a.mp4").write_bytes(b"abcd")
        (tmp_path / "list.csv").write_text("item_id,path\nP2,v/a.mp4\nP1,v/absent.mp4\n")
        videos = list_videos(tmp_path / "list.csv")
        assert [(v.item_id, v.path.name, v.size) for v in videos] == [("P1", "absent.mp4", MISSING), ("P2", "a.mp4", 4)]

    def test_files_that_the_text_names(self, tmp_path):
        (tmp_path / "train" / "7").mkdir(parents=True)
        (tmp_path / "train" / "7" / "a.mp4").write_bytes(b"abcd")
        text = tmp_path / "x.text.jsonl"
        rows = ['{"item_id": 9, "media": "train/7/a.mp4"}', '{"item_id": 8, "media": "b.mp4"}', '{"item_id": 1}']
        text.write_text("\n".join(rows))
        videos = list_videos(tmp_path, read_media(text))
        assert [(v.item_id, v.path.name, v.size) for v in videos] == [("8", "b.mp4", MISSING), ("9", "a.mp4", 4)]
        assert read_media(tmp_path / "absent") == {}
        for bad in ("/etc/a.mp4", "../a.mp4"):
            text.write_text(f'{{"item_id": 1, "media": "{bad}"}}')
            with pytest.raises(DataError, match="line 1: `media` must be a path inside the folder"):
                read_media(text)

    def test_lists_are_read_as_titles_are(self, tmp_path, caplog):
        (tmp_path / "my, video.mp4").write_bytes(b"ab")
        (tmp_path / "list.csv").write_text("item_id,path\n7,my, video.mp4\n")
        with pytest.raises(DataError, match="line 2: 3 columns where the header has 2"):
            list_videos(tmp_path / "list.csv")
        for text in ('item_id,path\n7,"my, video.mp4"\n', "7,my, video.mp4\n"):
            (tmp_path / "list.csv").write_text(text)
            assert [(v.item_id, v.size) for v in list_videos(tmp_path / "list.csv")] == [("7", 2)]
        assert "has no header with item_id and path" in caplog.text

    def test_names_of_macos(self, tmp_path):
        """Decomposed on disk; the tokens, the list and the text name them composed, or the other way round."""
        composed, decomposed = (unicodedata.normalize(form, "Zoë é") for form in ("NFC", "NFD"))
        for own, named in ((decomposed, composed), (composed, decomposed)):
            folder = tmp_path / str(own == composed)
            (folder / own).mkdir(parents=True)
            (folder / own / f"{own}.mp4").write_bytes(b"abc")
            (folder / "list.csv").write_text(f"item_id,path\n{named},{named}/{named}.mp4\n", encoding="utf-8")
            found = [
                list_videos(folder / own, items=[named, "other"]),
                list_videos(folder / "list.csv", items=[own]),
                list_videos(folder, {named: f"{named}/{named}.mp4"}),
                list_videos(folder / own),
            ]
            expected = [named, own, composed, composed]
            assert [(v.item_id, v.size) for [v] in found] == [(item, 3) for item in expected]

    def test_two_files_of_one_name(self, tmp_path):
        for form in ("NFC", "NFD"):
            (tmp_path / f"{unicodedata.normalize(form, 'é')}.mp4").write_bytes(b"a")
        with pytest.raises(DataError, match="are both videos of item `é`"):
            list_videos(tmp_path)

    def test_what_cannot_be_listed(self, tmp_path):
        with pytest.raises(DataError, match="There is no `.*absent`; give the folder"):
            list_videos(tmp_path / "absent")
        with pytest.raises(DataError, match="holds no video .0 other files.; videos end in .3gp"):
            list_videos(tmp_path)
        (tmp_path / "list.csv").write_text("item_id,file\n")
        with pytest.raises(DataError, match="line 1: the columns are item_id, file; item_id and path are needed"):
            list_videos(tmp_path / "list.csv")
        for name in ("1.mp4", "1.mkv"):
            (tmp_path / name).write_bytes(b"a")
        with pytest.raises(DataError, match=r"1\.mkv` and .*1\.mp4` are both videos of item `1`"):
            list_videos(tmp_path)
