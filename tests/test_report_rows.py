"""Reports on rows that are not alike: runs that keep no table of users, other test users, several targets of a user."""

import json

import numpy as np
import pytest
from scipy import stats

from recbole_video.cli import main
from recbole_video.reports.cases import Cases
from recbole_video.reports.collect import collect
from recbole_video.reports.comparable import judged_on
from recbole_video.reports.content import make_content
from recbole_video.reports.figures import _curves_by_data
from recbole_video.reports.significance import Tested, of_column
from recbole_video.reports.write import write_report
from recbole_video.serving.smp_submission import submission_of_run
from recbole_video.sweep.folder import SweepFolder
from recbole_video.sweep.plan import make_plan
from recbole_video.sweep.spec import Comparison, read_sweep

from .test_reports import result_of

N_USERS = 400


def write_run(
    folder, hits, model="SASRec", seed=1, users=None, n_targets=None, per_user=True, control=False, **changes
):
    """A finished run as the report reads it.

    Args:
        folder: Where it goes.
        hits: Of each target, 0 or 1.
        users: Of each target, its user; by default one each.
        n_targets: Where users have several, their number.
        per_user: Whether it keeps its table of users.
        control: Whether it is of a control.
        changes: Of ``data``, ``config``, ``epochs``, ``best_epoch`` and ``fit``.
    """
    users = users or [f"u{i}" for i in range(len(hits))]
    result = result_of(float(np.mean(hits)), seed, changes.pop("epochs", 2))
    result["config"] |= {"model": model, **changes.pop("config", {})}
    result["data"] |= {"test_users": len(set(users)), **changes.pop("data", {})}
    if n_targets is not None:
        result["data"]["temporal"] = {"test_targets": n_targets}
    result["test_result"] = {"hit@10": float(np.mean(hits))}
    result |= {name: changes[name] for name in ("best_epoch", "fit") if name in changes}
    result |= {"control": {}, "history": []} if control else {}
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(result))
    if per_user:
        lines = [f"{user}\ti\t1\t{hit:g}" for user, hit in zip(users, hits, strict=True)]
        (folder / "per_user.tsv").write_text("\n".join(["user_id\titem_id\trank\thit@10", *lines]) + "\n")


def set_result(folder, **changes):
    """Change parts of a run's result."""
    result = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**result, **changes}))


def set_options(folder, **changes):
    """Change options of a run."""
    result = json.loads((folder / "metrics.json").read_text())
    set_result(folder, config={**result["config"], **changes})


def cells_of(root):
    """The section of a report, and of each row the cell of its first metric."""
    [section] = make_content(collect([root])).sections
    return section, {row.label: row.cells[0] for row in section.table.rows}


def hits_of(share, seed=0, n=N_USERS):
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def test_a_row_of_which_one_run_keeps_no_users_has_no_interval(tmp_path):
    """The others' users are not the row's: their mean is another."""
    for seed, share in ((1, 0.9), (2, 0.1), (3, 0.1)):
        write_run(tmp_path / f"a{seed}", hits_of(share, seed), seed=seed, per_user=seed == 1)
        write_run(tmp_path / f"b{seed}", hits_of(0.4, seed), "GRU4Rec", seed=seed)
    section, cells = cells_of(tmp_path)
    assert cells["SASRec + CVA"].interval is None
    within = cells["GRU4Rec + CVA"]
    assert within.interval.low < within.mean < within.interval.high
    assert "No row was tested against another: that needs save_per_user=True" in section.legend


def test_why_numbers_of_other_groups_are_not_tested(tmp_path):
    """Where each run has kept its users, to ask for them is no advice."""
    for name in ("SASRec", "GRU4Rec"):
        write_run(tmp_path / name, hits_of(0.4), name)
        set_result(tmp_path / name, test_result={"recall@7": 0.5})
    section, _ = cells_of(tmp_path)
    assert "No row was tested against another: the tables of cases have no values of these metrics." in section.legend


