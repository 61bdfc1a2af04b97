"""The mends: RecBole's own models run, and nothing is touched where it is sound."""

import importlib
import inspect
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import recbole
import scipy.sparse
import torch
from recbole.model.general_recommender import BPR
from recbole.utils import FeatureType

from recbole_video import run_recbole_video
from recbole_video.errors import ConfigError, MissingDependencyError
from recbole_video.runtime import recbole_compat

from .conftest import small_options

STOCK = {
    "show_progress": False,
    "use_gpu": False,
    "epochs": 1,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
}


@pytest.mark.parametrize("model", ["recbole:SASRec", "STAMP", "Pop", "LightGCN", "BPR", "FPMC"])
def test_recboles_own_models_run_from_the_same_function(in_tmp, data_root, model):
    """LightGCN needs dok_matrix._update; every model needs NumPy's old names and a loadable checkpoint."""
    result = run_recbole_video(model, "tiny", config_dict={**STOCK, "data_path": str(data_root)})
    assert {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"} <= set(result)
    [checkpoint] = (in_tmp / "saved").rglob("*.pth")
    assert torch.load(checkpoint, weights_only=True)["config"]["model"] == model.split(":")[-1]


def test_unknown_option_of_a_stock_model(data_root):
    with pytest.raises(ConfigError, match="`item_encodr` is not an option"):
        run_recbole_video("Pop", "tiny", config_dict={**STOCK, "item_encodr": "CVA"})


class LacksField(BPR):
    """Reads a field that was not loaded, as a model of ratings does."""

    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) + interaction["stars"].mean()


class LacksKey(BPR):
    """Has another fault, by which a key is missing."""

    def calculate_loss(self, interaction):
        return {}["stars"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LacksField, "reads the field 'stars', which the loaded columns lack; see load_col"),
        (LacksKey, "LacksKey cannot run on `tiny` .KeyError: 'stars'."),
    ],
)
def test_what_a_missing_key_is_told_as(in_tmp, data_root, model, message):
    with pytest.raises(ConfigError, match=message):
        run_recbole_video(model, "tiny", config_dict={**STOCK, "data_path": str(data_root)})


def test_a_metric_that_is_not_computed_is_refused_before_anything_is_read(in_tmp, tmp_path):
    options = {**STOCK, "data_path": str(tmp_path), "topk": [5], "valid_metric": "MRR@5"}
    with pytest.raises(
        ConfigError, match="`valid_metric` is `MRR@5`, which is not computed; choose from hit@5, ndcg@5"
    ):
        run_recbole_video("LightGCN", "tiny", config_dict=options)


def test_more_best_items_than_there_are(in_tmp, data_root):
    with pytest.raises(ConfigError, match=r"`topk` asks for the best 1000 items, and there are \d+; lower topk"):
        run_recbole_video("Pop", "tiny", config_dict={**STOCK, "data_path": str(data_root), "topk": [1000]})


def test_existing_numpy_names_are_left_alone(monkeypatch):
    before = {name: np.__dict__[name] for name in recbole_compat._NUMPY_NAMES if name in np.__dict__}
    marker = object()
    monkeypatch.setattr(np, "float_", marker, raising=False)
    recbole_compat.apply()
    assert np.float_ is marker
    assert all(np.__dict__[name] is value for name, value in before.items() if name != "float_")


def test_existing_dok_update_is_left_alone(monkeypatch):
    marker = object()
    monkeypatch.setattr(scipy.sparse.dok_matrix, "_update", marker, raising=False)
    recbole_compat.apply()
    assert scipy.sparse.dok_matrix._update is marker


def test_dok_update_fills_the_matrix(monkeypatch):
    monkeypatch.delattr(scipy.sparse.dok_matrix, "_update", raising=False)
    recbole_compat.apply()
    matrix = scipy.sparse.dok_matrix((2, 3))
    matrix._update({(0, 1): 2.0, (1, 2): 3.0})
    assert matrix.toarray().tolist() == [[0, 2, 0], [0, 0, 3]]


def imports_sine_anew(before):
    """In a fork, which ends with it: status 0 if anomaly detection is then as it was."""
    status = 1
    try:
        for name in [name for name in sys.modules if name.partition(".")[0] == "recbole"]:
            del sys.modules[name]
        torch.autograd.set_detect_anomaly(before)
        recbole_compat.apply()
        importlib.import_module("recbole.model.sequential_recommender.sine")
        status = int(torch.is_anomaly_enabled() is not before)
    finally:
        os._exit(status)


@pytest.mark.parametrize("before", [False, True])
def test_importing_recbole_leaves_anomaly_detection_as_it_was(before):
    """RecBole's SINE switches it on for the whole process when it is imported."""
    child = os.fork()
    if child == 0:
        imports_sine_anew(before)
    assert os.waitpid(child, 0)[1] == 0


