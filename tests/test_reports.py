"""Reports: the numbers in them, checked by hand and against SciPy; how they look, in a browser."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from recbole_video.cli import main
from recbole_video.commands.report import report_command
from recbole_video.data.protocols import PROTOCOLS
from recbole_video.errors import DataError, RunFolderError
from recbole_video.files.cells import spreadsheet_safe
from recbole_video.reports.collect import collect, matching_folders
from recbole_video.reports.console import console_table
from recbole_video.reports.content import _short_test_line
from recbole_video.reports.figures import curve_styles
from recbole_video.reports.html import _with_code
from recbole_video.reports.marks import judge, stars_by_cell
from recbole_video.reports.significance import Tested, adjust
from recbole_video.reports.significance import test_all as significance
from recbole_video.reports.table import BEST, SECOND, make_table
from recbole_video.reports.write import report_folder, write_report
from recbole_video.sweep.folder import FAILED, STOPPED, SweepFolder, TrialState, write_state, write_trial
from recbole_video.sweep.plan import make_plan
from recbole_video.sweep.spec import read_sweep

SWEEP = """
title: "Item encoders & <depth> 100%"
source: The paper, Table 9
metrics: [HR@10, nDCG@10, seconds, GB]
seeds: [1, 2, 3]
base: {model: SASRec, epochs: 2}
rank: table
rows:
  - {label: End to end, published: [9.179, 4.988, 46513, 127.68]}
  - {label: CVA, options: {item_encoder: CVA}, published: [9.737, 5.213, 1131, 1.09]}
  - {label: MLP, options: {item_encoder: MLP}, published: [8.047, ~, 791, 0.80]}
  - {label: Pooling, options: {item_encoder: Pooling}}
