"""Subcommands: they are the flags of the script by other words; recommendations and completion on the command line."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recbole_video.dataset_tools.__main__ import COMMANDS as TOOLS
from recbole_video.dataset_tools.video.samplers import SAMPLERS

import recbole_video
from recbole_video import load_model, run_recbole_video, write_frame_store
from recbole_video.cli import COMMANDS, USAGE, _as_flags, main, program
from recbole_video.commands.completion import completion_script
from recbole_video.commands.help import HELP
from recbole_video.data.protocols import PROTOCOLS
from recbole_video.errors import CheckpointError
from recbole_video.popularity.__main__ import main as explain
from recbole_video.registries import ITEM_ENCODERS

from .conftest import small_options, write_dataset


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["run", "--model=SASRec", "-d", "tiny"], ["--model=SASRec", "-d", "tiny"]),
        (["sweep", "cva-table6", "--demo", "--epochs", "5"], ["--sweep=cva-table6", "--demo", "--epochs", "5"]),
        (["sweep", "--demo"], ["--sweep", "--demo"]),
        (["sweep", "--demo", "cva-table6"], ["--sweep=cva-table6", "--demo"]),
        (["sweep", "--epochs", "5", "a.yaml", "--dry_run"], ["--sweep=a.yaml", "--epochs", "5", "--dry_run"]),
        (["sweep", "--demo", "False", "a.yaml"], ["--sweep=a.yaml", "--demo", "False"]),
        (["sweep", "--compile", "a.yaml", "-d", "tiny"], ["--sweep=a.yaml", "--compile", "-d", "tiny"]),
        (["sweep", "--loss_weight", "-0.5", "a.yaml"], ["--sweep=a.yaml", "--loss_weight", "-0.5"]),
        (["sweep", "a", "--resume", "saved/x", "--demo"], ["--sweep=a", "--resume", "saved/x", "--demo"]),
        (["sweep", "--resume", "a", "--demo"], ["--sweep=a", "--resume", "--demo"]),
        (["sweep", "--trust", "a.yaml"], ["--sweep=a.yaml", "--trust=True"]),
        (["sweep", "--trust", "my:Own", "a.yaml"], ["--sweep=a.yaml", "--trust", "my:Own"]),
        (["sweep", "a", "b", "--demo"], ["--sweep=a", "b", "--demo"]),
        (["sweep", "-x", "a"], ["--sweep=a", "-x"]),
        (["report", "--out=x", "saved"], ["--report=saved", "--out=x"]),
        (["report", "a", "--latex", "b", "--out", "x", "c"], ["--report=a b c", "--latex", "--out", "x"]),
        (["report", "a", "b c", "--out=d"], ["--report=a 'b c'", "--out=d"]),
        (["report"], ["--report"]),
        (["leaks", "--dataset=tiny"], ["--leak_report", "--dataset=tiny"]),
        (["list"], ["--list"]),
        (["options", "SASRec"], ["--help_options", "SASRec"]),
    ],
)
def test_what_they_stand_for(words, flags):
    assert _as_flags(words[0], words[1:]) == flags


def test_words_that_are_no_command(capsys):
    assert main(["recomend", "x"]) == 1
    assert "There is no command `recomend` (did you mean `recommend`?); there are run, sweep" in capsys.readouterr().err


def test_those_of_the_tools_and_help(capsys):
    assert main(["data", "--help"]) == 0 and main(["list"]) == 0 and main(["help"]) == 0
    printed = capsys.readouterr().out
    assert "microlens" in printed and "item encoders:" in printed and "recbole-video COMMAND" in printed
    for words in (["frames", "--help"], ["help", "frames"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code and "--videos DIR" in capsys.readouterr().out


@pytest.mark.parametrize("command", HELP)
def test_help_of_a_command_that_is_named(command, capsys):
    assert main(["help", command]) == 0
    assert capsys.readouterr().out == HELP[command]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["swep"], "There is no command `swep` (did you mean `sweep`?)"),
        (["sweep", "cva-table6"], "help is of one command: `recbole-video help sweep`; leave out `cva-table6`"),
    ],
)
def test_help_of_what_is_no_command(words, message, capsys):
    assert main(["help", *words]) == 1
    assert message in capsys.readouterr().err


def test_the_program_alone_tells_its_commands(in_tmp, monkeypatch, capsys):
    """It trains nothing; the script of a checkout does, as RecBole's."""
    monkeypatch.setattr("sys.argv", ["recbole-video"])
    assert program() == 0 and capsys.readouterr().out == USAGE
    monkeypatch.setattr("sys.argv", ["recbole-video", "list"])
    assert program() == 0 and "item encoders:" in capsys.readouterr().out
    assert not list(in_tmp.iterdir())


