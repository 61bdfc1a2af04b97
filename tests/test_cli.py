"""The command line as a user meets it: exit status, one clear sentence, nothing of Ray."""

import importlib
import os
import pickle
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recbole_video.cli import COMMANDS, main
from recbole_video.commands.help import HELP
from recbole_video.commands.options import OF_COMMANDS, ReportOptions, SweepOptions, sweep_options
from recbole_video.config import Config
from recbole_video.entry_point import REQUIRED, put_working_folder_last, run_command
from recbole_video.errors import ConfigError, OwnCodeError
from recbole_video.options.listed import check_names, listed_names
from recbole_video.options.option import declared
from recbole_video.options.run import CommandOptions, RunOptions
from recbole_video.registries import CONTROLS, ITEM_ENCODERS, POPULARITY_MODELS, USER_ENCODERS
from recbole_video.runtime import launch_on_ray
from recbole_video.runtime.launch import fit_to_be_sent
from recbole_video.runtime.recbole_options import _READ_BY

from .conftest import small_options, write_dataset

SCRIPT = Path(__file__).parent.parent / "run_recbole_video.py"


def words(data_root, **options):
    return [f"--{k}={v}" for k, v in small_options("SASRec", "CVA", **{"data_path": str(data_root), **options}).items()]


def test_run_from_the_script_without_ray(in_tmp, data_root):
    spy = (
        f"import runpy, sys; sys.argv[0] = {str(SCRIPT)!r}\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as e: print('status', e.code, 'ray' in sys.modules)"
    )
    command = [sys.executable, "-c", spy, "-m", "SASRec", "-d", "tiny", *words(data_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "status 0 False" in done.stdout, done.stderr
    assert "SASRec + CVA on tiny: 40 users, full ranking of" in done.stdout and not done.stderr
    assert "by chance" in done.stdout and "\033" not in done.stdout


def test_config_files_are_separated_by_spaces(in_tmp, data_root, capsys):
    (in_tmp / "a.yaml").write_text("epochs: 1\n")
    (in_tmp / "b.yaml").write_text("epoch: 1\n")
    assert main(["--dataset=tiny", "--config_files=a.yaml b.yaml", *words(data_root)]) == 1
    assert "`epoch` is not an option (did you mean `epochs`?)" in capsys.readouterr().err


def test_a_config_file_with_a_space_in_its_name(in_tmp, data_root, capsys):
    (in_tmp / "my options.yaml").write_text("epoch: 1\n")
    for given in ("my options.yaml", "'my options.yaml'", "[my options.yaml]"):
        assert main(["--dataset=tiny", f"--config_files={given}", *words(data_root)]) == 1
        assert "`epoch` is not an option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=SASRek"], "ConfigError: There is no model named `SASRek`"),
        (["--dataset=nowhere"], "DataError: There is no data set `nowhere`"),
        (["--dataset=nowhere", "--item_encoder=ID"], "DataError: There is no data set `nowhere`"),
        (["--lerning_rate=1"], "ConfigError: `lerning_rate` is not an option (did you mean `learning_rate`?)"),
        (["train"], "ConfigError: There is no command `train`"),
        (["--epochs=2", "train"], "ConfigError: `train` belongs to no option"),
        (["--resume=nowhere"], "CheckpointError: There is nothing to resume in `nowhere`"),
        (["--resume=-0.5"], "CheckpointError: There is nothing to resume in `-0.5`"),
        (["--config_files"], "ConfigError: `config_files` is `True`; name files"),
        (["--config_files=2024_01"], "ConfigError: `2024_01` cannot be read: No such file"),
    ],
)
def test_error_is_one_sentence_and_the_status_is_not_zero(in_tmp, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("recbole_video.dataset_tools.prepare", lambda *_: None)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(message) and "Traceback" not in error


def test_malformed_file_is_named_on_the_console(in_tmp, capsys):
    write_dataset(in_tmp)
    path = in_tmp / "tiny" / "tiny.inter"
    path.write_text(path.read_text().replace("\ti3\t", "\ti3,", 1))
    assert main(["--dataset=tiny", *words(in_tmp)]) == 1
    assert "tiny.inter`, line " in capsys.readouterr().err


@pytest.mark.parametrize(
    "main_of", ["recbole_video.cli", "recbole_video.dataset_tools.__main__", "recbole_video.popularity.__main__"]
)
class TestLastResort:
    """Whatever happens in a command ends in a sentence and a status."""

    def run(self, monkeypatch, main_of, error):
        def fail(*_):
            raise error

        module = importlib.import_module(main_of)
        name = next(one for one in ("run_tool", "explain_command", "_run") if hasattr(module, one))
        monkeypatch.setattr(module, name, fail)
        monkeypatch.setattr("sys.path", [*sys.path])
        return module.main(["--x"])

    def test_a_fault_of_ours(self, main_of, in_tmp, monkeypatch, capsys):
        assert self.run(monkeypatch, main_of, KeyError("a\nb\033")) == 70
        [told] = capsys.readouterr().err.splitlines()
        [file] = (in_tmp / "log").iterdir()
        assert told.startswith("This is a fault of recbole_video, `KeyError: ") and f"`log/{file.name}`" in told
        assert "in fail" in file.read_text() and "recbole_video " in file.read_text() and "\033" not in told

    def test_where_log_cannot_be_written(self, main_of, in_tmp, monkeypatch, capsys):
        (in_tmp / "log").write_text("a file")
        (in_tmp / "elsewhere").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(in_tmp / "elsewhere"))
        assert self.run(monkeypatch, main_of, ZeroDivisionError()) == 70
        [file] = (in_tmp / "elsewhere").iterdir()
        assert str(file) in capsys.readouterr().err and (in_tmp / "log").read_text() == "a file"
        monkeypatch.setattr("tempfile.tempdir", str(in_tmp / "log" / "below a file"))
        assert self.run(monkeypatch, main_of, ZeroDivisionError()) == 70
        assert "no folder takes its traceback" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("error", "status", "message"),
        [
            (ConfigError("mend it"), 1, "ConfigError: mend it\n"),
            (KeyboardInterrupt(), 130, "Interrupted"),
            (BrokenPipeError(), 141, ""),
            (
                OSError(28, "No space left on device", "x.npy"),
                1,
                "RunFolderError: The disk is full (`x.npy`); make room",
            ),
        ],
    )
    def test_others(self, main_of, in_tmp, monkeypatch, capsys, error, status, message):
        assert self.run(monkeypatch, main_of, error) == status
        told = capsys.readouterr().err
        assert told.startswith(message) and "fault" not in told and not list(in_tmp.iterdir())

    def test_a_pipe_to_a_process_of_ours(self, main_of, in_tmp, monkeypatch, capsys):
        """It is no reader of the output that went away."""
        monkeypatch.setattr("recbole_video.entry_point._has_no_reader", lambda: False)
        assert self.run(monkeypatch, main_of, BrokenPipeError()) == 70


