"""The command line as a user meets it: exit status, one clear sentence, nothing of Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from recbole_video.cli import main

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
    assert "SASRec + CVA on tiny: 40 users, full ranking of" in done.stderr
    assert "test result: {'hit@10': " in done.stderr and "\033" not in done.stderr


def test_config_files_are_separated_by_spaces(in_tmp, data_root, capsys):
    (in_tmp / "a.yaml").write_text("epochs: 1\n")
    (in_tmp / "b.yaml").write_text("epoch: 1\n")
    assert main(["--dataset=tiny", "--config_files=a.yaml b.yaml", *words(data_root)]) == 1
    assert "`epoch` is not an option (did you mean `epochs`?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=SASRek"], "ConfigError: There is no model named `SASRek`"),
        (["--dataset=nowhere"], "DataError: There is no data set `nowhere`"),
        (["--dataset=nowhere", "--item_encoder=ID"], "DataError: There is no data set `nowhere`"),
        (["--lerning_rate=1"], "ConfigError: `lerning_rate` is not an option (did you mean `learning_rate`?)"),
        (["train"], "ConfigError: `train` belongs to no option"),
        (["--resume=nowhere"], "CheckpointError: There is nothing to resume in `nowhere`"),
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


def test_list_and_help(capsys):
    assert main(["--list"]) == 0 and main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in ("FMLPRec", "PerceiverIO", "microvideo-demo", "usage:"):
        assert name in printed
