"""Run folders: what is held, what is kept, what is removed; kills at every write; results of finished runs."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml

from recbole_video import quick_start, run_recbole_video
from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError, DataError, RunFolderError
from recbole_video.files.atomic import leftovers, write_atomically
from recbole_video.files.folder_lock import LOCK_NAME, FolderLock
from recbole_video.recommendation.data import load_data
from recbole_video.results.console_table import result_table
from recbole_video.runtime.checkpoint import read_checkpoint, write_checkpoint
from recbole_video.tasks.task import Hooks
from recbole_video.training.run_folder import RunFolder, _digest
from recbole_video.training.trainer import Trainer

from .conftest import small_options
from .test_popularity import METADATA, SMALL, write_popularity


class Killed(BaseException):
    """What ends a test's process in place of SIGKILL."""


class Death:
    """Lets the n-th rename be the last thing that a process does not do; counts them all without n."""

    def __init__(self, monkeypatch):
        self.last, self.n_renames, self.is_dead = None, 0, False
        for name in ("replace", "unlink", "rmdir"):
            monkeypatch.setattr(Path, name, self._until_death(name, getattr(Path, name)))

    def _until_death(self, name, act):
        def method(path, *rest, **named):
            if name == "replace" and not self.is_dead:
                self.n_renames += 1
                self.is_dead = self.n_renames == self.last
            if self.is_dead:
                raise Killed
            return act(path, *rest, **named)

        return method

    def at(self, last):
        self.last, self.n_renames, self.is_dead = last, 0, False


@pytest.fixture
def death(monkeypatch):
    return Death(monkeypatch)


@pytest.fixture(scope="module")
def popularity_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("popularity")
    write_popularity(root)
    return root


def options_of(model, data_root, popularity_root, **options):
    if model == "STAP":
        return {"data_path": str(popularity_root), "dataset": "pop", **SMALL, **METADATA, "use_gpu": False, **options}
    if model == "MetadataRidge":
        return {"data_path": str(popularity_root), "dataset": "pop", "figures": False, **METADATA, **options}
    if model == "Pop":
        columns = {"inter": ["user_id", "item_id", "timestamp"]}
        stock = {"data_path": str(data_root), "dataset": "tiny", "use_gpu": False, "load_col": columns, "epochs": 1}
        return {**stock, **options}
    learning = {"learning_rate": 0.003, "lr_scheduler": "cosine", "id_fusion": "sum"}
    return small_options(model, "CVA", data_path=str(data_root), dataset="tiny", **{**learning, **options})


def comparable(result):
    """All that an unbroken run would say too, epoch by epoch."""
    stored = json.loads(Path(result["run_folder"], "metrics.json").read_text())
    epochs = [{k: v for k, v in record.items() if "seconds" not in k} for record in stored.get("history", [])]
    return [epochs, *(stored.get(k) for k in ("best_valid_score", "best_valid_result", "test_result", "best_epoch"))]


def weights(folder):
    return read_checkpoint(Path(folder, "model.pth"))


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()}