# Data with gaps of every kind, as RecBole reads it. The tables that the tests expect are those of pandas 2.3.3 and
# of RecBole 1.2.1 as it is.
GAPS = {
    "inter": """\
user_id:token\titem_id:token\trating:float\ttimestamp:float\tplace:token\ttags:token_seq\tmarks:float_seq
a\tx\t5\t1\tp\tt1 t2\t1.5 2.5
a\ty\t\t2\t\t\t
a\tz\t2\t3\tq\tt2\t4
b\tx\t1\t4\tp\tt3 t1\t
b\ty\t4\t5\t\tt1 t2 t3\t0.5 1.5 3.5
c\tw\t3\t6\tq\t\t2
""",
    "item": """\
item_id:token\tprice:float\tshop:token\twords:token_seq\tsizes:float_seq
x\t10\ts1\tt1 y\t1 2 3
y\t\t\t\t
z\t40\ts2\tu2\t8
""",
    "user": "user_id:token\tage:float\ttown:token\na\t\tv\nb\t30\t\n",
    "kg": "head_id:token\trelation_id:token\ttail_id:token\ne1\tr1\te2\ne2\tr2\te3\ne3\tr1\te1\n",
    "link": "item_id:token\tentity_id:token\nx\te3\nz\te1\n",
}
MEANS = {"rating": [5, 3, 2, 1, 4, 3], "price": [25, 10, 25, 40, 25], "age": [30, 30, 30, 30]}
SEQUENCES = {
    "tags": [[1, 2, 0], [0, 0, 0], [2, 0, 0], [3, 1, 0], [1, 2, 3], [0, 0, 0]],
    "marks": [[1.5, 2.5, 0], [0, 0, 0], [4, 0, 0], [0, 0, 0], [0.5, 1.5, 3.5], [2, 0, 0]],
    "words": [[0, 0], [1, 2], [0, 0], [3, 0], [0, 0]],
    "sizes": [[0, 0, 0], [1, 2, 3], [0, 0, 0], [8, 0, 0], [0, 0, 0]],
}


@pytest.fixture
def read_gaps(tmp_path, monkeypatch):
    """A function that reads GAPS by a RecBole dataset class: field -> values as nested lists."""
    monkeypatch.setattr("sys.argv", ["test"])
    (tmp_path / "gaps").mkdir()
    for suffix, text in GAPS.items():
        (tmp_path / "gaps" / f"gaps.{suffix}").write_text(text)

    def read(name="Dataset", model="Pop", **options):
        import recbole.data.dataset
        from recbole.config import Config

        every = {"data_path": str(tmp_path), "load_col": None, "filter_inter_by_user_or_item": False, **options}
        dataset = getattr(recbole.data.dataset, name)(Config(model=model, dataset="gaps", config_dict=every))
        tables = [getattr(dataset, table) for table in dataset.feat_name_list]
        return {
            field: values.numpy().round(3).tolist()
            for table in tables
            for field, values in dataset._dataframe_to_interaction(table).interaction.items()
        }

    return read


def expect(found, **expected):
    assert {field: found[field] for field in expected} == {
        field: _rounded(values) for field, values in expected.items()
    }


def _rounded(values):
    return np.asarray(values, dtype=np.float32).round(3).tolist()