OWN_ENCODER = """
from recbole_video.item_encoders.cva import CVA

class Raises(CVA):
    def forward(self, frames, mask):
        return self.joined(frames)

    def joined(self, frames):
        raise AssertionError("no\\nway")
"""


def test_whose_fault_it_is_is_known_of_another_process(in_tmp, monkeypatch, capsys):
    (in_tmp / "their_class.py").write_text("class Own:\n    def work(self, rows):\n        return 1 / 0\n")
    monkeypatch.syspath_prepend(in_tmp)
    own = importlib.import_module("their_class").Own()
    with pytest.raises(ZeroDivisionError) as raised:
        own.work(None)
    sent = pickle.loads(pickle.dumps(fit_to_be_sent(raised.value)))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OwnCodeError, match="their_class:Own"):
        for name in ("join", "leave"):
            patch.setattr(launch_on_ray, name, lambda **_: None)
        patch.setattr("os.environ", {})
        launch_on_ray._Worker(".").work(lambda: own.work(None), 0, 1, "tcp://here:1")

    def fail():
        raise sent

    assert run_command(fail) == 1
    told = capsys.readouterr().err
    assert told.startswith("`their_class:Own` (their_class.py, line 3) raised ZeroDivisionError: division by zero;")
    [file] = (in_tmp / "log").iterdir()
    assert "return 1 / 0" in file.read_text()