class TestUsersWithSeveralTargets:
    """Of each user five targets or one: a control misses all of the first, and another model hits them."""

    def write(self, root):
        n_of = [5] * 40 + [1] * 160
        users = [f"u{i}" for i, n in enumerate(n_of) for _ in range(n)]
        many = np.repeat([n == 5 for n in n_of], n_of)
        rng = np.random.default_rng(1)
        model = np.where(many, rng.random(len(users)) < 0.05, rng.random(len(users)) < 0.7).astype(float)
        control = np.where(many, rng.random(len(users)) < 0.7, rng.random(len(users)) < 0.3).astype(float)
        for name, hits in (("model", model), ("control", control)):
            options = {"users": users, "n_targets": len(users), "control": name == "control"}
            write_run(root / name, hits, {"model": "SASRec", "control": "GRU4Rec"}[name], **options)
        return users, model, control

    def test_tests_weigh_targets_as_the_table_does(self, tmp_path):
        users, model, control = self.write(tmp_path)
        [collection] = collect([tmp_path])
        sums = {user: 0.0 for user in users}
        for user, a, b in zip(users, model, control, strict=True):
            sums[user] += a - b
        assert np.mean(model) < np.mean(control)  # over targets; over users it is the other way round
        names = {record.trial.options["model"]: record.trial.row for record in collection.records}

        sides = [[r for r in collection.records if r.trial.row == names[model]] for model in ("SASRec", "GRU4Rec")]
        test = of_column(Comparison("a", "b", "cases"), "", collection.sweep.metrics[0], *sides, Cases())
        assert test.difference == pytest.approx(100 * (np.mean(model) - np.mean(control)))
        assert test.p == pytest.approx(stats.ttest_1samp(list(sums.values()), 0).pvalue)
        assert test.wilcoxon == pytest.approx(stats.wilcoxon(list(sums.values())).pvalue)


def test_what_shared_users_say_against_the_table_tells_nothing_apart(tmp_path):
    """The table has the model above the control; of the users that both tell of, it is far below."""
    rest = [f"v{i}" for i in range(N_USERS)]
    shared = [f"u{i}" for i in range(N_USERS)]
    model = np.concatenate([hits_of(0.1, 1), hits_of(0.9, 2)])
    write_run(tmp_path / "model", model, users=[*shared, *rest])
    other = [f"w{i}" for i in range(N_USERS)]
    write_run(tmp_path / "control", np.concatenate([hits_of(0.4, 3), hits_of(0.1, 4)]), "GRU4Rec",
              users=[*shared, *other], control=True)  # fmt: skip
    _, cells = cells_of(tmp_path)
    assert cells["SASRec + CVA"].mean > cells["GRU4Rec + CVA"].mean and "†" in cells["SASRec + CVA"].marks


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": {"test_users": 380}}, "number of test users"),
        ({"data": {"inter_sha256": "ef" * 32}}, "interactions"),
        ({"data": {"label": {"sha256": "0"}}}, "label"),
        ({"config": {"mask_history": True}}, "mask_history"),
        ({"config": {"eval_args": {"mode": "uni20"}}}, "candidates"),
        ({"config": {"metric_batching": "batch_mean", "metric_batch_size": 64}}, "metric_batching"),
    ],
)
def test_what_is_judged_on_other_data_is_neither_ranked_nor_tested(tmp_path, changes, what):
    plain = {
        "data": {"label": {"sha256": "1"}},
        "config": {"mask_history": False, "eval_args": {"mode": "full"}, "metric_batching": "whole"},
    }
    merged = {part: {**values, **changes.get(part, {})} for part, values in plain.items()}
    write_run(tmp_path / "a", hits_of(0.5, 1), **{part: dict(values) for part, values in plain.items()})
    write_run(tmp_path / "c", hits_of(0.3, 3), "MostPopular", control=True, **plain)
    write_run(tmp_path / "b", hits_of(0.4, 2), "GRU4Rec", **merged)
    section, cells = cells_of(tmp_path)
    assert [cell.rank for cell in cells.values()] == [0, 0, 0]
    assert any(f"judged on different data ({what})" in warning for warning in section.warnings)
    assert cells["SASRec + CVA"].marks == cells["GRU4Rec + CVA"].marks == ""
    assert "Not tested against the best control" in section.legend and "SASRec + CVA (" not in section.legend


