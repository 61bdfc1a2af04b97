"""The package list against the tree, and the built wheel in an empty environment."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import recbole_video

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_every_package_of_the_tree_is_listed():
    listed = set(re.findall(r'^    "(recbole_video[\w.]*)",$', PYPROJECT, re.MULTILINE))
    tree = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "recbole_video").rglob("__init__.py")}
    for folder in ("properties", "dataset_tools"):
        tree |= {
            f"recbole_video.{'.'.join(p.parent.relative_to(ROOT).parts)}" for p in (ROOT / folder).rglob("__init__.py")
        }
    assert listed == tree


def test_versions_agree():
    assert f'version = "{recbole_video.__version__}"' in PYPROJECT
    assert f"## {recbole_video.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_are_exact_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    exact = re.compile(r"[A-Za-z0-9_.-]+==[\w.]+( ; python_full_version (<|>=) '3\.\d+(\.\d+)?')?")
    assert len(lines) > 40 and all(exact.fullmatch(line) for line in lines)


PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_name_each_library_once(python):
    """For each Python: what pyproject.toml asks for has one pin, inside its range."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate({"python_full_version": f"{python}.0"}):
            assert pin.name not in pins, line
            [pins[pin.name]] = [str(each.version) for each in pin.specifier]
    project = tomllib.loads(PYPROJECT)["project"]
    asked = [*project["dependencies"], *(line for lines in project["optional-dependencies"].values() for line in lines)]
    for line in map(Requirement, asked):
        if line.name != "recbole_video":
            name = canonicalize_name(line.name)
            assert line.specifier.contains(pins[name]), f"{line}: {pins[name]}"


def test_supported_pythons_are_stated_once_and_everywhere_alike():
    project = tomllib.loads(PYPROJECT)["project"]
    stated = [name.removeprefix("Programming Language :: Python :: ") for name in project["classifiers"]]
    assert [name for name in stated if name.startswith("3.")] == list(PYTHONS)
    assert project["requires-python"] == f">={PYTHONS[0]}"
    tools = tomllib.loads(PYPROJECT)["tool"]
    assert (tools["ruff"]["target-version"], tools["mypy"]["python_version"]) == ("py311", "3.11")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("target", "resolution"), [("test-lowest", "lowest-direct"), ("test-newest", "highest")])
def test_the_suite_under_other_versions_has_an_environment_of_its_own(target, resolution):
    plan = ["make", "--dry-run", target, "PYTHON=python3.13", "PYTEST=-n 1", "UV_FIND_LINKS=", "PIP_FIND_LINKS=/w /x"]
    commands = subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    made, installed, _, tested = (line for line in commands if f".venv-{target.removeprefix('test-')}" in line)
    assert "--clear --python python3.13" in made
    assert f"--resolution {resolution} " in installed and "constraint" not in installed
    assert tested.endswith("/python -m pytest -n 1")
    assert all(line.startswith("UV_FIND_LINKS=/w,/x ") for line in (installed, tested))
    assert not any(".venv/" in line for line in commands)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("status", "kept"), [(0, "numpy==2.1\n"), (1, "numpy==2.0\n")])