class TestWhoseFaultItIs:
    @pytest.mark.parametrize("is_installed", [False, True])
    def test_a_class_of_the_users_own(self, in_tmp, data_root, capsys, monkeypatch, is_installed):
        """The class that was called, the line that raised, what it was given, and the traceback in the log."""
        name = f"raises_{is_installed}"  # a module of that name is imported once
        if is_installed:
            monkeypatch.setattr("site.getusersitepackages", lambda: str(in_tmp))
        (in_tmp / f"{name}.py").write_text(OWN_ENCODER)
        monkeypatch.syspath_prepend(in_tmp)
        monkeypatch.setattr("sys.path", [*sys.path])
        assert main(["--dataset=tiny", *words(data_root, item_encoder=f"{name}:Raises")]) == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert re.fullmatch(
            rf"`{name}:Raises` \({name}.py, line 9\) raised AssertionError: no way; it was given frames "
            r"\[30, 1, 8\], mask \[30, 1\]; its traceback is in `log/fault-[\w-]+.txt`.",
            told,
        )
        [file] = (in_tmp / "log").glob("fault-*.txt")
        assert "in joined" in file.read_text()

    def test_a_library_without_which_nothing_runs(self, in_tmp, capsys):
        def needs(name):
            return lambda: importlib.import_module(name)

        for module, library in (("recbole", "recbole"), ("yaml", "pyyaml")):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("sys.path", [])
                patch.setattr("sys.meta_path", [])
                patch.delitem(sys.modules, module)
                assert run_command(needs(module)) == 1
            told = capsys.readouterr().err
            assert told.startswith(
                f"MissingDependencyError: {library} is not installed in this Python ({sys.executable})"
            )
            assert "`source .venv/bin/activate`" in told and "Installing in README.md" in told
        assert not list(in_tmp.iterdir())

    def test_each_of_them_is_known(self):
        """Those that pyproject.toml asks for; a module of ours that is not there is a fault of ours."""
        asked = tomllib.loads((SCRIPT.parent / "pyproject.toml").read_text())["project"]["dependencies"]
        assert set(REQUIRED.values()) == {re.split(r"[=>]", one)[0] for one in asked}
        assert all(importlib.import_module(name) for name in REQUIRED)


def test_an_interrupt_while_the_interpreter_ends(in_tmp):
    """What libraries registered for the end is cut off without a traceback."""
    code = (
        "import atexit, os, signal, sys\n"
        "from recbole_video.entry_point import run_command\n"
        "def work():\n"
        "    atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "    return 0\n"
        "sys.exit(run_command(work))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("cp1252", b"\xe9 ?1"), ("ascii", b"? ?1"), ("ascii:surrogateescape", b"? ?1"), ("utf-8", "é −1".encode())],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_the_encoding_of_the_output_has_not(in_tmp, encoding, shown, stream):
    """As in a file to which output goes on Windows: there it is no fault, and is shown as a question mark."""
    code = (
        "import sys\n"
        "from recbole_video.entry_point import run_command\n"
        f"sys.{stream}.reconfigure(errors=sys.stdout.errors)\n"
        f"sys.exit(run_command(lambda: print('é −1', file=sys.{stream}) or 0))\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 0 and getattr(done, stream).strip() == shown
    assert not (in_tmp / "log").exists()


def test_a_reader_that_goes_away(in_tmp):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, SCRIPT, "--help"], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    "command",
    [[SCRIPT, "--help"], ["-m", "recbole_video.dataset_tools", "?"], ["-m", "recbole_video.popularity", "--help"]],
)
def test_modules_of_the_working_folder_stand_in_for_none_of_the_library(in_tmp, command):
    for name in ("random", "tempfile", "numpy", "statistics", "platform"):
        (in_tmp / f"{name}.py").write_text(f"open({name!r}, 'w')\n")
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert "usage:" in done.stdout or "There is no command" in done.stderr, done.stderr
    assert sorted(path.suffix for path in in_tmp.iterdir()) == [".py"] * 5