def test_what_a_result_does_not_tell_is_no_difference(tmp_path):
    write_run(tmp_path / "a", hits_of(0.5, 1), data={"test_users": None, "inter_sha256": None})
    write_run(tmp_path / "b", hits_of(0.3, 2), "GRU4Rec")
    section, cells = cells_of(tmp_path)
    assert sorted(cell.rank for cell in cells.values()) == [1, 2] and not section.warnings
    assert "label" not in judged_on({"data": {"label": "views"}})


def test_an_option_that_says_none_is_no_part_of_a_label(tmp_path):
    """Beside one that names something; the title of several folders says how many runs there are of what."""
    fusions = ("none", "sum", "none")
    for i, fusion in enumerate(fusions):
        write_run(tmp_path / str(i), hits_of(0.5, i), config={"id_fusion": fusion, "n_layers": i})
    [collection] = collect([tmp_path / str(i) for i in range(3)])
    assert [row.label for row in collection.sweep.rows] == [
        "SASRec + CVA, n_layers=0", "SASRec + CVA, id_fusion=sum, n_layers=1", "SASRec + CVA, n_layers=2",
    ]  # fmt: skip
    assert collection.sweep.title == "3 runs on tiny"


def test_controls_stand_below_the_models(tmp_path):
    write_run(tmp_path / "a", hits_of(0.5, 1), "MostPopular", control=True)
    write_run(tmp_path / "b", hits_of(0.5, 2))
    write_run(tmp_path / "c", hits_of(0.5, 3), "Random", control=True)
    write_run(tmp_path / "d", hits_of(0.5, 4), "NARM")
    _, cells = cells_of(tmp_path)
    assert [name.split()[0] for name in cells] == ["SASRec", "NARM", "MostPopular", "Random"]


def test_stars_are_of_the_better_row_alone():
    def stars(difference, bigger):
        return Tested("a", "b", "", "", "", difference, 1e-9, corrected=(1e-9, 1e-9), bigger=bigger).stars

    assert [stars(1.0, True), stars(-1.0, True), stars(1.0, False), stars(-1.0, False)] == ["***", "", "", "***"]


def test_a_row_below_the_best_control_is_marked(tmp_path):
    write_run(tmp_path / "a", hits_of(0.2, 1))
    write_run(tmp_path / "b", hits_of(0.6, 2), "GRU4Rec")
    write_run(tmp_path / "c", hits_of(0.4, 3), "MostPopular", control=True)
    section, cells = cells_of(tmp_path)
    assert [cells[f"{name} + CVA"].marks for name in ("SASRec", "GRU4Rec", "MostPopular")] == ["↓", "", ""]
    assert "↓ is below the best control, by the same tests." in section.legend and not section.against
    write_report([tmp_path], tmp_path / "report", latex=True)
    assert r"$\downarrow$" in (tmp_path / "report" / "results.tex").read_text()


def test_a_control_without_values_per_case_takes_no_mark_away(tmp_path):
    """The next best one is tested; what that does not settle is told, with the control and the metrics."""
    write_run(tmp_path / "a", hits_of(0.2, 1))
    write_run(tmp_path / "b", hits_of(0.9, 2), "GRU4Rec")
    write_run(tmp_path / "c", hits_of(0.4, 3), "MostPopular", control=True)
    before = {name: cell.marks for name, cell in cells_of(tmp_path)[1].items()}
    folder = tmp_path / "d"
    write_run(folder, hits_of(0.5, 4), "RecentPopular", control=True)
    (folder / "per_user.tsv").unlink()
    section, cells = cells_of(tmp_path)
    assert before["SASRec + CVA"] == cells["SASRec + CVA"].marks == "↓"
    assert cells["GRU4Rec + CVA"].marks == "" and "GRU4Rec + CVA (RecentPopular + CVA: HR@10)" in section.legend


