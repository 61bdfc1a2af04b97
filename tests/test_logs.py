"""Logs and TensorBoard files, and disks that fill up under them."""

import contextlib
import errno
import logging
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_video import run_recbole_video
from recbole_video.errors import RunFolderError
from recbole_video.runtime import logs
from recbole_video.runtime.event_log import EventLog

from .conftest import small_options

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


class FullDisk:
    """A file that takes so many writes."""

    def __init__(self, n_writes):
        self.n_left = n_writes

    def write(self, data):
        self.n_left -= 1
        if self.n_left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        pass


def said(caplog):
    return [record.getMessage() for record in caplog.records if "cannot be written any more" in record.getMessage()]


class TestEventLog:
    def test_is_read_by_tensorboard(self, tmp_path):
        log = EventLog(tmp_path / "run")
        for epoch, loss in enumerate((3.0, 2.5)):
            log.add_scalar("Loss/Train", loss, epoch)
        log.add_hparams({"learning_rate": 0.1, "model": "SASRec", "empty": None}, {"hparam/best_valid_result": 0.5})
        log.close()
        log.close()
        read = EventAccumulator(str(tmp_path / "run"))
        read.Reload()
        assert [(event.step, event.value) for event in read.Scalars("Loss/Train")] == [(0, 3.0), (1, 2.5)]
        assert read.Scalars("hparam/best_valid_result")[0].value == 0.5
        assert "_hparams_/experiment" in read.summary_metadata

    def test_full_disk(self, tmp_path, caplog):
        log = EventLog(tmp_path)
        log._file.close()
        log._file = FullDisk(1)
        for epoch in range(3):
            log.add_scalar("Loss/Train", 1.0, epoch)
        log.add_hparams({"a": 1}, {"b": 1.0})
        [sentence] = said(caplog)
        assert sentence.endswith(
            "cannot be written any more: No space left on device; the run goes on without TensorBoard."
        )

    def test_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(RunFolderError, match="cannot be written: .*; set tensorboard_dir"):
            EventLog(tmp_path / "file" / "run")


@needs_dev_full
@pytest.mark.parametrize("model", ["SASRec", "Pop"])
def test_a_run_outlives_full_disks_under_its_logs(in_tmp, data_root, monkeypatch, capfd, caplog, model):
    """In the same words for our models and RecBole's; the numbers are those of any other run."""
    options = small_options(data_path=str(data_root))
    if model == "Pop":
        options = {k: options[k] for k in ("data_path", "use_gpu", "load_col", "epochs", "show_progress")}
    want = run_recbole_video(model, "tiny", config_dict=options, saved=False)["test_result"]
    full = in_tmp / "full.log"
    full.symlink_to("/dev/full")
    monkeypatch.setattr(logs, "_log_path", lambda config: full)
    original = EventLog.__init__

    def on_full_disk(log, folder):
        original(log, folder)
        log._file = FullDisk(0)

    monkeypatch.setattr(EventLog, "__init__", on_full_disk)
    caplog.clear()
    assert run_recbole_video(model, "tiny", config_dict=options)["test_result"] == want
    of_log, of_events = sorted(said(caplog), key=lambda text: "TensorBoard" in text)
    assert "full.log` cannot be written any more: No space left on device; the run goes on without it." in of_log
    assert "the run goes on without TensorBoard" in of_events
    assert "Traceback" not in capfd.readouterr().err


def test_text_that_is_no_unicode(tmp_path):
    """A name of a file that is not UTF-8 is half of surrogate pairs in Python."""
    handler = logs._file(tmp_path / "a.log")
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "video \udcff.mp4", None, None))
    handler.close()
    assert "video \\udcff.mp4" in (tmp_path / "a.log").read_text()


class TestConsole:
    """What a run says on standard output, in a terminal as RecBole does, in a notebook in one line an epoch."""

    def run(self, data_root, capfd):
        run_recbole_video("SASRec", "tiny", config_dict=small_options(data_path=str(data_root), epochs=2), saved=False)
        return capfd.readouterr().out

    def test_terminal(self, in_tmp, data_root, capfd):
        out = self.run(data_root, capfd)
        assert out.count("epoch 1 training [time: ") == out.count("epoch 1 evaluating [time: ") == 1
        assert out.count("epoch 2 training [time: ") == 1 and "epoch 0" not in out
        assert out.count("valid result") == 2 and "epoch 1: train loss" not in out

    def test_notebook(self, in_tmp, data_root, capfd, monkeypatch):
        monkeypatch.setitem(logs.sys.modules, "ipykernel", logs)
        out = self.run(data_root, capfd)
        lines = [line for line in out.splitlines() if "epoch 1" in line and "INFO" in line]
        assert len(lines) == 1 and "epoch 1: train loss" in lines[0] and ", valid " in lines[0]
        assert "valid result" not in out
        [file] = in_tmp.glob("log/*/*.log")
        assert "epoch 1 evaluating [time: " in file.read_text() and "epoch 1: train loss" not in file.read_text()

    @needs_dev_full
    def test_a_run_goes_on_when_nobody_reads(self, in_tmp, data_root, monkeypatch, capfd):
        with open("/dev/full", "w", buffering=1) as gone:  # noqa: PTH123
            monkeypatch.setattr(logs.sys, "stdout", gone)
            result = run_recbole_video(
                "SASRec", "tiny", config_dict=small_options(data_path=str(data_root)), saved=False
            )
            monkeypatch.undo()
            with contextlib.suppress(OSError):
                gone.close()
        assert result["test_result"] and "Logging error" not in capfd.readouterr().err


def test_what_is_told_once(capsys):
    """In each run anew, by text; other records as often as they come."""
    logger = logging.getLogger()
    for _ in range(2):
        with logs.console_logging({"state": "INFO"}):
            for text in ("same", "same", "other"):
                logger.warning(text, extra=logs.ONCE)
            for _ in range(2):
                logger.warning("often")
    printed = capsys.readouterr().out
    assert [printed.count(word) for word in ("same", "other", "often")] == [2, 2, 4]