def test_words_in_any_order(in_tmp, capsys):
    assert main(["sweep", "--demo", "cva-table6", "--dry_run"]) == 0
    assert "(demo)" in capsys.readouterr().out
    assert main(["report", "--out=x", "nowhere"]) == 1
    assert "There is no folder `nowhere`" in capsys.readouterr().err


class TestRecommend:
    @pytest.fixture(scope="class")
    def run(self, data_root, tmp_path_factory):
        folder = tmp_path_factory.mktemp("runs")
        options = small_options(
            data_path=str(data_root), epochs=1, checkpoint_dir=str(folder), log_dir=str(folder / "log")
        )
        return run_recbole_video("SASRec", "tiny", config_dict=options)["run_folder"]

    def test_as_from_python(self, run, tmp_path, capsys):
        (tmp_path / "histories.txt").write_text("i3 i4\ni5\n")
        words = ["recommend", run, "--history=i1 i2", f"--histories={tmp_path / 'histories.txt'}", "--k=3"]
        assert main(words) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        expected = load_model(run).recommend([["i1", "i2"], ["i3", "i4"], ["i5"]], k=3)
        assert head == "user_id\trank\titem_id\tscore" and len(lines) == len(expected) == 9
        for line, (user, rank, item, score) in zip(lines, expected.itertuples(index=False), strict=True):
            assert line == f"{user}\t{rank}\t{item}\t{score:.6g}"

    def test_ids_that_hold_spaces(self, tmp_path, capsys):
        """They are separated by tabs, on the command line and in a file."""
        write_dataset(tmp_path / "data")
        for path in (tmp_path / "data" / "tiny").glob("tiny.i*"):
            path.write_text(re.sub(r"\bi(\d+)\b", r"a \1", path.read_text()))
        options = small_options(encoder="ID", data_path=str(tmp_path / "data"), checkpoint_dir=str(tmp_path / "runs"))
        run = run_recbole_video("SASRec", "tiny", config_dict={**options, "log_dir": str(tmp_path / "log")})[
            "run_folder"
        ]
        (tmp_path / "histories.txt").write_text("a 3\ta 4\n")
        capsys.readouterr()
        words = ["--history=a 1\ta 2", f"--histories={tmp_path / 'histories.txt'}", "--k=3"]
        assert main(["recommend", run, *words]) == 0
        lines = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()[1:]]
        assert lines == load_model(run).recommend([["a 1", "a 2"], ["a 3", "a 4"]], k=3)["item_id"].tolist()
        assert main(["recommend", run, "--history=a 1 a 2"]) == 1
        assert "ids of this model hold spaces: separate items by tabs" in capsys.readouterr().err
        assert main(["recommend", run, "--history=unknown99"]) == 1
        assert "hold spaces" not in capsys.readouterr().err

    def test_items_that_it_does_not_know_are_told_in_a_sentence(self, run, capsys, recwarn):
        assert main(["recommend", run, "--history=i1 x", "--history=y", "--k=2"]) == 0
        told = capsys.readouterr()
        assert len(told.out.splitlines()) == 3 and not recwarn.list
        assert told.err == (
            "The model does not know 2 items of the histories (first: `x`), and 1 user of whom it knows none: left "
            "out.\n"
        )

    def test_videos_that_came_later(self, run, tmp_path, capsys):
        rows = np.random.default_rng(0).normal(size=(2, 1, 8))
        store = write_frame_store(tmp_path / "tiny.new.frames.npy", ["n1", "n2"], rows, vfm="random", sampling="s")
        assert main(["recommend", run, "--history=n2 i1", "--k=99", f"--add_store={store.path}"]) == 0
        told = capsys.readouterr()
        assert "\tn1\t" in told.out
        place = next(line.split("\t")[1:3] for line in told.out.splitlines() if line.split("\t")[2] in ("n1", "n2"))
        n = len(load_model(run).items)  # of which i1 has been seen, and n1 or n2 may have been
        said, few, where = told.err.splitlines()
        assert said == f"2 new videos from {store.path}."
        assert few == f"There are {n + 2} videos to recommend, fewer than k."
        assert where == f"User 0: the best of the new videos, `{place[1]}`, is {place[0]} of {n}."
        again = write_frame_store(tmp_path / "tiny.more.frames.npy", ["i1", "n3"], rows, vfm="random", sampling="s")
        assert main(["recommend", run, "--history=i2", "-k", "1", f"--add_store={again.path}"]) == 0
        told = f"1 new video from {again.path}; what the model knows already (1) stays as it was."
        assert told in capsys.readouterr().err
        assert main(["recommend", run, "--history=i1", "-k", "1", f"--add_store={store.path}"]) == 0
        assert "User 0: the best of the new videos, `n" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "recommend needs what was watched: --history="),
            (
                ["--history=i1,i2"],
                "does not know 1 item of the histories (first: `i1,i2`), which are all; separate items by",
            ),
            (["--history=x"], "which are all; new videos are taken in by --add_store=FILE."),
            (["--history=" + " ".join(f"i{n}" for n in range(30))], "Nothing is left to recommend"),
            (["--histories=no.txt"], "no.txt"),
            (["--histories=empty.txt"], "`empty.txt`, line 2 is empty"),
        ],
    )
    def test_errors(self, run, in_tmp, capsys, words, message):
        (in_tmp / "empty.txt").write_text("i1\n\n")
        assert main(["recommend", run, *words]) == 1
        assert message in capsys.readouterr().err