class TestKills:
    @pytest.mark.parametrize(("model", "epochs"), [("SASRec", 3), ("STAP", 2)])
    def test_at_every_write(self, in_tmp, death, data_root, popularity_root, model, epochs):
        """A run killed at any of its writes goes on to the numbers, and the weights, of an unbroken one."""
        options = options_of(model, data_root, popularity_root, epochs=epochs)
        unbroken = run_recbole_video(model, config_dict={**options, "checkpoint_dir": "unbroken"})
        n_renames, best = death.n_renames, weights(unbroken["run_folder"])
        assert n_renames >= 2 + epochs + 2
        for last in range(1, n_renames + 1):
            root = {**options, "checkpoint_dir": f"saved-{last}"}
            death.at(last)
            with pytest.raises(Killed):
                run_recbole_video(model, config_dict=root)
            death.at(None)
            [folder] = Path(f"saved-{last}").iterdir()
            assert len(list(folder.glob(".*"))) == 2  # what was being written, and the lock
            resumed = run_recbole_video(model, config_dict={**root, "resume": True})
            # Before its first write there is nothing to go on with: that folder goes, and another is made.
            [folder] = [folder] if last > 1 else Path(f"saved-{last}").iterdir()
            assert resumed["run_folder"] == str(folder) and not list(folder.glob(".*"))
            assert comparable(resumed) == comparable(unbroken), last
            found = weights(folder)
            assert found["epoch"] == best["epoch"] == resumed["best_epoch"] - 1  # a checkpoint has the index
            assert all(torch.equal(value, found["state_dict"][name]) for name, value in best["state_dict"].items())
            if model == "SASRec":
                assert torch.equal(found["item_vectors"], best["item_vectors"])

    def test_after_the_last_write(self, in_tmp, data_root, popularity_root, monkeypatch):
        """The result is there: it is shown, and not trained again in a second folder."""
        options = options_of("SASRec", data_root, popularity_root)

        def die(*_):
            raise Killed

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(quick_start, "_log_results", die)
            run_recbole_video("SASRec", config_dict=options)
        resumed = run_recbole_video("SASRec", config_dict={**options, "resume": True})
        assert [str(path) for path in Path("saved").iterdir()] == [resumed["run_folder"]]

    @pytest.mark.parametrize("model", ["BERT4Rec", "NARM", "GRU4Rec", "FMLPRec", "NextItNet"])
    def test_between_the_two_checkpoints(self, in_tmp, death, data_root, popularity_root, model):
        """last.pth of the best epoch is written, its weights in model.pth are not."""
        options = options_of(model, data_root, popularity_root, epochs=2)
        unbroken = run_recbole_video(model, config_dict={**options, "checkpoint_dir": "unbroken"})
        death.at(4)
        with pytest.raises(Killed):
            run_recbole_video(model, config_dict=options)
        death.at(None)
        [folder] = Path("saved").iterdir()
        assert (folder / "last.pth").is_file() and not (folder / "model.pth").exists()
        assert comparable(run_recbole_video(config_dict={"resume": str(folder)})) == comparable(unbroken)

    @pytest.mark.parametrize("named_by", ["words", "options", "file"])
    def test_what_is_wrong_beside_a_run_is_told_of_its_model(self, in_tmp, named_by):
        """And not of the model that there is without it: the options of the run are read first."""
        Path("run").mkdir()
        Path("run/config.yaml").write_text("model: GRU4Rec\nitem_encoder: MLP\nencoder_expansion: 2\n")
        Path("more.yaml").write_text("resume: run\nfoo: 1\n")
        given = {
            "words": {"command_line": ["--resume=run", "--foo=1"]},
            "options": {"config_dict": {"resume": "run", "foo": 1}},
            "file": {"config_file_list": ["more.yaml"]},
        }[named_by]
        with pytest.raises(ConfigError, match="`foo` is not an option for model GRU4Rec, item encoder MLP"):
            quick_start.make_config(**given)
        right = quick_start.make_config(
            command_line=["--resume=run", "--embedding_size=64"]
        )  # SASRec has no such option
        assert (right.model, right["embedding_size"], right["encoder_expansion"]) == ("GRU4Rec", 64, 2)

    def test_one_epoch_before_early_stopping(self, in_tmp, data_root, popularity_root, monkeypatch):
        patience = {"epochs": 60, "stopping_step": 2, "learning_rate": 0.01}
        options = options_of("SASRec", data_root, popularity_root, **patience)
        unbroken = run_recbole_video("SASRec", config_dict={**options, "checkpoint_dir": "unbroken"})
        save = Trainer._save

        def save_and_die(trainer, is_best):
            save(trainer, is_best)
            if trainer.progress.cur_step == 2:
                raise Killed

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(Trainer, "_save", save_and_die)
            run_recbole_video("SASRec", config_dict=options)
        assert comparable(run_recbole_video("SASRec", config_dict={**options, "resume": True})) == comparable(unbroken)

    @pytest.mark.parametrize("model", ["Pop", "MetadataRidge"])
    def test_what_is_fitted_once_starts_again_in_its_folder(self, in_tmp, death, data_root, popularity_root, model):
        """RecBole's own models and controls have nothing to go on from."""
        options = options_of(model, data_root, popularity_root)
        unbroken = run_recbole_video(model, config_dict=options, run_folder="unbroken")
        for last in range(1, death.n_renames + 1):
            death.at(last)
            with pytest.raises(Killed):
                run_recbole_video(model, config_dict=options, run_folder=f"cut-{last}")
            death.at(None)
            again = run_recbole_video(model, config_dict=options, run_folder=f"cut-{last}")
            assert comparable(again) == comparable(unbroken) and not list(Path(f"cut-{last}").glob(".*"))

    def test_weights_of_another_epoch_are_refused(self, in_tmp, data_root, popularity_root):
        options = options_of(
            "SASRec", data_root, popularity_root, epochs=2, learning_rate=0.0, keep_last_checkpoint=True
        )  # of equals, the last
        folder = Path(run_recbole_video("SASRec", config_dict=options)["run_folder"])
        (folder / "metrics.json").unlink()
        last = read_checkpoint(folder / "last.pth")
        write_checkpoint(folder / "last.pth", {**last, "progress": {**last["progress"], "best_epoch": 0}})
        with pytest.raises(CheckpointError, match="holds epoch 2, and .*last.pth` says that the best one is 1"):
            run_recbole_video(config_dict={"resume": str(folder)})

    def test_what_is_left_half_written_is_told_by_its_name_alone(self, tmp_path):
        while_written = []
        write_atomically(tmp_path / "run.json", lambda _: while_written.extend(leftovers(tmp_path, r"run\.json")))
        assert len(while_written) == 1 and not leftovers(tmp_path, r"run\.json")
        ours = {".model.pth.0.tmp", ".run.json.12.tmp"}
        others = {
            ".model.pth.selected",
            ".run.json.original",
            ".model.pth.tmp",
            ".model.pth.x.tmp",
            ".model.pth.ABCDEFGH",
            "model.pth.abcdefgh",
            ".mine.pth.abcdefgh",
            ".model.pth",
        }
        for name in ours | others:
            (tmp_path / name).write_text("x")
        assert {path.name for path in leftovers(tmp_path, r"model\.pth|run\.json")} == ours

    @pytest.mark.parametrize(
        ("model", "own"), [("STAP", {".slots.tsv.0.tmp", ".slot_usage.png.0.tmp"}), ("SASRec", set())]
    )
    def test_of_a_models_own_files_goes_where_that_model_goes_on(self, in_tmp, data_root, popularity_root, model, own):
        config = Config(model, config_dict=options_of(model, data_root, popularity_root))
        folder = RunFolder.create(config)
        folder.release()
        left = {
            ".metrics.json.0.tmp",
            ".notes.tsv.0.tmp",
            ".slots.tsv.0.tmp",
            ".slot_usage.png.0.tmp",
            ".slots-tsv.0.tmp",
        }
        for name in left:
            (folder.path / name).write_text("x")
        RunFolder.at(folder.path, config).release()
        assert {path.name for path in folder.path.glob(".*.tmp")} == left - own - {".metrics.json.0.tmp"}


