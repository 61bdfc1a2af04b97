"""Sweeps that run: in parallel on Ray, resumed after kills, stopped early, with trials that fail."""

import json
import signal
import time
from pathlib import Path

import psutil
import pytest
import yaml

from recbole_video import run_recbole_video
from recbole_video.errors import ConfigError, DataError, TrainingError
from recbole_video.runtime.launch_on_ray import launch_on_ray
from recbole_video.sweep.folder import FAILED, FINISHED, STOPPED, SweepFolder, best_score, read_trial, trial_state
from recbole_video.sweep.plan import make_plan
from recbole_video.sweep.runner import Resources, run_sweep
from recbole_video.sweep.spec import read_sweep

from . import process_work
from .conftest import small_options

ray = pytest.importorskip("ray")
AS_MANY_AS_FIT = Resources()
ONE_AT_A_TIME = Resources(max_concurrent=1)  # trials in turn share a process, whose start takes longer than they do


def write_sweep(path, data_root, base=(), **keys):
    options = {k: v for k, v in small_options(data_path=str(data_root)).items() if k != "show_progress"}
    path.write_text(yaml.safe_dump({"base": {"model": "SASRec", "dataset": "tiny", **options, **dict(base)}, **keys}))
    return path


def wait_for(found, what, seconds=300):
    end = time.monotonic() + seconds
    while not (it := found()):
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.02)
    return it


def ray_processes(of):
    return [p for p in psutil.Process(of).children(recursive=True) if p.is_running()]


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


def end_of(command, log, seconds=300):
    """Exit status of a command that ends by itself, and all that has been printed so far."""
    assert command.ended_within(seconds), log.read_text()
    return command.code, log.read_text()


@pytest.fixture(scope="module")
def shared_ray():
    """One Ray for the tests that need no Ray of their own; a sweep joins what runs already."""
    from recbole_video.runtime.ray_session import ray_session

    with ray_session(None, n_cpus=2) as session:
        yield session


