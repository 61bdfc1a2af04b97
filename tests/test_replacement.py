"""Files that belong together: after a failure or a kill at any step, all of the old ones or all of the new ones."""

import errno
import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.output.background import background
from recbole_video.dataset_tools.output.writer import DatasetWriter

from recbole_video import FrameStore, write_frame_store
from recbole_video.content.store import FrameBlock, write_frame_blocks
from recbole_video.data.atomic_file import read_columns
from recbole_video.errors import DataError, RunFolderError
from recbole_video.files.atomic import write_atomically, write_text
from recbole_video.files.cells import spreadsheet_safe
from recbole_video.files.names import is_plain_name
from recbole_video.files.replacement import Replacement, finish_replacements

STEPS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir")  # of the system, whoever calls them


def write_store(folder, version):
    frames = np.full((3, 2, 4), version) + np.arange(3)[:, None, None]
    write_frame_store(folder / "d.frames.npy", [f"{version}{i}" for i in "abc"], frames, vfm="m", sampling="s")


def write_data_set(folder, version):
    with DatasetWriter(folder.parent, folder.name, overwrite=version > 1) as out:
        times = np.array([version, 2, 3])
        out.write_interactions({"user_id": ["u"] * 3, "item_id": list("abc"), "time": times}, "s")
        if version == 1:
            out.write_counts({"item_id": list("abc"), "views": [1, 2, 3]})
        out.write_text({"item_id": item, "title": str(version)} for item in "abc")


def write_labels(folder, version):
    if not (folder / "d.inter").exists():
        write_data_set(folder, 1)
    words = ["label", "d", f"--data_path={folder.parent}", "--source=views", "--label_name=x", "--overwrite"]
    transform = ["raw", "log1p"][version - 1]
    status = main([*words, "--shares", "1", "0", "0", f"--transform={transform}"])
    if status:
        raise RunFolderError("label")


WRITERS = {"store": write_store, "data set": write_data_set, "labels": write_labels}


def contents(folder):
    """What a reader finds; hidden files are nobody's."""
    finish_replacements(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


class Counted:
    """Calls of the system's functions; the one with a number, or all from it on, do something else."""

    def __init__(self, monkeypatch, at, act, and_on=False):
        self.n_calls = 0
        for name in STEPS:
            monkeypatch.setattr(os, name, self.counted(getattr(os, name), at, act, and_on))

    def counted(self, plain, at, act, and_on):
        def call(*arguments, **options):
            self.n_calls += 1
            if self.n_calls == at or (and_on and self.n_calls > at):
                act()
            return plain(*arguments, **options)

        return call


def fail():
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


@pytest.fixture
def versions(write, tmp_path):
    """A folder with the first version, one with the second, and the number of steps from one to the other."""
    old, new = tmp_path / "old" / "d", tmp_path / "new" / "d"
    old.mkdir(parents=True)
    write(old, 1)
    shutil.copytree(old, new)
    with pytest.MonkeyPatch.context() as patch:
        calls = Counted(patch, 0, fail)
        write(new, 2)
    return old, new, calls.n_calls


class TestEveryStep:
    @pytest.mark.parametrize("and_on", [False, True], ids=["one fails", "all fail from there"])
    def test_a_failure_leaves_the_old_files_or_the_new_ones(self, write, versions, tmp_path, and_on):
        old, new, n_steps = versions
        outcomes = set()
        for step in range(1, n_steps + 1):
            folder = tmp_path / str(step) / "d"
            shutil.copytree(old, folder)
            with pytest.MonkeyPatch.context() as patch:
                Counted(patch, step, fail, and_on)
                try:
                    write(folder, 2)
                except RunFolderError:
                    failed = True
                else:
                    failed = False
            found = contents(folder)
            assert found in (contents(old), contents(new)) and (failed or found == contents(new)), step
            outcomes.add((failed, found == contents(new)))
        assert (True, False) in outcomes

    def test_a_kill_leaves_the_old_files_or_the_new_ones(self, write, versions, tmp_path):
        """And the next writer removes what it left aside."""
        old, new, n_steps = versions
        outcomes = []
        for step in range(1, n_steps + 1, 1 if write is write_store else 3):
            folder = tmp_path / str(step) / "d"
            shutil.copytree(old, folder)
            child = os.fork()
            if child == 0:
                background.cache_clear()  # a fork has none of the threads
                Counted(pytest.MonkeyPatch(), step, lambda: os.kill(os.getpid(), signal.SIGKILL))
                write(folder, 2)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status)
            found = contents(folder)
            assert found in (contents(old), contents(new)), step
            outcomes.append(found == contents(new))
            with Replacement(folder, "d"), Replacement(folder, "d.frames.npy"), Replacement(folder, "d.x.popularity"):
                pass
            assert not hidden(folder), step
        assert outcomes == sorted(outcomes) and True in outcomes and False in outcomes