class TestMissingValues:
    """Under pandas 3 RecBole's fills change copies, and lengths of sequences become the length of the column."""

    def test_every_kind_of_field(self, read_gaps):
        tokens = {"place": [1, 0, 2, 1, 0, 2], "shop": [0, 1, 0, 2, 0], "town": [0, 1, 0, 0]}
        expect(read_gaps(), **tokens, **MEANS, **SEQUENCES)

    def test_tokens_of_a_sequence_that_are_ids_of_items(self, read_gaps):
        found = read_gaps(alias_of_item_id=["words"])
        expect(found, item_id=[0, 1, 2, 3, 4, 5, 6], words=[[0, 0], [5, 2], [0, 0], [6, 0], [0, 0], [0, 0], [0, 0]])

    def test_normalisation(self, read_gaps):
        rating, price = np.array(MEANS["rating"]), np.array(MEANS["price"])
        sizes = (np.array([1, 2, 3]) - 1) / 7
        found = read_gaps(normalize_field=["rating", "price", "sizes"])
        expect(found, rating=(rating - 1) / 4, price=(price - 10) / 30)
        expect(found, sizes=[[0, 0, 0], sizes, [0, 0, 0], [1, 0, 0], [0, 0, 0]])

    def test_discretization(self, read_gaps):
        buckets = {"price": {"method": "ED", "bucket": 3}, "sizes": {"method": "LD"}}
        found = read_gaps(numerical_features=["price", "sizes", "rating"], discretization=buckets)
        empty = [[0, 0]] * 3
        expect(
            found,
            price=[[1, 2], [1, 1], [1, 2], [1, 3], [1, 2]],
            sizes=[empty, [[1, 0], [1, 1], [1, 1]], empty, [[1, 2], [0, 0], [0, 0]], empty],
            rating=[[value, 1] for value in MEANS["rating"]],
        )

    def test_labels_of_a_threshold(self, read_gaps):
        """They are set after the fill, by which a gap is a mean rating."""
        expect(read_gaps(threshold={"rating": 3}), label=[1, 1, 0, 0, 1, 1])

    def test_items_joined_with_the_entities_of_a_graph(self, read_gaps):
        columns = {
            "inter": ["user_id", "item_id"],
            "item": ["item_id", "words"],
            "kg": ["head_id", "relation_id", "tail_id"],
            "link": ["item_id", "entity_id"],
        }
        found = read_gaps("KnowledgeBasedDataset", "CKE", alias_of_item_id=["words"], load_col=columns)
        expect(found, item_id=[0, 1, 2, 3, 4, 5], words=[*[[0, 0]] * 4, [2, 1], [3, 0]])

    def test_lengths_of_the_sequences_of_a_benchmark(self, read_gaps, tmp_path):
        head = "user_id:token\titem_id:token\titem_id_list:token_seq\n"
        (tmp_path / "gaps" / "gaps.train.inter").write_text(head + "a\tx\ty z w\nb\ty\tx\n")
        (tmp_path / "gaps" / "gaps.test.inter").write_text(head + "b\tz\tx y\n")
        options = {
            "benchmark_filename": ["train", "test"],
            "train_neg_sample_args": None,
            "alias_of_item_id": ["item_id_list"],
        }
        expect(read_gaps("SequentialDataset", "GRU4Rec", **options), item_length=[3, 1, 2])

    def test_tensors_own_their_memory(self, read_gaps, monkeypatch):
        import pandas as pd
        from recbole.data.dataset import Dataset
        from recbole.data.interaction import Interaction

        class Three:
            field2type = {"n": FeatureType.TOKEN}

        table = pd.DataFrame({"n": np.arange(3)})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = [Dataset._dataframe_to_interaction(Three(), table), Interaction(table)]
        if not table["n"].to_numpy().flags.writeable:  # pandas 3
            for interaction in made:
                interaction["n"][0] = 7
            assert table["n"].tolist() == [0, 1, 2]

    def test_no_idiom_is_left(self):
        """Every place of RecBole's source that has one is in a method that is mended."""
        idioms = [idiom for idiom, _ in recbole_compat._PANDAS_IDIOMS]

        def places(text):
            return sum(len(idiom.findall(text)) for idiom in idioms)

        root = Path(recbole.__file__).parent
        everywhere = {path: places(path.read_text(encoding="utf-8")) for path in root.rglob("*.py")}
        mended = dict.fromkeys(everywhere, 0)
        for owner, names in recbole_compat._methods_with_pandas_idioms():
            for name in names:
                code = vars(owner)[name].__code__
                lines = Path(code.co_filename).read_text(encoding="utf-8").splitlines(keepends=True)
                found = places("".join(inspect.getblock(lines[code.co_firstlineno - 1 :])))
                assert found, name
                mended[Path(code.co_filename)] += found
        assert mended == everywhere

    def test_a_recbole_without_its_source(self, monkeypatch):
        def gone(method):
            raise OSError("could not get source code")

        monkeypatch.setattr(inspect, "getsource", gone)
        with pytest.raises(MissingDependencyError, match=r"source files are missing.*or `pandas<3`"):
            recbole_compat._mend_method(type("Of", (), {"method": lambda self: None}), "method")

    def test_pandas_2_keeps_recboles_methods(self, monkeypatch):
        monkeypatch.setattr("pandas.__version__", "2.3.3")
        monkeypatch.setattr(recbole_compat, "_mend_method", pytest.fail)
        recbole_compat.apply()


def test_video_models_and_stock_models_share_a_process(in_tmp, data_root):
    options = small_options("SASRec", "ID", data_path=str(data_root))
    first = run_recbole_video("SASRec", "tiny", config_dict=options, saved=False)
    run_recbole_video("Pop", "tiny", config_dict={**STOCK, "data_path": str(data_root)}, saved=False)
    again = run_recbole_video("SASRec", "tiny", config_dict=options, saved=False)
    assert first["test_result"] == again["test_result"]
