"""Which device a run computes on, and how much memory it may take there."""

import os
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from recbole_video.config import Config
from recbole_video.errors import ConfigError
from recbole_video.runtime.devices import choose_device
from recbole_video.runtime.memory import available_memory
from recbole_video.sweep.plan import make_plan
from recbole_video.sweep.runner import Resources, run_sweep
from recbole_video.sweep.spec import read_sweep
from recbole_video.sweep.trial_task import TrialTask
from recbole_video.training.trainer import _rng_state, _set_rng_state

from .conftest import small_options

GB = 1 << 30


@pytest.fixture
def visible(monkeypatch):
    """visible(2): PyTorch sees so many GPUs."""

    def see(n):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)

    return see


class TestChoice:
    @pytest.mark.parametrize(
        ("gpu_id", "use_gpu", "n_visible", "device"),
        [
            (0, True, 2, "cuda:0"), (1, True, 2, "cuda:1"), ("1", True, 2, "cuda:1"), ((1, 0), True, 2, "cuda:1"),
            ("1,0", True, 2, "cuda:1"), (1, False, 2, "cpu"), ("", True, 2, "cpu"), (None, True, 2, "cpu"),
            (0, True, 0, "cpu"), (5, False, 0, "cpu"),
        ],
    )  # fmt: skip
    def test_counts_the_visible_ones(self, visible, gpu_id, use_gpu, n_visible, device):
        visible(n_visible)
        assert choose_device(gpu_id, use_gpu) == torch.device(device)

    @pytest.mark.parametrize(
        ("gpu_id", "n_visible", "message"),
        [
            (2, 2, "`gpu_id` is 2, and GPUs 0 to 1 are visible"),
            (1, 1, "`gpu_id` is 1, and GPU 0 alone is visible; .*use_gpu=False for the CPU"),
            (1, 0, "`gpu_id` is 1, and no GPU is visible"),
            (-2, 2, "`gpu_id` is `-2`; it must be a number, counted from 0"),
            ("GPU-8f", 2, "`gpu_id` is `GPU-8f`; it must be a number"),
            (True, 2, "`gpu_id` is `True`; it must be a number"),
            (1.5, 2, "`gpu_id` is `1.5`; it must be a number"),
        ],
    )
    def test_one_that_is_not_there(self, visible, gpu_id, n_visible, message):
        visible(n_visible)
        with pytest.raises(ConfigError, match=message):
            choose_device(gpu_id, True)

    @pytest.mark.parametrize("model", ["SASRec", "STAP", "LightGCN"])
    def test_what_a_scheduler_has_set_stays(self, visible, monkeypatch, data_root, model):
        """However often, and before or after CUDA was asked."""
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
        visible(2)
        options = {"data_path": str(data_root), "dataset": "tiny"}
        for gpu_id in (1, 0, 1):
            config = Config(model, config_dict={**options, "gpu_id": gpu_id})
            assert config["device"] == torch.device("cuda", gpu_id) and config["gpu_id"] == str(gpu_id)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"
        assert Config(model, config_dict={**options, "use_gpu": False})["device"] == torch.device("cpu")

    def test_random_state_is_asked_of_the_runs_own_gpu(self, monkeypatch):
        asked = []
        state = torch.get_rng_state()
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: asked.append(device) or state)
        monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: asked.append(device))
        device = torch.device("cuda", 1)
        kept = _rng_state(device)
        _set_rng_state(kept, device)
        _set_rng_state(kept, torch.device("cpu"))  # a run that goes on on another device
        assert asked == [device, device] and _rng_state(torch.device("cpu"))["cuda"] == []


