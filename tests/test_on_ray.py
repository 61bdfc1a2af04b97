"""What runs on Ray, in one session of it: sweeps, a run in several processes, the pipeline of videos."""

import json
import signal
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
import yaml

from recbole_video import run_recbole_video
from recbole_video.errors import ConfigError, DataError, TrainingError
from recbole_video.runtime.launch_on_ray import launch_on_ray
from recbole_video.sweep import shared_data
from recbole_video.sweep.folder import FAILED, FINISHED, STOPPED, SweepFolder, best_score, read_trial, trial_state
from recbole_video.sweep.plan import make_plan
from recbole_video.sweep.runner import Resources, run_sweep
from recbole_video.sweep.spec import read_sweep

from . import process_work
from .conftest import small_options
from .sweeps import write_sweep
from .test_video_pipeline import contents
from .test_video_pipeline import run as run_on_videos

ray = pytest.importorskip("ray")
AS_MANY_AS_FIT = Resources()
ONE_AT_A_TIME = Resources(max_concurrent=1)  # trials in turn share a process, whose start takes longer than they do


@pytest.fixture(scope="module")
def shared_ray():
    """One small Ray for all: its start takes longer than most tests, and what needs a Ray joins one that runs."""
    from recbole_video.runtime.ray_session import ray_session

    with ray_session(None, n_cpus=2) as session:
        yield session


@pytest.fixture(scope="module")
def lasting_server(shared_ray):
    with shared_data.data_server(shared_ray) as server:
        yield server


@pytest.fixture
def data_served(lasting_server, monkeypatch):
    """Sweeps are served by one process, which has its imports done; otherwise each starts its own."""
    monkeypatch.setattr(shared_data, "data_server", lambda ray: nullcontext(lasting_server))


def data_servers():
    return {child for child in psutil.Process().children(recursive=True) if _is_data_server(child)}


def _is_data_server(process):
    try:
        return any("DataServer" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("shared_ray")
class TestSweeps:
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
        others = data_servers()
        plan, folder, states = self.run(path)
        kinds = [states[trial.name].kind for trial in plan.trials]
        assert kinds == [FINISHED, FAILED, FINISHED, FINISHED], states
        good, bad, *_ = (folder.trial_folder(trial) for trial in plan.trials)
        assert "DataError" in trial_state(bad).detail and "missing" in trial_state(bad).detail
        alone = run_recbole_video(config_file_list=[good / "config.yaml"], saved=False)
        stored = json.loads((good / "metrics.json").read_text())
        assert stored["test_result"] == alone["test_result"] and (good / "model.pth").is_file()
        assert read_trial(good) == plan.trials[0] and not folder.ray.exists()
        # In a session that goes on after the sweep, what held its data has ended, or does so now.
        assert not psutil.wait_procs(data_servers() - others, timeout=60)[1]

    def test_asha_stops_the_worst(self, in_tmp, data_root, data_served):
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

    def test_optuna_tries_each_point_once_and_failing_ones_again(self, in_tmp, data_root, data_served):
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


@pytest.mark.usefixtures("shared_ray")
def test_a_run_in_processes_of_a_cluster(in_tmp, data_root):
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


def test_videos_give_the_results_of_a_local_run(shared_ray, raw, tmp_path):
    """Bad videos included; and no process of Ray listens to other machines."""
    pytest.importorskip("ray.data", reason="needs Ray Data: the extra `cluster`")
    sockets = [s for p in psutil.Process().children(recursive=True) for s in p.net_connections("inet")]
    listening = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    assert listening and listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    words = ["--sampler", "uniform", "--n_frames", "4"]
    here = run_on_videos("frames", raw, tmp_path / "here", *words)
    there = run_on_videos("frames", raw, tmp_path / "there", *words, "--ray")
    assert contents(there) == contents(here)