class TestFiles:
    """No file is removed that the run did not write."""

    def test_folders_that_a_kill_left_empty_go_and_all_others_stay(self, in_tmp, data_root, popularity_root):
        """Of those that were made for a run, and hold nothing of anybody's."""
        names = {
            "SASRec-MLP-tiny-Nov-21-2026_10-00-00": [".run.lock", ".config.yaml.0.tmp"],
            "SASRec-MLP-tiny-Nov-21-2026_10-00-00-2": [".run.lock"],
            "SASRec-MLP-tiny-Nov-21-2026_10-00-01": [".run.lock", "notes.txt"],
            "SASRec-MLP-tiny-Nov-21-2026_10-00-02": [],
            "mine": [".run.lock"],
            "SASRec-MLP-tiny-Nov-21-2026_10-00-04": [".run.lock", "run.log"],
        }
        for name, files in names.items():
            Path("saved", name).mkdir(parents=True)
            for file in files:
                Path("saved", name, file).touch()
        live = Path("saved", "SASRec-MLP-tiny-Nov-21-2026_10-00-03")
        live.mkdir()
        lock = FolderLock(live)
        assert lock.acquire()
        made = run_recbole_video("SASRec", config_dict=options_of("SASRec", data_root, popularity_root))["run_folder"]
        kept = {path.name for path in Path("saved").iterdir()} - {Path(made).name}
        lock.release()
        assert kept == {*list(names)[2:], live.name}
        left = [path.name for path in Path("saved", "SASRec-MLP-tiny-Nov-21-2026_10-00-01").iterdir()]
        assert left == ["notes.txt"]  # and not the lock beside it

    def test_of_the_user(self, in_tmp, data_root):
        """The folder is refused, whatever else is wrong, and stays as it was."""
        mine = Path("mine")
        (mine / "deeper").mkdir(parents=True)
        (mine / "notes.txt").write_text("years of work")
        (mine / "config.yaml").write_text("epochs: 3\n")
        before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
        for dataset in ("misspelt", "tiny"):
            with pytest.raises(
                RunFolderError, match=r"`mine` holds files that are not of a run \(first: `config.yaml`\)"
            ):
                run_recbole_video(
                    "SASRec", dataset, config_dict=small_options(data_path=str(data_root)), run_folder=mine
                )
            assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before
            assert (mine / "deeper").is_dir()

    @pytest.mark.parametrize("name", ["model.pth", "metrics.json", "run.log", "run.json", "config.yaml", LOCK_NAME])
    def test_of_the_user_that_is_called_as_one_of_a_run(self, in_tmp, data_root, name):
        Path("mine").mkdir()
        Path("mine", name).write_text('{"learning_rate": 1}')
        with pytest.raises(RunFolderError, match="not of a run"):
            run_recbole_video("SASRec", "tiny", config_dict=small_options(data_path=str(data_root)), run_folder="mine")
        assert [path.name for path in Path("mine").iterdir()] == [name]
        assert Path("mine", name).read_text() == '{"learning_rate": 1}'

    def test_put_there_while_the_run_fails(self, in_tmp, data_root):
        def fail(config):
            Path("new", "notes.txt").write_text("mine")
            raise DataError("no data.")

        with pytest.raises(DataError):
            run_recbole_video(
                "SASRec", "tiny", config_dict=small_options(data_path=str(data_root)), run_folder="new",
                hooks=Hooks(load=fail),
            )  # fmt: skip
        assert Path("new", "notes.txt").read_text() == "mine" and not Path("new", LOCK_NAME).exists()

    @pytest.mark.parametrize(("exists", "left"), [(True, True), (False, False)])
    def test_folder_of_a_run_that_failed_at_once(self, in_tmp, data_root, exists, left):
        """A folder that was there stays, empty, so that the run can be tried again in it; one made for it goes."""
        if exists:
            Path("place").mkdir()
        options = small_options(data_path=str(data_root))
        with pytest.raises(DataError, match="no data set `misspelt`"):
            run_recbole_video("SASRec", "misspelt", config_dict=options, run_folder="place")
        assert Path("place").exists() == left and not (left and list(Path("place").iterdir()))
        with pytest.raises(DataError):
            run_recbole_video("SASRec", "misspelt", config_dict=options)
        assert not list(Path("saved").iterdir())
        assert run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="place")["run_folder"] == "place"

    def test_run_of_other_options(self, in_tmp, data_root):
        options = small_options(data_path=str(data_root))
        run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="one")
        before = digests("one")
        with pytest.raises(ConfigError, match="`one` holds a run of other options"):
            run_recbole_video("SASRec", "tiny", config_dict={**options, "epochs": 2}, run_folder="one")
        assert digests("one") == before

    @pytest.mark.parametrize(
        ("given", "resume", "message"),
        [
            (
                {"run_folder": "one", "saved": False},
                {},
                "`run_folder` is `one`, and a run with saved=False has no folder",
            ),
            ({"saved": False}, {"resume": True}, "`resume` is `True`, and a run with saved=False has no folder"),
            ({"run_folder": "one"}, {"resume": "two"}, "`resume` names `two` and `run_folder` is `one`; give one"),
        ],
    )
    def test_that_would_be_passed_over(self, in_tmp, data_root, given, resume, message):
        options = small_options(data_path=str(data_root), **resume)
        with pytest.raises(ConfigError, match=message):
            run_recbole_video("SASRec", "tiny", config_dict=options, **given)
        assert not list(in_tmp.iterdir())

    def test_that_is_named_twice_alike(self, in_tmp, data_root):
        options = small_options(data_path=str(data_root))
        first = run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="one")
        for resume in (True, str(in_tmp / "one")):
            again = run_recbole_video("SASRec", "tiny", config_dict={**options, "resume": resume}, run_folder="one")
            assert again["test_result"] == first["test_result"] and again["run_folder"] == "one"

    def test_a_file_in_place_of_the_folder(self, in_tmp, data_root):
        Path("file").write_text("x")
        with pytest.raises(RunFolderError, match="`file` cannot be made"):
            run_recbole_video("SASRec", "tiny", config_dict=small_options(data_path=str(data_root)), run_folder="file")

    def test_damaged_record(self, in_tmp, data_root):
        options = small_options(data_path=str(data_root))
        run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="one")
        Path("one", "run.json").write_text("{")
        before = digests("one")
        with pytest.raises(CheckpointError, match=r"one/run.json` is not valid JSON"):
            run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="one")
        assert digests("one") == before


