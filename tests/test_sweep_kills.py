"""Sweeps whose processes are killed, each in turn, and that go on."""

import json
import signal
import time

import psutil
import pytest

from recbole_video import run_recbole_video

from .sweeps import write_sweep

pytest.importorskip("ray")


def wait_for(found, what, seconds=900):
    end = time.monotonic() + seconds
    while not (it := found()):
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.02)
    return it


def ray_processes(of):
    return [p for p in psutil.Process(of).children(recursive=True) if p.is_running()]


def is_alive(process):
    """Whether it has not ended; it may do so between two questions."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start(forks, in_tmp):
    """Starts the command in a process of its own; what is left of it is ended with the test."""
    started = []

    def begin(*words, **environment):
        started.append(forks.start(in_tmp, "--sweep=mine.yaml", *words, environment=environment))
        return started[-1]

    yield begin
    for running in started:
        running.clean_up()


def end_of(command, log, seconds=900):
    """Exit status of a command that ends by itself, and all that has been printed so far."""
    assert command.ended_within(seconds), log.read_text()
    return command.code, log.read_text()


class TestKills:
    def test_every_process_in_turn(self, in_tmp, data_root, start):
        """SIGKILL of what trains and serves: others take over. Of Ray's head and of the driver: --resume. Ctrl-C."""
        rows = [{"label": "short", "options": {"epochs": 30}}, {"label": "long", "options": {"epochs": 5000}}]
        write_sweep(in_tmp / "mine.yaml", data_root, {"stopping_step": 9999}, rows=rows, seeds=[1])
        log = in_tmp / "output.txt"
        driver = start("--max_concurrent=1", RAY_gcs_rpc_server_reconnect_timeout_s="2")
        wait_for(lambda: list(in_tmp.glob("saved/sweeps/*/trials/short*/last.pth")), "checkpoint")
        workers = [p for p in ray_processes(driver.pid) if "TrialTask" in p.name() or "ImplicitFunc" in p.name()]
        servers = [p for p in ray_processes(driver.pid) if "DataServer" in p.name()]
        assert workers and servers, [p.name() for p in ray_processes(driver.pid)]
        for process in [*workers, *servers]:
            process.kill()
        last = wait_for(lambda: list(in_tmp.glob("saved/sweeps/*/trials/long*/last.pth")), "second trial")[0]
        short = self.trained_as_alone(in_tmp)
        finished = short.stat().st_mtime_ns
        [head] = [p for p in ray_processes(driver.pid) if p.name() == "gcs_server"]
        head.kill()
        status, out = end_of(driver, log)
        assert status != 0 and "its process died" in out
        driver.clean_up()

        driver, before = start("--resume"), last.stat().st_mtime_ns
        wait_for(lambda: last.stat().st_mtime_ns != before, "epoch after the head's end")
        self.listens_to_this_machine_alone(driver)
        everybody = ray_processes(driver.pid)
        driver.send(signal.SIGKILL, to_group=False)
        assert end_of(driver, log)[0] == -signal.SIGKILL
        wait_for(lambda: not any(map(is_alive, everybody)), "end of Ray")

        before, n_before = last.stat().st_mtime_ns, len(log.read_text())
        driver = start("--resume")
        wait_for(lambda: last.stat().st_mtime_ns != before, "epoch after the driver's end")
        driver.send(signal.SIGINT, to_group=False)
        status, out = end_of(driver, log)
        out = out[n_before:]
        assert status == 130 and "goes on with --resume" in out and "Traceback" not in out
        assert (last.parent / "run.log").read_text().count("Resume training from epoch") == 2
        assert short.stat().st_mtime_ns == finished and len(list(in_tmp.glob("saved/sweeps/*"))) == 1
        [report] = in_tmp.glob("saved/sweeps/*/report.md")
        assert "1 of 2 trials have finished" in report.read_text()

    def trained_as_alone(self, in_tmp):
        """The result file of the trial whose process was killed; it has gone on to an unbroken run's numbers."""
        [result] = in_tmp.glob("saved/sweeps/*/trials/short*/metrics.json")
        assert "Resume training from epoch" in (result.parent / "run.log").read_text()
        alone = run_recbole_video(config_file_list=[result.parent / "config.yaml"], saved=False)
        assert json.loads(result.read_text())["test_result"] == alone["test_result"]
        return result

    def listens_to_this_machine_alone(self, driver):
        listening = [
            connection.laddr.ip
            for process in [psutil.Process(driver.pid), *ray_processes(driver.pid)]
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening and all(ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for ip in listening), listening