class TestSweeps:
    @pytest.mark.parametrize(
        ("given", "environment", "option"),
        [
            ([], "0", {"use_gpu": False}),
            (["3"], "3", {"gpu_id": 0}),
            ([7], "5,7", {"gpu_id": 1}),
            ([1], "", {"gpu_id": 1}),
        ],
    )
    def test_a_trial_takes_the_gpu_that_ray_gives(self, monkeypatch, given, environment, option):
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_gpu_ids=lambda: given))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
        task = TrialTask(None, (), "trials", ".", None, 1)
        options = task._options(SimpleNamespace(options={"gpu_id": "0"}))
        assert {**options, **option} == options

    def test_another_choice_is_refused(self, in_tmp):
        text = "base: {model: SASRec, dataset: microvideo-demo, gpu_id: 1, use_gpu: false}\n"
        from recbole_video.sweep.folder import SweepFolder

        plan = make_plan(read_sweep(text, "mine", "mine.yaml"))
        folder = SweepFolder.create(plan, in_tmp)
        with pytest.raises(ConfigError, match="`gpu_id` is `1`, but in a sweep Ray gives each trial its GPU"):
            run_sweep(plan, folder, Resources())
        assert not folder.path.exists()


class TestSeed:
    @pytest.mark.parametrize("model", ["SASRec", "STAP", "LightGCN"])
    @pytest.mark.parametrize("seed", [2**32, -1, 1.5, True, "x"])
    def test_out_of_range(self, data_root, model, seed):
        with pytest.raises(ConfigError, match=f"`seed` is `{seed}`; it must be a whole number from 0 to 4294967295"):
            Config(model, "tiny", config_dict={"data_path": str(data_root), "seed": seed})

    def test_the_largest(self, data_root):
        options = small_options(data_path=str(data_root), seed=2**32 - 1)
        assert Config("SASRec", "tiny", config_dict=options)["seed"] == 2**32 - 1


class TestMemory:
    """What is free is the least of the machine's and of what each control group leaves."""

    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GB))

    @staticmethod
    def write(root, cgroup, **groups):
        """groups: folder under sys/fs/cgroup, with __ for /, to files and what they hold."""
        files = {"proc/self/cgroup": cgroup}
        for folder, values in groups.items():
            place = "sys/fs/cgroup" + "".join(f"/{part}" for part in folder.split("__") if part)
            files |= {f"{place}/{name}": value for name, value in values.items()}
        for name, value in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"{value}\n")

    def test_without_groups(self, tmp_path):
        assert available_memory(tmp_path) == 64 * GB

    def test_v2(self, tmp_path):
        """A scheduler's job: the step has no limit of its own, the job above it has."""
        job = {"memory.max": 8 * GB, "memory.current": 5 * GB, "memory.stat": f"anon 7\ninactive_file {2 * GB}\nx 1"}
        self.write(
            tmp_path, "0::/slurm/job1/step0", slurm__job1=job, slurm__job1__step0={"memory.max": "max"},
            slurm={"memory.max": 40 * GB, "memory.current": 9 * GB},
        )  # fmt: skip
        assert available_memory(tmp_path) == 5 * GB

    def test_v2_of_a_container(self, tmp_path):
        self.write(tmp_path, "0::/", **{"": {"memory.max": 4 * GB, "memory.current": 1 * GB}})
        assert available_memory(tmp_path) == 3 * GB

    def test_v1(self, tmp_path):
        stat = f"inactive_file 3\ntotal_inactive_file {GB}"
        group = {"memory.limit_in_bytes": 6 * GB, "memory.usage_in_bytes": 4 * GB, "memory.stat": stat}
        cgroup = "12:cpu,cpuacct:/a\n9:name=systemd:/\n4:hugetlb,memory:/docker/abc\n0::/"
        self.write(tmp_path, cgroup, memory__docker__abc=group)
        assert available_memory(tmp_path) == 3 * GB

    def test_v1_of_a_container(self, tmp_path):
        """The group is named by its path on the host, which is not mounted; the limit of the machine is no limit."""
        group = {"memory.limit_in_bytes": 2 * GB, "memory.usage_in_bytes": 3 * GB}
        self.write(tmp_path, "4:memory:/docker/abc", memory=group)
        assert available_memory(tmp_path) == 0
        self.write(tmp_path, "4:memory:/", memory={**group, "memory.limit_in_bytes": 2**63 - 4096})
        assert available_memory(tmp_path) == 64 * GB

    def test_what_cannot_be_read(self, tmp_path):
        self.write(tmp_path, "0::/a\nnonsense", a={"memory.max": "many", "memory.current": "1"})
        assert available_memory(tmp_path) == 64 * GB