class TestLock:
    def test_a_run_that_is_alive_in_its_first_epoch(self, in_tmp, data_root):
        """Nobody else touches its folder, by whatever name they come."""
        options = small_options(data_path=str(data_root), dataset="tiny")
        seen = []

        def meanwhile(config):
            [folder] = Path("saved").iterdir()
            before = digests(folder)
            for other in ({"run_folder": folder}, {"config_dict": {"resume": str(folder)}}):
                with pytest.raises(RunFolderError, match="is being written by another process"):
                    run_recbole_video("SASRec", **{"config_dict": options, **other})
            assert RunFolder.to_resume(Config("SASRec", config_dict={**options, "resume": True})) is None
            assert digests(folder) == before
            seen.append(folder)
            return load_data(config)

        result = run_recbole_video("SASRec", config_dict=options, hooks=Hooks(load=meanwhile))
        assert [str(path) for path in seen] == [result["run_folder"]] and not Path(seen[0], LOCK_NAME).exists()

    def test_is_free_again_and_leaves_nothing(self, tmp_path):
        first, second = FolderLock(tmp_path), FolderLock(tmp_path)
        assert first.acquire() and not second.acquire()
        first.release()
        first.release()
        assert second.acquire() and not first.acquire()
        second.release()
        assert not list(tmp_path.iterdir())

    def test_a_copy_holds_nothing(self, tmp_path):
        """Ray copies what knows a sweep's folder to its processes."""
        lock = FolderLock(tmp_path)
        assert lock.acquire()
        copy = pickle.loads(pickle.dumps(lock))
        assert lock.is_held and not copy.is_held and not copy.acquire()
        copy.release()
        assert (tmp_path / LOCK_NAME).exists()

    def test_file_that_a_killed_run_left_holds_nothing(self, tmp_path):
        (tmp_path / LOCK_NAME).touch()
        assert FolderLock(tmp_path).acquire()

    def test_one_that_goes_away_while_it_is_waited_for(self, tmp_path, monkeypatch):
        """Who has opened the file of a holder that is about to remove it holds nothing yet."""
        first, second = FolderLock(tmp_path), FolderLock(tmp_path)
        first.acquire()
        opened = []
        original = Path.open

        def open_late(path, *mode, **named):
            handle = original(path, *mode, **named)
            if not opened:
                opened.append(path)
                first.release()
            return handle

        monkeypatch.setattr(Path, "open", open_late)
        assert second.acquire() and (tmp_path / LOCK_NAME).exists()
        monkeypatch.undo()
        assert not FolderLock(tmp_path).acquire()

    def test_folder_that_cannot_be_written(self, tmp_path):
        with pytest.raises(RunFolderError, match="cannot be written: No such file"):
            FolderLock(tmp_path / "gone").acquire()