compare: [{a: CVA, b: MLP}, {a: CVA, b: MLP, over: cases}, {a: CVA, b: Pooling}]
figure: {kind: bars, metric: HR@10, x_label: encoder}
"""
HIT = {"CVA": [0.10, 0.11, 0.12], "MLP": [0.08, 0.095, 0.09]}


def result_of(hit, seed, epochs=2):
    metrics = {"hit@10": hit, "ndcg@10": hit / 2}
    return {
        "best_valid_score": hit, "valid_score_bigger": True, "best_valid_result": metrics, "test_result": metrics,
        "seconds": 60.0 + seed, "peak_memory_mb": 512.0, "parameters": {"model": 10, "item_encoder": 7},
        "history": [{"epoch": e, "train_loss": 1.0, "valid_score": hit * e / epochs} for e in range(1, epochs + 1)],
        "data": {"dataset": "tiny", "inter_sha256": "ab" * 32, "protocol": "microlens",
                 "frames": {"file": "tiny.frames.npy", "vfm": "v", "sampling": "s", "sha256": "cd" * 32}},
        "config": {"model": "SASRec", "item_encoder": "CVA", "dataset": "tiny", "seed": seed, "valid_metric": "x"},
        "made_by": {"commit": "abc", "torch": "2"},
    }  # fmt: skip


def per_user(folder, values):
    lines = ["user_id\titem_id\trank\thit@10", *(f"u{i}\ti\t1\t{value}" for i, value in enumerate(values))]
    (folder / "per_user.tsv").write_text("\n".join(lines) + "\n")


def make_sweep(root, sweep=SWEEP, seeds=(1, 2, 3)):
    """A sweep folder as a run leaves it: CVA and MLP finished, Pooling failed, stopped and not begun."""
    plan = make_plan(read_sweep(sweep, "encoders", "encoders.yaml"))
    folder = SweepFolder.create(plan, root, "python run_recbole_video.py --sweep=encoders.yaml")
    rng = np.random.default_rng(0)
    for trial in plan.trials:
        place = folder.trial_folder(trial)
        if trial.row in HIT and trial.seed in seeds:
            write_trial(place, trial)
            result = result_of(HIT[trial.row][trial.seed - 1], trial.seed)
            (place / "metrics.json").write_text(json.dumps(result))
            per_user(place, (rng.random(50) < 0.5).astype(float))
        elif trial.row == "Pooling" and trial.seed < 3:
            write_trial(place, trial)
            state = (
                TrialState(FAILED, "ConfigError: no | way") if trial.seed == 1 else TrialState(STOPPED, "after epoch 1")
            )
            write_state(place, state)
    return folder.path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("sweep"))


class TestTable:
    def test_mean_spread_difference_and_rank(self, folder):
        [collection] = collect([folder])
        table = make_table(collection)
        cells = {row.label: row.cells for row in table.rows}
        hit = cells["CVA"][0]
        assert hit.mean == pytest.approx(11.0) and hit.spread == pytest.approx(1.0)  # 10, 11, 12
        assert hit.difference == pytest.approx(11.0 - 9.737)
        assert (hit.rank, cells["MLP"][0].rank) == (BEST, SECOND) and cells["CVA"][2].rank == 0
        assert cells["CVA"][2].mean == pytest.approx(62.0) and cells["CVA"][3].mean == pytest.approx(0.5)
        assert cells["End to end"][0].missing == "published only" and cells["End to end"][0].published == 9.179
        assert cells["MLP"][1].published is None and cells["Pooling"][0].missing == "failed"

    def test_rows_without_results(self, tmp_path):
        path = make_sweep(tmp_path, seeds=())
        [collection] = collect([path])
        table = make_table(collection)
        assert [row.cells[0].missing for row in table.rows] == ["published only", "not run", "not run", "failed"]
        write_report([path])
        assert "0 of 9 trials have finished" in (path / "report.md").read_text()

    def test_significance_is_scipys(self, folder):
        [collection] = collect([folder])
        seeds, cases, untested = ([t for t in significance(collection) if t.metric == "HR@10"][i] for i in (0, 1, 2))
        expected = stats.ttest_rel(HIT["CVA"], HIT["MLP"])
        assert seeds.p == pytest.approx(expected.pvalue) and seeds.difference == pytest.approx(100 * np.mean(
            np.subtract(HIT["CVA"], HIT["MLP"])))  # fmt: skip
        assert seeds.test == "paired t-test over 3 seeds" and seeds.few_seeds == 3
        assert cases.test == "paired t-test over 50 test cases, each the mean over 3 seeds" and not cases.few_seeds
        assert "HR@10 over 50 test cases: " in _short_test_line(cases)
        many = replace(cases, test=cases.test.replace("50", "2,000"))
        assert "HR@10 over 2,000 test cases: " in _short_test_line(many)
        tables = {
            row: np.mean([np.loadtxt(r.folder / "per_user.tsv", skiprows=1, usecols=3) for r in collection.records
                          if r.trial.row == row], axis=0)
            for row in HIT
        }  # fmt: skip
        assert cases.p == pytest.approx(stats.ttest_rel(tables["CVA"], tables["MLP"]).pvalue)
        assert untested.p is None and untested.why_not == "needs 2 seeds of both rows"
        difference = tables["CVA"] - tables["MLP"]
        half = stats.t.ppf(0.975, 49) * difference.std(ddof=1) / np.sqrt(50)
        ends = [100 * (difference.mean() - half), 100 * (difference.mean() + half)]
        assert cases.interval == pytest.approx(ends)
        assert cases.relative == pytest.approx(difference.mean() / tables["MLP"].mean())

    def test_stars_are_of_the_weakest_comparison(self):
        def tested(p, b):
            return Tested("CVA", b, "", "HR@10", "", 1.0, p, corrected=(p, p))

        assert [tested(p, "MLP").stars for p in (0.0009, 0.009, 0.049, 0.05)] == ["***", "**", "*", ""]
        assert stars_by_cell([tested(0.0001, "MLP"), tested(0.02, "ID")]) == {("CVA", "", "HR@10"): "*"}
        assert stars_by_cell([tested(0.0001, "MLP"), tested(0.2, "ID")]) == {("CVA", "", "HR@10"): ""}

    def test_a_comparison_as_a_sentence(self, folder, tmp_path):
        write_report([folder], tmp_path)
        text = (tmp_path / "report.md").read_text()
        assert (
            "Only 3 seeds: 5 or more tell more." in text and "HR@10: +2.1667 (95 % +0.2694 to +4.0640; +24.5 %)" in text
        )

    def test_what_is_asked_for_is_corrected_apart_from_the_marks(self, folder, tmp_path):
        [collection] = collect([folder])
        judged = judge(collection, make_table(collection))
        p = [test.p for test in judged.tests if test.p is not None]
        assert [test.corrected[0] for test in judged.tests if test.p is not None] == pytest.approx(
            adjust(np.array(p), "holm").tolist()
        )
        assert len(p) == 3 and judged.n_tests == 1
        write_report([folder], tmp_path)
        text = (tmp_path / "report.md").read_text()
        assert "p ≥ 0.05 after Holm's correction over 1 test behind these marks: p is the larger of both." in text
        assert "(after Holm's correction over 3 tests that the sweep asks for)" in text

    def test_equal_runs_are_no_proof(self, tmp_path):
        path = make_sweep(tmp_path)
        for file in path.glob("trials/*/metrics.json"):
            result = json.loads(file.read_text())
            result["test_result"] = {"hit@10": 0.1, "ndcg@10": 0.1}
            file.write_text(json.dumps(result))
        [collection] = collect([path])
        tested = significance(collection)[0]
        assert tested.p is None and tested.why_not == "they are the same in every pair"


class TestFiles:
    def test_csv(self, folder, tmp_path):
        write_report([folder], tmp_path)
        rows = list(csv.DictReader((tmp_path / "results.csv").open()))
        [hit] = [row for row in rows if (row["row"], row["metric"]) == ("CVA", "HR@10")]
        assert float(hit["ours"]) == pytest.approx(11) and float(hit["std"]) == pytest.approx(1) and hit["seeds"] == "3"
        assert float(hit["published"]) == 9.737 and float(hit["difference"]) == pytest.approx(1.263)
        [failed] = [row for row in rows if (row["row"], row["metric"]) == ("Pooling", "HR@10")]
        assert failed["ours"] == "" and failed["missing"] == "failed"

    def test_markdown(self, folder, tmp_path, pictures):
        write_report([folder], tmp_path)
        text = (tmp_path / "report.md").read_text()
        assert "| CVA | **11.000 ± 1.000 ‡** (9.737, +1.263) |" in text
        assert "| MLP | <u>8.833 ± 0.764</u> (8.047, +0.786) |" in text
        assert "| End to end | – (9.179) |" in text and "> Failed: Pooling, seed 1: ConfigError: no | way" in text
        assert "6 of 9 trials have finished" in text and "SHA-256 " + "ab" * 32 in text and "- seeds: 1, 2, 3" in text
        assert "python run_recbole_video.py --sweep=encoders.yaml" in text and "stopped early: after epoch 1" in text
        for name in ("figure", "learning_curves"):
            assert f"({name}.png)" in text
            assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / f"{name}.svg").is_file()

    def test_latex(self, folder, tmp_path):
        write_report([folder], tmp_path, latex=True)
        text = (tmp_path / "results.tex").read_text()
        assert r"\caption{Item encoders \& $<$depth$>$ 100\%}" in text
        assert (
            r"CVA & \textbf{11.000 $\pm$ 1.000 \ddag{}} & \textbf{5.500 $\pm$ 0.500} & 62 $\pm$ 1 & 0.50 $\pm$ 0.00 \\"
            in text
        )
        assert r"\quad published & 9.737 & 5.213 & 1,131 & 1.09 \\" in text
        assert text.count("\\begin{tabular}{lrrrr}") == text.count("\\end{tabular}") == 1

    def test_html_escapes_and_fetches_nothing(self, folder, tmp_path, pictures):
        write_report([folder], tmp_path)
        text = (tmp_path / "report.html").read_text()
        assert "Item encoders &amp; &lt;depth&gt; 100%" in text and "<depth>" not in text
        assert "http" not in text.replace("http-equiv", "") and text.count("data:image/svg+xml;base64,") == 2

    def test_the_same_runs_give_the_same_files(self, folder, tmp_path, pictures):
        for name in ("a", "b"):
            write_report([folder], tmp_path / name)
        for file in (tmp_path / "a").iterdir():
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


NASTY = "<script>alert(1)</script> | [a](javascript:b)\n\n# =1 *x* `y` $z_1 \\\\end{tabular} __i__ &amp; \\u202e"


class TestWhatLabelsSay:
    """Labels, titles and notes come from files of others: they are shown, and do nothing."""

    @pytest.fixture
    def written(self, tmp_path):
        text = SWEEP.replace("{label: CVA,", f'{{label: "{NASTY}", group: "=HYPERLINK(0)",'.replace("\n", "\\n"))
        text = text.replace("a: CVA", f'a: "{NASTY}"'.replace("\n", "\\n")).replace("{label: MLP", '{label: "[x]"')
        text = text.replace("b: MLP", 'b: "[x]"').replace("title:", "note: 'a\n\n  <img src=x>'\ntitle:")
        plan = make_plan(read_sweep(text, "encoders", "encoders.yaml"))
        folder = SweepFolder.create(plan, tmp_path, "python `x` ```\n<b>")
        for trial in plan.trials:
            place = folder.trial_folder(trial)
            write_trial(place, trial)
            result = result_of(0.1, trial.seed)
            result["data"]["dataset"] = "<i>|`"
            (place / "metrics.json").write_text(json.dumps(result))
        write_report([folder.path], latex=True)
        return folder.path

    def test_in_markdown(self, written):
        text = (written / "report.md").read_text()
        assert "<script" not in text and "<img" not in text and "<i>" not in text and "\u202e" not in text
        assert (
            "&lt;script&gt;alert(1)&lt;/script&gt; \\| \\[a\\](javascript:b) # =1 \\*x\\* \\`y\\` $z_1 "
            "\\\\end{tabular} \\__i_\\_ &amp;amp; ?"
        ) in text
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {7, 8}  # of the main table, of the trials
        assert "````bash\npython `x` ``` <b>\n````" in text and "> a &lt;img src=x&gt;" in text

    def test_in_html(self, written):
        text = (written / "report.html").read_text()
        assert "<script" not in text and "<img src=x" not in text and "<i>" not in text and "<b>" not in text

    def test_in_csv(self, written):
        rows = list(csv.reader((written / "results.csv").open(newline="")))
        assert {"'=HYPERLINK(0)", "[x]"} <= {cell for row in rows for cell in row}
        for cell in (cell for row in rows[1:] for cell in row):
            assert not cell.startswith(("=", "+", "@", "\t", "\r")) and (cell[:1] != "-" or float(cell) < 0)

    def test_in_latex(self, written):
        text = (written / "results.tex").read_text()
        assert text.count(r"\end{tabular}") == text.count(r"\begin{tabular}") == 1
        assert r"\textbackslash{}end\{tabular\}" in text and "\n{[}x{]} & " in text  # no argument of the line before
        assert all(line.strip() for line in text.strip().splitlines())


class TestRepeats:
    """A second run of the same options and seed is no second seed."""

    def write(self, folder, hit, seed, **config):
        result = result_of(hit, seed)
        result["config"] |= config
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(result))

    def test_of_hand_made_runs(self, tmp_path):
        for i, (hit, seed) in enumerate([(0.35, 42), (0.35, 42), (0.35, 42), (0.45, 7)]):
            self.write(tmp_path / f"run{i}", hit, seed)
        content = write_report([tmp_path, tmp_path / "run0"], tmp_path / "out")
        [row] = content.sections[0].table.rows
        assert row.cells[0].mean == pytest.approx(40) and row.cells[0].spread == pytest.approx(np.std([35, 45], ddof=1))
        text = (tmp_path / "out" / "report.md").read_text()
        assert "2 runs repeat the options and the seed of another and are left out (run0, run1)" in text
        assert "over 2 seeds" in text

    def test_the_run_that_tells_each_user_is_kept(self, tmp_path, capsys):
        for i in range(3):
            self.write(tmp_path / f"run{i}", 0.35, 42)
        per_user(tmp_path / "run1", np.ones(50))
        assert main([f"--report={tmp_path}", f"--out={tmp_path / 'out'}"]) == 0
        assert (
            "2 runs repeat the options and the seed of another and are left out (run0, run2)" in capsys.readouterr().out
        )
        [collection] = collect([tmp_path])
        assert [record.folder.name for record in collection.records] == ["run1"]

    def test_out_that_is_a_file(self, tmp_path, capsys):
        self.write(tmp_path / "run", 0.35, 42)
        (tmp_path / "notes.md").write_text("mine")
        assert main([f"--report={tmp_path / 'run'}", f"--out={tmp_path / 'notes.md'}"]) == 1
        assert "notes.md` is a file, and a report is a folder; name another by --out." in capsys.readouterr().err
        assert (tmp_path / "notes.md").read_text() == "mine"

    def test_one_seed_has_no_deviation(self, tmp_path):
        for i in range(3):
            self.write(tmp_path / f"run{i}", 0.35, 42)
        [section] = write_report([tmp_path], tmp_path / "out").sections
        assert section.table.rows[0].cells[0].spread is None and "One seed." in section.legend

    def test_of_a_sweep_in_two_folders(self, tmp_path):
        parts = [make_sweep(tmp_path / "a", seeds=(1, 2)), make_sweep(tmp_path / "b", seeds=(2, 3))]
        [collection] = collect([*parts, parts[0]])
        assert len(collection.repeats) == 2 * 2  # of two rows, seed 2: of b by a's second reading, and of a by b
        assert sorted(make_table(collection).rows[1].cells[0].values) == pytest.approx([10, 11, 12])

    def test_runs_of_several_folders_differ_by_their_options(self, tmp_path):
        self.write(tmp_path / "a" / "run", 0.1, 1, learning_rate=0.1)
        self.write(tmp_path / "b" / "run", 0.2, 1, learning_rate=0.2)
        [collection] = collect([tmp_path / "a", tmp_path / "b"])
        assert [row.label for row in make_table(collection).rows] == [
            "SASRec + CVA, learning_rate=0.1", "SASRec + CVA, learning_rate=0.2",
        ]  # fmt: skip
        assert collection.repeats == ()

    def test_labels_tell_what_differs_on_one_data_set_and_may_change_a_number(self, tmp_path):
        for dataset, rates in {"one": (0.1, 0.2), "two": (0.3,)}.items():
            for rate in rates:
                name = f"{dataset}{rate}"
                self.write(
                    tmp_path / name,
                    0.1,
                    1,
                    dataset=dataset,
                    learning_rate=rate,
                    worker=len(name),
                    save_per_user=rate > 0.1,
                )
        [collection] = collect([tmp_path])
        labels = [row.name for row in make_table(collection).rows]
        assert labels == [
            "one / SASRec + CVA, learning_rate=0.1", "one / SASRec + CVA, learning_rate=0.2", "two / SASRec + CVA",
        ]  # fmt: skip

    def test_labels_leave_out_what_follows_from_the_protocol(self, tmp_path):
        """That a history is not ranked is of the protocol, unless it was set otherwise."""
        runs = {"a": ("microlens", False), "b": ("recbole", True), "c": ("microlens", True)}
        masks = {name: PROTOCOLS[name].masks_history for name in ("microlens", "recbole")}
        for name, (protocol, is_other) in runs.items():
            mask = masks[protocol] if not (is_other and name == "c") else not masks[protocol]
            self.write(tmp_path / name, 0.1, 1, protocol=protocol, mask_history=mask)
        [collection] = collect([tmp_path])
        other = f"SASRec + CVA, mask_history={not masks['microlens']}"
        assert sorted(row.label for row in collection.sweep.rows) == ["SASRec + CVA", "SASRec + CVA", other]

    def test_a_report_of_runs_is_written_into_none_of_them(self, tmp_path, capsys):
        for name in ("run-a", "run-b"):
            self.write(tmp_path / name, 0.1, len(name), learning_rate=len(name) + ord(name[-1]))
        before = sorted(tmp_path.rglob("*"))
        for _ in range(2):  # the second time, the pattern finds the first report as well
            assert main([f"--report={tmp_path}/*"]) == 0
        printed = Path(re.findall(r"Report: (.*)", capsys.readouterr().out)[-1])
        assert printed.parent.parent == tmp_path / "reports" and printed.is_file()
        assert {path for path in tmp_path.rglob("*") if "reports" not in path.parts} == set(before)
        assert (
            report_folder([tmp_path]) == tmp_path and report_folder([tmp_path / "run-a"]).parent == printed.parents[1]
        )
        sweep = make_sweep(tmp_path / "sweeps")
        assert report_folder([sweep]) == sweep

    def test_the_console_folds_to_the_terminals_width(self, folder, tmp_path):
        section = write_report([folder], tmp_path).sections[0]
        wide, narrow = console_table(section, 300), console_table(section, 50)
        assert max(map(len, narrow.splitlines())) <= 50 < max(map(len, wide.splitlines())) and "(9.737" in wide
        assert narrow.count("\nCVA ") == narrow.count("\n\n") + 1 > 1  # labels stand before each part
        cells = {word for line in narrow.splitlines() for word in line.split()}
        assert {"11.000", "HR@10", "nDCG@10", "seconds", "GB"} <= cells and "9.737" not in narrow

    def test_published_numbers_stand_beside_those_of_the_same_data_alone(self, folder, tmp_path):
        section = write_report([folder], tmp_path).sections[0]
        assert "In brackets the published number." in console_table(section, 300)
        assert "In brackets" not in console_table(section, 50)
        rows = [
            replace(row, cells=tuple(replace(cell, is_comparable=False) for cell in row.cells))
            for row in section.table.rows
        ]  # as those of a demo are
        of_demo = console_table(replace(section, table=replace(section.table, rows=tuple(rows))), 300)
        assert "11.000" in of_demo and "9.737" not in of_demo and "In brackets" not in of_demo

    def test_long_labels_are_folded_on_the_console(self, tmp_path):
        names = ["one two three four five six", "abcdefghij" * 6]
        for i, encoder in enumerate(names):
            self.write(tmp_path / str(i), 0.1, 1, item_encoder=encoder)
        section = write_report([tmp_path], tmp_path / "report").sections[0]
        head, rule, *rows = lines = console_table(section, 60).splitlines()
        assert max(map(len, lines)) == len(rule) == len(head) <= 60
        filled = [row for row in rows if len(row) > 30]
        assert len(filled) == 2 < len(rows)
        assert all(row[head.index(name) + len(name) - 1].isdigit() for row in filled for name in ("HR@10", "NDCG@10"))
        labels = "".join(row[:24] for row in rows).replace(" ", "")
        assert all(f"SASRec+{name}".replace(" ", "") in labels for name in names)
        wide = console_table(section, 300).splitlines()
        assert any(f"SASRec + {names[1]}" in line for line in wide)

    def test_comparisons_that_are_asked_for_stand_on_the_console(self, folder, tmp_path, capsys):
        assert main([f"--report={folder}", f"--out={tmp_path}"]) == 0
        told = capsys.readouterr().out
        head = (
            "Mean differences, in brackets 95 % intervals (uncorrected), p of the paired t-test after Holm's correction"
        )
        assert f"{head} over 3 tests that the sweep asks for:" in told
        assert "\nCVA against MLP, HR@10 over 3 seeds: +2.1667 (+0.2694 to +4.0640), p = 0.1170\n" in told
        assert "\nCVA against MLP, HR@10 over 50 test cases: " in told
        assert "CVA against Pooling, HR@10: not tested (needs 2 seeds of both rows)" in told
        assert told.index("+2.1667") > told.index("HR@10  ")

    def test_cold_and_warm_targets_have_columns(self, tmp_path):
        groups = {"cold": {"cold": {"hit@10": 0.04}, "warm": {"hit@10": 0.4}}}
        for name, found in {"with": groups, "without": {}}.items():
            self.write(tmp_path / name, 0.3, 1, learning_rate=len(name))
            result = json.loads((tmp_path / name / "metrics.json").read_text())
            (tmp_path / name / "metrics.json").write_text(json.dumps({**result, "groups": found}))
        table = make_table(collect([tmp_path])[0])
        heads = {metric.name: j for j, (_, metric) in enumerate(table.heads)}
        cells = {row.label.rpartition("=")[2]: row.cells for row in table.rows}
        assert cells["4"][heads["HR@10, cold"]].mean == pytest.approx(4)
        assert cells["4"][heads["HR@10, warm"]].mean == pytest.approx(40)
        assert cells["7"][heads["HR@10, cold"]].missing == "not reported"

    def test_a_cut_off_that_a_run_was_not_measured_at(self, tmp_path):
        for k in (5, 10):
            self.write(tmp_path / str(k), 0.3, 1, learning_rate=k, topk=[k])
            result = json.loads((tmp_path / str(k) / "metrics.json").read_text())
            (tmp_path / str(k) / "metrics.json").write_text(json.dumps({**result, "test_result": {f"hit@{k}": 0.3}}))
        table = make_table(collect([tmp_path])[0])
        heads = {metric.name: j for j, (_, metric) in enumerate(table.heads)}
        cells = {row.label.partition("learning_rate=")[2].partition(",")[0]: row.cells for row in table.rows}
        assert cells["5"][heads["HR@10"]].missing == cells["10"][heads["HR@5"]].missing == "not in topk"
        assert cells["5"][heads["HR@5"]].mean == pytest.approx(30)

    def test_all_curves_are_drawn_and_told_apart(self):
        panels = {"a": {f"row {i}": [[]] for i in range(20)}, "b": {f"row {i}": [[]] for i in range(10, 30)}}
        styles = curve_styles(panels)
        assert list(styles) == [f"row {i}" for i in range(30)]
        assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == 30

    def test_runs_of_other_data_are_no_repeats(self, tmp_path):
        for name in ("a", "b"):
            self.write(tmp_path / name, 0.1, 1)
        result = json.loads((tmp_path / "b" / "metrics.json").read_text())
        result["data"]["inter_sha256"] = "ef" * 32
        (tmp_path / "b" / "metrics.json").write_text(json.dumps(result))
        [collection] = collect([tmp_path])
        assert len(collection.sweep.rows) == 2 and collection.repeats == ()
        assert all(", data=" in row.label for row in collection.sweep.rows)
        result["config"]["frame_store"] = "other"  # an option tells, and the checksum need not
        (tmp_path / "b" / "metrics.json").write_text(json.dumps(result))
        [collection] = collect([tmp_path])
        assert sorted(row.label for row in collection.sweep.rows) == ["SASRec + CVA", "SASRec + CVA, frame_store=other"]


@pytest.mark.parametrize(
    ("change", "part"),
    [({"test_result": [1]}, "test_result"), ({"test_result": None}, "test_result"), ({"config": None}, "config"),
     ({"config": True}, "config"),
     ({"config": {"seed": "x"}}, "config"), ({"seconds": "long"}, "seconds"),
     ({"history": [3]}, "history"), ({"history": [{"valid_score": "x"}]}, "history"),
     ({"history": [{"epoch": None}]}, "history"),
     ({"data": 7}, "data")],
)  # fmt: skip
def test_results_that_no_run_writes(tmp_path, change, part):
    (tmp_path / "metrics.json").write_text(json.dumps({**result_of(0.1, 1), **change}))
    with pytest.raises(DataError, match=f"`{part}` of `.*metrics.json` is not what a run writes"):
        collect([tmp_path])


def test_a_configuration_that_lacks_what_a_report_names(tmp_path, pictures):
    (tmp_path / "metrics.json").write_text(json.dumps({**result_of(0.1, 1), "config": {"0": None}}))
    assert report_command([f"--report={tmp_path}", f"--out={tmp_path / 'report'}"]) == 0
    assert (tmp_path / "report" / "learning_curves.png").is_file()


@pytest.mark.parametrize(("file", "text"), [("trial.json", '{"row": 1}'), ("sweep.json", "{}"), ("sweep.json", "[]")])
def test_records_that_no_sweep_writes(tmp_path, file, text):
    path = make_sweep(tmp_path)
    next(path.rglob(file)).write_text(text)
    with pytest.raises(DataError, match=f"`.*{file}` "):
        collect([path])


class TestCollect:
    def test_sweeps_of_one_name_become_one_table(self, tmp_path):
        parts = [make_sweep(tmp_path / "a", seeds=(1,)), make_sweep(tmp_path / "b", seeds=(2, 3))]
        assert main([f"--report={parts[0]} {parts[1]}", f"--out={tmp_path / 'out'}"]) == 0
        [collection] = collect(parts)
        cva = make_table(collection).rows[1].cells[0]
        assert sorted(cva.values) == pytest.approx([10, 11, 12]) and (tmp_path / "out" / "report.html").is_file()

    def test_several_sweeps_are_sections(self, tmp_path):
        other = SWEEP.replace("Item encoders", "Other encoders")
        parts = [make_sweep(tmp_path / "a"), make_sweep(tmp_path / "b", other)]
        record = json.loads((parts[1] / "sweep.json").read_text())
        (parts[1] / "sweep.json").write_text(json.dumps({**record, "sweep": "others"}))
        text = (parts[1] / "sweep.yaml").read_text()
        (parts[1] / "sweep.yaml").write_text("name: others\n" + text)
        content = write_report(parts, tmp_path / "out")
        assert [section.name for section in content.sections] == ["encoders", "others"]
        assert {"encoders-figure.png", "others-figure.png"} <= {path.name for path in (tmp_path / "out").iterdir()}

    def test_hand_made_runs(self, tmp_path):
        for i, (rate, seed) in enumerate([(0.1, 1), (0.1, 2), (0.2, 1)]):
            result = result_of(0.1 * (i + 1), seed)
            result["config"]["learning_rate"] = rate
            (tmp_path / f"run{i}").mkdir()
            (tmp_path / f"run{i}" / "metrics.json").write_text(json.dumps(result))
        [collection] = collect([tmp_path])
        table = make_table(collection)
        assert [row.label for row in table.rows] == [f"SASRec + CVA, learning_rate={rate}" for rate in (0.1, 0.2)]
        assert table.rows[0].cells[0].mean == pytest.approx(15) and len(table.rows[0].cells[0].values) == 2
        assert table.rows[1].cells[0].missing == "1 seed"

    def test_hand_made_runs_of_several_data_sets_are_not_ranked_together(self, tmp_path):
        places = [("a", "microlens"), ("a", "recbole"), ("b", "recbole"), ("b", "recbole")]
        for i, (dataset, protocol) in enumerate(places):
            result = result_of(0.1 * (i + 1), 1)
            result["config"] |= {"dataset": dataset, "protocol": protocol, "learning_rate": i}
            (tmp_path / f"run{i}").mkdir()
            (tmp_path / f"run{i}" / "metrics.json").write_text(json.dumps(result))
        [collection] = collect([tmp_path])
        table = make_table(collection)
        assert [row.group for row in table.rows] == [f"{dataset}, protocol {protocol}" for dataset, protocol in places]
        assert [row.cells[0].rank for row in table.rows] == [0, 0, SECOND, BEST]

    def test_hand_made_runs_of_several_tasks(self, tmp_path):
        """What only some runs have an option for, as the protocol of a recommender, differs and breaks nothing."""
        for i, protocol in enumerate(["microlens", "recbole", None]):
            result = result_of(0.1 * (i + 1), 1)
            result["config"]["protocol"] = protocol
            if protocol is None:
                result["test_result"] = {"nmse": 0.9, "src": 0.3}
                result["valid_score_bigger"] = False
                result["config"] = {"model": "Constant", "dataset": "videos", "label": "views", "seed": 1}
            (tmp_path / f"run{i}").mkdir()
            (tmp_path / f"run{i}" / "metrics.json").write_text(json.dumps(result))
        write_report([tmp_path])
        rows = make_table(collect([tmp_path])[0]).rows
        assert [row.group for row in rows] == ["tiny, protocol microlens", "tiny, protocol recbole", "videos"]
        assert "Constant" in (tmp_path / "report.md").read_text()

    def test_runs_beside_sweeps_are_a_section(self, tmp_path):
        make_sweep(tmp_path)
        (tmp_path / "by-hand").mkdir()
        (tmp_path / "by-hand" / "metrics.json").write_text(json.dumps(result_of(0.3, 1)))
        assert [c.sweep.name for c in collect([tmp_path])] == ["encoders", "runs"]
        assert len(collect([tmp_path])[1].records) == 1  # the sweep's trials are not told twice

    def test_what_has_finished_wins_over_what_has_not(self, tmp_path):
        good, bad = make_sweep(tmp_path / "a"), make_sweep(tmp_path / "b", seeds=())
        for trial in (good / "trials").iterdir():
            (bad / "trials" / trial.name).mkdir(exist_ok=True)
            (bad / "trials" / trial.name / "trial.json").write_text((trial / "trial.json").read_text())
            write_state(bad / "trials" / trial.name, TrialState(FAILED, "disk full"))
        for order in ([good, bad], [bad, good]):
            [collection] = collect(order)
            assert make_table(collection).rows[1].cells[0].mean == pytest.approx(11)

    def test_sweeps_that_run_otherwise_stay_apart(self, tmp_path):
        parts = [make_sweep(tmp_path / "a"), make_sweep(tmp_path / "b", SWEEP.replace("epochs: 2", "epochs: 50"))]
        content = write_report(parts, tmp_path / "out")
        assert len({section.name for section in content.sections}) == len({s.title for s in content.sections}) == 2
        assert len(list((tmp_path / "out").glob("*figure.png"))) == 2

    def test_trials_that_are_missing_are_counted_over_all_parts(self, tmp_path):
        parts = [make_sweep(tmp_path / "a", SWEEP.replace("[1, 2, 3]", "[1, 2]"), seeds=(1,)),
                 make_sweep(tmp_path / "b", SWEEP.replace("[1, 2, 3]", "[3]"), seeds=(3,))]  # fmt: skip
        [collection] = collect(parts)
        assert collection.planned == 9 and collection.sweep.seeds == (1, 2, 3)
        assert make_table(collection).rows[1].cells[0].missing == "2 of 3 seeds"
        write_report(parts, tmp_path / "out")
        text = (tmp_path / "out" / "report.md").read_text()
        assert "4 of 9 trials have finished" in text and "[2 of 3 seeds]" in text

    def test_folders_by_a_pattern(self, tmp_path):
        """``*`` inside a name, as a shell reads it; a folder that is called so comes first."""
        for name in ("a-1", "a-2", "b-1", "[ab]-1"):
            (tmp_path / name).mkdir()
        (tmp_path / "a-3").write_text("")
        at = lambda *names: [tmp_path / name for name in names]  # noqa: E731
        assert matching_folders(at("a-*", "b-1")) == at("a-1", "a-2", "b-1")
        assert matching_folders(at("[ab]-1")) == at("[ab]-1") and matching_folders(at("?-1")) == at("a-1", "b-1")
        with pytest.raises(DataError, match=r"There is no folder `.*c-\*` to report on"):
            matching_folders(at("c-*"))

    def test_folders_without_runs(self, tmp_path):
        with pytest.raises(DataError, match="holds no sweep and no finished run"):
            collect([tmp_path])
        with pytest.raises(DataError, match="There is no folder"):
            collect([tmp_path / "nowhere"])

    def test_a_damaged_result(self, tmp_path):
        path = make_sweep(tmp_path)
        broken = next(iter(path.glob("trials/*/metrics.json")))
        broken.write_text("{")
        [collection] = collect([path])
        [record] = [record for record in collection.records if record.folder == broken.parent]
        assert record.state.kind == FAILED and f"`{broken}` is not valid JSON" in record.state.detail


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("+cmd", "'+cmd"), ("-x", "'-x"), ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"), ("\ra", "'\ra"), ("\na", "'\na"), (" =1+1", "' =1+1"), ("\uff1d1", "'\uff1d1"),
        ("-3.5e-2", "-3.5e-2"), ("+7", "+7"), ("-", "'-"), ("-1-2", "'-1-2"), ("a=1", "a=1"), ("", ""), ("'x", "'x"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(text, cell):
    assert spreadsheet_safe(text) == cell


class TestFilesOfTheUser:
    NAMES = ("report.md", "report.html", "results.csv", "results.tex", "figure.png", "figure.svg")

    @pytest.mark.parametrize("name", NAMES)
    def test_are_not_replaced(self, folder, tmp_path, name):
        (tmp_path / name).write_text("# Report\n\nmy,own\n")
        with pytest.raises(RunFolderError, match=rf"{name}` is there and is not of a report"):
            write_report([folder], tmp_path, latex=True)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "# Report\n\nmy,own\n"

    def test_an_earlier_report_is(self, folder, tmp_path):
        write_report([folder], tmp_path, latex=True)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert before.keys() >= set(self.NAMES)
        write_report([folder], tmp_path, latex=True)
        assert {path.name for path in tmp_path.iterdir()} == before.keys()

    def test_an_earlier_versions_report_is(self, folder, tmp_path):
        """Its figures do not say where they come from."""
        shutil.copytree("docs/examples/cva-table17", tmp_path, dirs_exist_ok=True)
        (tmp_path / "figure.svg").write_text("<svg/>")
        write_report([folder], tmp_path)
        assert "Item encoders" in (tmp_path / "report.md").read_text()

    def test_home(self, folder, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        write_report([folder], "~/out")
        assert (tmp_path / "out" / "report.html").is_file()


def browser_path():
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    return next(filter(None, found), None)


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_in_a_browser(folder, tmp_path, width, pictures):
    """Nothing sticks out, every figure is there, the console is silent; what is wide scrolls in its own box."""
    if browser_path() is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    write_report([folder], tmp_path)
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=browser_path(), args=flags)
        page = browser.new_page(viewport={"width": width, "height": 900})
        heard, asked = [], []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.split(":")[0]))
        page.goto((tmp_path / "report.html").as_uri())
        for summary in page.query_selector_all("summary"):
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)") == [True, True]
        inside = "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre, figure'))"
        assert page.evaluate(f"{inside}.every(e => e.getBoundingClientRect().right <= {width} + 1)")
        assert heard == [] and set(asked) <= {"file", "data"}
        browser.close()


def test_what_stands_between_backticks_is_code():
    assert _with_code("a <b> `--x=<y>` c") == "a &lt;b&gt; <code>--x=&lt;y&gt;</code> c"
    assert _with_code("one ` alone <b>") == "one ` alone &lt;b&gt;"
