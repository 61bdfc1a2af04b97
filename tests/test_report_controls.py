"""Controls in sweeps, and what a report says of them: intervals, tests and marks, against SciPy and by hand."""

import csv
import json
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats

from recbole_video.cli import main
from recbole_video.errors import ConfigError
from recbole_video.registries import CONTROLS
from recbole_video.reports.cases import Cases
from recbole_video.reports.collect import Record, collect
from recbole_video.reports.figures import _bars, _groups
from recbole_video.reports.intervals import bootstrap, interval_of
from recbole_video.reports.markdown import cell_texts
from recbole_video.reports.marks import judge
from recbole_video.reports.significance import adjust
from recbole_video.reports.table import Cell, make_table
from recbole_video.reports.write import write_report
from recbole_video.sweep.folder import SweepFolder, TrialState, write_trial
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.plan import Trial, make_plan
from recbole_video.sweep.spec import Figure, read_sweep

from .test_reports import result_of

N_USERS = 400
SWEEP = """
title: Encoders and controls
metrics: [HR@10, NDCG@10]
seeds: [1]
base: {model: SASRec, item_encoder: CVA, epochs: 2, eval_groups: [cold]}
rows:
  - {label: strong, options: {encoder_depth: 1}, published: [50, 20]}
  - {label: as strong, options: {encoder_depth: 2}}
  - {label: weak, options: {encoder_depth: 3}}
controls: [{models: [MostPopular, Random], options: {cold_item_threshold: 2}}]
figure: {kind: bars, metric: HR@10}
"""
HITS = {"strong": 0.5, "as strong": 0.49, "weak": 0.31, "Controls / MostPopular": 0.3, "Controls / Random": 0.05}