class TestFinished:
    @pytest.mark.parametrize("model", ["SASRec", "STAP", "Pop"])
    def test_result_is_shown_and_nothing_trained(self, in_tmp, data_root, popularity_root, caplog, model):
        options = options_of(model, data_root, popularity_root, epochs=1)
        first = run_recbole_video(model, config_dict=options, run_folder="saved/one")
        before = digests("saved/one")
        ways = [{"config_dict": options, "run_folder": "saved/one"}]
        if model != "Pop":  # RecBole's own models have no option `resume`
            ways += [{"config_dict": {**options, "resume": True}}, {"config_dict": {"resume": "saved/one"}}]
        for way in ways:
            caplog.clear()
            again = run_recbole_video(model, **way)
            assert comparable(again) == comparable(first) and again["seconds"] == first["seconds"]
            assert "The run in saved/one has finished; this is its result" in caplog.text
            assert (
                "test result" in caplog.text
                and result_table([("test", first["test_result"])]).splitlines()[-1].split()[1] in caplog.text
            )
            assert digests("saved/one") == before and len(list(Path("saved").iterdir())) == 1

    def test_an_unfinished_one_comes_first_and_then_the_newest(self, in_tmp, data_root):
        options = small_options(data_path=str(data_root), dataset="tiny")
        for name in ("a", "b", "c"):
            run_recbole_video("SASRec", config_dict=options, run_folder=f"saved/{name}")
        config = Config("SASRec", config_dict={**options, "resume": True})
        for name, age in (("a", 30), ("b", 20), ("c", 10)):
            self._age(Path("saved", name), age)
        assert RunFolder.to_resume(config).path.name == "c"
        Path("saved/a/metrics.json").unlink()
        found = RunFolder.to_resume(config)
        assert found.path.name == "a"
        found.release()
        with RunFolder("saved/a").locked():
            assert RunFolder.to_resume(config).path.name == "c"
        other = Config("SASRec", config_dict={**options, "resume": True, "epochs": 2})
        assert RunFolder.to_resume(other) is None

    @staticmethod
    def _age(folder, seconds):
        for path in (folder / "run.json", folder / "config.yaml"):
            at = path.stat().st_mtime - seconds
            os.utime(path, (at, at))

    @pytest.mark.parametrize("content", ["[]", "{", "{}", '{"test_result": 3, "groups": []}'])
    def test_damaged_result(self, in_tmp, data_root, content):
        options = small_options(data_path=str(data_root))
        run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="one")
        Path("one/metrics.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"one/metrics.json` (does not hold|is not valid)"):
            run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="one")

    def test_options_of_a_run_killed_as_it_began(self, in_tmp, data_root):
        """config.yaml is there, run.json is not."""
        options = small_options(data_path=str(data_root), dataset="tiny")
        run_recbole_video("SASRec", config_dict=options, run_folder="saved/one")
        for path in Path("saved/one").iterdir():
            if path.name != "config.yaml":
                path.unlink()
        text = Path("saved/one/config.yaml").read_text()
        assert run_recbole_video(config_dict={"resume": "saved/one"})["run_folder"] == "saved/one"
        assert Path("saved/one/config.yaml").read_text() == text and yaml.safe_load(text)["epochs"] == 1

    def test_a_run_killed_as_it_began_beside_files_that_came_later(self, in_tmp, data_root):
        """A folder that was made for a run of these options is taken up again; what else is in it stays."""
        options = small_options(data_path=str(data_root), dataset="tiny")
        folder = Path(run_recbole_video("SASRec", config_dict=options)["run_folder"])
        for path in folder.iterdir():
            if path.name != "config.yaml":
                path.unlink()
        (folder / "notes.txt").write_text("mine")
        resumed = run_recbole_video("SASRec", config_dict={**options, "resume": True})
        assert resumed["run_folder"] == str(folder) and (folder / "notes.txt").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_of_runs(make_config, tmp_path):
    (tmp_path / "saved").write_text("mine")
    config = make_config(checkpoint_dir=str(tmp_path / "saved"))
    with pytest.raises(RunFolderError, match=r"saved` is a file; set checkpoint_dir to a folder.$"):
        RunFolder.create(config)
    config = make_config(checkpoint_dir=str(tmp_path / "saved" / "runs"))
    with pytest.raises(RunFolderError, match="cannot be made: Not a directory; set checkpoint_dir to a folder"):
        RunFolder.create(config)


def test_a_run_from_before_an_option_came(make_config, tmp_path):
    """What it does not name was what is the default today; whoever wants another value wants another run."""
    config = make_config(checkpoint_dir=str(tmp_path / "saved"))
    folder = RunFolder.create(config)
    folder.release()
    options = yaml.safe_load(folder.config.read_text())
    assert options.pop("cold_item_threshold") == 1
    folder.config.write_text(yaml.safe_dump(options))
    assert not folder._is_of(make_config(cold_item_threshold=2))
    folder.record.write_text(json.dumps({"fingerprint": _digest(options)}))
    assert folder._is_of(config) and not folder._is_of(make_config(cold_item_threshold=2))
    folder.record.write_text(json.dumps({"fingerprint": "of other options"}))
    assert not folder._is_of(config)