class TestTrust:
    """A class that a checkpoint names is loaded on the word of every command that loads one."""

    @pytest.fixture
    def run(self, data_root, in_tmp, monkeypatch):
        """A run whose item encoder is the user's own, in a process that does not know it."""
        (in_tmp / "own_trusted.py").write_text(
            "from recbole_video.item_encoders import MLP\n\n\nclass Mine(MLP):\n    pass\n"
        )
        monkeypatch.syspath_prepend(in_tmp)
        monkeypatch.setattr(ITEM_ENCODERS, "_admitted", {})
        options = small_options(data_path=str(data_root), encoder="MLP", item_encoder="own_trusted:Mine")
        folder = run_recbole_video("SASRec", "tiny", config_dict=options)["run_folder"]
        monkeypatch.setattr(ITEM_ENCODERS, "_admitted", {})
        yield folder
        sys.modules.pop("own_trusted", None)

    def test_recommend(self, run, capsys):
        words = ["recommend", run, "--history=i1 i2", "--k=2"]
        assert main(words) == 1
        [advised] = re.findall(r"say so with .* or (--trust=\S+) on the command line", capsys.readouterr().err)
        assert main([*words, "--trust=other:Mine"]) == 1
        assert main([*words, advised]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3

    @pytest.mark.parametrize("trust", [["--trust"], ["--trust", "own_trusted:Mine"], ["--trust=a:B own_trusted:Mine"]])
    def test_a_folder_behind_it_is_no_class(self, run, trust, capsys):
        assert main(["recommend", *trust, run, "--history=i1 i2", "--k=2"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3

    @pytest.mark.parametrize(
        ("given", "trust"),
        [
            ([], False), (["--trust"], True), (["--trust=True"], True), (["--trust=False"], False),
            (["--trust=a:B"], "a:B"), (["--trust", "a:B"], "a:B"), (["--trust", "a:B,c.d:E"], "a:B,c.d:E"),
        ],
    )  # fmt: skip
    def test_explain(self, given, trust, monkeypatch):
        seen = []

        def load_model(path, **options):
            seen.append((path, options))
            raise CheckpointError("seen.")

        monkeypatch.setattr(recbole_video, "load_model", load_model, raising=False)
        assert explain([*given, "saved/run", "v1"]) == 1
        assert seen == [(Path("saved/run"), {"trust": trust})]


class TestCompletion:
    def complete(self, *words):
        """What bash completes behind the last of some words, as it reads it then."""
        script = completion_script(
            "bash",
            COMMANDS,
            {"sweep": ["cva-table6", "--demo"], "data": TOOLS, "*": ["--model=CVA", "--epochs=", "--dataset=demo"]},
            {"label": ["--split=time", "--split=random", "--name="], "frames": ["--videos="]},
        )
        ask = (
            f"COMP_WORDS=({shlex.join(['recbole-video', *words])}); COMP_CWORD={len(words)}; _recbole_video; "
            'eval "found=(${COMPREPLY[*]})"; printf \'%s\\0\' "${found[@]}"'
        )
        done = subprocess.run(["bash", "-c", script + ask], capture_output=True, text=True, check=True)
        assert not done.stderr
        return [word for word in done.stdout.split("\0") if word]

    @pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
    def test_bash(self):
        assert self.complete("re") == ["recommend", "report"] and self.complete("sweep", "cva") == ["cva-table6"]
        assert self.complete("run", "--mo") == ["--model=CVA"] and self.complete("run", "--e") == ["--epochs="]

    @pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
    def test_options_of_a_tool(self):
        assert self.complete("data", "la") == ["label"] and self.complete("data", "label", "mine", "--n") == ["--name="]
        assert self.complete("data", "label", "--split", "=", "r") == ["random"]
        assert self.complete("data", "frames", "--") == ["--videos="] and not self.complete("data", "no-tool", "--")

    @pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
    def test_values(self, in_tmp):
        """Behind the =, at which bash takes a word apart; data sets are those below dataset/, too."""
        (in_tmp / "dataset" / "mine").mkdir(parents=True)
        assert self.complete("run", "--dataset", "=") == ["demo", "mine"]
        assert self.complete("run", "--dataset", "=", "m") == ["mine"] and self.complete(
            "run", "--model", "=", "C"
        ) == ["CVA"]
        assert self.complete("run", "--dataset=m") == ["--dataset=mine"] and not self.complete("sweep", "--dat")

    ODD = ("$(touch${IFS}PWNED)", "`touch PWNED`", "$HOME", "my data", "it's", 'a"b', "a;touch PWNED", "*", "?", "~",
           "-x", "new\nline", "a\\b", "é", "demo")  # fmt: skip

    @pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
    def test_names_on_the_disk_are_names(self, in_tmp):
        """Whatever they look like to a shell: nothing in them is run, and each is completed as one word."""
        for name in self.ODD:
            (in_tmp / "dataset" / name).mkdir(parents=True)
        (in_tmp / "dataset" / "file").write_text("")
        assert sorted(self.complete("run", "--dataset", "=")) == sorted(self.ODD)
        assert sorted(self.complete("run", "--dataset=")) == sorted(f"--dataset={name}" for name in self.ODD)
        for typed in ("my", "my d", "my\\ d"):
            assert self.complete("run", "--dataset", "=", typed) == ["my data"]
        assert self.complete("run", "--dataset", "=", "$(touch") == ["$(touch${IFS}PWNED)"]
        assert self.complete("run", "--dataset", "=", "*") == ["*"] and not self.complete("run", "`touch PWNED`")
        assert not list(in_tmp.rglob("PWNED"))

    @pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
    def test_no_folder_of_data_sets(self, in_tmp):
        assert self.complete("run", "--dataset", "=") == ["demo"]
        (in_tmp / "dataset").mkdir()
        assert self.complete("run", "--dataset", "=") == ["demo"]

    @pytest.mark.parametrize("command", ["frames", "recommend", "sweep", "report", *(f"data {tool}" for tool in TOOLS)])
    def test_every_option_of_a_command_is_named(self, command, capsys):
        """As its own help has it."""
        assert main(["completion", "bash"]) == 0
        *words, name = command.split()
        lines = re.findall(rf"^ +{name}\) known='?(.*?)'? ;;$", capsys.readouterr().out, re.MULTILINE)
        line = lines[-1 if words else 0]
        if command in HELP:
            told = HELP[command]
        else:
            with pytest.raises(SystemExit):
                main([*words, name, "--help"])
            told = capsys.readouterr().out
        listed = set(re.findall(r"^  (?:-h, )?(--\w+)", told, re.MULTILINE)) - {"--OPTION"}
        assert listed and listed <= set(re.findall(r"--\w+", line))

    def test_names_of_data_sets_are_no_options(self, capsys):
        assert main(["completion", "bash"]) == 0
        script = capsys.readouterr().out
        assert "--amazon" not in script and "--ml-100k" not in script and "--dataset=microvideo-demo" in script

    def test_it_names_what_there_is(self, capsys):
        assert main(["completion", "zsh"]) == 0
        script = capsys.readouterr().out
        assert (
            "bashcompinit" in script
            and "--model=STAP" in script
            and "--encoder_depth=" in script
            and "vk-lsvd" in script
        )

    def test_values_of_a_fixed_set_are_named(self, capsys):
        """As the code that checks them has them: of models, and of the frames that are chosen."""
        assert main(["completion", "bash"]) == 0
        lines = re.findall(r"^ +(\S+)\) known='(.*)' ;;$", capsys.readouterr().out, re.MULTILINE)
        words = {command: text.split() for command, text in reversed(lines)}  # those of tools of a name come last
        protocols = [f"--protocol={name}" for name in PROTOCOLS]
        for command in ("sweep", "*"):
            assert [word for word in words[command] if word.startswith("--protocol=")] == protocols
            assert {"--temporal=pooled", "--kernel=rbf", "--temporal_cut="} <= set(words[command])
        assert [w for w in words["frames"] if w.startswith("--sampler=")] == [f"--sampler={name}" for name in SAMPLERS]
        assert {"--title_condition=masked", "--frame_encoder=histogram", "--n_frames="} <= set(words["frames"])

    @pytest.mark.parametrize("words", [[], ["fish"], ["bash", "zsh"]])
    def test_another_shell(self, capsys, words):
        assert main(["completion", *words]) == 1
        assert "completion needs a shell: `recbole-video completion bash`, or zsh" in capsys.readouterr().err