def _is_data_server(process):
    try:
        return any("DataServer" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("shared_ray")
class TestInProcess:
    def run(self, path, resources=AS_MANY_AS_FIT):
        plan = make_plan(read_sweep(path.read_text(), "mine", "mine.yaml"))
        folder = SweepFolder.create(plan, Path("saved"))
        return plan, folder, run_sweep(plan, folder, resources)

    def test_trials_are_ordinary_runs_and_a_failing_one_is_reported(self, in_tmp, data_root):
        """Video models, a popularity model and one of RecBole's own in one sweep."""
        from .test_popularity import METADATA, SMALL, write_popularity

        write_popularity(in_tmp / "pop")
        video = {k: v for k, v in small_options(data_path=str(data_root), epochs=2).items() if k != "show_progress"}
        video |= {"model": "SASRec", "dataset": "tiny"}
        popularity = {
            **SMALL,
            **METADATA,
            "model": "STAP",
            "data_path": str(in_tmp / "pop"),
            "dataset": "pop",
            "epochs": 1,
        }
        stock = {"model": "Pop", "dataset": "tiny", "epochs": 1, "use_gpu": False, "data_path": str(data_root),
                 "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}  # fmt: skip
        rows = {"good": video, "bad": {**video, "frame_store": "missing"}, "popularity": popularity, "stock": stock}
        path = in_tmp / "mine.yaml"
        path.write_text(yaml.safe_dump({
            "rows": [{"label": label, "options": options} for label, options in rows.items()],
            "metrics": ["seconds"], "seeds": [1],
        }))  # fmt: skip
        plan, folder, states = self.run(path)
        kinds = [states[trial.name].kind for trial in plan.trials]
        assert kinds == [FINISHED, FAILED, FINISHED, FINISHED], states
        good, bad, *_ = (folder.trial_folder(trial) for trial in plan.trials)
        assert "DataError" in trial_state(bad).detail and "missing" in trial_state(bad).detail
        alone = run_recbole_video(config_file_list=[good / "config.yaml"], saved=False)
        stored = json.loads((good / "metrics.json").read_text())
        assert stored["test_result"] == alone["test_result"] and (good / "model.pth").is_file()
        assert read_trial(good) == plan.trials[0] and not folder.ray.exists()
        self.assert_nothing_is_served_any_more()

    def assert_nothing_is_served_any_more(self):
        """In a session that goes on after the sweep, what held its data has ended, or does so now."""
        serving = [child for child in psutil.Process().children(recursive=True) if _is_data_server(child)]
        assert not psutil.wait_procs(serving, timeout=60)[1]

    def test_a_run_in_processes_of_a_cluster(self, in_tmp, data_root):
        """A Ray that runs already stands for the cluster; its processes train what one trains."""
        with pytest.raises(DataError, match="line 3: something is wrong"):
            launch_on_ray(process_work.fail, 2, False, "auto")
        with pytest.raises(TrainingError, match="`nproc` is 9, and the cluster has 2 cores"):
            launch_on_ray(process_work.fail, 9, False, "auto")
        still = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "train_batch_size": 30, "epochs": 1}
        options = small_options(data_path=str(data_root), **still)
        alone = run_recbole_video("SASRec", "tiny", config_dict=options)
        options |= {"nproc": 2, "ray_address": "auto"}
        together = run_recbole_video("SASRec", "tiny", config_dict=options)
        assert together["test_result"] == alone["test_result"] and Path(together["run_folder"], "model.pth").is_file()

    def test_asha_stops_the_worst(self, in_tmp, data_root):
        path = write_sweep(
            in_tmp / "mine.yaml", data_root, {"epochs": 6, "stopping_step": 9}, seeds=[1],
            space={"learning_rate": [0.01, 1e-9, 2e-9, 3e-9]}, asha={"grace_epochs": 1, "reduction_factor": 2},
        )  # fmt: skip
        plan, folder, states = self.run(path, ONE_AT_A_TIME)
        kinds = [states[trial.name].kind for trial in plan.trials]
        assert kinds.count(STOPPED) >= 1 and kinds.count(FINISHED) >= 1
        (folder.ray / "tune").mkdir(parents=True)  # as a kill between the last trial and the end leaves it
        assert run_sweep(plan, folder, ONE_AT_A_TIME) == states and not folder.ray.exists()
        stopped = folder.trial_folder(plan.trials[kinds.index(STOPPED)])
        assert "by ASHA" in trial_state(stopped).detail and best_score(stopped) is not None

    def test_optuna_tries_each_point_once_and_failing_ones_again(self, in_tmp, data_root):
        path = write_sweep(
            in_tmp / "mine.yaml", data_root, {"hidden_size": 8, "epochs": 1}, seeds=[3],
            space={"n_heads": [1, 2, 3]}, search={"kind": "optuna", "n_trials": 9},
        )  # fmt: skip
        plan, folder, states = self.run(path, ONE_AT_A_TIME)
        kinds = {read_trial(folder.trials / name).point["n_heads"]: state.kind for name, state in states.items()}
        assert kinds == {1: FINISHED, 2: FINISHED, 3: FAILED} and plan.n_trials == 3  # 8 has no third
        before = {name: (folder.trials / name / "trial.json").stat().st_mtime_ns for name in states}
        assert {name: state.kind for name, state in run_sweep(plan, folder, ONE_AT_A_TIME).items()} == {
            name: state.kind for name, state in states.items()
        }
        again = [n for n, at in before.items() if (folder.trials / n / "trial.json").stat().st_mtime_ns != at]
        assert [states[name].kind for name in again] == [FAILED]  # finished trials are not repeated

    def test_sigterm_is_a_ctrl_c(self):
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler  # and not Ray's

    def test_resources_that_no_machine_has(self, in_tmp, data_root):
        path = write_sweep(in_tmp / "mine.yaml", data_root)
        plan = make_plan(read_sweep(path.read_text(), "mine", "mine.yaml"))
        with pytest.raises(ConfigError, match="A trial takes 999 cores"):
            run_sweep(plan, SweepFolder.create(plan, Path("saved")), Resources(cpus=999))


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
        wait_for(lambda: not any(p.is_running() and p.status() != "zombie" for p in everybody), "end of Ray")

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