def test_what_is_fitted_in_one_go_and_is_no_control_is_tested_like_the_others(tmp_path):
    write_run(tmp_path / "a", hits_of(0.2, 1), "SVR", fit={"support_vectors": 7})
    write_run(tmp_path / "b", hits_of(0.6, 2), "HyFea", fit={"trees": 7})
    write_run(tmp_path / "c", hits_of(0.4, 3), "Constant", control=True)
    _, cells = cells_of(tmp_path)
    assert [cells[f"{name} + CVA"].marks for name in ("SVR", "HyFea", "Constant")] == ["↓", "", ""]


def test_the_console_says_what_a_reader_of_the_table_has_to_know(tmp_path, capsys):
    write_run(tmp_path / "a", hits_of(0.5, 1), config={"epochs": 3}, epochs=3, best_epoch=3)
    write_run(tmp_path / "b", hits_of(0.4, 2, 380), "GRU4Rec", config={"epochs": 3}, epochs=2, best_epoch=2)
    write_run(tmp_path / "c", hits_of(0.3, 3, 380), "MostPopular", control=True)
    assert main([f"--report={tmp_path}", f"--out={tmp_path / 'report'}"]) == 0
    told = capsys.readouterr().out
    assert "are judged on different data (number of test users)" in told
    assert "each other. The same missing_items in all runs leaves out the same videos." in told
    assert "curves of rows that are not cannot be compared" in (tmp_path / "report" / "report.md").read_text()
    assert "a run keeps no values per case (save_per_user=True keeps them): SASRec + CVA (no control: HR@10)." in told
    assert "In 1 of 2 rows trained by epochs the last epoch was the best of a run" in told
    assert "(tiny / SASRec + CVA)" in told


def test_runs_with_few_seeds_say_how_many(tmp_path):
    for seed in (1, 2, 3):
        write_run(tmp_path / f"a{seed}", hits_of(0.5, seed), seed=seed)
        write_run(tmp_path / f"b{seed}", hits_of(0.4, seed), "GRU4Rec", seed=seed + 3)
    write_run(tmp_path / "c", hits_of(0.3), "MostPopular", control=True)
    _, cells = cells_of(tmp_path)
    assert [cell.missing for cell in cells.values()] == ["", "", "1 seed"]


def test_sections_of_like_names_have_names_of_their_own(tmp_path):
    def write(name, depth):
        text = f"rows: [{{label: a, options: {{encoder_depth: {depth}}}}}]\nbase: {{model: SASRec, item_encoder: CVA}}"
        return SweepFolder.create(make_plan(read_sweep(text, name, "mine.yaml")), tmp_path, "again")

    folders = [write(name, depth).path for name, depth in (("x", 1), ("x-2", 1), ("x", 2), ("x", 3))]
    sections = make_content(collect(folders)).sections
    assert [section.prefix for section in sections] == ["x-", "x-2-", "x-3-", "x-4-"]


def test_curves_end_with_the_shortest_seed_and_say_so(tmp_path):
    write_run(tmp_path / "a1", hits_of(0.5), epochs=2)
    write_run(tmp_path / "a2", hits_of(0.5), seed=2, epochs=5)
    [section] = make_content(collect([tmp_path])).sections
    caption = "Validation score after each epoch that all seeds of the row have trained, the mean over 2 seeds."
    assert section.pictures[-1].caption == caption


