"""The bundled data sets: deterministic, as documented, safe to make twice."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools import BUNDLED, microvideo_demo, prepare
from recbole_video.dataset_tools.__main__ import COMMANDS, main
from recbole_video.dataset_tools.microvideo_demo import Recipe

from recbole_video import FrameStore
from recbole_video.errors import RunFolderError, counted, fit_for_message


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundled")
    for name in BUNDLED:
        prepare(name, root / name)
    return root


def read(path):
    table = pd.read_csv(path, sep="\t")
    return table.rename(columns=lambda c: c.partition(":")[0])


class TestMicrovideoDemo:
    @pytest.fixture
    def inter(self, made):
        return read(made / "microvideo-demo" / "microvideo-demo.inter")

    @pytest.fixture
    def cold(self, made):
        items = read(made / "microvideo-demo" / "microvideo-demo.item")
        return set(items.loc[items["upload_time"] > 0, "item_id"])

    def test_is_deterministic(self, made, tmp_path):
        prepare("microvideo-demo", tmp_path / "microvideo-demo")
        for file in (made / "microvideo-demo").iterdir():
            assert file.read_bytes() == (tmp_path / "microvideo-demo" / file.name).read_bytes(), file.name

    def test_size(self, made, inter):
        assert inter["user_id"].nunique() == 2000 and inter["item_id"].nunique() >= 780
        store = FrameStore(made / "microvideo-demo" / "microvideo-demo.frames.npy")
        assert store.frames.shape == (800, 5, 64) and set(store.frame_counts) == {3, 4, 5}
        card = json.loads((made / "microvideo-demo" / "microvideo-demo.card.json").read_text())
        assert card["synthetic"] is True and card["interactions"] == len(inter)

    def test_cold_videos_occur_in_the_last_two_actions_only(self, inter, cold):
        assert len(cold) == 120
        from_end = inter.sort_values("timestamp", kind="stable").groupby("user_id").cumcount(ascending=False)
        assert from_end[inter["item_id"].isin(cold)].max() == 1
        assert 0.1 < inter.loc[from_end < 2, "item_id"].isin(cold).mean() < 0.4

    def test_popularity_is_long_tailed(self, inter):
        counts = inter["item_id"].value_counts()
        assert counts.head(80).sum() / len(inter) > 0.3 and counts.max() > 20 * counts.quantile(0.1)

    def test_no_user_watches_a_video_twice_or_two_at_once(self, inter):
        assert (
            not inter.duplicated(["user_id", "item_id"]).any() and not inter.duplicated(["user_id", "timestamp"]).any()
        )

    def test_titles_and_frames_speak_of_the_topics_that_users_follow(self, made, inter):
        """Neighbours in a history are more alike than random pairs, in titles and in frames."""
        store = FrameStore(made / "microvideo-demo" / "microvideo-demo.frames.npy")
        mean = store.frames.astype(float).sum(1) / store.frame_counts[:, None]
        mean = mean - mean.mean(0)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        row = {token: i for i, token in enumerate(store.items)}
        ordered = inter.sort_values(["user_id", "timestamp"])
        here, there = (ordered["item_id"].map(row).to_numpy()[s] for s in (slice(None, -1), slice(1, None)))
        same = ordered["user_id"].to_numpy()[:-1] == ordered["user_id"].to_numpy()[1:]
        rng = np.random.default_rng(0)
        similar = (mean[here[same]] * mean[there[same]]).sum(1).mean()
        random = (mean[rng.permutation(here[same])] * mean[there[same]]).sum(1).mean()
        assert similar > random + 0.1

        items = read(made / "microvideo-demo" / "microvideo-demo.item").set_index("item_id")["title"]
        words = items.str.split().map(set).reindex(store.items).to_numpy()

        def shared(a, b):
            return np.mean([len(words[i] & words[j]) for i, j in zip(a[:4000], b[:4000], strict=True)])

        assert shared(here[same], there[same]) > 1.5 * shared(rng.permutation(here[same]), there[same])

    def test_recipe_matches_the_readme(self):
        assert (Recipe().n_users, Recipe().n_videos, Recipe().n_cold) == (2000, 800, 120)


class TestMl100k:
    def test_interactions_are_recboles(self, made):
        inter = read(made / "ml-100k" / "ml-100k.inter")
        assert len(inter) == 100_000 and inter["user_id"].nunique() == 943

    def test_every_film_has_three_rows_in_coordinates_of_their_own(self, made):
        store = FrameStore(made / "ml-100k" / "ml-100k.frames.npy")
        assert store.frames.shape == (1682, 3, 128) and (store.frame_counts == 3).all()
        used = (np.abs(store.frames) > 0).any(axis=0)
        assert (used.sum(axis=0) <= 1).all() and used.any(axis=1).all()
        assert set(read(made / "ml-100k" / "ml-100k.inter")["item_id"].astype(str)) <= set(store.items)

    def test_same_genres_are_alike(self, made):
        store = FrameStore(made / "ml-100k" / "ml-100k.frames.npy")
        items = read(made / "ml-100k" / "ml-100k.item").set_index("item_id")["class"]
        genre_rows = {t: store.frames[i, 1].astype(float) for i, t in enumerate(store.items)}
        children = [str(i) for i, g in items.items() if str(g) == "Animation Children's"]
        horror = [str(i) for i, g in items.items() if str(g) == "Horror"]
        inside = genre_rows[children[0]] @ genre_rows[children[1]]
        assert inside > 10 * abs(genre_rows[children[0]] @ genre_rows[horror[0]]) + 1


def test_existing_files_are_kept(made):
    path = made / "ml-100k" / "ml-100k.inter"
    before = path.stat().st_mtime_ns
    prepare("ml-100k", made / "ml-100k")
    assert path.stat().st_mtime_ns == before


def test_interrupted_making_leaves_no_data_set(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(microvideo_demo, "write_frame_store", stop)
    monkeypatch.setattr(microvideo_demo, "Recipe", lambda: Recipe(n_users=20))
    with pytest.raises(KeyboardInterrupt):
        prepare("microvideo-demo", tmp_path / "microvideo-demo")
    assert not any((tmp_path / "microvideo-demo").iterdir()) and len(list(tmp_path.iterdir())) == 1


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot be written.*data_path"):
        prepare("ml-100k", tmp_path / "file" / "ml-100k")


class TestCommands:
    def test_overview_names_every_command(self, capsys):
        assert main(["--help"]) == 0
        printed = capsys.readouterr().out
        assert all(f"\n  {name} " in printed for name in COMMANDS) and len(COMMANDS) >= 5

    def test_no_command_and_unknown_commands(self, capsys):
        assert main([]) == 2 and "usage" in capsys.readouterr().out
        assert main(["microlense"]) == 2
        assert "There is no command `microlense` (did you mean `microlens`?)" in capsys.readouterr().err

    @pytest.mark.parametrize("command", COMMANDS)
    def test_options_are_explained(self, command, capsys):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert f"dataset_tools {command}" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["generic", "x.csv", "--nme=mine"], "`--nme=mine` is no option (did you mean `--name`?)"),
            (["frames", "--videos=v", "--nme", "mine"], "`--nme` is no option (did you mean `--name`?)"),
            (["frames", "--videos=v"], "the following arguments are required: --name"),
            (["generic", "x.csv", "more"], "unrecognized arguments: more"),
            (
                ["generic", "x.csv", "--min_user=3", "--no_tim", "--time_unit=h"],
                "argument --time_unit: invalid choice: 'h'",
            ),
        ],
    )
    def test_a_slip_is_one_sentence(self, words, told, capsys):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(told) and line.endswith(f"dataset_tools {words[0]} --help shows all options.")

    def test_converters_import_neither_torch_nor_recbole(self, tmp_path):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\na,x,1\nb,x,2\n")
        code = (
            "import sys; from recbole_video.dataset_tools.__main__ import COMMANDS, main\n"
            "main(['--help'])\n"
            f"main(['generic', {str(tmp_path / 'mine.csv')!r}, '--out', {str(tmp_path)!r}])\n"
            f"main(['label', 'mine', '--data_path', {str(tmp_path)!r}, '--source=interactions',"
            " '--shares', '1', '0', '0'])\n"
            "print([m for m in ('torch', 'recbole', 'sklearn') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"
        assert (tmp_path / "mine" / "mine.interactions-raw.popularity").is_file()

    def test_bundled_data_sets_are_commands(self, tmp_path, capsys):
        assert main(["ml-100k", str(tmp_path / "ml-100k")]) == 0
        assert (tmp_path / "ml-100k" / "ml-100k.inter").is_file() and "ml-100k is in" in capsys.readouterr().out

    def test_errors_are_one_sentence(self, tmp_path, capsys):
        (tmp_path / "file").write_text("x")
        assert main(["ml-100k", str(tmp_path / "file" / "ml-100k")]) == 1
        assert capsys.readouterr().err.startswith("RunFolderError: ")


def test_words_that_are_no_command_are_fit_for_a_terminal(capsys):
    assert main(["\x1b[2J"]) == 2 and main(["x" * 100_000]) == 2
    error = capsys.readouterr().err
    assert "There is no command `\\x1b[2J`" in error and "\x1b" not in error and len(error) < 2000
    with pytest.raises(SystemExit):
        main(["generic", "x.csv", "\x1b[2J"])
    error = capsys.readouterr().err
    assert "\\x1b[2J" in error and "\x1b" not in error


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`a\nb\tc` is no name.\n\tTwo lines.", "`a\\nb\\tc` is no name.\n\tTwo lines."),
        ("first:\n- `a`\n- `b\nc`", "first:\n- `a`\n- `b\\nc`"),
        ("`" + "\n" * 500 + "`", None),
    ],
)
def test_values_in_messages_stay_in_their_line(message, shown):
    fit = fit_for_message(message)
    assert fit == shown if shown else "\n" not in fit and len(fit) < 250
    assert fit_for_message(fit) == fit


def test_counted():
    assert [counted(n, "item") for n in (0, 1, 1200)] == ["0 items", "1 item", "1,200 items"]
    assert [counted(n, "item has", "items have") for n in (1, 2)] == ["1 item has", "2 items have"]