def test_pins_are_kept_where_uv_fails(in_tmp, status, kept):
    """It may have written a part of them by then."""
    shutil.copy(ROOT / "Makefile", in_tmp)
    (in_tmp / "constraints.txt").write_text("numpy==2.0\n")
    uv = in_tmp / "uv"
    uv.write_text(f"#!/bin/sh\necho 'numpy==2.1'\necho 'nvidia-nccl==2 ; x'\nexit {status}\n")
    uv.chmod(0o755)
    done = subprocess.run(["make", "pins", f"UV={uv}"], capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(status), done.stderr
    assert (in_tmp / "constraints.txt").read_text() == kept
    assert sorted(path.name for path in in_tmp.iterdir()) == ["Makefile", "constraints.txt", "uv"]


def test_public_names_exist():
    for name in recbole_video.__all__:
        assert getattr(recbole_video, name) is not None
    assert dir(recbole_video) == sorted(recbole_video.__all__)  # for completion
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = recbole_video.absent


def test_import_is_cheap_and_does_nothing():
    code = "import sys, recbole_video; print([m for m in ('torch', 'recbole', 'ray', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_checkout_runs_without_being_installed(in_tmp):
    """Another name for the checkout, so that the installed package is out of the way."""
    for name in ("recbole_video", "properties", "dataset_tools"):
        shutil.copytree(ROOT / name, in_tmp / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run_recbole_video.py", in_tmp)
    code = "import recbole_video.properties, recbole_video.dataset_tools as d; print(d.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=in_tmp)
    assert Path(done.stdout.strip()).is_relative_to(in_tmp)
    (in_tmp / "tests").mkdir()
    (in_tmp / "tests" / "__init__.py").touch()
    code = "import importlib.util; assert importlib.util.find_spec('recbole_video.tests') is None"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=in_tmp)


def lend_compiled_code(python):
    """Give another environment what the libraries here have been compiled to; Python takes what fits its files."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    theirs = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    ours = Path(sysconfig.get_path("purelib"))
    for compiled in ours.rglob("__pycache__"):
        place = Path(theirs, compiled.relative_to(ours))
        if place.parent.is_dir() and not place.exists():
            shutil.copytree(compiled, place)


def test_a_script_in_the_folder_above_the_checkout_finds_the_package(in_tmp):
    """There the checkout's own folder, which has no __init__.py, bears the package's name, too."""
    (in_tmp / "recbole_video").symlink_to(ROOT, target_is_directory=True)
    names = "recbole_video, recbole_video.properties, recbole_video.dataset_tools"
    (in_tmp / "use.py").write_text(f"import {names}\nprint(recbole_video.__version__)\n")
    done = subprocess.run([sys.executable, "use.py"], capture_output=True, text=True, check=False)
    assert done.stdout == f"{recbole_video.__version__}\n", done.stderr


@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which `make test` brings along")
def test_uv_run_leaves_the_environment_of_make_as_it_is(in_tmp):
    """That has the versions of constraints.txt, and uv by itself would bring the newest."""
    (in_tmp / "pyproject.toml").write_text(PYPROJECT)
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable], check=True, env=environment)
    before = sorted(in_tmp.rglob("*"))
    command = ["uv", "run", "--offline", "python", "-c", "import sys; print(sys.prefix)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == f"{in_tmp / '.venv'}\n", done.stderr
    assert sorted(in_tmp.rglob("*")) == before


@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which `make test` brings along")
def test_built_wheel_runs_in_an_empty_environment(in_tmp):
    def uv(*arguments):
        done = subprocess.run(["uv", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    source = in_tmp / "source"
    made_by_runs = ("dataset", "saved", "log", "log_tensorboard")
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", *made_by_runs)
    shutil.copytree(ROOT, source, ignore=ignored)
    uv("build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", in_tmp / "dist", source)
    [wheel] = (in_tmp / "dist").glob("*.whl")
    (in_tmp / "overrides.txt").write_text("\n".join(tomllib.loads(PYPROJECT)["tool"]["uv"]["override-dependencies"]))
    uv("venv", "--quiet", "--python", sys.executable, in_tmp / "env")
    python = in_tmp / "env" / "bin" / "python"
    pins = ("--constraint", ROOT / "constraints.txt", "--overrides", "overrides.txt")
    uv("pip", "install", "--quiet", "--python", python, *pins, wheel)
    lend_compiled_code(python)
    small = "--hidden_size=16 --inner_size=16 --encoder_latent_dim=16 --encoder_depth=1 --epochs=1 --use_gpu=False"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [python.parent / "recbole-video", *small.split(), "--show_progress=False"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0 and "full ranking of" in done.stdout, done.stderr[-2000:]
    assert (in_tmp / "dataset" / "microvideo-demo" / "microvideo-demo.inter").is_file()
