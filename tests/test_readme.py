"""The examples of the README, and of the pages on running and on models, run as they are printed."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from recbole_video.item_encoders import ITEM_ENCODERS

from .conftest import write_dataset

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")
RUNNING, MODELS = ((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("running", "models"))
SMALL = "hidden_size: 16\ninner_size: 16\nencoder_latent_dim: 16\nencoder_depth: 1\n"


def example(name):
    [code] = re.findall(rf"<!-- example: {name} -->\n```python\n(.*?)```", MODELS, re.DOTALL)
    return code


def test_encoder_of_a_third_party(in_tmp, forks):
    """As printed, on a small data set."""
    write_dataset(in_tmp / "dataset", "microvideo-demo")
    (in_tmp / "my_module.py").write_text(example("encoder"))
    status, output = forks.run_file("my_module.py")
    assert status == 0 and re.search("^{'hit@10'", output, re.MULTILINE), output[-2000:]


def test_encoder_by_its_path(in_tmp, monkeypatch):
    (in_tmp / "my_other_module.py").write_text(example("encoder").replace("@register_item_encoder()\n", ""))
    monkeypatch.syspath_prepend(in_tmp)
    assert ITEM_ENCODERS.get("my_other_module:MaxPool").__name__ == "MaxPool"


def test_adapter_of_a_user_encoder(in_tmp, forks):
    """As printed, on a small data set and with RecBole's defaults for the model."""
    write_dataset(in_tmp / "dataset", "microvideo-demo")
    (in_tmp / "adapter.py").write_text(example("adapter"))
    (in_tmp / "use.py").write_text(
        "from adapter import VideoSTAMP\nfrom recbole_video import run_recbole_video\n"
        "print('result', run_recbole_video(VideoSTAMP, config_dict={'epochs': 1})['test_result'])"
    )
    status, output = forks.run_file("use.py")
    assert status == 0 and re.search("^result {'hit@10'", output, re.MULTILINE), output[-2000:]


def test_the_commands_after_make_demo_find_the_environment():
    """The block as it is printed, after what `make` leaves; the run itself is in other tests."""
    [block] = [block for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "bin/activate" in block]
    activate, run = block.splitlines()
    assert run.startswith("python run_recbole_video.py ")
    if not (ROOT / ".venv" / "bin" / "activate").is_file():
        pytest.skip("no .venv: not set up by make")
    lines = [activate, "python -c 'import sys; print(sys.prefix)'", f"{run.split(' --')[0]} --help"]
    done = subprocess.run(["bash", "-ec", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{ROOT / '.venv'}\n") and "usage:" in done.stdout, done.stderr


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"@@\w+|\bTODO\b|^.*_(?:TABLE|ROWS|COMMENT)$", README, re.MULTILINE)


def test_it_is_short():
    assert len(README.splitlines()) <= 200


def rows_of_numbers(text):
    """The numbers of each row of a table, and what stands in its cells as code, in their order."""
    rows = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    return [(row.count("|"), re.findall(r"\d[\d.,]*\d|\d", row), re.findall(r"`[^`]*`", row)) for row in rows]


def links(text):
    return sorted(set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh.md"})


@pytest.mark.parametrize(
    "part",
    [
        lambda text: re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL),
        rows_of_numbers,
        links,
        lambda text: [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)],
        lambda text: sorted(re.findall(r"`(?:make|--|python |[A-Z])[^`\n]*`", text)),
        lambda text: sorted(re.findall(r"\d+[.,]\d+", text)),
    ],
    ids=["code", "tables", "links", "headings", "words of code", "numbers"],
)
def test_chinese_readme_says_the_same(part):
    """Code to the byte, tables by their numbers and code, headings, links; numbers and commands in the text."""
    assert part(CHINESE) == part(README) != []


def test_each_readme_leads_to_the_other():
    assert README.splitlines()[1] == "[中文](README.zh.md)" and CHINESE.splitlines()[1] == "[English](README.md)"


def test_use_of_a_model(in_tmp, capsys):
    code = example("use").replace(
        '{"epochs": 1}',
        '{"epochs": 1, "encoder_depth": 1, "encoder_latent_dim": 16, "hidden_size": 16, "inner_size": 16}',
    )
    (in_tmp / "use.py").write_text(code)
    runpy.run_path("use.py")
    printed = capsys.readouterr().out
    assert "ann" in printed and "new1" in printed
    assert (in_tmp / "vectors" / "item_vectors.npy").is_file()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)", README))))
def test_links_lead_somewhere(path):
    assert (ROOT / path).exists()


def test_sweeps_exist():
    from recbole_video.sweep.spec import load_sweep, preset_names

    named = re.findall(r"--sweep=([\w./-]+)( --demo)?", README + RUNNING)
    assert len(named) >= 4
    for name, demo in named:
        assert name in preset_names() or name == "mine.yaml" or (ROOT / name).is_file()
        if name in preset_names():
            load_sweep(name, bool(demo))


def test_options_in_the_table_exist():
    from recbole_video.config import Config

    lines = re.findall(r"^\| .* \| `(--[^|]*)` ?.*\|$", RUNNING, re.MULTILINE)
    words = [w for line in lines if "--sweep" not in line for w in re.findall(r"--\w+=\"[^\"]*\"|--[\w=.:-]+", line)]
    assert len(words) >= 8
    for word in words:
        if word != "--gpu_id=1":  # a run on a machine without it is refused
            Config(command_line=[word.replace('"', "")])


@pytest.mark.parametrize("text", [README, CHINESE], ids=["README.md", "README.zh.md"])
def test_every_task_and_notebook_stands_first_among_the_pages(text):
    of_pages = text[text.index("](docs/tasks/") : text.index("](docs/running.md")]
    expected = [path for folder in ("tasks", "notebooks") for path in (ROOT / "docs" / folder).glob("*.*")]
    assert links(of_pages) == sorted(str(path.relative_to(ROOT)) for path in expected) and "\n#" not in of_pages


@pytest.mark.parametrize("text", [README, CHINESE], ids=["README.md", "README.zh.md"])
def test_the_diagram_has_room_beside_the_sites_menu(text):
    [diagram] = [block for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "─>" in block]
    assert max(map(len, diagram.splitlines())) <= 80