def test_curves_say_what_they_are_of(tmp_path):
    """Of one seed; of several, as many as a row has; runs of two protocols are no seeds of each other."""

    def caption():
        [section] = make_content(collect([tmp_path])).sections
        return section.pictures[-1].caption

    write_run(tmp_path / "a1", hits_of(0.5))
    write_run(tmp_path / "b1", hits_of(0.5), "GRU4Rec")
    assert caption() == "Validation score after each epoch."
    write_run(tmp_path / "a2", hits_of(0.5), seed=2)
    assert caption() == "Validation score after each epoch, the mean over 2 seeds or as many as a row has."
    for seed in (1, 2):
        options = {"config": {"protocol": "temporal"}, "data": {"protocol": "temporal"}}
        write_run(tmp_path / f"c{seed}", hits_of(0.5), seed=seed, **options)
        for name in (f"a{seed}", "b1"):
            set_options(tmp_path / name, protocol="microlens")
    assert caption().endswith("or as many as a row has, a panel per data set and protocol.")
    panels = _curves_by_data(collect([tmp_path])[0])
    assert {name: {row: len(seeds) for row, seeds in rows.items()} for name, rows in panels.items()} == {
        "tiny, protocol microlens": {"SASRec + CVA": 2, "GRU4Rec + CVA": 1},
        "tiny, protocol temporal": {"SASRec + CVA": 2},
    }


class TestWhatSetsRowsApart:
    """Options that differ between rows of other names, which no label tells."""

    def told(self, root):
        section, _ = cells_of(root)
        [sentence] = [note for note in section.notes if note.startswith("Beside model and item encoder")] or [""]
        assert sentence in section.legend
        return sentence

    def test_values_with_their_rows(self, tmp_path):
        small, large = {"hidden_size": 64, "epochs": 3}, {"hidden_size": 512, "epochs": 3, "save_per_user": True}
        write_run(tmp_path / "a", hits_of(0.5, 1), config=small)
        assert self.told(tmp_path) == ""
        write_run(tmp_path / "b", hits_of(0.4, 2), "GRU4Rec", config={**large, "num_layers": 2})
        write_run(tmp_path / "c", hits_of(0.3, 3), "MostPopular", control=True, config={"epochs": 300})
        assert self.told(tmp_path) == (
            "Beside model and item encoder, rows differ in hidden_size (64: SASRec + CVA; 512: GRU4Rec + CVA)."
        )

    def test_what_labels_tell_is_not_repeated(self, tmp_path):
        for size in (64, 128):
            write_run(tmp_path / f"a{size}", hits_of(0.5, size), config={"hidden_size": size})
        assert self.told(tmp_path) == ""
        for model in ("GRU4Rec", "NARM", "Caser"):
            write_run(tmp_path / model, hits_of(0.4, 2), model, config={"hidden_size": 512})
        assert self.told(tmp_path) == "Beside model and item encoder, rows differ in hidden_size (512: 3 rows)."

    def test_an_empty_value_is_one_and_a_whole_number_is_one_however_it_is_written(self, tmp_path):
        write_run(tmp_path / "a", hits_of(0.5, 1), config={"frame_store": None, "weight_decay": 1})
        write_run(tmp_path / "b", hits_of(0.4, 2), "GRU4Rec", config={"frame_store": "parts", "weight_decay": 1.0})
        told = "frame_store (empty: SASRec + CVA; parts: GRU4Rec + CVA)"
        assert self.told(tmp_path) == f"Beside model and item encoder, rows differ in {told}."

    def test_what_a_control_reads_otherwise(self, tmp_path):
        """Of a model beside a control with more inputs that is told, and not what the control does not read."""
        plain = {"author_history": False, "train_share": 1.0, "n_trees": 9}
        write_run(tmp_path / "a", hits_of(0.2, 1), "STAP", config=plain)
        richer = {"author_history": True, "train_share": 1.0, "n_trees": 99}
        data = {"inputs": {"metadata": {"numeric": ["x"]}}}
        write_run(tmp_path / "b", hits_of(0.6, 2), "Trees", control=True, config=richer, data=data)
        write_run(tmp_path / "c", hits_of(0.1, 3), "Mean", control=True, config=richer)
        assert self.told(tmp_path) == (
            "Beside model and item encoder, rows differ in author_history (False: STAP + CVA; True: Trees + CVA)."
        )

    def test_options_of_another_protocol_play_no_part(self, tmp_path):
        cuts = {"a": ("microlens", [0.8, 0.9]), "b": ("temporal", [0.6, 0.8]), "c": ("microlens", [0.1, 0.2])}
        for name, (protocol, cut) in cuts.items():
            model = "GRU4Rec" if name == "c" else "SASRec"
            options = {"protocol": protocol, "temporal_cut": cut, "temporal_target": "last"}
            write_run(tmp_path / name, hits_of(0.5, 1), model, config=options)
        section, _ = cells_of(tmp_path)
        assert {row.label for row in section.table.rows} == {"SASRec + CVA", "GRU4Rec + CVA"}
        assert self.told(tmp_path) == ""