class TestReaders:
    def test_a_store_that_was_cut_off_is_completed_by_its_reader(self, tmp_path):
        write_store(tmp_path, 1)
        with Replacement(tmp_path, "d.frames.npy") as new:
            write_store(new.folder, 2)
            made = tmp_path / ".d.frames.npy.made"
            new.folder.rename(made)
            new.folder = made  # as after a kill: nobody moves the files
            new._is_aside = False
            new._lock.close()
            new.commit = lambda: None
        assert hidden(tmp_path) == [".d.frames.npy.made"]
        store = FrameStore(tmp_path / "d.frames.npy")
        store.verify()
        assert store.items == ["2a", "2b", "2c"] and not hidden(tmp_path)

    def test_atomic_files_too(self, tmp_path):
        made = tmp_path / ".d.made"
        made.mkdir()
        (made / ".recbole_video.lock").touch()
        (made / ".recbole_video.remove").write_text('["d.user", "../x", 3]')
        (made / "d.inter").write_text("item_id:token\nb\n")
        (tmp_path / "d.inter").write_text("item_id:token\na\n")
        (tmp_path / "d.user").touch()
        assert read_columns(tmp_path / "d.inter", None, set())["item_id"].tolist() == ["b"]
        assert [path.name for path in tmp_path.iterdir()] == ["d.inter"]

    def test_folders_of_others_are_left_alone(self, tmp_path):
        for name in (".d.made", ".d.0.making"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "mine").touch()
        write_store(tmp_path, 1)
        assert {(tmp_path / name / "mine").is_file() for name in (".d.made", ".d.0.making")} == {True}

    def test_a_folder_that_cannot_be_completed(self, tmp_path, monkeypatch):
        made = tmp_path / ".d.made"
        made.mkdir()
        (made / ".recbole_video.lock").touch()
        (made / "d.inter").touch()
        monkeypatch.setattr(os, "replace", lambda *_: fail())
        with pytest.raises(RunFolderError, match="not all put in their places .*No space left.*move them there"):
            finish_replacements(tmp_path)

    def test_where_an_open_file_is_renamed_when_it_is_removed(self, tmp_path, monkeypatch):
        """As NFS does it: the folder is not empty until the file is closed."""
        write_store(tmp_path, 1)
        unlink = os.unlink

        def renamed(path, *args, **options):
            if str(path).endswith(".lock"):
                Path(path).rename(f"{path}.nfs")
            else:
                unlink(path, *args, **options)

        monkeypatch.setattr(os, "unlink", renamed)
        write_store(tmp_path, 2)
        assert FrameStore(tmp_path / "d.frames.npy").items == ["2a", "2b", "2c"]

    def test_readers_and_writers_at_once(self, tmp_path):
        """Whatever a reader opens is one store: its array belongs to its manifest."""
        write_store(tmp_path, 1)
        failures = []

        def replace():
            try:
                for version in range(2, 17):
                    write_store(tmp_path, version)
            except Exception as error:
                failures.append(error)

        writers = [threading.Thread(target=replace) for _ in range(2)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            store = FrameStore(tmp_path / "d.frames.npy")
            store.verify()
            assert store.items[0] == f"{int(store.frames[0, 0, 0])}a"
        assert not failures and not hidden(tmp_path)


class TestFailingWrites:
    def test_a_full_disk_while_blocks_are_written(self, tmp_path):
        write_store(tmp_path, 1)
        before = contents(tmp_path)

        def blocks():
            yield FrameBlock(np.array([0]), np.ones((1, 2, 4)), np.array([2]))
            fail()

        with pytest.raises(RunFolderError, match=r"/d\.frames\.npy` cannot be written: No space left on device"):
            write_frame_blocks(tmp_path / "d.frames.npy", ["a", "b"], 2, 4, blocks(), vfm="m", sampling="s")
        assert contents(tmp_path) == before and not hidden(tmp_path)

    def test_an_error_of_the_block_is_the_one_that_is_raised(self, tmp_path):
        with pytest.raises(DataError, match="mine"), Replacement(tmp_path / "new", "d") as new:
            write_text(new.file("a"), "a")
            raise DataError("mine")
        assert list((tmp_path / "new").iterdir()) == []

    def test_a_place_that_is_a_file(self, tmp_path):
        (tmp_path / "d").touch()
        with pytest.raises(RunFolderError, match="/d/x` cannot be written"), Replacement(tmp_path / "d", "x"):
            pass


class TestTemporaryFiles:
    def test_what_a_kill_left_is_removed_by_the_next_writer(self, tmp_path):
        for number in range(3):
            (tmp_path / f".a.txt.{number}.tmp").write_text("left")
        (tmp_path / ".a.txt.x.tmp").write_text("not ours")
        write_text(tmp_path / "a.txt", "new")
        assert hidden(tmp_path) == [".a.txt.x.tmp"] and (tmp_path / "a.txt").read_text() == "new"

    def test_those_of_a_live_writer_stay(self, tmp_path):
        def write(file):
            file.write(b"outer")
            write_text(tmp_path / "a.txt", "inner")  # as another process would meanwhile
            assert hidden(tmp_path) == [".a.txt.0.tmp"] and (tmp_path / "a.txt").read_text() == "inner"

        write_atomically(tmp_path / "a.txt", write)
        assert (tmp_path / "a.txt").read_text() == "outer" and not hidden(tmp_path)

    def test_folders_of_a_live_writer_stay(self, tmp_path):
        with Replacement(tmp_path, "d") as outer:
            write_text(outer.file("a"), "outer")
            with Replacement(tmp_path, "d") as inner:
                write_text(inner.file("a"), "inner")
            assert (tmp_path / "a").read_text() == "inner"
        assert (tmp_path / "a").read_text() == "outer" and not hidden(tmp_path)

    def test_permissions_are_those_that_the_umask_leaves_and_nobody_changes_it(self, tmp_path, monkeypatch):
        before = os.umask(0o027)
        try:
            plain_umask = os.umask
            monkeypatch.setattr(os, "umask", lambda *_: pytest.fail("the umask belongs to all threads"))
            write_text(tmp_path / "a", "a")
            monkeypatch.setattr(os, "umask", plain_umask)
        finally:
            os.umask(before)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-x", "'-x"),
        ("-12", "-12"),
        ("+1.5e-3", "+1.5e-3"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_cells_that_a_spreadsheet_would_run(text, expected):
    assert spreadsheet_safe(text) == expected


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", "\x1b[2J", "\udcff", "x" * 151, "é" * 80]
)
def test_names_that_are_no_parts_of_a_file_name(name):
    assert not is_plain_name(name) and is_plain_name("视频 1.x")