def values_of(rng, share):
    hit = (rng.random(N_USERS) < share).astype(float)
    return hit, hit / np.log2(rng.integers(1, 11, N_USERS) + 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A sweep folder as a run leaves it, and each row's values per user."""
    plan = make_plan(read_sweep(SWEEP, "mine", "mine.yaml"))
    folder = SweepFolder.create(plan, tmp_path_factory.mktemp("controls"), "python run_recbole_video.py --sweep=mine")
    rng, users = np.random.default_rng(0), {}
    for trial in plan.trials:
        place = folder.trial_folder(trial)
        write_trial(place, trial)
        hit, ndcg = users[trial.row] = values_of(rng, HITS[trial.row])
        result = result_of(float(hit.mean()), trial.seed)
        result["test_result"] = {"hit@10": round(float(hit.mean()), 5), "ndcg@10": round(float(ndcg.mean()), 5)}
        result["data"]["test_users"] = N_USERS
        if trial.row.startswith("Controls"):
            result |= {"control": {}, "history": []}
        (place / "metrics.json").write_text(json.dumps(result))
        lines = [f"u{i}\ti\t1\t{h}\t{n:.6g}" for i, (h, n) in enumerate(zip(hit, ndcg, strict=True))]
        (place / "per_user.tsv").write_text("\n".join(["user_id\titem_id\trank\thit@10\tndcg@10", *lines]) + "\n")
    return folder.path, users


class TestSweep:
    def plan(self, text=SWEEP, seeds="[1]", controls=None):
        text = text.replace("seeds: [1]", f"seeds: {seeds}")
        if controls is not None:
            text = text.replace(text[text.index("controls:") : text.index("figure:")], f"controls: {controls}\n")
        return make_plan(read_sweep(text, "mine", "mine.yaml"))

    def test_controls_take_what_they_have_of_the_options(self):
        [trial] = [trial for trial in self.plan().trials if trial.row == "Controls / MostPopular"]
        assert trial.options == {"model": "MostPopular", "eval_groups": ["cold"], "cold_item_threshold": 2, "seed": 1}

    def test_those_that_the_seed_leaves_alone_run_once(self):
        plan = self.plan(seeds="[1, 2, 3]", controls="True")
        seeds = {name: [t.seed for t in plan.trials if t.row == f"Controls / {name}"] for name in CONTROLS}
        assert seeds == {name: [1, 2, 3] if name == "Random" else [1] for name in CONTROLS}
        assert plan.n_trials == len(plan.trials) == 3 * 3 + 3 + len(CONTROLS) - 1

    def test_a_space_is_not_of_controls(self):
        text = SWEEP.replace("figure:", "space: {learning_rate: [0.1, 0.2]}\nfigure:")
        plan = make_plan(read_sweep(text, "mine", "mine.yaml"))
        assert plan.n_trials == len(plan.trials) == 3 * 2 + 2
        assert [t.point for t in plan.trials if t.row.startswith("Controls")] == [{}, {}]

    @pytest.mark.parametrize(
        ("controls", "match"),
        [
            ("[{models: [MostPopulr]}]", "names `MostPopulr` .*MostPopular"),
            ("[{options: {epochs: 3}}]", "`epochs` of `controls` of `mine` is no option of a control"),
            ("[{labels: a}]", "`labels` is no key of a block of `controls`"),
            ("7", "`controls` of `mine.yaml` must be a list"),
        ],
    )
    def test_faults(self, controls, match):
        with pytest.raises(ConfigError, match=match):
            self.plan(controls=controls)

    def test_a_correction_that_is_none(self):
        with pytest.raises(ConfigError, match="`correction` of `mine.yaml` is `bonferroni`; choose from holm, fdr"):
            self.plan(SWEEP + "correction: bonferroni\n")


class TestMathematics:
    def test_holm_by_hand(self):
        assert adjust(np.array([0.01, 0.04, 0.03, 0.005]), "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert adjust(np.array([0.9, 0.6]), "holm").tolist() == [1, 1] and not len(adjust(np.zeros(0), "holm"))

    def test_false_discovery_rate_by_hand(self):
        p = np.array([0.01, 0.04, 0.03, 0.005])
        assert adjust(p, "fdr") == pytest.approx([0.02, 0.04, 0.04, 0.02])

    def test_bootstrap_is_that_of_every_single_value(self):
        values = np.random.default_rng(2).random(60) ** 2
        low, high = bootstrap(values)
        expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
        assert [low, high] == pytest.approx([*expected.confidence_interval], abs=0.01)
        assert (low, high) == bootstrap(values[::-1])

    def test_bootstrap_of_users_with_several_targets(self):
        """Against drawing the users, each with all targets, one resample after the other."""
        rng = np.random.default_rng(3)
        targets = [rng.random(n) < 0.3 * (1 + n % 2) for n in rng.integers(1, 9, 80)]
        means, weights = np.array([t.mean() for t in targets]), np.array([len(t) for t in targets])
        drawn = (rng.integers(0, len(targets), len(targets)) for _ in range(5000))
        resampled = [np.concatenate([targets[i] for i in users]).mean() for users in drawn]
        low, high = bootstrap(means, weights)
        assert [low, high] == pytest.approx([*np.percentile(resampled, [2.5, 97.5])], abs=0.01)
        assert low < np.concatenate(targets).mean() < high and [low, high] != pytest.approx(
            [*bootstrap(means)], abs=0.002
        )


class TestReport:
    def test_intervals(self, made):
        path, users = made
        [collection] = collect([path])
        rows = {row.label: row for row in judge(collection, make_table(collection)).table.rows}
        hits = int(users["weak"][0].sum())
        exact = [stats.beta.ppf(0.025, hits, N_USERS - hits + 1), stats.beta.ppf(0.975, hits + 1, N_USERS - hits)]
        hit, ndcg = (cell.interval for cell in rows["weak"].cells)
        assert [hit.low, hit.high] == pytest.approx([100 * end for end in exact]) and hit.is_exact
        error = 1.96 * users["weak"][1].std() / np.sqrt(N_USERS)
        mean = users["weak"][1].mean()
        assert [ndcg.low, ndcg.high] == pytest.approx([100 * (mean - error), 100 * (mean + error)], abs=0.3)

    @pytest.mark.parametrize("correction", ["holm", "fdr"])
    def test_marks_are_those_of_scipys_tests(self, made, correction):
        path, users = made
        [collection] = collect([path])
        object.__setattr__(collection.sweep, "correction", correction)
        judged = judge(collection, make_table(collection))
        order = ["strong", "as strong", "weak"]
        tests = []
        for m in (0, 1):
            best, second, last = ranked = sorted(order, key=lambda row: -users[row][m].mean())
            tests += [(row, "Controls / MostPopular", m) for row in ranked] + [(best, second, m), (second, last, m)]
        p = [[one(users[a][m], users[b][m]).pvalue for a, b, m in tests] for one in (stats.ttest_rel, stats.wilcoxon)]
        told = np.all([adjust(np.array(values), correction) < 0.05 for values in p], axis=0)
        expected = {(row, m): "" for row in order for m in (0, 1)}
        for (a, b, m), is_told in zip(tests, told, strict=True):
            expected[a, m] += "" if is_told else "†" if b.startswith("Controls") else "‡"
        found = {(row.label, m): row.cells[m].marks for row in judged.table.rows[:3] for m in (0, 1)}
        assert found == expected and judged.n_tests == 10
        assert {found["strong", 0], found["as strong", 0]} == {"", "‡"} and found["weak", 0] == "†"
        assert all(not cell.marks for row in judged.table.rows[3:] for cell in row.cells)

    def test_text(self, made, tmp_path, pictures):
        write_report([made[0]], tmp_path, latex=True)
        text = (tmp_path / "report.md").read_text()
        assert f"One hit is worth 0.25 points ({N_USERS} test users)." in text
        assert "p ≥ 0.05 after Holm's correction over 10 tests" in text and "### Intervals" in text
        assert (
            "† cannot be told from the best control on its data, ‡ not from the next worse value of the column" in text
            and r"\dag{}" in (tmp_path / "results.tex").read_text()
        )
        rows = {
            row["row"]: row for row in csv.DictReader((tmp_path / "results.csv").open()) if row["metric"] == "HR@10"
        }
        assert rows["weak"]["marks"] == "†" and float(rows["weak"]["low"]) < float(rows["weak"]["ours"])
        assert "best control: MostPopular" not in text and (tmp_path / "figure.svg").is_file()
        assert "Intervals" in (tmp_path / "report.html").read_text()

    @pytest.mark.parametrize(
        ("line", "drawn"),
        [("", ("best control: MostPopular", "Controls / MostPopular")), ("weak", ("weak", "weak"))],
    )
    def test_the_line_of_a_figure(self, made, line, drawn):
        """At the best control, or at the row that the sweep names."""
        path, users = made
        [collection] = collect([path])
        object.__setattr__(collection.sweep, "figure", Figure("bars", "HR@10", line=line))
        axis = mpl.figure.Figure().subplots()
        _bars(axis, collection, make_table(collection))
        [found] = [one for one in axis.lines if one.get_linestyle() == ":"]
        assert found.get_label() == drawn[0]
        assert found.get_ydata()[0] == pytest.approx(100 * users[drawn[1]][0].mean())

    def test_bars_of_several_rows_by_column(self, made):
        """A place on the axis for each column, and at it a bar for each row but the controls."""
        path, users = made
        [collection] = collect([path])
        object.__setattr__(collection.sweep, "figure", Figure("groups", "HR@10"))
        axis = mpl.figure.Figure().subplots()
        _groups(axis, collection, make_table(collection))
        assert [text.get_text() for text in axis.get_xticklabels()] == ["HR@10", "NDCG@10"]
        assert [bars.get_label() for bars in axis.containers] == ["strong", "as strong", "weak"]
        for bars in axis.containers:
            of_row = users[bars.get_label()]
            assert [bar.get_height() for bar in bars] == pytest.approx([100 * v.mean() for v in of_row], abs=1e-3)
            assert [round(bar.get_x() + bar.get_width() / 2) for bar in bars] == [0, 1]

    def test_the_title_of_a_place(self):
        """A column of the second tag is titled by that tag, where all runs have the same there."""
        metric = Metric.of({"name": "tag 2", "key": "groups/tag/#2/hit@10"})
        one, other = (
            {"groups": {"tag": {name: {} for name in names}}} for names in (["war", "love"], ["war", "crime"])
        )
        assert metric.title_in([one, one]) == "love"
        assert [metric.title_in(found) for found in ([one, other], [{}], [], [one, {}])] == ["tag 2"] * 4
        assert Metric.of("HR@10").title_in([one]) == "HR@10"

    def test_the_correction_of_the_command_line(self, made, tmp_path):
        assert main([f"--report={made[0]}", f"--out={tmp_path}", "--correction=fdr"]) == 0
        assert "Benjamini and Hochberg's control of the false discovery rate" in (tmp_path / "report.md").read_text()
        assert main([f"--report={made[0]}", f"--out={tmp_path}", "--correction=none"]) == 1

    def test_an_earlier_report_is_replaced(self, made, tmp_path):
        """Its table ends before the columns of intervals and marks."""
        write_report([made[0]], tmp_path)
        table = (tmp_path / "results.csv").read_text().splitlines()
        (tmp_path / "results.csv").write_text("\n".join(line.rsplit(",", 3)[0] for line in table) + "\n")
        write_report([made[0]], tmp_path)
        assert (tmp_path / "results.csv").read_text().splitlines() == table

    def test_users_with_several_targets(self, made, tmp_path):
        """One hit is one of the targets, and hits are no binomial share; users are drawn with all of theirs."""
        (tmp_path / "run").mkdir()
        source = next(made[0].glob("trials/strong*"))
        result = json.loads((source / "metrics.json").read_text())
        result["data"] |= {"test_users": 3, "temporal": {"test_targets": 8}}
        result["test_result"] = {"hit@10": 0.5, "ndcg@10": 0.5}
        hits = {"a": [1, 0, 0, 0, 0], "b": [1, 1], "c": [1]}
        lines = [f"{user}\ti\t1\t{hit}\t{hit}" for user, values in hits.items() for hit in values]
        (tmp_path / "run" / "metrics.json").write_text(json.dumps(result))
        (tmp_path / "run" / "per_user.tsv").write_text(
            "\n".join(["user_id\titem_id\trank\thit@10\tndcg@10", *lines]) + "\n"
        )
        write_report([tmp_path])
        text = (tmp_path / "report.md").read_text()
        assert "One hit is worth 12 points (8 test targets)" in text
        low, high = bootstrap(np.array([0.2, 1, 1]), np.array([5, 2, 1]))
        assert f"{100 * low:.3f} to {100 * high:.3f} b" in text

    def test_without_values_per_user_nothing_is_marked(self, made, tmp_path):
        results = [json.loads(file.read_text()) for file in sorted(made[0].rglob("metrics.json"))]
        for i, result in enumerate(results):
            result["config"]["learning_rate"] = i
            (tmp_path / f"run{i}").mkdir()
            (tmp_path / f"run{i}" / "metrics.json").write_text(json.dumps(result))
        write_report([tmp_path])
        text = (tmp_path / "report.md").read_text()
        assert "that needs save_per_user=True in both" in text and "†" not in text
        assert "### Intervals" in text and " b |" not in text  # of hits alone

    def test_a_demo_has_no_differences(self, made, tmp_path):
        for file in made[0].rglob("*"):
            if file.is_file() and file.suffix in (".json", ".yaml", ".tsv"):
                (tmp_path / file.relative_to(made[0])).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file.relative_to(made[0])).write_bytes(file.read_bytes())
        (tmp_path / "sweep.yaml").write_text(SWEEP + "demo: {base: {epochs: 2}}\n")
        about = json.loads((tmp_path / "sweep.json").read_text())
        (tmp_path / "sweep.json").write_text(json.dumps({**about, "demo": True}))
        write_report([tmp_path])
        text = (tmp_path / "report.md").read_text()
        assert "(50.000)" in text and "(50.000, " not in text and "of the paper's own data" in text
        rows = list(csv.DictReader((tmp_path / "results.csv").open()))
        assert {row["difference"] for row in rows} == {""} and rows[0]["published"] == "50"


class TestNextWorse:
    """‡ is about the next worse value of the column, wherever its row stands, and says which row that is."""

    def test_names_the_row_with_its_p(self, made, tmp_path, capsys):
        path, users = made
        write_report([path], tmp_path)
        values = [users[row][0] for row in ("as strong", "strong")]
        assert values[0].mean() > values[1].mean()  # the row above is the next worse one
        judged = judge(collect([path])[0], make_table(collect([path])[0]))
        cell = next(row for row in judged.table.rows if row.label == "as strong").cells[0]
        p = max(one(*values).pvalue for one in (stats.ttest_rel, stats.wilcoxon))
        assert cell.marks == "‡" and cell.against[0].startswith("‡ strong, HR@10: p = ")
        assert float(cell.against[0].rpartition("= ")[2]) >= float(f"{p:.2g}")
        line = f"‡ as strong against {cell.against[0].removeprefix('‡ ')}"
        assert f"- {line}" in (tmp_path / "report.md").read_text() and "### Not told apart" in judged_text(tmp_path)
        assert f'title="{cell.against[0]}"' in (tmp_path / "report.html").read_text()
        weak = [one for one in judged.against if one.startswith("† weak against MostPopular")]
        assert weak and len(judged.against) == sum(len(c.marks) for row in judged.table.rows for c in row.cells)


def judged_text(folder):
    return (folder / "report.md").read_text()


def test_counts_that_do_not_vary_have_no_deviation():
    """And those of a model without parameters are none, not missing."""
    count, seconds, share = Metric.of("parameters"), Metric.of("seconds"), Metric.of("HR@10")
    assert cell_texts(Cell((2592.0, 2592.0), None), count) == ("2,592", "")
    assert cell_texts(Cell((2.0, 4.0), None), seconds)[0] == "3 ± 1"
    assert cell_texts(Cell((2.0, 2.0), None), share)[0] == "2.000 ± 0.000"


def test_a_control_has_no_parameters(made, tmp_path):
    text = SWEEP.replace("metrics: [HR@10, NDCG@10]", "metrics: [HR@10, parameters]").replace("[50, 20]", "[50, 7]")
    folder = SweepFolder.create(make_plan(read_sweep(text, "mine", "mine.yaml")), tmp_path, "")
    for trial in make_plan(read_sweep(text, "mine", "mine.yaml")).trials:
        write_trial(place := folder.trial_folder(trial), trial)
        more = {"control": {}, "parameters": {}} if trial.row.startswith("Controls") else {}
        (place / "metrics.json").write_text(json.dumps({**result_of(0.1, 1), **more}))
    rows = make_table(collect([folder.path])[0]).rows
    assert [row.cells[1].missing for row in rows] == ["", "", "", "none", "none"]


class TestGroups:
    """Columns of groups of targets: intervals, marks and numbers of targets, against SciPy on the group alone."""

    HEAD = "metrics: [HR@10, NDCG@10]"
    COLUMNS = (
        "metrics: [{name: 'HR@10, cold', key: groups/cold/cold/hit@10}, {name: 'NDCG@10, cold', "
        "key: groups/cold/cold/ndcg@10}]"
    )

    def write(self, root, seeds="[1]", cold=lambda i: i % 4 == 0):
        """Two encoders and a control; every fourth target is cold."""
        text = SWEEP.replace(self.HEAD, self.COLUMNS).replace("seeds: [1]", f"seeds: {seeds}").replace(
            "metric: HR@10", "metric: 'HR@10, cold'").replace(", published: [50, 20]", "")  # fmt: skip
        plan = make_plan(read_sweep(text, "mine", "mine.yaml"))
        folder = SweepFolder.create(plan, root, "")
        rng, users, flags = np.random.default_rng(1), {}, np.array([cold(i) for i in range(N_USERS)])
        for trial in plan.trials:
            place = folder.trial_folder(trial)
            write_trial(place, trial)
            hit, ndcg = values_of(rng, HITS[trial.row])
            users.setdefault(trial.row, []).append((hit[flags], ndcg[flags]))
            means = {"hit@10": float(hit[flags].mean()), "ndcg@10": float(ndcg[flags].mean())} if flags.any() else {}
            result = result_of(float(hit.mean()), trial.seed)
            result["data"]["test_users"] = N_USERS
            result["groups"] = {"cold": {"cold": {"users": int(flags.sum()), **means}}}
            result |= {"control": {}} if trial.row.startswith("Controls") else {}
            (place / "metrics.json").write_text(json.dumps(result))
            lines = [f"u{i}\ti\t1\t{h}\t{n:.6g}\t{int(flags[i])}" for i, (h, n) in enumerate(zip(hit, ndcg))]  # noqa: B905
            head = "user_id\titem_id\trank\thit@10\tndcg@10\tcold"
            (place / "per_user.tsv").write_text("\n".join([head, *lines]) + "\n")
        return folder.path, users

    def test_intervals_and_marks(self, tmp_path):
        path, users = self.write(tmp_path)
        [collection] = collect([path])
        judged = judge(collection, make_table(collection))
        rows = {row.name: row for row in judged.table.rows}
        [(hit, ndcg)] = users["weak"]
        hits, n = int(hit.sum()), len(hit)
        exact = [stats.beta.ppf(0.025, hits, n - hits + 1), stats.beta.ppf(0.975, hits + 1, n - hits)]
        found = [cell.interval for cell in rows["weak"].cells]
        assert [found[0].low, found[0].high] == pytest.approx([100 * end for end in exact]) and found[0].is_exact
        assert (found[1].low, found[1].high) == pytest.approx([100 * end for end in bootstrap(ndcg)], abs=0.01)
        order = ["strong", "as strong", "weak"]
        told = []
        for m in (0, 1):
            order = sorted(order, key=lambda row, m=m: -users[row][0][m].mean())
            pairs = [(row, "Controls / MostPopular") for row in order] + [*pairwise(order)]
            told += [(a, b, m, users[a][0][m], users[b][0][m]) for a, b in pairs]
        p = [[one(a, b).pvalue for *_, a, b in told] for one in (stats.ttest_rel, stats.wilcoxon)]
        apart = np.all([adjust(np.array(values), "holm") < 0.05 for values in p], axis=0)
        expected = {
            (a, m): "".join(
                "†" if b.startswith("Controls") else "‡"
                for (x, b, k, *_), yes in zip(told, apart, strict=True) if (x, k) == (a, m) and not yes
            )
            for a in order for m in (0, 1)
        }  # fmt: skip
        assert {(a, m): rows[a].cells[m].marks for a in order for m in (0, 1)} == expected
        assert judged.n_tests == 10 and set(expected.values()) > {""}

    def test_several_seeds_draw_the_groups_users(self, tmp_path):
        path, users = self.write(tmp_path, "[1, 2]")
        [collection] = collect([path])
        cell = judge(collection, make_table(collection)).table.rows[0].cells[0]
        low, high = bootstrap(np.mean([hit for hit, _ in users["strong"]], axis=0))
        assert (cell.interval.low, cell.interval.high) == pytest.approx((100 * low, 100 * high))

    def test_number_of_targets(self, tmp_path):
        path, _ = self.write(tmp_path)
        write_report([path])
        assert "Of groups: cold: 100 targets, one hit is 1 points." in judged_text(path)

    def test_no_target_is_cold(self, tmp_path):
        path, _ = self.write(tmp_path, cold=lambda i: False)
        write_report([path])
        assert "| no cold target |" in judged_text(path) and "not reported" not in judged_text(path)
        assert "tables of cases" not in judged_text(path)  # there is nothing to test

    def test_an_earlier_versions_file_has_no_marks(self, tmp_path):
        """It does not say which targets are cold: the exact interval of one run needs their number alone."""
        path, _ = self.write(tmp_path)
        for file in path.rglob("per_user.tsv"):
            file.write_text("\n".join(line.rpartition("\t")[0] for line in file.read_text().splitlines()))
        [collection] = collect([path])
        judged = judge(collection, make_table(collection))
        hit, ndcg = judged.table.rows[0].cells
        assert hit.interval is not None and ndcg.interval is None and not judged.has_marks

    def test_of_videos_by_authors_with_few(self, tmp_path):
        """By predictions.tsv: the absolute error of the videos of the group."""
        rng, flags = np.random.default_rng(4), np.arange(60) % 3 == 0
        labels, values = rng.normal(size=(2, 60))
        lines = [f"v{i}\t{labels[i]}\t{values[i]}\t{int(flags[i])}" for i in range(60)]
        (tmp_path / "predictions.tsv").write_text("\n".join(["item_id\tlabel\tprediction\tcold_author", *lines]))
        record = Record(Trial("", "", {}, 1, {}), tmp_path, TrialState("finished"), {})
        metric = Metric.of({"name": "MAE, cold authors", "key": "groups/cold_start/mae"})
        found = interval_of(metric, [record], Cases())
        low, high = bootstrap(np.abs(labels - values)[flags])
        assert (found.low, found.high) == pytest.approx((low, high))