def test_the_working_folder_is_searched_last(in_tmp, monkeypatch):
    monkeypatch.setattr("sys.path", ["", str(in_tmp), "/library", "."])
    put_working_folder_last()
    assert sys.path == ["/library", str(in_tmp)]


@pytest.mark.parametrize("beside", [["--foo"], ["--model=SASRec"], ["x"]])
def test_list_takes_nothing_beside_it(capsys, beside):
    for words in (["--list", *beside], [*beside, "--list"], ["list", *beside]):
        if not words[0].startswith("-") and words[0] != "list":
            continue  # a command, which there is not
        assert main(words) == 1
        assert f"--list takes nothing beside it; leave out `{beside[0]}`" in capsys.readouterr().err


def test_list_and_help(capsys):
    assert main(["--list"]) == 0 and main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in ("FMLPRec", "PerceiverIO", "microvideo-demo", "usage:"):
        assert name in printed


@pytest.mark.parametrize("command", HELP)
def test_help_of_a_command(command, capsys):
    """It is printed, each command has one, and what it names is there."""
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed == HELP[command] and printed.startswith(f"usage: recbole-video {command}")
    known = listed_names() | set(sweep_options()) | set(declared(ReportOptions)) | {"OPTION"}
    assert set(re.findall(r"--(\w+)", printed)) <= known


def test_the_help_of_a_sweep_leaves_nothing_out():
    assert set(sweep_options()) - {"sweep"} <= set(re.findall(r"--(\w+)", HELP["sweep"]))
    assert {*HELP, "data", "frames", "recommend", "predict", "explain"} == set(COMMANDS)


def test_every_option_of_a_command_is_declared_once():
    """Beside what reads it; what a run has as well, a run declares."""
    owners = [CommandOptions, ReportOptions, SweepOptions, RunOptions]
    names = [name for owner in owners for name in declared(owner)]
    assert sorted(name for name in set(names) if names.count(name) > 1) == ["latex"]  # of two commands


class TestNames:
    """A typo is told before anything heavy is imported, by a list in which no option is missing."""

    OF_RECBOLE = (*_READ_BY.keys() - {"ContextRecommender"}, "DeepFM", "LightGCN")  # a base class, and a model of it

    @pytest.mark.parametrize(
        "model",
        [*USER_ENCODERS, *CONTROLS, *POPULARITY_MODELS, *(f"recbole:{name}" for name in sorted(OF_RECBOLE))],
    )
    def test_no_option_is_missing(self, model):
        assert set(Config(model).declarations) - listed_names() == set()

    @pytest.mark.parametrize("encoder", ITEM_ENCODERS)
    def test_nor_of_an_item_encoder(self, encoder):
        assert set(Config("SASRec", config_dict={"item_encoder": encoder}).declarations) <= listed_names()

    def test_a_typo(self):
        code = (
            "import sys\nfrom recbole_video.cli import main\n"
            "print(main(['--encoder_dept=2']), 'torch' in sys.modules, 'recbole' in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout == "1 False False\n"
        assert "`encoder_dept` is not an option (did you mean `encoder_depth`?) of any model" in done.stderr

    @pytest.mark.parametrize("word", ["--config_files=a.yaml", "--item_encoder=mine:Encoder", "--resume=saved/run"])
    def test_what_may_bring_options_of_its_own_is_left_to_the_configuration(self, word):
        check_names([word, "--encoder_of_mine=2"])

    @pytest.mark.parametrize(
        ("word", "flag"),
        [
            ("--max_concurrent=1", "--sweep=NAME_OR_YAML"),
            ("--demo", "--sweep=NAME_OR_YAML"),
            ("--out=x", "--report=FOLDERS"),
        ],
    )
    @pytest.mark.parametrize("beside", ["--epochs=1", "--resume=saved/sweeps/mine"])
    def test_options_of_other_commands(self, word, flag, beside, capsys):
        assert main([beside, word]) == 1
        assert f"`{word.partition('=')[0]}` stands beside {flag} only" in capsys.readouterr().err
        check_names([word, "--item_encoder=mine:Encoder"], OF_COMMANDS)  # which may have one of this name
