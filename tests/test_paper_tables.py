"""CVA's Tables 1 to 3 of a data set, against loops."""

import json
from itertools import combinations

import numpy as np
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.paper_tables import difference_of_frames, title_similarity

from recbole_video import write_frame_store
from recbole_video.content.store import FrameStore

SETTINGS = {"sampler": "resample", "n_frames": 5, "n_candidates": 20, "seed": 42, "short_side": 256}


@pytest.fixture
def folder(tmp_path):
    """microlens-100k in small: videos a (3 actions), b (2), c (1), and frames of DINOv3 with the chosen ones."""
    name = "microlens-100k"
    place = tmp_path / name
    place.mkdir()
    actions = "".join(f"u{i}\t{item}\t{i}\n" for i, item in enumerate("aaabbc"))
    (place / f"{name}.inter").write_text(f"user_id:token\titem_id:token\ttimestamp:float\n{actions}")
    frames = np.random.default_rng(0).normal(size=(3, 5, 4))
    store = place / f"{name}.frames.npy"
    counts = [5, 1, 3]
    write_frame_store(store, list("abc"), frames, counts, vfm="facebook/dinov3-vits16", sampling="resample, 5 of 20")
    lines = [
        {"item_id": "a", "sampler": "resample", "frames": [1, 2], "times": [0.1, 0.2], "similarity": [0.2, 0.4]},
        {"item_id": "b", "sampler": "random", "frames": [3], "times": [0.3], "similarity": None},
        {"item_id": "c", "sampler": "resample", "frames": [4], "times": [0.4], "similarity": [0.5]},
    ]
    (place / f"{name}.samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (place / f"{name}.samples.json").write_text(json.dumps(SETTINGS))
    return tmp_path


def test_quality_against_loops(folder):
    store = FrameStore(folder / "microlens-100k" / "microlens-100k.frames.npy")
    of_videos = []
    for row in (0, 2):  # b has a single frame
        frames = np.asarray(store.frames[row, : store.frame_counts[row]], float)
        cosines = [one @ two / np.linalg.norm(one) / np.linalg.norm(two) for one, two in combinations(frames, 2)]
        of_videos.append(1 - np.mean(cosines))
    assert difference_of_frames(store) == pytest.approx(np.mean(of_videos), rel=1e-9)
    assert title_similarity(store) == pytest.approx((0.3 + 0.5) / 2)


def test_what_is_printed(folder, capsys):
    assert main(["paper-tables", "--name=microlens-100k", f"--out={folder}"]) == 0
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    ours = ["ours", "3", "33.33", "33.33", "33.33", "0.00", "0.00", "0.00", "2.00", "1.5 / 2 / 2.5", "3"]
    theirs = ["published", "19,738", "2.34", "2.83", "3.16", "3.09", "2.41", "1.60", "36.45", "9 / 22 / 49", "640"]
    assert rows[2:4] == [ours, theirs]
    assert rows[6][3:5] == ["3", "0.4000"] and rows[6][6:] == ["0.0", "189", "172.1"]
    assert "about captions need a model that writes captions" in printed


def test_other_data_has_nothing_beside_it(folder, capsys):
    (folder / "mine").mkdir()
    text = (folder / "microlens-100k" / "microlens-100k.inter").read_text()
    (folder / "mine" / "mine.inter").write_text(text)
    write_frame_store(folder / "mine" / "mine.frames.npy", ["a"], np.ones((1, 1, 4)), vfm="clip", sampling="uniform")
    assert main(["paper-tables", "--name=mine", f"--out={folder}"]) == 0
    printed = capsys.readouterr().out
    assert "| published | 19" not in printed and "| 1 | – | – | 0.0 |  |  |" in printed


def test_no_such_data_set(folder, capsys):
    assert main(["paper-tables", "--name=x", f"--out={folder}"]) == 1
    assert "There is no data set `x`" in capsys.readouterr().err
    assert main(["paper-tables", "--name=../x", f"--out={folder}"]) == 1
    assert "`../x` cannot be the name of a data set; the folder of data sets is what --out" in capsys.readouterr().err


def test_a_name_with_signs_of_a_pattern(tmp_path, capsys):
    """The stores are those of the name as it is."""
    (tmp_path / "a[b]").mkdir()
    (tmp_path / "a[b]" / "a[b].inter").write_text("user_id:token\titem_id:token\nu\ta\n")
    made = {"vfm": "clip", "sampling": "uniform"}
    write_frame_store(tmp_path / "a[b]" / "a[b].frames.npy", ["a"], np.ones((1, 1, 4)), **made)
    assert main(["paper-tables", "--name=a[b]", f"--out={tmp_path}"]) == 0
    assert "Tables 2 and 3" in capsys.readouterr().out
