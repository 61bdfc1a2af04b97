"""Loading converted data sets with RecBole and with this package, for tests of converters."""

from recbole.config import Config as RecBoleConfig
from recbole.data.dataset import Dataset

from recbole_video.config import Config
from recbole_video.recommendation.data import load_data

from .conftest import small_options


def recbole_dataset(root, name, **options):
    """RecBole's data set, every row and column of every file, as its own code reads them."""
    options = {"data_path": str(root), "load_col": None, "use_gpu": False, "train_neg_sample_args": None, **options}
    return Dataset(RecBoleConfig("SASRec", name, config_dict=options))


def recbole_sequences(dataset):
    """User token -> item tokens in the order in which RecBole sorts them."""
    dataset._change_feat_format()  # as before its split: float64 becomes float32
    dataset.sort(by=["user_id", "timestamp"], ascending=True)
    rows = zip(
        dataset.id2token("user_id", dataset.inter_feat["user_id"]),
        dataset.id2token("item_id", dataset.inter_feat["item_id"]),
        strict=True,
    )
    found = {}
    for user, item in rows:
        found.setdefault(str(user), []).append(str(item))
    return found


def our_sequences(root, name, **options):
    """The same from this package's ``load_data``."""
    chosen = {"data_path": str(root), "protocol": "recbole", **options}
    data = load_data(Config("SASRec", name, config_dict=small_options("SASRec", "ID", **chosen)))
    found = {}
    for user, item in zip(data.actions.users, data.actions.items, strict=True):
        found.setdefault(str(data.dataset.user_tokens[user]), []).append(str(data.dataset.item_tokens[item]))
    return found