def test_rows_that_compute_the_same_are_named(tmp_path):
    for name, model in (("a", "SASRec"), ("b", "GRU4Rec"), ("c", "NARM")):
        write_run(tmp_path / name, hits_of(0.5, 1), model)
    write_run(tmp_path / "d", hits_of(0.5, 2), "Caser")
    set_result(tmp_path / "b", seconds=1.0, parameters={"model": 3})
    set_result(tmp_path / "c", best_valid_result={"hit@10": 0.1})  # the test alone may agree by chance
    section, _ = cells_of(tmp_path)
    [sentence] = [note for note in section.notes if "to the last digit" in note]
    assert sentence == (
        "The same result to the last digit in every metric, on validation too: tiny / SASRec + CVA and "
        "tiny / GRU4Rec + CVA; their curves lie over each other."
    )
    assert sentence in section.legend


def test_the_best_is_said_to_be_of_a_group(tmp_path):
    write_run(tmp_path / "a", hits_of(0.5, 1))
    section, _ = cells_of(tmp_path)
    assert "Best bold, second underlined." in section.legend
    write_run(tmp_path / "b", hits_of(0.5, 1), config={"dataset": "other"})
    section, _ = cells_of(tmp_path)
    assert "Best of each group bold, second underlined." in section.legend


def test_ids_that_look_like_nothing_are_ids(tmp_path):
    names = ["NA", "null", "None", "nan", "007"]
    write_run(tmp_path / "a", [1, 0, 1, 0, 1], users=names)
    write_run(tmp_path / "b", [0, 0, 1, 0, 1], "GRU4Rec", users=names)

    [collection] = collect([tmp_path])
    assert sorted(Cases().table([collection.records[0]]).index) == sorted(names)
    lines = [f"{name}\t1\t{i}" for i, name in enumerate(names)]
    (tmp_path / "a" / "predictions.tsv").write_text("\n".join(["item_id\tlabel\tprediction", *lines]) + "\n")
    assert submission_of_run(tmp_path / "a", tmp_path / "s.json") == 5
    told = json.loads((tmp_path / "s.json").read_text())["result"]
    assert [post["post_id"] for post in told] == names


class TestFiles:
    def test_an_earlier_latex_table_is_renewed(self, tmp_path):
        write_run(tmp_path / "runs" / "a", hits_of(0.5))
        write_report([tmp_path / "runs"], tmp_path, latex=True)
        write_run(tmp_path / "runs" / "b", hits_of(0.4), "GRU4Rec")
        write_report([tmp_path / "runs"], tmp_path)
        assert "GRU4Rec" in (tmp_path / "results.tex").read_text()

    def test_a_table_of_the_users_own_is_left_alone(self, tmp_path):
        write_run(tmp_path / "runs" / "a", hits_of(0.5))
        (tmp_path / "results.tex").write_text("mine")
        write_report([tmp_path / "runs"], tmp_path)
        assert (tmp_path / "results.tex").read_text() == "mine"

    def test_nothing_is_written_where_a_part_cannot_be_made(self, tmp_path, monkeypatch):
        write_run(tmp_path / "runs" / "a", hits_of(0.5))

        def fail(content):
            raise ZeroDivisionError

        monkeypatch.setattr("recbole_video.reports.write.to_html", fail)
        with pytest.raises(ZeroDivisionError):
            write_report([tmp_path / "runs"], tmp_path / "report")
        assert not (tmp_path / "report").exists()
